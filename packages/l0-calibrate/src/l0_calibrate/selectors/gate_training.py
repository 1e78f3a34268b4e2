"""Gates and log-weights trained together: the differentiable road to a budget."""

from __future__ import annotations

import time
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.columns import chosen_columns
from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.gate_loss import GateRowLoss
from l0_calibrate.selectors.groups import largest_whole
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import Backend, Selection, get_backend
from l0_core.schedules import schedule
from l0_core.selection import check_seed, top_k
from l0_gates.hard_concrete import GateProblem, TrainingResult, TrainingSettings, TrainingStep, train_gates

IntArray = npt.NDArray[np.int64]

_EVENTS = 100
"""Events of a training that a watcher sees, about."""


@attrs.frozen(kw_only=True)
class HardConcreteSelector(Selector):
    """Trains log-weights and gates of all records together, then keeps those whose gates are surest to be open.

    With groups, the whole ones whose gates are expected to be open most often together.

    What is minimised is what the refit minimises: the run's loss with its weights and tolerances, the price
    on unequal weights and the largest weight ratio, plus the price of open gates, which follows the expected count
    until it is the one asked for (it is reported, not given). Louizos, Welling & Kingma (2018); gradients are in
    closed form, so that every backend takes the same steps.

    Parameters
    ----------
    steps
        Steps of Adam; each sees every record.
    gates
        ``"median"`` (no noise), ``"stochastic"`` (a draw in each step, from the seed, the same on every backend) or
        ``"top_k"`` (exactly the count of the moment is open, straight-through gradients).
    distribution
        The law of a gate, by name.
    weight_rate, gate_rate
        Adam's step sizes of the log-weights and of ``log_alpha``.
    initial_open
        Open probability of every gate at the start, in (0, 1).
    start_temperature, end_temperature, temperature_schedule
        ``"exponential"``, ``"linear"`` or ``"cosine"`` from the first to the second.
    dtype
        ``"float32"`` or ``"float64"``.
    block_size
        Records that are on the device at a time, where the matrix does not fit it; None is all of them.
    backend, seed
        Those of the run, unless given, where the selector is asked for by its name.
    """

    takes_groups: ClassVar[bool] = True

    steps: int = 1_000
    gates: str = "median"
    distribution: str = "hard_concrete"
    weight_rate: float = 0.05
    gate_rate: float = 0.05
    initial_open: float = 0.8
    start_temperature: float = 2.0 / 3.0
    end_temperature: float = 0.2
    temperature_schedule: str = "exponential"
    dtype: str = "float32"
    block_size: int | None = None
    backend: str = "numpy"
    seed: int = attrs.field(default=0, converter=check_seed)
    _training: TrainingSettings = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        get_backend(self.backend)  # an absent library or device is named here, before any work
        training = TrainingSettings(
            steps=self.steps,
            weight_rate=self.weight_rate,
            gate_rate=self.gate_rate,
            gates=self.gates,
            distribution=self.distribution,
            temperature=schedule(self.temperature_schedule, self.start_temperature, self.end_temperature),
            initial_open=self.initial_open,
            dtype=self.dtype,
            block_size=self.block_size,
        )
        object.__setattr__(self, "_training", training)

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        support = np.flatnonzero(usable_records(budget)).astype(np.int64)
        watch(Progress("select", 0, 0.0, None, None, support.size, 0.0))
        if support.size == budget.keep:
            return Selected(Selection(support, budget.system.records))
        trained = self._train(budget, support, watch)
        scores = np.full(budget.system.records, -np.inf)
        scores[support] = trained.log_alpha
        if budget.groups is not None:  # of greatest expected number of open gates
            indices = support[largest_whole(budget, support, trained.open_probabilities, budget.keep)]
        else:
            ranks = scores if budget.must_keep is None else np.where(budget.must_keep, np.inf, scores)
            indices = top_k(ranks, budget.keep, self.seed)
        selection = Selection(indices, budget.system.records, scores=scores)
        return Selected(selection, notes=(self._note(trained),))

    def _note(self, trained: TrainingResult) -> str:
        steps = len(trained.history)
        if self.gates == "top_k":
            return f"hard_concrete: top_k gates have no price; {steps} steps"
        return (
            f"hard_concrete: at {trained.history[-1].expected_open:.1f} expected open records the price of a record "
            f"(lambda) was {trained.price:.4g} of the loss, after {steps} steps"
        )

    def _train(self, budget: Budget, support: IntArray, watch: Watch) -> TrainingResult:
        backend, began = get_backend(self.backend), time.perf_counter()
        every = max(1, self.steps // _EVENTS)

        def observe(step: TrainingStep) -> None:
            if step.step % every == 0 or step.step == self.steps - 1:
                kept, seconds = round(step.expected_open), time.perf_counter() - began
                fraction = (step.step + 1) / self.steps
                watch(Progress("select", step.step + 1, fraction, step.loss, None, kept, seconds))

        return train_gates(
            gate_problem(budget, support, backend, self.dtype),
            budget.keep,
            backend=backend,
            seed=self.seed,
            settings=self._training,
            observer=observe,
            seconds=budget.seconds,
        )


def gate_problem(budget: Budget, support: IntArray, backend: Backend, dtype: str) -> GateProblem:
    """The budgeted fit as gate training sees it: mean form, columns of the support, ratios from 1."""
    system = budget.system
    columns = system.columns if support.size == system.records else chosen_columns(system.columns, support)
    matrix = sp.csc_array(
        (columns.values, columns.indices.astype(np.int32), columns.indptr.astype(np.int64)),
        shape=(columns.rows, columns.count),
    )
    # As if K records of average size were kept: which they are is what is to be learnt.
    spread = budget.spread_on(support) * (budget.keep / support.size) / system.targets
    upper = budget.upper(support)
    return GateProblem(
        matrix,
        system.b,
        np.ones(support.size),
        loss=GateRowLoss.of(budget.price, backend, dtype),
        spread=spread if spread.any() else None,
        largest=upper if np.isfinite(upper).any() else None,
    )
