"""What the stages of a calibration share: all that is checked and resolved before any work; how a result is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.areas import Areas, area_numbers
from l0_calibrate.constraints import Bounds, bounds_of
from l0_calibrate.dense_bound import is_convex
from l0_calibrate.ess_bound import check_ess
from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.options import Options
from l0_calibrate.postconditions import check_claims, check_price, check_weights
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.labels import naming
from l0_calibrate.problem.units import FAR_OFF
from l0_calibrate.problem.zeros import emptying
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.selectors.groups import group_numbers
from l0_calibrate.solvers.auto import Choice, choose_solver
from l0_calibrate.solvers.base import MET, Machine, Solution, Start, Stop, Task, relative_gap
from l0_calibrate.time_shares import LEAST
from l0_calibrate.watch import Progress, Watch
from l0_core import Selection
from l0_core.plugins import registry

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ALL_MET = (
    "all targets are met, to the digits that entries are stored with: the gap is a part of an objective that is next "
    "to nothing"
)

_ALL_BUT_EVEN = (
    "the targets are met, with a mean price below 1e-7: what the limit cut off is how even the weights are, which "
    "solver 'primal_dual' is slow to settle; solver='interior_point' takes a few steps where it can take the problem"
)

_MUCH = 0.01
"""Part of the initial weights from which on it is told that records in no target were left out."""


@attrs.define
class Clock:
    """Seconds by stage, and what is left of a time limit."""

    limit: float
    began: float = attrs.field(factory=time.perf_counter)
    stages: dict[str, float] = attrs.field(factory=dict)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began

    def is_spent(self) -> bool:
        """Whether the limit has been reached."""
        return self.elapsed >= self.limit

    @property
    def left(self) -> float:
        """Seconds left of the limit, a little at least."""
        return max(self.limit - self.elapsed, LEAST)

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """What some work gives; its time counts for a stage."""
        started = time.perf_counter()
        result = work()
        self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - started
        return result


@attrs.frozen(eq=False)
class Run:
    """Everything that the stages of one calibration share."""

    problem: CalibrationProblem
    options: Options
    bounds: Bounds
    loss: Loss
    price: RowPrice
    machine: Machine
    clock: Clock
    watch: Watch
    groups: IntArray | None
    areas: Areas | None
    history: list[Progress]
    choices: list[Choice] = attrs.field(factory=list)

    def stop(self, iterations: int = 100_000) -> Stop:
        """When a fit of this run ends."""
        return Stop(tolerance=self.options.tol, iterations=iterations, seconds=self.clock.left)

    def choice(self, task: Task, stop: Stop, begin: Start | None = None) -> Choice:
        """The solver of this run, chosen at its first fit, whose task all later ones are like."""
        if not self.choices:
            self.choices.append(choose_solver(self.options.solver, task, stop, self.machine, begin))
        return self.choices[0]

    @property
    def mass(self) -> float | None:
        """The sum that the weights must have, or None."""
        return float(self.problem.initial_weights.sum()) if self.options.conserve_mass else None

    def finished(self, result: CalibrationResult) -> CalibrationResult:
        """The result with the events and the times of this run."""
        timings = {**self.clock.stages, "total": self.clock.elapsed}
        return attrs.evolve(result, history=tuple(self.history), timings=timings)


def prepare(problem: CalibrationProblem, options: Options, watch: Watch) -> Run:
    """Resolve every name and check every option before any work is done."""
    names = registry()
    options.budget(problem.n_records)
    clock = Clock(float("inf") if options.time_limit is None else options.time_limit)
    loss: Loss = names.get("loss", options.loss, **options.loss_settings)
    if options.solver != "auto":
        names.factory("solver", options.solver)
    if options.backend != "numpy":
        names.get("backend", options.backend)  # fails here where its device is absent
    if options.unreachable == "error":
        problem.refuse_unreachable()
    for name in ("must_keep", "never_keep"):
        options.flags(name, problem.n_records)
    groups = group_numbers(problem, options)
    areas = area_numbers(problem, options)
    bounds = bounds_of(problem, options)
    check_ess(problem, options, bounds)
    clock.timed("scale", lambda: problem.scaled(options.threads))
    machine = Machine(threads=options.threads, backend=options.backend, seed=options.seed)
    history: list[Progress] = []

    def record(event: Progress) -> None:
        history.append(event)
        watch(event)

    price = check_price(loss.price(problem), problem, options.loss)
    return Run(problem, options, bounds, loss, price, machine, clock, record, groups, areas, history)


def result_of(
    run: Run,
    weights: FloatArray,
    selection: Selection,
    solution: Solution,
    mu: float,
    notes: tuple[str, ...] = (),
) -> CalibrationResult:
    """The result of weights of shape (records,) and of the fit behind them, judged by the problem's own entries."""
    m = run.problem.n_targets
    residuals = run.problem.relative_errors(weights)
    objective = solution.objective + _stored_away(run, residuals, solution.residuals)
    check_claims(solution, objective, m, run.choices[0].name)
    gap = relative_gap(objective, solution.bound)
    status = solution.status
    # The solver stopped at the tolerance by its stored entries: what they hide must not turn that over.
    tolerance = run.options.tol * (1.01 if status == "optimal" else 1.0)
    # The gap of a loss that is not convex is that of one of its convex fits, not of the sequence that was cut off.
    is_cut_off = status == "budget_spent" and not is_convex(run.loss, run.price)
    if status != "infeasible" and gap is not None and not is_cut_off:
        status = "optimal" if gap <= tolerance else "converged" if status == "optimal" else status
    abandoned = run.loss.abandoned(run.price, residuals)
    if abandoned is not None:
        notes = (*notes, _census(run.problem, abandoned))
    if status == "converged" and objective <= MET * m:
        notes = (*notes, _ALL_MET)
    if status == "budget_spent" and objective <= MET * m and run.choices[0].name == "primal_dual":
        notes = (*notes, _ALL_BUT_EVEN)
    if run.choices[0].note is not None:
        notes = (*notes, run.choices[0].note)
    notes = (*notes, *out_of_reach(run.problem, run.problem.unreachable), *_left_out(run, weights))
    notes = (*notes, *_far_off(run.problem), *_zeros(run.problem), *_weightless(run))
    result = CalibrationResult(
        problem=run.problem,
        options=run.options,
        weights=weights,
        selection=selection,
        status=status,
        objective=objective / m,
        bound=solution.bound / m if np.isfinite(solution.bound) else None,
        dual=solution.y / m,
        spread=mu,
        timings={},
        notes=notes,
        abandoned=abandoned,
        solver=run.choices[0].name,
        solver_reason=run.choices[0].reason,
    )
    check_weights(result, run.bounds, run.mass)
    return result


