"""Fits on a support, as selectors make them, and the refit that the calibrator makes on the result."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.solvers.base import Machine, Solution, Start, Stop, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.watch import Watch, unwatched

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLOOR = 0.05
"""A kept record has at least this part of its scaled-up reference weight ..."""
MOVES = 0.01
"""... unless that would move some target by more than this relative error: then as much as moves it so far."""


def free_task(budget: Budget, support: IntArray) -> Task:
    """The budgeted fit on a support in which weights may vanish (inside a selection)."""
    return Task(
        system=budget.system,
        price=budget.price,
        support=support,
        lower=np.zeros(support.size),
        upper=budget.upper(support),
        spread=budget.spread_on(support),
        centre=0.0,
        mass=budget.mass,
    )


def largest_entries(budget: Budget, support: IntArray) -> FloatArray:
    """``max_i |a_ij|`` of each column of a support; 0 for an empty one."""
    columns = budget.system.columns
    indptr = columns.indptr.astype(np.int64)
    lengths = np.diff(indptr)
    out = np.zeros(columns.count)
    filled = np.flatnonzero(lengths)
    out[filled] = np.maximum.reduceat(np.abs(columns.values), indptr[filled]) if filled.size else 0.0
    return out[support]


def floors(budget: Budget, support: IntArray) -> FloatArray:
    """Lower bounds that make every kept weight positive and move no target by more than `MOVES`.

    ``min(.05 c, .01 / max_i |a_ij|)`` with c = n / K; never below the asked-for least ratio, never above the
    upper bound.
    """
    c = budget.scale_up
    largest = largest_entries(budget, support)
    floor = np.full(support.size, FLOOR * c)
    np.minimum(floor, np.divide(MOVES, largest, out=np.full(support.size, np.inf), where=largest > 0), out=floor)
    return np.minimum(np.maximum(floor, budget.lower_ratio * c), budget.upper(support))


def refit_task(budget: Budget, selected: Selected) -> tuple[Task, Start | None]:
    """The fit on the selected records that leaves exactly ``keep`` positive weights, and where to begin.

    A selector's own warm start is used where it has one; otherwise every record begins at its
    scaled-up reference weight.
    """
    support = selected.selection.indices
    lower = floors(budget, support)
    task = Task(
        system=budget.system,
        price=budget.price,
        support=support,
        lower=lower,
        upper=budget.upper(support),
        spread=budget.spread_on(support),
        centre=0.0,
        mass=budget.mass,
    )
    start = selected.start
    if start is None or start.u is None:
        start = Start(np.clip(np.full(support.size, budget.scale_up), lower, task.upper), None)
    return task, start


def inner_fit(
    budget: Budget,
    support: IntArray,
    start: Start | None,
    iterations: int,
    machine: Machine,
    watch: Watch = unwatched,
) -> Solution:
    """A short fit on a support without a certificate, from a warm start."""
    stop = Stop(tolerance=0.0, iterations=iterations, certify=False)
    return PrimalDualSolver().solve(free_task(budget, support), stop, start, machine, watch)
