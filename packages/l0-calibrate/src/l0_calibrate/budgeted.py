"""A budget: select exactly so many records, then fit the weights on them."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.checkpoint import Checkpoint
from l0_calibrate.constraints import check_mass_on
from l0_calibrate.dense_bound import dense_bound, is_convex, refuse_without_convexity
from l0_calibrate.losses.reweighting import solve_priced
from l0_calibrate.postconditions import check_selected, check_selection
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.run import Run, result_of
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.fits import floors, refit_task, support_task
from l0_calibrate.selectors.groups import whole
from l0_calibrate.selectors.holding_sum import holding_sum
from l0_calibrate.selectors.lookup import selector_named
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.auto import Choice, choose_solver
from l0_calibrate.solvers.base import Solution, Start
from l0_calibrate.spread_search import spread_for_ess
from l0_core import InputError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

BUDGET_SPREAD = 3e-3
"""Default mu of a budgeted fit: most of the effective sample size for less than 1 % of the loss on the same records."""

SELECTION_TIME = 0.8
"""Part of a time limit that a selection may take: the fit on its records must have some too."""
REFIT_TOLERANCE = 5e-4
"""Certified gap of the fit on the kept records: what is left is small beside what the choice of records can gain ..."""
REFIT_ITERATIONS = 2_000
"""... and the iterations after which it is good enough all the same; most fits take no more."""


FRAME = 4.0
"""A smaller budget's fit uses again what was made of the matrix on up to so many times its records: beyond that the
blocks of fewer records are enough cheaper to be looked for anew."""


@attrs.frozen(eq=False)
class Fitted:
    """The result of a budget, and what a smaller one within it goes on from.

    ``end`` is where the fit ended (ratios of all n records and duals), ``choice`` the solver that made it, ``frame``
    the records whose blocks it used.
    """

    result: CalibrationResult
    end: Start
    choice: Choice
    frame: IntArray


def _budget(run: Run, keep: int, mu: float) -> Budget:
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
    )


def _whole(run: Run, flags: BoolArray | None) -> BoolArray | None:
    return flags if flags is None or run.groups is None else whole(run.groups, flags)


def _refuse_solver(run: Run, budget: Budget) -> None:
    """Refuse a solver by name that could not take the fit on any records, before these are chosen.

    It is asked about one of them alone: what it makes of the blocks of all is only known when they are.
    """
    if run.options.solver != "auto":
        one = np.flatnonzero(usable_records(budget))[:1]
        choose_solver(run.options.solver, support_task(budget, one, floors(budget, one)), run.stop(), run.machine)


def fit_budget(
    run: Run, keep: int, checkpoint: Checkpoint | None, warm: Start | None, larger: Fitted | None = None
) -> Fitted:
    """Select exactly ``keep`` records, then fit the weights on them."""
    options = run.options
    mu = BUDGET_SPREAD if options.spread is None else options.spread
    free = budget = attrs.evolve(_budget(run, keep, mu), warm=warm)
    if larger is not None:
        budget = attrs.evolve(budget, warm=larger.end, nested=True, never_keep=~larger.result.selection.mask)
        run.choices.append(larger.choice)
    if options.dense_bound:
        refuse_without_convexity(run.loss, run.price)
    if not run.choices:
        _refuse_solver(run, budget)
    selected: Selected | None = checkpoint.load(run.problem, options) if checkpoint is not None else None
    if selected is None:
        selector = selector_named(options.selector, options.selector_settings, run.machine)
        if run.groups is not None and not selector.takes_groups:
            raise InputError(
                f"selector {options.selector!r} chooses records one by one; with groups use one that keeps them "
                "whole, such as prune or exchange"
            )
        chosen = run.clock.timed("select", lambda: selector.select(budget, run.machine, run.watch))
        selected = check_selected(chosen, options.selector)
        if checkpoint is not None:
            try:
                checkpoint.store(run.problem, options, selected)
            except InputError as error:  # a full disk must not cost the selection that was to be saved
                selected = attrs.evolve(selected, notes=(*selected.notes, f"there is no checkpoint: {error}"))
    check_selection(budget, selected.selection, options.selector)
    if options.conserve_mass:
        selected = holding_sum(budget, selected, options.selector)
        check_mass_on(run.problem, run.bounds, selected.selection.indices, options.selector)

    support = selected.selection.indices
    frame = larger.frame if larger is not None and larger.frame.size <= FRAME * keep else support

    def fit(spread: float, start: Start | None) -> Solution:
        task, begin = refit_task(attrs.evolve(budget, spread=spread), selected)
        task = attrs.evolve(task, frame=frame)
        stop = attrs.evolve(run.stop(REFIT_ITERATIONS), tolerance=min(options.tol, REFIT_TOLERANCE))
        solver = run.choice(task, stop, begin).solver  # which may look for blocks, and that takes time
        stop = attrs.evolve(stop, seconds=run.clock.left)
        return solve_priced(solver, run.loss, task, stop, start or begin, run.machine, run.watch)

    def work() -> tuple[Solution, float]:
        if options.ess_at_least is not None:
            reference = run.problem.system.reference[support]
            return spread_for_ess(fit, options.ess_at_least, reference, BUDGET_SPREAD, run.clock.is_spent)
        return fit(mu, None), mu

    solution, mu = run.clock.timed("refit", work)
    ratios = np.zeros(run.problem.n_records)
    ratios[support] = solution.u
    result = result_of(run, ratios * run.problem.system.reference, selected.selection, solution, mu, selected.notes)
    wanted = options.dense_bound
    if wanted is None:
        wanted = keep < run.problem.n_targets and is_convex(run.loss, run.price)
    if wanted and not run.clock.is_spent():
        # What a path rules out for being outside of the records before is no less a selection.
        result = _bounded(run, result, free)
    elif options.dense_bound:
        result = attrs.evolve(result, notes=(*result.notes, "no time was left for the dense bound"))
    return Fitted(result, Start(ratios, solution.y, solution.mass_dual), run.choices[0], frame)


def _bounded(run: Run, result: CalibrationResult, budget: Budget) -> CalibrationResult:
    """The result with what no selection can beat."""
    bound = run.clock.timed(
        "dense bound", lambda: dense_bound(budget, run.options.solver, run.stop(), run.machine, run.watch)
    )
    price = run.price.total(run.problem.relative_errors(result.weights)) / run.problem.n_targets
    plain = run.price.is_absolute and bool((run.price.cap == 1.0).all())
    what = "a loss" if plain else "a price (the loss by its weights, tolerances and kind)"
    many = "no record has" if budget.keep == 1 else f"no {budget.keep:,} records within these bounds have"
    note = f"{many} {what} below {bound:.5f}; here it is {price:.5f}"
    return attrs.evolve(result, dense_bound=bound, notes=(*result.notes, note))
