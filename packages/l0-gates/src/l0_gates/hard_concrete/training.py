"""Training of weights and gates together, on any backend, at a count asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.backends.base import Backend, LinearMap
from l0_core.backends.numpy import NumpyBackend
from l0_core.column_moments import column_moments
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.hard_concrete import HardConcrete
from l0_core.errors import InputError
from l0_core.plugins import get_distribution
from l0_core.selection import check_seed
from l0_core.sparsity_control import ControlSettings, SparsityController
from l0_gates.hard_concrete.blocks import CentredColumns, ColumnBlocks
from l0_gates.hard_concrete.fused import FusedHardConcreteState
from l0_gates.hard_concrete.gate_state import ArrayGateState, GateState
from l0_gates.hard_concrete.losses import GATE_LOSSES, GateLoss
from l0_gates.hard_concrete.settings import Observer, TrainingResult, TrainingSettings, TrainingStep
from l0_gates.row_weights import checked_row_weights, row_shares

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class GateProblem:
    """What gates are trained on: ``offset + matrix @ (weights * gates)`` should meet ``targets``.

    Parameters
    ----------
    matrix
        Shape (rows, items), scipy sparse by rows or by columns, scaled as the loss should see it.
    targets
        Shape (rows,).
    weights
        Shape (items,), where training starts.
    positive
        Whether weights stay positive (log-weights are trained).
    centred
        Whether each column's mean (weighted, where rows are) is taken off it, without making a sparse matrix dense.
    offset
        Added to every estimate.
    loss
        Value and slope of the loss in the estimates, over the arrays of any backend; ``None`` is the one that the
        settings name.
    spread
        Shape (items,), a price ``spread_j x_j^2 / 2`` on the gated weights ``x``, or None.
    largest
        Shape (items,), the most that a weight may become (positive weights only), or None.
    row_weights
        Shape (rows,), what each row counts for in the mean of the loss that the settings name: not negative, and only
        their proportions matter. ``None``: all alike.

    Raises
    ------
    InputError
        On wrong shapes, targets or weights that are not finite, a log-weight of 0, a spread below 0, a bound of 0, row
        weights that are negative, all zero, or beside a loss of the problem's own.
    """

    matrix: sp.sparray
    targets: FloatArray
    weights: FloatArray
    positive: bool = True
    centred: bool = False
    offset: float = 0.0
    loss: GateLoss | None = None
    spread: FloatArray | None = None
    largest: FloatArray | None = None
    row_weights: FloatArray | None = None

    def __attrs_post_init__(self) -> None:
        rows, items = self.matrix.shape
        _check("targets", self.targets, rows, np.isfinite, "finite")
        _check("weights", self.weights, items, np.isfinite, "finite")
        if self.positive:
            _check("weights", self.weights, items, _is_positive, "positive, as log-weights are trained")
        if self.spread is not None:
            _check("spread", self.spread, items, lambda x: np.isfinite(x) & (x >= 0), "finite and not negative")
        if self.largest is not None:
            _check("largest", self.largest, items, _is_positive, "positive")
        if self.row_weights is not None:
            if self.loss is not None:
                raise InputError(
                    "row_weights are for the losses that settings name; a loss of your own weighs its rows"
                )
            checked_row_weights(self.row_weights, rows)


def _is_positive(values: FloatArray) -> BoolArray:
    return values > 0


def _check(name: str, values: FloatArray, count: int, good: Callable[[FloatArray], BoolArray], what: str) -> None:
    if values.shape != (count,):
        raise InputError(f"{name} must have shape ({count},), got {values.shape}")
    bad = np.flatnonzero(~good(values))
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {values[bad[0]]}; it must be {what}")


def train_gates(
    problem: GateProblem,
    keep: int,
    *,
    backend: Backend,
    seed: int = 0,
    settings: TrainingSettings | None = None,
    observer: Observer | None = None,
    fused: bool | None = None,
    seconds: float = math.inf,
) -> TrainingResult:
    """Train weights and gates until the expected number of open gates is ``keep``.

    Noise is drawn on the host from the seed and moved to the device, so that backends agree to rounding. The
    price of a gate follows the expected count (`l0_core.sparsity_control`); its unit is the loss at the start.

    Parameters
    ----------
    observer
        Called with a `TrainingStep` after each step; it cannot change the run.
    fused
        Whether to take the two-pass kernels of Hard Concrete gates on NumPy; ``None`` wherever they apply.
    seconds
        Wall-clock limit. Where it binds, training ends at the step that reaches it, on its way to the count.

    Raises
    ------
    InputError
        ``keep`` outside 1..items, a seed that is none, kernels asked for where there are none, or median gates that
        start closed.
    """
    settings = settings or TrainingSettings()
    deadline = time.perf_counter() + seconds
    items = problem.matrix.shape[1]
    rng = np.random.default_rng(check_seed(seed))
    host = NumpyBackend()
    law = get_distribution(settings.distribution).with_temperature(settings.temperature.start)
    if settings.gates == "median" and law.pathwise and settings.initial_open <= 0.5:
        raise InputError(
            f"initial_open={settings.initial_open} closes every median gate at the start, and a closed one does not "
            "learn; give more than 0.5, or stochastic gates"
        )
    start = float(law.log_alpha_for(np.asarray(settings.initial_open)))
    log_alpha = start + settings.jitter * rng.standard_normal(items)
    state = _state(problem, backend, settings, law, log_alpha, fused)
    linear = _linear_map(problem, backend, settings)
    targets = backend.asarray(problem.targets, settings.dtype)
    loss_of, xp = _loss(problem, backend, settings), backend.xp
    spread = None if problem.spread is None else backend.asarray(problem.spread, settings.dtype)
    most = None if problem.largest is None else backend.asarray(np.log(problem.largest), settings.dtype)
    count = items if settings.gates == "top_k" else None
    controller: SparsityController | None = None
    history: list[TrainingStep] = []
    for step in range(settings.steps):
        temperature = settings.temperature.at_epoch(step, settings.steps)
        law = law.with_temperature(temperature)
        uniform = None
        if settings.gates == "stochastic":
            uniform = backend.asarray(host.uniform(rng, (items,), settings.dtype))
        gated, expected = state.open_gates(law, uniform, count)
        value, slope = loss_of(xp, linear.matvec(gated) + problem.offset, targets)
        loss = float(value)
        if controller is None:
            controller = _controller(keep, items, settings, loss)
        price = controller.update(expected)
        if count is not None:  # the count is what it should be, and costs nothing
            price, count = 0.0, max(1, round(controller.current_target))
        gradient = linear.rmatvec(slope)
        if spread is not None:
            gradient = gradient + spread * gated
        rates = (settings.weight_rate, settings.gate_rate)
        state.update(gradient, price, rates, reach=_reach(law, keep / items))
        if most is not None:
            state.limit(most)
        history.append(TrainingStep(step, loss, expected, price, temperature))
        if observer is not None:
            observer(history[-1])
        if time.perf_counter() >= deadline:
            break
    weights, log_alpha = state.parameters()
    return TrainingResult(log_alpha, np.asarray(law.open_probability(log_alpha)), weights, tuple(history))


def _loss(problem: GateProblem, backend: Backend, settings: TrainingSettings) -> GateLoss:
    if problem.loss is not None:
        return problem.loss
    loss = GATE_LOSSES[settings.loss]
    if problem.row_weights is None:
        return loss
    shares = row_shares(checked_row_weights(problem.row_weights, problem.matrix.shape[0]))
    return partial(loss, shares=backend.asarray(shares, settings.dtype))


def _controller(keep: int, items: int, settings: TrainingSettings, loss: float) -> SparsityController:
    # Two thirds of the steps lead to the count, the last third stays there. Rate and stiffness: Adam's steps
    # answer the price late, so the dual ascent must be slow and well damped to end at the count.
    control = ControlSettings(
        warmup=2 * settings.steps // 3, rate=0.01, stiffness=5.0, loss_scale=loss if loss > 0.0 else 1.0
    )
    return SparsityController(keep, items, control)


def _reach(law: GateDistribution, share: float) -> tuple[float, float]:
    """Where ``log_alpha`` may go: no gate so sure of itself that neither the loss nor the price moves it any more.

    Without it, gates of a law with light tails (a normal one) stay open for good, each of them deaf to the price, and
    the count asked for is missed several times over. The closed gates' chances add up to a hundredth of the count.
    """
    low, high = law.log_alpha_for(np.array([min(1e-4, 0.01 * share), 0.99]))
    return float(low), float(high)


def _state(
    problem: GateProblem,
    backend: Backend,
    settings: TrainingSettings,
    law: Any,
    log_alpha: FloatArray,
    fused: bool | None,
) -> GateState:
    fits = backend.name == "numpy" and type(law) is HardConcrete and problem.positive and settings.gates != "top_k"
    if fused and not fits:
        raise InputError(
            "the fused kernels are for positive weights and median or stochastic Hard Concrete gates on NumPy"
        )
    if fits and fused is not False:
        return FusedHardConcreteState(problem.weights.astype(settings.dtype), log_alpha.astype(settings.dtype))
    return ArrayGateState(
        backend,
        backend.asarray(problem.weights, settings.dtype),
        backend.asarray(log_alpha, settings.dtype),
        problem.positive,
    )


def _linear_map(problem: GateProblem, backend: Backend, settings: TrainingSettings) -> LinearMap:
    linear: LinearMap
    if settings.block_size is not None and settings.block_size < problem.matrix.shape[1]:
        linear = ColumnBlocks(backend, problem.matrix, settings.dtype, settings.block_size)
    else:
        linear = backend.linear_map(problem.matrix, settings.dtype)
    if not problem.centred:
        return linear
    weights = problem.row_weights
    shares = None if weights is None else row_shares(checked_row_weights(weights, problem.matrix.shape[0]))
    means, _ = column_moments(problem.matrix, shares)
    return CentredColumns(backend, linear, backend.asarray(means, settings.dtype))
