"""Gradual pruning by contribution around warm-started fits: the default selector."""

from __future__ import annotations

import time

import attrs
import numpy as np
import numpy.typing as npt
from l0_core import Selection

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.fits import inner_fit
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine, Solution, Start
from l0_calibrate.watch import Progress, Watch, unwatched

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@attrs.frozen
class Pace:
    """How a pruning goes: iterations of the first fit and of each later one, the part kept in a step."""

    first: int
    each: int
    part: float

    @classmethod
    def at(cls, keep: int, targets: int) -> Pace:
        """Slower where K is near the number of targets or below: each record then matters."""
        return cls(1_500, 150, 0.95) if keep < 1.5 * targets else cls(300, 80, 0.93)


def contributions(budget: Budget, support: IntArray, u: FloatArray) -> FloatArray:
    """``u_j sum_i |a_ij|``: how much of the totals each record carries, in relative errors."""
    return u * budget.system.column_sums[support]


def _largest(values: FloatArray, must: npt.NDArray[np.bool_] | None, count: int) -> IntArray:
    """Positions of the ``count`` largest values, with those that must stay; equal values in order of position."""
    if must is not None:
        values = np.where(must, np.inf, values)
    order = np.argsort(-values, kind="stable")[:count]
    return np.sort(order)


def prune_to(
    budget: Budget,
    support: IntArray,
    solution: Solution,
    pace: Pace,
    machine: Machine,
    keep_zeros: bool = False,
    report: Watch = unwatched,
    began: float = 0.0,
) -> tuple[IntArray, Start]:
    """Shrink a support to exactly ``budget.keep`` records in steps, refitting after each.

    Returns the support and a warm start on it.
    """
    keep = budget.keep
    from_size = support.size
    u, y = solution.u, solution.y
    while support.size > keep:
        size = max(keep, int(pace.part * support.size))
        must = None if budget.must_keep is None else budget.must_keep[support]
        stay = _largest(contributions(budget, support, u), must, size)
        support, u = support[stay], u[stay]
        solution = inner_fit(budget, support, Start(u, y), pace.each, machine)
        u, y = solution.u, solution.y
        if not keep_zeros and support.size > keep:
            support, u = _without_zeros(budget, support, u)
        fraction = np.log(from_size / support.size) / max(np.log(from_size / keep), 1e-12)
        loss = float(np.abs(solution.residuals).mean())
        report(Progress("select", 0, float(fraction), loss, None, support.size, time.perf_counter() - began))
    return support, Start(u, y)


def _without_zeros(budget: Budget, support: IntArray, u: FloatArray) -> tuple[IntArray, FloatArray]:
    """Drop records at zero, those with the smallest column sums first, while at least ``keep`` remain."""
    zero = u <= 0
    if budget.must_keep is not None:
        zero &= ~budget.must_keep[support]
    candidates = np.flatnonzero(zero)
    spare = support.size - budget.keep
    if candidates.size > spare:
        sums = budget.system.column_sums[support[candidates]]
        candidates = candidates[np.argsort(sums, kind="stable")[:spare]]
    stay = np.ones(support.size, dtype=bool)
    stay[candidates] = False
    return support[stay], u[stay]


@attrs.frozen
class PruneSelector(Selector):
    """Fit all records; drop the least contributions a few per cent at a time, refitting in between.

    The order is by contribution ``u_j sum_i |a_ij|``, not by weight: a record whose weight is large but
    that few totals need goes before one that many need.
    """

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        began = time.perf_counter()
        support = np.flatnonzero(usable_records(budget)).astype(np.int64)
        pace = Pace.at(budget.keep, budget.system.targets)
        watch(Progress("select", 0, 0.0, None, None, support.size, 0.0))
        start = Start(np.minimum(np.ones(support.size), budget.upper(support)), np.zeros(budget.system.targets))
        solution = inner_fit(budget, support, start, pace.first, machine)
        scores = np.full(budget.system.records, -np.inf)
        scores[support] = contributions(budget, support, solution.u)
        chosen, warm = prune_to(budget, support, solution, pace, machine, report=watch, began=began)
        return Selected(Selection(chosen, budget.system.records, scores=scores), warm)
