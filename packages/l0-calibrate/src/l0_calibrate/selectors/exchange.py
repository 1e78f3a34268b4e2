"""Pruning, then rounds of exchange: many records in at once, pruned back to the budget, kept if it is better."""

from __future__ import annotations

import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.inner import inner
from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.column_gain import column_gains
from l0_calibrate.selectors.fits import InnerFits
from l0_calibrate.selectors.groups import first_groups
from l0_calibrate.selectors.prune import NEAR_TARGETS, Pace, Step, prune_to, pruned
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine, Solution, Start
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import Selection
from l0_core.real_numbers import number
from l0_core.whole_numbers import whole

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SETTLE = 1_500
"""Iterations of the fit before the first round."""
BACK = Pace(80, Step(30, 0.95), sweep=False)
"""The pace of a round: fit with the newcomers, prune back to the budget."""
NEAR, FAR = 100, 40
"""Rounds by default, near the number of targets or below and well above it."""
CLOSE = 200
"""Iterations of the fit that decides a round."""
SHORT_LIST = 1.5
"""Records scored for each that comes in."""
NOISE = 1.0
"""Scale of the Gumbel noise on the logarithm of a score."""
TABU = 4
"""Rounds for which the newcomers of a failed round stay out."""
LARGEST_PART = 3.0
"""Most newcomers of a round, as a part of K: the first rounds take in as many records as there are targets ..."""
LAST_PART = 0.3
"""... and the rounds shrink to this part of that, at a steady rate."""
WARMTH = 0.01
"""By how much of itself the objective may rise in the first round; the allowance falls to none ..."""
COLD = 0.8
"""... at this part of the search."""


SENSITIVE = 5.0
"""Per cent of spread for a per cent of effective sample size; trials had 5 to 10."""
MARGIN = 1.015
"""The search aims that much above what is wanted: a shortfall costs loss to make up, a surplus gives some back."""
LARGEST_MOVE = 1.1
"""Most that one round multiplies the spread by, or divides."""


@attrs.define(eq=False)
class SearchState:
    """Where the search is, the best support it has seen, and what it remembers."""

    fits: InnerFits
    support: IntArray
    solution: Solution
    tabu_until: IntArray
    best_support: IntArray
    best: Solution
    failures: int = 0

    def objective(self, support: IntArray, solution: Solution) -> float:
        """The objective of a fit under the spread of the moment, sum form."""
        budget = self.fits.budget
        return budget.price.total(solution.residuals) + 0.5 * inner(budget.spread_on(support), solution.u**2)

    def steer(self) -> None:
        """Move the spread so that the effective sample size of the search tends to the one that is wanted."""
        budget = self.fits.budget
        if budget.ess_at_least is None or budget.spread == 0.0:
            return
        ess = effective_sample_size(self.solution.u * budget.system.reference[self.support])
        factor = (MARGIN * budget.ess_at_least / max(ess, 1.0)) ** SENSITIVE
        spread = budget.spread * min(max(factor, 1.0 / LARGEST_MOVE), LARGEST_MOVE)
        self.fits = attrs.evolve(self.fits, budget=attrs.evolve(budget, spread=spread))


@attrs.frozen
class _Schedule:
    """How a search cools: from many newcomers and some tolerance of worse outcomes to few and none."""

    most: int
    rounds: int
    until: float
    began: float

    def progress(self, number: int) -> float:
        """How far the search is in round ``number``, by rounds or by the clock, whichever is more; 1 once cold."""
        by_rounds = (number - 1) / self.rounds
        left = self.until - self.began
        by_clock = 0.0 if left == float("inf") else (time.perf_counter() - self.began) / max(left, 1e-9)
        return min(max(by_rounds, by_clock) / COLD, 1.0)

    def newcomers(self, progress: float) -> int:
        """How many records come in."""
        return max(1, int(self.most * LAST_PART**progress))

    def allowance(self, progress: float) -> float:
        """By how much of itself the objective may rise."""
        return WARMTH * (1.0 - progress)


