"""The one way through: problem -> selector (which records) -> solver (which weights) -> result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Unpack

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.areas import Areas, area_numbers
from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.constraints import Bounds, bounds_of, check_mass_on
from l0_calibrate.dense_bound import dense_bound, is_convex, refuse_without_convexity
from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.losses.reweighting import solve_priced
from l0_calibrate.options import DEFAULT_SELECTOR, OptionFields, Options, options_from
from l0_calibrate.postconditions import check_selection, check_weights
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.labels import naming
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.fits import refit_task
from l0_calibrate.selectors.groups import group_numbers, whole
from l0_calibrate.selectors.lookup import selector_named
from l0_calibrate.solvers.auto import Choice, choose_solver
from l0_calibrate.solvers.base import Machine, Solution, Start, Stop, Task, relative_gap
from l0_calibrate.spread_search import spread_for_ess
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import InputError, Selection
from l0_core.plugins import registry

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DENSE_SPREAD = 3e-5
"""Default mu of a dense fit: it settles which of the many optimal weights is taken, for well below 1 % of loss."""

BUDGET_SPREAD = 3e-3
"""Default mu of a budgeted fit: most of the effective sample size for less than 1 % of the loss on the same records."""

SELECTION_TIME = 0.8
"""Part of a time limit that a selection may take: the fit on its records must have some too."""
REFIT_TOLERANCE = 5e-4
"""Certified gap of the fit on the kept records: what is left is small beside what the choice of records can gain ..."""
REFIT_ITERATIONS = 2_000
"""... and the iterations after which it is good enough all the same; most fits take no more."""


@attrs.define
class _Clock:
    """Seconds by stage, and what is left of a time limit."""

    limit: float
    began: float = attrs.field(factory=time.perf_counter)
    stages: dict[str, float] = attrs.field(factory=dict)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    @property
    def left(self) -> float:
        return max(self.limit - self.elapsed, 0.01)

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - started
        return result


@attrs.frozen(eq=False)
class _Run:
    """Everything that the stages of one calibration share."""

    problem: CalibrationProblem
    options: Options
    bounds: Bounds
    loss: Loss
    price: RowPrice
    machine: Machine
    clock: _Clock
    watch: Watch
    groups: IntArray | None
    areas: Areas | None
    history: list[Progress]
    choices: list[Choice] = attrs.field(factory=list)

    def stop(self, iterations: int = 100_000) -> Stop:
        return Stop(tolerance=self.options.tol, iterations=iterations, seconds=self.clock.left)

    def choice(self, task: Task, stop: Stop, begin: Start | None = None) -> Choice:
        """The solver of this run, chosen at its first fit, whose task all later ones are like."""
        if not self.choices:
            self.choices.append(choose_solver(self.options.solver, task, stop, self.machine, begin))
        return self.choices[0]

    @property
    def mass(self) -> float | None:
        return float(self.problem.initial_weights.sum()) if self.options.conserve_mass else None

    def finished(self, result: CalibrationResult) -> CalibrationResult:
        timings = {**self.clock.stages, "total": self.clock.elapsed}
        return attrs.evolve(result, history=tuple(self.history), timings=timings)


@attrs.frozen(eq=False)
class Fitted:
    """The result of a budget, and where its fit ended: ratios of all n records and duals."""

    result: CalibrationResult
    end: Start


def calibrate(
    problem: CalibrationProblem,
    options: Options | None = None,
    *,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
    warm: Start | None = None,
    **fields: Unpack[OptionFields],
) -> CalibrationResult:
    """Find weights whose sums meet the targets, on exactly as many records as asked for.

    Parameters
    ----------
    problem
        What is asked; see `CalibrationProblem`.
    options
        How; or give the fields of `Options` as keyword arguments: ``calibrate(problem, keep=4_000)``.
    watch
        Called with each `Progress` event. It cannot change the run.
    checkpoint
        Where the selection is kept, so that a run that was cut off goes on after it.
    warm
        Where the first fit may begin: ratios to the initial weights of all records, shape (records,), and duals in
        the sum form, shape (targets,). It saves time; the result is that of another start.

    Returns
    -------
    CalibrationResult
        With a budget, select then refit: exactly ``keep`` positive weights. Without, a dense fit.

    Raises
    ------
    InputError
        On contradictory options, counts outside 1..records, flags or a warm start of a wrong shape, bounds that
        leave nothing, a checkpoint without a selection to keep.
    UnknownPluginError
        On a loss, selector, solver or backend that is not installed (it lists those that are).
    """
    if options is not None and fields:
        raise InputError("give options or keyword arguments, not both")
    options = options or options_from(dict(fields))
    keep = options.budget(problem.n_records)
    if keep is None and checkpoint is not None:
        raise InputError("a checkpoint keeps a selection, and a dense fit makes none: give keep or share, or leave it")
    if keep is None and (options.selector != DEFAULT_SELECTOR or options.selector_settings):
        raise InputError("a dense fit selects nothing: give keep or share, or leave out selector and its settings")
    if checkpoint is not None:
        checkpoint.check()
    _check_warm(problem, warm)
    run = _prepare(problem, options, watch or unwatched)
    return run.finished(_dense(run, warm) if keep is None else _budgeted(run, keep, checkpoint, warm).result)


def calibrate_within(
    problem: CalibrationProblem, keep: int, options: Options, larger: Fitted | None, watch: Watch = unwatched
) -> Fitted:
    """`calibrate` at a budget whose records are chosen from those of a larger one (of all where None).

    Fits begin at the larger one's weights and duals.
    """
    run = _prepare(problem, attrs.evolve(options, keep=keep, share=None), watch)
    fitted = _budgeted(run, keep, None, None, larger)
    return attrs.evolve(fitted, result=run.finished(fitted.result))


def _check_warm(problem: CalibrationProblem, warm: Start | None) -> None:
    """Refuse a warm start that is not one of this problem."""
    if warm is None:
        return
    for values, count, what in (
        (warm.u, problem.n_records, "a ratio for each record"),
        (warm.y, problem.n_targets, "a dual for each target"),
    ):
        if values is not None and (np.shape(values) != (count,) or not np.isfinite(values).all()):
            raise InputError(f"warm must have {what}, finite, of shape ({count},), got shape {np.shape(values)}")


def _prepare(problem: CalibrationProblem, options: Options, watch: Watch) -> _Run:
    """Resolve every name and check every option before any work is done."""
    names = registry()
    clock = _Clock(float("inf") if options.time_limit is None else options.time_limit)
    loss: Loss = names.get("loss", options.loss, **options.loss_settings)
    if options.solver != "auto":
        names.factory("solver", options.solver)
    if options.backend != "numpy":
        names.get("backend", options.backend)  # fails here where its device is absent
    if options.unreachable == "error":
        problem.refuse_unreachable()
    for name in ("must_keep", "never_keep"):
        flags = getattr(options, name)
        if flags is not None and flags.shape != (problem.n_records,):
            raise InputError(
                f"{name} must have one flag for each of the {problem.n_records} records, got shape {flags.shape}"
            )
    groups = group_numbers(problem, options)
    areas = area_numbers(problem, options)
    bounds = bounds_of(problem, options)
    clock.timed("scale", lambda: problem.system)
    machine = Machine(threads=options.threads, backend=options.backend, seed=options.seed)
    history: list[Progress] = []

    def record(event: Progress) -> None:
        history.append(event)
        watch(event)

    return _Run(problem, options, bounds, loss, loss.price(problem), machine, clock, record, groups, areas, history)


# ---------------------------------------------------------------------- dense


def _dense(run: _Run, warm: Start | None) -> CalibrationResult:
    """All records, no budget: ``kappa = mu m / n`` around the initial weights."""
    system, options = run.problem.system, run.options
    everything = np.arange(system.records)
    lower, upper = run.bounds.on(everything, 1.0)

    def fit(mu: float, start: Start | None) -> Solution:
        kappa = np.full(system.records, mu * system.targets / system.records)
        task = Task(system, run.price, None, lower, upper, kappa, 1.0, run.mass, run.areas)
        stop = run.stop()
        solver = run.choice(task, stop, warm).solver
        return solve_priced(solver, run.loss, task, stop, start or warm, run.machine, run.watch)

    def work() -> tuple[Solution, float]:
        if options.ess_at_least is not None:
            return spread_for_ess(fit, options.ess_at_least, system.reference, DENSE_SPREAD)
        mu = DENSE_SPREAD if options.spread is None else options.spread
        return fit(mu, None), mu

    solution, mu = run.clock.timed("fit", work)
    weights = solution.u * system.reference
    selection = Selection(np.flatnonzero(weights > 0), system.records)
    return _result(run, weights, selection, solution, mu)


# ---------------------------------------------------------------------- budgets


def _budget(run: _Run, keep: int, mu: float) -> Budget:
    options, system = run.options, run.problem.system
    usable = int(np.count_nonzero(system.reference > 0))
    if keep > usable:
        raise InputError(
            f"keep={keep} is above the number of records with a positive initial weight, {usable}: "
            "a record without one cannot get weight"
        )
    return Budget(
        problem=run.problem,
        system=system,
        price=run.price,
        keep=keep,
        ratio_bound=run.bounds.upper_ratio,
        caps=run.bounds.caps if options.max_weight is not None else None,
        spread=mu,
        ess_at_least=options.ess_at_least,
        must_keep=_whole(run, options.must_keep),
        never_keep=_whole(run, options.never_keep),
        groups=run.groups,
        lower_ratio=run.bounds.lower_ratio,
        mass=run.mass,
        areas=run.areas,
        seconds=SELECTION_TIME * run.clock.left,
        settings=dict(options.selector_settings),
    )


def _whole(run: _Run, flags: BoolArray | None) -> BoolArray | None:
    return flags if flags is None or run.groups is None else whole(run.groups, flags)


def _budgeted(
    run: _Run, keep: int, checkpoint: Checkpoint | None, warm: Start | None, larger: Fitted | None = None
) -> Fitted:
    """Select exactly ``keep`` records, then fit the weights on them."""
    options = run.options
    mu = BUDGET_SPREAD if options.spread is None else options.spread
    budget = attrs.evolve(_budget(run, keep, mu), warm=warm)
    if larger is not None:
        budget = attrs.evolve(budget, warm=larger.end, nested=True, never_keep=~larger.result.selection.mask)
    if options.dense_bound:
        refuse_without_convexity(run.loss, run.price)
    selected: Selected | None = checkpoint.load(run.problem, options) if checkpoint is not None else None
    if selected is None:
        selector = selector_named(options.selector, options.selector_settings, run.machine)
        if run.groups is not None and not selector.takes_groups:
            raise InputError(
                f"selector {options.selector!r} chooses records one by one; with groups use prune or exchange"
            )
        selected = run.clock.timed("select", lambda: selector.select(budget, run.machine, run.watch))
        if checkpoint is not None:
            checkpoint.store(run.problem, options, selected)
    check_selection(budget, selected.selection, options.selector)
    if options.conserve_mass:
        check_mass_on(run.problem, run.bounds, selected.selection.indices, options.selector)

    def fit(spread: float, start: Start | None) -> Solution:
        task, begin = refit_task(attrs.evolve(budget, spread=spread), selected)
        stop = attrs.evolve(run.stop(REFIT_ITERATIONS), tolerance=min(options.tol, REFIT_TOLERANCE))
        solver = run.choice(task, stop, begin).solver
        return solve_priced(solver, run.loss, task, stop, start or begin, run.machine, run.watch)

    def work() -> tuple[Solution, float]:
        if options.ess_at_least is not None:
            reference = run.problem.system.reference[selected.selection.indices]
            return spread_for_ess(fit, options.ess_at_least, reference, BUDGET_SPREAD)
        return fit(mu, None), mu

    solution, mu = run.clock.timed("refit", work)
    support = selected.selection.indices
    ratios = np.zeros(run.problem.n_records)
    ratios[support] = solution.u
    result = _result(run, ratios * run.problem.system.reference, selected.selection, solution, mu, selected.notes)
    wanted = options.dense_bound
    if wanted is None:
        wanted = keep < run.problem.n_targets and is_convex(run.loss, run.price) and run.clock.left > 0.0
    end = Start(ratios, solution.y, solution.mass_dual)
    return Fitted(_bounded(run, result, budget) if wanted else result, end)


def _bounded(run: _Run, result: CalibrationResult, budget: Budget) -> CalibrationResult:
    """The result with what no selection can beat."""
    bound = run.clock.timed(
        "dense bound", lambda: dense_bound(budget, run.options.solver, run.stop(), run.machine, run.watch)
    )
    price = run.price.total(run.problem.relative_errors(result.weights)) / run.problem.n_targets
    note = f"no {budget.keep:,} records within these bounds have a loss below {bound:.5f}; here it is {price:.5f}"
    return attrs.evolve(result, dense_bound=bound, notes=(*result.notes, note))


# ---------------------------------------------------------------------- result


def _result(
    run: _Run,
    weights: FloatArray,
    selection: Selection,
    solution: Solution,
    mu: float,
    notes: tuple[str, ...] = (),
) -> CalibrationResult:
    m = run.problem.n_targets
    residuals = run.problem.relative_errors(weights)
    objective = solution.objective + _stored_away(run, residuals, solution.residuals)
    gap = relative_gap(objective, solution.bound)
    status = solution.status
    # The solver stopped at the tolerance by its stored entries: what they hide must not turn that over.
    tolerance = run.options.tol * (1.01 if status == "optimal" else 1.0)
    if status != "infeasible" and gap is not None:
        status = "optimal" if gap <= tolerance else "converged" if status == "optimal" else status
    abandoned = run.loss.abandoned(run.price, residuals)
    if abandoned is not None:
        notes = (*notes, _census(run.problem, abandoned))
    if run.choices[0].note is not None:
        notes = (*notes, run.choices[0].note)
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


def _stored_away(run: _Run, residuals: FloatArray, stored: FloatArray) -> float:
    """What the errors cost more than those of the solver, whose entries were rounded to be stored (sum form)."""
    price = run.loss.reprice(run.price, stored) or run.price
    return price.total(residuals) - price.total(stored)


def _census(problem: CalibrationProblem, abandoned: BoolArray) -> str:
    """How many targets the loss has given up, and the first of them by name."""
    places = np.flatnonzero(abandoned)
    count = f"{places.size:,} of {problem.n_targets:,} targets are beyond the level of the loss and abandoned"
    return f"{count}: {naming(problem.target_names[places])}" if places.size else count
