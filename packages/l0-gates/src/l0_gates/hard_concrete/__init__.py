"""Differentiable gates trained together with the weights behind them."""

from l0_gates.hard_concrete.settings import TrainingResult, TrainingSettings, TrainingStep
from l0_gates.hard_concrete.training import GateProblem, train_gates

__all__ = ["GateProblem", "TrainingResult", "TrainingSettings", "TrainingStep", "train_gates"]
