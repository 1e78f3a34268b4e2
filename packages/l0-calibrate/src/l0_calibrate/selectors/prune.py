"""Gradual pruning by contribution around warm-started fits: the default selector."""

from __future__ import annotations

import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.fits import InnerFits
from l0_calibrate.selectors.groups import largest_whole
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine, Solution, Start
from l0_calibrate.spread_search import spread_for_ess
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import InputError, Selection

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SMALL = 500_000
"""Non-zeros of a problem for which the careful pace costs a second or less."""

_LARGE = 5_000_000
"""Non-zeros from which more care is too dear: at 37 M it took three quarters more time, and the loss was no lower."""

NEAR_TARGETS, _FAR = 1.5, 3.0
"""Records for each target up to which K is near the number of targets, and from which a support is far from it."""

_NEARLY = 0.97
"""Part of the effective sample size wanted that a selection should have; the refit finds the rest."""
_EVENING = 300
"""Iterations of each fit on chosen records that finds out what they lose where they are made even."""
_GROWTH, _TRIALS = 2.0, 7
"""From one spread to the next, and how many are tried: the last has most of the evenness that can be had."""


@attrs.frozen
class Step:
    """One step of a pruning: iterations of the fit after it, and the part of the records that it keeps.

    ``last`` are the iterations where the step ends at K itself; as many as elsewhere where None.
    """

    each: int
    part: float
    last: int | None = None

    def iterations(self, at_k: bool) -> int:
        """Of the fit after the step."""
        return self.each if self.last is None or not at_k else self.last


@attrs.frozen
class Pace:
    """How a pruning goes: iterations of the first fit, and its steps.

    ``far``, ``near`` and ``below`` are the steps while the support is far above the number of targets, near it, and
    below it; None for those of elsewhere. ``sweep`` tells whether records that end a fit at zero are dropped at once.
    """

    first: int
    step: Step
    far: Step | None = None
    near: Step | None = None
    below: Step | None = None
    sweep: bool = True

    def step_from(self, size: int, targets: int) -> Step:
        """The step from a support of that size."""
        if size >= _FAR * targets:
            return self.far or self.step
        other = self.below if size < targets else self.near if size < NEAR_TARGETS * targets else None
        return other or self.step

    @staticmethod
    def of(budget: Budget) -> Pace:
        """As `before_search`, but slower where K is near the number of targets or below: each record matters then."""
        pace = Pace.before_search(budget)
        is_near = budget.keep < NEAR_TARGETS * budget.system.targets
        return SPARING if is_near and pace in {QUICK, BRIEF} else pace

    @staticmethod
    def before_search(budget: Budget) -> Pace:
        """The slower, the cheaper it is: where it is dear the time is better spent on the search that follows."""
        entries = budget.system.columns.nnz
        if budget.nested:
            return NESTED_CAREFUL if entries < _SMALL else NESTED
        return CAREFUL if entries < _SMALL else QUICK if entries < _LARGE else BRIEF


CAREFUL = Pace(1_500, Step(150, 0.95), below=Step(60, 0.98))
"""Below the number of targets many short steps choose better than fewer with more iterations."""
SPARING = attrs.evolve(CAREFUL, far=Step(75, 0.95))
"""Far above the number of targets many records do for one another, and fewer iterations lose next to nothing."""
QUICK = Pace(600, Step(120, 0.94), far=Step(40, 0.95))
BRIEF = Pace(300, Step(80, 0.93), far=Step(25, 0.93))
NESTED = Pace(0, Step(75, 0.95, last=25), near=Step(120, 0.95, last=25), below=Step(40, 0.98))
"""From the fit of a larger budget, which needs no first one. What a fit at K itself would find, the refit finds: a few
iterations save it one to three of its own, more of them nothing. Steps of 10 % lost records that matter, whatever the
iterations."""
NESTED_CAREFUL = attrs.evolve(NESTED, step=Step(75, 0.98, last=25), near=Step(120, 0.98, last=25))
"""A count is a choice among few records there: in trials steps of 2 % had an objective 2 % lower, in the same time."""


def contributions(budget: Budget, support: IntArray, u: FloatArray) -> FloatArray:
    """``u_j sum_i |a_ij|`` over targets that cost something: how much of them a record carries, in relative errors."""
    return u * budget.column_sums[support]


def prune_to(
    fits: InnerFits, support: IntArray, solution: Solution, pace: Pace, report: Watch = unwatched
) -> tuple[IntArray, Solution]:
    """Shrink a support to exactly ``budget.keep`` records in steps, refitting after each.

    Returns the support and the fit on it.
    """
    budget, keep, began = fits.budget, fits.budget.keep, time.perf_counter()
    from_size = support.size
    while support.size > keep:
        step = pace.step_from(support.size, budget.system.targets)
        size = keep if fits.late else max(keep, int(step.part * support.size))
        stay = _largest(budget, support, contributions(budget, support, solution.u), size)
        support = support[stay]
        solution = fits.free(support, _restricted(solution, stay), step.iterations(support.size == keep))
        if pace.sweep and support.size > keep and budget.groups is None:
            stay = _without_zeros(budget, support, solution.u)
            support, solution = support[stay], attrs.evolve(solution, u=solution.u[stay])
        fraction = np.log(from_size / support.size) / np.log(from_size / keep)
        loss = float(np.abs(solution.residuals).mean())
        report(Progress("select", 0, float(fraction), loss, None, support.size, time.perf_counter() - began))
    return support, solution


