"""Pruning, then rounds of exchange: many records in at once, pruned back to the budget, kept if it is better."""

from __future__ import annotations

import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.column_gain import column_gains
from l0_calibrate.selectors.fits import InnerFits
from l0_calibrate.selectors.prune import QUICK, Pace, prune_to, pruned
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine, Solution, Start
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import InputError, Selection

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SETTLE = 1_500
"""Iterations of the fit before the first round."""
BACK = Pace(first=120, each=60, part=0.95, sweep=False)
"""The pace of a round: fit with the newcomers, prune back to the budget."""
CLOSE = 400
"""Iterations of the fit that decides a round."""
SHORT_LIST = 6
"""Records scored for each that comes in."""
NOISE = 1.0
"""Scale of the Gumbel noise on the logarithm of a score."""
TABU = 4
"""Rounds for which the newcomers of a failed round stay out."""
SHRINK = 0.93
"""Part of the newcomers left after a failed round ..."""
GROW = 1.1
"""... and after one that was better (never more than K)."""


@attrs.define(eq=False)
class _State:
    """The best support so far, and what the search remembers."""

    support: IntArray
    solution: Solution
    share: float
    tabu_until: IntArray
    failures: int = 0


def _rounds(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{attribute.name} must be a whole number of at least 0, got {value!r}")


def _seconds(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InputError(f"{attribute.name} must be a number of at least 0, got {value!r}")


@attrs.frozen
class ExchangeSelector(Selector):
    """`prune`, then a local search by large noisy exchanges. Whenever it ends, the best so far is what it gives.

    A round takes in the records that the duals say would lower the objective most, refits, prunes back to
    the budget and keeps the outcome if the objective fell; otherwise it restores the support.

    Parameters
    ----------
    rounds
        Most rounds.
    failures
        Failed rounds in a row that end the search.
    seconds
        Wall-clock seconds for the rounds, ``inf`` for no limit. Where they bind, the result depends on the clock.
    """

    rounds: int = attrs.field(default=60, validator=_rounds)
    failures: int = attrs.field(default=12, validator=_rounds)
    seconds: float = attrs.field(default=float("inf"), validator=_seconds)

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        began = time.perf_counter()
        support, solution, scores = pruned(InnerFits(budget, machine, began + 0.5 * budget.seconds), QUICK, watch)
        fits = InnerFits(budget, machine, began + budget.seconds)
        solution = fits.floored(support, solution.start(), SETTLE)
        m = budget.system.targets
        state = _State(
            support, solution, 1.0 if budget.keep < 2 * m else 0.5, np.zeros(budget.system.records, np.int64)
        )
        usable = usable_records(budget)
        random = np.random.default_rng(machine.seed)
        until = min(time.perf_counter() + self.seconds, fits.deadline)
        for number in range(1, self.rounds + 1):
            if state.failures >= self.failures or time.perf_counter() >= until:
                break
            newcomers = _newcomers(fits, state, usable, number, random)
            if newcomers.size:
                _exchange(fits, state, newcomers, number)
            elif (state.tabu_until >= number).any():
                state.failures += 1  # wait until those that failed may be tried again
            else:
                break
            loss = float(np.abs(state.solution.residuals).mean())
            elapsed = time.perf_counter() - began
            watch(Progress("exchange", number, number / self.rounds, loss, None, budget.keep, elapsed))
        return Selected(Selection(state.support, budget.system.records, scores=scores), state.solution.start())


def _newcomers(
    fits: InnerFits, state: _State, usable: npt.NDArray[np.bool_], number: int, random: np.random.Generator
) -> IntArray:
    """The records to take in: noisy best of a short list by reduced cost, scored by what each alone would gain."""
    budget, system, solution = fits.budget, fits.budget.system, state.solution
    outside = usable & (state.tabu_until < number)
    outside[state.support] = False
    g = ColumnMap(system.columns).rmatvec(solution.y)
    if budget.mass is not None:
        g += solution.mass_dual * system.reference / budget.mass
    candidates = np.flatnonzero(outside & (g < 0))
    count = max(1, int(state.share * budget.keep))
    if candidates.size > SHORT_LIST * count:
        steepness = g[candidates] / np.sqrt(np.maximum(system.column_sums[candidates], 1e-300))
        candidates = candidates[np.sort(np.argsort(steepness, kind="stable")[: SHORT_LIST * count])]
    if candidates.size == 0:
        return candidates
    gains = column_gains(
        system.columns,
        candidates,
        solution.residuals,
        budget.price,
        budget.upper(candidates),
        budget.spread_on(state.support, candidates),
    )
    scores = np.log(gains + 1e-3 * np.abs(g[candidates])) + random.gumbel(scale=NOISE, size=candidates.size)
    return np.sort(candidates[np.argsort(-scores, kind="stable")[:count]])


def _exchange(fits: InnerFits, state: _State, newcomers: IntArray, number: int) -> None:
    """One round: take in, refit, prune back, and keep the outcome if it is better."""
    solution = state.solution
    wide = np.concatenate((state.support, newcomers))
    order = np.argsort(wide, kind="stable")
    u = np.concatenate((solution.u, np.zeros(newcomers.size)))[order]
    support = wide[order]
    outcome = fits.free(support, Start(u, solution.y, solution.mass_dual), BACK.first)
    support, outcome = prune_to(fits, support, outcome, BACK)
    outcome = fits.floored(support, outcome.start(), CLOSE)
    if outcome.status != "infeasible" and outcome.objective < solution.objective:
        state.support, state.solution, state.failures = support, outcome, 0
        state.share = min(GROW * state.share, 1.0)
    else:
        state.tabu_until[newcomers] = number + TABU
        state.failures += 1
        state.share *= SHRINK