def out_of_reach(problem: CalibrationProblem, targets: IntArray) -> list[str]:
    """A note on targets (positions) that no record with an initial weight enters; one of 0 is met all the same."""
    missed = targets[problem.targets[targets] != 0]
    if not missed.size:
        return []
    what = "1 target" if missed.size == 1 else f"{missed.size:,} targets"
    return [f"no record with an initial weight enters {what}: {naming(problem.target_names[missed])}"]


def _far_off(problem: CalibrationProblem) -> list[str]:
    """A note on targets in other units than their rows."""
    if not problem.far_off.size:
        return []
    count = problem.far_off.size
    which = "estimate of 1 target is" if count == 1 else f"estimates of {count:,} targets are"
    return [
        f"the initial {which} more than {FAR_OFF:g} times off, as of totals in thousands: "
        f"{naming(problem.target_names[problem.far_off])}; check the units"
    ]


def _zeros(problem: CalibrationProblem) -> list[str]:
    """A note on targets of 0 that take the weight of all records behind them, or cost what that is not done for."""
    zero = emptying(problem)
    if not zero.size:
        return []
    what = "1 target is" if zero.size == 1 else f"{zero.size:,} targets are"
    return [
        f"{what} 0, which only records without weight meet ({naming(problem.target_names[zero])}), and a unit above it "
        "counts as an error of 100 %; leave such targets out if 0 stands for not known"
    ]


def _left_out(run: Run, weights: FloatArray) -> list[str]:
    """A note on records that no target asks for and that have lost their weight, if it was much of the whole."""
    system = run.problem.system
    lost = (system.column_sums == 0) & (system.reference > 0) & (weights == 0)
    share = system.reference[lost].sum() / system.reference.sum()
    if share < _MUCH:
        return []
    count = int(np.count_nonzero(lost))
    who = "1 record that enters no target was" if count == 1 else f"{count:,} records that enter no target were"
    held = "" if run.options.conserve_mass else ", conserve_mass holds the sum of all weights"
    return [f"{who} left out, with {100 * share:.0f} % of the initial weights; must_keep keeps some{held}"]


def _weightless(run: Run) -> list[str]:
    """A note on records without an initial weight, which the scale of a budget's ratios counts all the same."""
    n, keep = run.problem.n_records, run.options.budget(run.problem.n_records)
    without = n - int(np.count_nonzero(run.problem.initial_weights))
    if keep is None or not without:
        return []
    return [
        f"{without:,} of {n:,} records have no initial weight, and records / kept counts them: ratios are weight / "
        f"(initial weight x {n / keep:.4g}); without them it were {(n - without) / keep:.4g}"
    ]


def _stored_away(run: Run, residuals: FloatArray, stored: FloatArray) -> float:
    """What the errors cost more than those of the solver, whose entries were rounded to be stored (sum form)."""
    price = run.loss.reprice(run.price, stored) or run.price
    return price.total(residuals) - price.total(stored)


def _census(problem: CalibrationProblem, abandoned: BoolArray) -> str:
    """How many targets the loss has given up, and the first of them by name."""
    places = np.flatnonzero(abandoned)
    count = f"{places.size:,} of {problem.n_targets:,} targets are beyond the level of the loss and abandoned"
    return f"{count}: {naming(problem.target_names[places])}" if places.size else count
