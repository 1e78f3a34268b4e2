"""Fits on a support, as selectors make them, and the refit that the calibrator makes on the result."""

from __future__ import annotations

import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import chosen_columns
from l0_calibrate.inner import inner
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.solvers.base import Machine, Solution, Start, Stop, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.threads import Threads

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLOOR = 0.05
"""A kept record has at least this part of its scaled-up reference weight ..."""
MOVES = 0.01
"""... unless that would move some target by more than this relative error: then as much as moves it so far."""

HALF = 0.5
"""Of a target, and of the sum that the weights must have, what such floors may take together: records whose reference
weights are large could ask for more than all of it, where a target touches all of them or where none does."""


def largest_entries(budget: Budget, support: IntArray) -> FloatArray:
    """``max_i |a_ij|`` of each column of a support; 0 for an empty one."""
    columns = chosen_columns(budget.system.columns, support)
    indptr = columns.indptr.astype(np.int64)
    filled = np.flatnonzero(np.diff(indptr))
    out = np.zeros(columns.count)
    if filled.size:
        out[filled] = np.maximum.reduceat(np.abs(columns.values), indptr[filled])
    return out


def floors(budget: Budget, support: IntArray) -> FloatArray:
    """Lower bounds that make every kept weight positive and move no target by more than `MOVES`.

    ``min(.05 c, .01 / max_i |a_ij|)`` with c = n / K; never below the asked-for least ratio, never above the
    upper bound. What they add to the least weights takes at most half of any target, and of what a sum that is held
    leaves.
    """
    c = budget.scale_up
    largest = largest_entries(budget, support)
    floor = np.full(support.size, FLOOR * c)
    np.minimum(floor, np.divide(MOVES, largest, out=np.full(support.size, np.inf), where=largest > 0), out=floor)
    least = np.full(support.size, budget.lower_ratio * c)
    bounded: FloatArray = np.minimum(np.maximum(floor, least), budget.upper(support))
    part = _within_targets(budget, support, bounded - least)
    bounded = np.where(part < 1.0, least + (bounded - least) * part, bounded)
    if budget.mass is not None:
        w0 = budget.system.reference[support]
        added, left = inner(bounded - least, w0), budget.mass - inner(least, w0)
        if added > max(HALF * left, 0.0):
            bounded = least + (bounded - least) * (HALF * max(left, 0.0) / added)
    return bounded


def _within_targets(budget: Budget, support: IntArray, added: FloatArray) -> FloatArray:
    """What part of the ratios added to each record may stay, so that together they take half of any target at most."""
    columns = chosen_columns(budget.system.columns, support)
    indptr = columns.indptr.astype(np.int64)
    taken = np.bincount(columns.indices, np.abs(columns.values) * np.repeat(added, np.diff(indptr)), columns.rows)
    parts = np.ones(support.size)
    if (taken > HALF).any():
        filled = np.flatnonzero(np.diff(indptr))
        of_row = HALF / np.maximum(taken, HALF)
        parts[filled] = np.minimum.reduceat(of_row[columns.indices], indptr[filled])
    return parts


def support_task(budget: Budget, support: IntArray, lower: FloatArray) -> Task:
    """The budgeted fit on a support; ``lower`` is 0 inside a selection, where weights may vanish."""
    return Task(
        system=budget.system,
        price=budget.price,
        support=support,
        lower=lower,
        upper=budget.upper(support),
        spread=budget.spread_on(support),
        centre=0.0,
        mass=budget.mass,
        areas=budget.areas,
    )


def refit_task(budget: Budget, selected: Selected) -> tuple[Task, Start]:
    """The fit on the selected records that leaves exactly ``keep`` positive weights, and where to begin.

    A selector's own warm start is used where it has one; otherwise every record begins at its
    scaled-up reference weight.
    """
    support = selected.selection.indices
    task = support_task(budget, support, floors(budget, support))
    start = selected.start
    if start is None or start.u is None:
        start = Start(np.clip(np.full(support.size, budget.scale_up), task.lower, task.upper))
    return task, start


@attrs.frozen(eq=False)
class InnerFits:
    """The fits of one selection: no certificate, a warm start each, one machine and one deadline for all.

    ``deadline`` is of `time.perf_counter`, ``inf`` for none; past it every fit ends at once, so a selection
    that is cut short still ends with what it was asked for.
    """

    budget: Budget
    machine: Machine
    deadline: float = float("inf")

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return time.perf_counter() >= self.deadline

    def free(self, support: IntArray, start: Start, iterations: int) -> Solution:
        """With weights that may vanish."""
        return self._fit(support_task(self.budget, support, np.zeros(support.size)), start, iterations)

    def floored(self, support: IntArray, start: Start, iterations: int) -> Solution:
        """With every weight positive."""
        return self._fit(support_task(self.budget, support, floors(self.budget, support)), start, iterations)

    def gradient(self, solution: Solution) -> FloatArray:
        """``a_j'y`` of every record at a fit, with the mass, shape (n,): negative where weight would lower the loss."""
        system, machine = self.budget.system, self.machine
        with Threads(machine.threads) as workers:
            g = ColumnMap(system.columns, workers).rmatvec(solution.y)
        if self.budget.mass is not None:
            g += solution.mass_dual * system.reference / self.budget.mass
        return g

    def _fit(self, task: Task, start: Start, iterations: int) -> Solution:
        seconds = max(self.deadline - time.perf_counter(), 0.0)
        stop = Stop(tolerance=0.0, iterations=iterations, seconds=seconds, certify=False)
        return PrimalDualSolver().solve(task, stop, start, self.machine)
