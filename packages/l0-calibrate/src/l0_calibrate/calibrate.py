"""The one way through: problem -> selector (which records) -> solver (which weights) -> result."""

from __future__ import annotations

from typing import Unpack

import attrs
import numpy as np

from l0_calibrate.budgeted import Fitted, fit_budget
from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.inner import inner
from l0_calibrate.losses.reweighting import solve_priced
from l0_calibrate.options import DEFAULT_SELECTOR, OptionFields, Options, options_from
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.run import Run, prepare, result_of
from l0_calibrate.solvers.base import Solution, Start, Task
from l0_calibrate.spread_search import spread_for_ess
from l0_calibrate.warm_start import check_warm, usable_start
from l0_calibrate.watch import Watch, unwatched
from l0_core import InputError, Selection

DENSE_SPREAD = 3e-5
"""Default mu of a dense fit: it settles which of the many optimal weights is taken, for well below 1 % of loss."""


_EVEN = (
    "no weights near the initial ones have the effective sample size: the spread is of how uneven weights are, as in "
    "a fit on fewer records, not of how far they are from the initial ones"
)


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
        the sum form, shape (targets,). It saves time; the result is that of another start. Ratios that are far worse
        than the initial weights are set aside.

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
    if not isinstance(problem, CalibrationProblem):
        raise InputError(f"calibrate takes a CalibrationProblem(matrix, targets, ...), got {type(problem).__name__}")
    for name, given, kind in (
        ("options", options, Options),
        ("checkpoint", checkpoint, Checkpoint),
        ("warm", warm, Start),
    ):
        if given is not None and not isinstance(given, kind):
            raise InputError(
                f"{name} must be {'an' if kind is Options else 'a'} {kind.__name__}, got {type(given).__name__}"
            )
    options = (options or options_from(dict(fields))).on(problem)
    keep = options.budget(problem.n_records)
    if keep is None and checkpoint is not None:
        raise InputError("a checkpoint keeps a selection, and a dense fit makes none: give keep or share, or leave it")
    if keep is None and (options.selector != DEFAULT_SELECTOR or options.selector_settings):
        raise InputError("a dense fit selects nothing: give keep or share, or leave out selector and its settings")
    if checkpoint is not None:
        checkpoint.check()
    check_warm(problem, warm)
    run = prepare(problem, options, watch or unwatched)
    warm = usable_start(run, warm)
    return run.finished(fit_dense(run, warm) if keep is None else fit_budget(run, keep, checkpoint, warm).result)


def calibrate_within(
    problem: CalibrationProblem, keep: int, options: Options, larger: Fitted | None, watch: Watch = unwatched
) -> Fitted:
    """`calibrate` at a budget whose records are chosen from those of a larger one (of all where None).

    Fits begin at the larger one's weights and duals.
    """
    run = prepare(problem, attrs.evolve(options, keep=keep, share=None), watch)
    fitted = fit_budget(run, keep, None, None, larger)
    return attrs.evolve(fitted, result=run.finished(fitted.result))


def fit_dense(run: Run, warm: Start | None) -> CalibrationResult:
    """All records, no budget: ``kappa = mu m / n`` around the initial weights."""
    system, options = run.problem.system, run.options
    everything = np.arange(system.records)
    lower, upper = run.bounds.on(everything, 1.0)
    # The ratio of a record without a weight is none: free to move and priced, it would cost what no weight does.
    weightless = system.reference == 0
    upper[weightless] = lower[weightless]

    notes: tuple[str, ...] = ()

    def solved(task: Task, start: Start | None) -> Solution:
        solver = run.choice(task, run.stop(), warm).solver  # which may look for blocks, and that takes time
        return solve_priced(solver, run.loss, task, run.stop(), start or warm, run.machine, run.watch)

    def fit(mu: float, start: Start | None) -> Solution:
        kappa = np.where(weightless, 0.0, mu * system.targets / system.records)
        return solved(Task(system, run.price, None, lower, upper, kappa, 1.0, run.mass, run.areas), start)

    def even_fit(mu: float, start: Start | None) -> Solution:
        """As a budget is fitted: by how uneven weights are, not ratios. Records in no target keep their weight."""
        nonlocal notes
        notes = (_EVEN,)
        kappa = mu * system.targets * system.reference**2 / inner(system.reference, system.reference)
        kept = np.where(system.column_sums == 0.0, np.clip(1.0, lower, upper), np.nan)
        low, high = (np.where(np.isnan(kept), bound, kept) for bound in (lower, upper))
        return solved(Task(system, run.price, None, low, high, kappa, 0.0, run.mass, run.areas), start)

    def work() -> tuple[Solution, float]:
        if options.ess_at_least is not None:
            late = run.clock.is_spent
            return spread_for_ess(fit, options.ess_at_least, system.reference, DENSE_SPREAD, late, even_fit)
        mu = DENSE_SPREAD if options.spread is None else options.spread
        return fit(mu, None), mu

    solution, mu = run.clock.timed("fit", work)
    weights = solution.u * system.reference
    selection = Selection(np.flatnonzero(weights > 0), system.records)
    return result_of(run, weights, selection, solution, mu, notes)