def _restricted(solution: Solution, stay: IntArray) -> Start:
    return Start(solution.u[stay], solution.y, solution.mass_dual)


def _largest(budget: Budget, support: IntArray, values: FloatArray, count: int) -> IntArray:
    """Positions of the ``count`` largest values, with those that must stay; equal values in order of position.

    With groups, of whole ones (`largest_whole`).
    """
    if budget.groups is not None:
        return largest_whole(budget, support, values, count)
    if budget.must_keep is not None:
        values = np.where(budget.must_keep[support], np.inf, values)
    return np.sort(np.argsort(-values, kind="stable")[:count])


def _without_zeros(budget: Budget, support: IntArray, u: FloatArray) -> IntArray:
    """Positions left without records at zero, those with the smallest column sums first, while ``keep`` remain."""
    zero = u <= 0
    if budget.must_keep is not None:
        zero &= ~budget.must_keep[support]
    candidates = np.flatnonzero(zero)
    spare = support.size - budget.keep
    if candidates.size > spare:
        sums = budget.column_sums[support[candidates]]
        candidates = candidates[np.argsort(sums, kind="stable")[:spare]]
    stay = np.ones(support.size, dtype=bool)
    stay[candidates] = False
    return np.flatnonzero(stay)


def pruned(fits: InnerFits, pace: Pace, watch: Watch = unwatched) -> tuple[IntArray, Solution, FloatArray]:
    """Prune all usable records to ``budget.keep``.

    Returns the support, the fit on it, and the score of each of the n records: its contribution in the
    fit of all (``-inf`` where it was never in play).
    """
    budget, system = fits.budget, fits.budget.system
    support = np.flatnonzero(usable_records(budget)).astype(np.int64)
    watch(Progress("select", 0, 0.0, None, None, support.size, 0.0))
    if budget.warm is not None and budget.warm.u is not None:
        start = Start(budget.warm.u[support], budget.warm.y, budget.warm.mass_dual)
        solution = fits.free(support, start, pace.first if budget.nested else pace.step.each)
    else:
        start = Start(np.minimum(np.ones(support.size), budget.upper(support)), np.zeros(system.targets))
        solution = fits.free(support, start, pace.first)
    scores = np.full(system.records, -np.inf)
    scores[support] = contributions(budget, support, solution.u)
    support, solution = prune_to(fits, support, solution, pace, watch)
    return support, solution, scores


@attrs.frozen
class PruneSelector(Selector):
    """Fit all records; drop the least contributions a few per cent at a time, refitting in between.

    The order is by contribution ``u_j sum_i |a_ij|``, not by weight: a record whose weight is large but
    that few totals need goes before one that many need. Groups go by the mean contribution of their records.
    """

    takes_groups = True

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records.

        Where an effective sample size is wanted, under a row of growing spreads up to the first that (nearly) gives
        it: records chosen under a small price on unequal weights may be hard to make even afterwards. Of all those
        chosen on the way, the ones that then have the least loss are kept.
        """
        deadline = time.perf_counter() + budget.seconds
        pace = Pace.of(budget)
        seen: list[_Choice] = []
        for _ in range(_TRIALS):
            fits = InnerFits(budget, machine, deadline)
            seen.append(_Choice(*pruned(fits, pace, watch)))
            if budget.ess_at_least is None or seen[-1].ess(budget) >= _NEARLY * budget.ess_at_least or fits.late:
                break
            budget = attrs.evolve(budget, spread=_GROWTH * budget.spread)
        if len(seen) == 1:
            best = seen[0]
        elif fits.late:
            best = seen[-2]  # the last was cut short: all at once, by fits that ended at once
        else:
            best = min(seen, key=lambda choice: choice.worth_when_even(fits))
        return Selected(Selection(best.support, budget.system.records, scores=best.scores), best.solution.start())


@attrs.frozen(eq=False)
class _Choice:
    """Records chosen, the fit on them, and the scores of all."""

    support: IntArray
    solution: Solution
    scores: FloatArray

    def ess(self, budget: Budget) -> float:
        """Effective sample size of the fit."""
        return effective_sample_size(self.solution.u * budget.system.reference[self.support])

    def worth_when_even(self, fits: InnerFits) -> tuple[float, float]:
        """The loss with the sample size that is wanted (``inf``: out of reach), then less of one: the least is best."""
        budget = fits.budget
        wanted = budget.ess_at_least
        assert wanted is not None
        start = self.solution.start()

        def fit(spread: float, begin: Start | None) -> Solution:
            priced = attrs.evolve(fits, budget=attrs.evolve(budget, spread=spread))
            return priced.floored(self.support, begin or start, _EVENING)

        try:
            reference = budget.system.reference[self.support]
            even, _ = spread_for_ess(fit, wanted, reference, budget.spread, lambda: fits.late)
        except InputError:
            return float("inf"), -self.ess(budget)
        return budget.price.total(even.residuals), 0.0
