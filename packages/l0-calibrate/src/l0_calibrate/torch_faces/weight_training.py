"""The epochs of `SparseCalibrationWeights`: analytic gradients, two sparse products and Adam, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import scipy.sparse as sp
import torch
from torch import Tensor

from l0_calibrate.torch_faces.squared_error import SquaredError
from l0_calibrate.torch_faces.training_memory import TrainingMemory
from l0_core import Backend, HardConcrete
from l0_core.backends.base import LinearMap
from l0_core.backends.numpy import NumpyBackend
from l0_gates.hard_concrete.blocks import ColumnBlocks
from l0_gates.hard_concrete.fused import FusedHardConcreteState
from l0_gates.hard_concrete.gate_state import ArrayGateState
from l0_torch.backend import TorchBackend

Array = Any


@attrs.frozen(eq=False)
class TrainingPrices:
    """What is minimised besides the error, and the step size.

    Parameters
    ----------
    gate
        Price of an open gate.
    square
        Price of a squared weight.
    rate
        Adam's step size of log-weights and ``log_alpha``.
    dropout
        The share of weights that is left out of each epoch's estimates, the others scaled up in turn. The
        weights themselves are never touched by it.
    """

    gate: float
    square: float
    rate: float
    dropout: float = 0.0


@attrs.frozen(eq=False)
class WeightProblem:
    """Targets as the loss sees them, all in float64 on the host.

    Parameters
    ----------
    matrix
        Shape (targets, items), ndarray or scipy sparse.
    targets, scales, weights
        Shape (targets,): see `squared_error`.
    block_size
        Items whose columns are on the device at a time; None is all of them.
    """

    matrix: Any
    targets: Any
    scales: Any
    weights: Any
    block_size: int | None = None

    def on(self, backend: Backend, dtype: str) -> tuple[LinearMap, SquaredError]:
        """The linear map and the loss on a backend."""
        linear: LinearMap
        if self.block_size is not None and self.block_size < self.matrix.shape[1]:
            linear = ColumnBlocks(backend, sp.csr_array(self.matrix), dtype, self.block_size)
        else:
            linear = backend.linear_map(self.matrix, dtype)
        error = SquaredError(
            *(backend.asarray(values, dtype) for values in (self.targets, 1.0 / self.scales, self.weights))
        )
        return linear, error


@attrs.frozen(eq=False)
class GatedWeights:
    """What is trained, in place.

    Parameters
    ----------
    log_weight
        Shape (items,).
    log_alpha
        Shape (items,), or None for weights without gates.
    law
        Of the gates.
    memory
        What earlier epochs left.
    learns
        Whether ``log_weight`` moves, and whether ``log_alpha`` does.
    """

    log_weight: Tensor
    log_alpha: Tensor | None
    law: HardConcrete
    memory: TrainingMemory
    learns: tuple[bool, bool] = (True, True)

    @property
    def dtype(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return str(self.log_weight.dtype).removeprefix("torch.")

    def logits(self) -> Tensor:
        """Of the gates; infinite where there are none: such a gate is open for certain, without a slope."""
        return torch.full_like(self.log_weight, torch.inf) if self.log_alpha is None else self.log_alpha

    def rates(self, rate: float) -> tuple[float, float]:
        """Step sizes of ``log_weight`` and ``log_alpha``; 0 for what does not learn."""
        weights, gates = self.learns
        return rate if weights else 0.0, rate if gates else 0.0

    def draws(self) -> Array | None:
        """The noise of the next epoch on the host, None without gates."""
        return None if self.log_alpha is None else self.memory.uniform(self.log_weight.numel(), self.dtype)


Watcher = Callable[[int], None]
"""Called with the number of epochs done in this call, after each epoch; the parameters are up to date."""


def train_weights(
    model: GatedWeights,
    problem: WeightProblem,
    prices: TrainingPrices,
    epochs: int,
    watch: Watcher,
    *,
    fused: bool | None = None,
) -> None:
    """Train for some epochs.

    Parameters
    ----------
    fused
        Take the two-pass kernels; None wherever they apply (the CPU).
    """
    on_cpu = model.log_weight.device.type == "cpu"
    run = _train_fused if (on_cpu if fused is None else fused) else _train_on_backend
    with torch.no_grad():
        run(model, problem, prices, epochs, watch)


def _train_fused(
    model: GatedWeights, problem: WeightProblem, prices: TrainingPrices, epochs: int, watch: Watcher
) -> None:
    """On the storage of the tensors themselves."""
    memory = model.memory
    linear, error = problem.on(NumpyBackend(), model.dtype)
    state = FusedHardConcreteState.resume(
        model.log_weight.numpy(), model.logits().numpy(), memory.like(model.log_weight).numpy(), memory.steps
    )
    for epoch in range(epochs):
        gated, _ = state.open_gates(model.law, model.draws())
        shown = memory.shown(gated.size, prices.dropout, model.dtype)
        slope = error.slope(linear.matvec(gated if shown is None else gated * shown))
        gradient = linear.rmatvec(slope)
        if shown is not None:
            gradient = gradient * shown
        state.update(gradient, prices.gate, model.rates(prices.rate), prices.square)
        memory.advance()
        watch(epoch + 1)


def _train_on_backend(
    model: GatedWeights, problem: WeightProblem, prices: TrainingPrices, epochs: int, watch: Watcher
) -> None:
    """The same steps over tensors of any device; noise is drawn on the host, so devices agree to rounding."""
    memory = model.memory
    backend = TorchBackend(str(model.log_weight.device))
    linear, error = problem.on(backend, model.dtype)
    state = ArrayGateState.resume(
        backend, model.log_weight, model.logits(), memory.like(model.log_weight), memory.steps
    )
    for epoch in range(epochs):
        draws = model.draws()
        gated, _ = state.open_gates(model.law, None if draws is None else backend.asarray(draws))
        shown = memory.shown(model.log_weight.numel(), prices.dropout, model.dtype)
        factor = 1.0 if shown is None else backend.asarray(shown)
        slope = error.slope(linear.matvec(gated * factor))
        state.update(linear.rmatvec(slope) * factor, prices.gate, model.rates(prices.rate), prices.square)
        log_weight, log_alpha, memory.moments = state.raw()
        model.log_weight.copy_(log_weight)
        if model.log_alpha is not None:
            model.log_alpha.copy_(log_alpha)
        memory.advance()
        watch(epoch + 1)