@attrs.frozen
class ExchangeSelector(Selector):
    """`prune`, then a local search by large noisy exchanges. Whenever it ends, the best so far is what it gives.

    A round takes in records that the duals say would lower the objective, refits, prunes back to the budget
    and goes on from the outcome if the objective fell, or rose by less than an allowance that cools to none
    (threshold accepting, Dueck & Scheuer 1990); otherwise it restores the support. The first rounds take in
    as many records as there are targets, the last a third of that.

    Parameters
    ----------
    rounds
        Most rounds; the search cools over them. None is 100, or 40 where K is well above the number of targets
        (there is little left to find there).
    failures
        Rounds in a row that were not accepted and end the search.
    seconds
        Wall-clock seconds for the rounds, ``inf`` for no limit. Where they bind, the search cools over them
        and the result depends on the clock.
    """

    takes_groups = True

    rounds: int | None = attrs.field(default=None, validator=whole(0, optional=True))
    failures: int = attrs.field(default=20, validator=whole(0))
    seconds: float = attrs.field(default=float("inf"), validator=number(0.0, "a number of at least 0", infinite=True))

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        began = time.perf_counter()
        support, solution, scores = pruned(
            InnerFits(budget, machine, began + 0.5 * budget.seconds),
            Pace.before_search(budget),
            watch,
        )
        fits = InnerFits(budget, machine, began + budget.seconds)
        solution = fits.floored(support, solution.start(), SETTLE)
        state = SearchState(fits, support, solution, np.zeros(budget.system.records, np.int64), support, solution)
        usable = usable_records(budget)
        random = np.random.default_rng(machine.seed)
        now = time.perf_counter()
        rounds = self._rounds_for(budget)
        most = min(budget.system.targets, int(LARGEST_PART * budget.keep))
        schedule = _Schedule(most, rounds, min(now + self.seconds, fits.deadline), now)
        for turn in range(1, rounds + 1):
            if state.failures >= self.failures or time.perf_counter() >= schedule.until:
                break
            progress = schedule.progress(turn)
            newcomers = _newcomers(state, usable & (state.tabu_until < turn), schedule.newcomers(progress), random)
            if newcomers.size:
                _exchange(state, newcomers, schedule.allowance(progress), turn)
            elif (state.tabu_until >= turn).any():
                state.failures += 1  # wait until those that failed may be tried again
            else:
                break
            if progress < 1.0:
                state.steer()
            loss = float(np.abs(state.best.residuals).mean())
            elapsed = time.perf_counter() - began
            watch(Progress("exchange", turn, max(turn / rounds, progress * COLD), loss, None, budget.keep, elapsed))
        return Selected(Selection(state.best_support, budget.system.records, scores=scores), state.best.start())

    def _rounds_for(self, budget: Budget) -> int:
        if self.rounds is not None:
            return self.rounds
        return NEAR if budget.keep < NEAR_TARGETS * budget.system.targets else FAR


def _newcomers(state: SearchState, allowed: npt.NDArray[np.bool_], count: int, random: np.random.Generator) -> IntArray:
    """The records to take in: noisy best of a short list by reduced cost, scored by what each alone would gain."""
    fits, solution = state.fits, state.solution
    budget, system = fits.budget, fits.budget.system
    allowed[state.support] = False
    g = fits.gradient(solution)
    candidates = np.flatnonzero(allowed & (g < 0))
    listed = int(SHORT_LIST * count)
    if candidates.size > listed:
        steepness = g[candidates] / np.sqrt(np.maximum(budget.column_sums[candidates], 1e-300))
        candidates = candidates[np.sort(np.argsort(steepness, kind="stable")[:listed])]
    if candidates.size == 0:
        return candidates
    gains = column_gains(
        system.columns,
        candidates,
        solution.residuals,
        budget.price,
        budget.upper(candidates),
        budget.spread_on(state.support, candidates),
        fits.machine.threads,
    )
    scores = np.log(gains + 1e-3 * np.abs(g[candidates])) + random.gumbel(scale=NOISE, size=candidates.size)
    ranked = candidates[np.argsort(-scores, kind="stable")[:count]]
    return np.sort(ranked) if budget.groups is None else first_groups(budget.groups, ranked, count)


def _exchange(state: SearchState, newcomers: IntArray, allowance: float, number: int) -> None:
    """One round: take in, refit, prune back, and go on from the outcome if it is good enough."""
    fits, solution = state.fits, state.solution
    wide = np.concatenate((state.support, newcomers))
    order = np.argsort(wide, kind="stable")
    u = np.concatenate((solution.u, np.zeros(newcomers.size)))[order]
    support = wide[order]
    outcome = fits.free(support, Start(u, solution.y, solution.mass_dual), BACK.first)
    support, outcome = prune_to(fits, support, outcome, BACK)
    outcome = fits.floored(support, outcome.start(), CLOSE)
    objective = state.objective(support, outcome)
    if outcome.status != "infeasible" and objective < state.objective(state.support, solution) * (1.0 + allowance):
        state.support, state.solution, state.failures = support, outcome, 0
        if objective < state.objective(state.best_support, state.best):
            state.best_support, state.best = support, outcome
    else:
        state.tabu_until[newcomers] = number + TABU
        state.failures += 1
