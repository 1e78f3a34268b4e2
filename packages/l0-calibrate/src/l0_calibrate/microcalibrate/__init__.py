"""The interface of microcalibrate over l0-calibrate.

`Calibration` by default trains with Adam (extra ``[torch]``); ``keep=`` and ``solver="primal_dual"`` need no torch.
"""

from l0_calibrate.microcalibrate import metrics
from l0_calibrate.microcalibrate.calibration import Calibration
from l0_calibrate.microcalibrate.evaluation import evaluate_estimate_distance_to_targets, evaluate_sparse_weights
from l0_calibrate.microcalibrate.performance import log_performance_over_epochs
from l0_calibrate.microcalibrate.reweight import reweight
from l0_calibrate.microcalibrate.robustness import evaluate_holdout_robustness
from l0_calibrate.microcalibrate.tuning import tune_l0_hyperparameters

__all__ = [
    "Calibration",
    "evaluate_estimate_distance_to_targets",
    "evaluate_holdout_robustness",
    "evaluate_sparse_weights",
    "log_performance_over_epochs",
    "metrics",
    "reweight",
    "tune_l0_hyperparameters",
]
