"""What pruning and exchange are worth: against the random baseline, and all subsets where those can be tried.

That every selector keeps exactly K, heeds flags and holds the mass, is in ``tests/contract``.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from l0_calibrate import calibrate
from l0_calibrate.demo import load_demo
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.selectors import Budget, Selector, column_gain
from l0_calibrate.selectors.column_gain import column_gains
from l0_calibrate.selectors.exchange import ExchangeSelector, SearchState, _exchange
from l0_calibrate.selectors.fits import InnerFits, floors, refit_task, support_task
from l0_calibrate.selectors.prune import PruneSelector
from l0_calibrate.selectors.random import RandomSelector
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers import Machine, Solution, Start, Stop
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.testing.optimum import optimum
from l0_core import InputError


def problem(seed: int, m: int = 20, n: int = 150, density: float = 0.3) -> CalibrationProblem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (m, n)) * (random.random((m, n)) < density)
    w0 = random.uniform(0.5, 2.0, n)
    return CalibrationProblem(sp.csr_array(a), (a @ w0) * random.uniform(0.8, 1.2, m), initial_weights=w0)


def budget(asked: CalibrationProblem, keep: int, **fields: Any) -> Budget:
    fields = {"ratio_bound": 5.0, "spread": 0.003} | fields
    return Budget(asked, asked.system, RowPrice.absolute(np.ones(asked.n_targets)), keep, **fields)


def fitted(asked: Budget, selector: Selector, seed: int = 0) -> tuple[np.ndarray, Solution]:
    machine = Machine(seed=seed)
    selected = selector.select(asked, machine)
    task, start = refit_task(asked, selected)
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-6, iterations=4_000), start, machine)
    return selected.selection.indices, solution


def subset_optimum(asked: Budget, support: np.ndarray) -> float:
    """The best objective on a support under the floors, without spread, by HiGHS."""
    task = support_task(asked, support, floors(asked, support))
    return optimum(attrs.evolve(task, spread=np.zeros(support.size))).upper


def test_exchange_ranks_among_the_best_of_all_subsets() -> None:
    ranks = []
    for seed in range(6):
        asked = budget(problem(seed, m=6, n=10, density=0.6), 4, spread=0.0)
        indices, solution = fitted(asked, ExchangeSelector(rounds=200, failures=60))
        every = np.array([subset_optimum(asked, np.array(s)) for s in combinations(range(10), 4)])
        here = subset_optimum(asked, indices)
        assert solution.objective == pytest.approx(here, rel=2e-3, abs=1e-4)
        ranks.append(int((every < here - 1e-9).sum()))
    # A local search: mostly the best or the next of the 210 subsets, and near the top on the rest.
    assert np.median(ranks) <= 1
    assert max(ranks) <= 10


def test_exchange_is_no_worse_than_prune_and_both_far_better_than_random() -> None:
    asked = budget(problem(3, m=40, n=400, density=0.1), 60)
    random, prune, exchange = (
        fitted(asked, selector)[1].objective for selector in (RandomSelector(), PruneSelector(), ExchangeSelector())
    )
    assert exchange <= prune * (1 + 1e-6)
    assert prune < 0.6 * random


def test_scores_are_what_each_record_carries_in_the_fit_of_all() -> None:
    asked = problem(1)
    never = np.arange(150) % 50 == 7
    selected = PruneSelector().select(budget(asked, 147, never_keep=never), Machine())  # nothing to prune
    size = np.abs(asked.matrix.toarray() / np.maximum(np.abs(asked.targets), 1)[:, None]).sum(axis=0)
    assert selected.start is not None
    assert selected.selection.scores is not None
    carried = selected.start.u * (asked.initial_weights * size)[~never]
    np.testing.assert_allclose(selected.selection.scores[~never], carried, rtol=1e-6)
    assert (selected.selection.scores[never] == -np.inf).all()


def test_impossible_budgets_are_refused_with_the_reason() -> None:
    asked = problem(1)
    flags = np.zeros(150, bool)
    flags[7] = True
    for fields, reason in [
        ({"keep": 151}, "above the 150 records"),
        ({"keep": 150, "never_keep": flags}, "above the 149 records"),
        (
            {"keep": 9, "never_keep": flags, "must_keep": np.arange(150) < 8},
            r"1 of the 8 records that must be kept cannot be: 1 ruled out by never_keep \(7\); take them out",
        ),
        (
            {
                "keep": 9,
                "caps": np.where(np.arange(150) < 2, 1.0, np.inf),
                "lower_ratio": 1.0,
                "never_keep": np.arange(150) > 140,
                "must_keep": np.ones(150, bool),
            },
            r"11 of the 150 .*: 9 ruled out by never_keep \(141, 142, 143, 144, 145 and 4 more\), 2 with no weight "
            r"between min_weight_ratio and max_weight \(0, 1\)",
        ),
        ({"keep": 3, "must_keep": np.ones(150, bool)}, "more than keep=3"),
    ]:
        with pytest.raises(InputError, match=reason):
            usable_records(budget(asked, **fields))


def test_a_search_without_seconds_still_has_its_count() -> None:
    asked = budget(problem(5, m=60, n=2_000, density=0.05), 100)
    assert len(ExchangeSelector(seconds=0.0).select(asked, Machine()).selection) == 100


def test_floors_together_leave_half_of_each_target_at_least() -> None:
    """Few totals, met by all: the records with the largest weights are kept, and 5 % of each adds up to all of it."""
    random = np.random.default_rng(1)
    w0, x, flag = random.lognormal(0, 2, 20_000), random.gamma(2, 10, 20_000), random.random(20_000) < 0.3
    rows = np.vstack((x, flag, np.zeros(20_000)))
    rows[2, ::2] = 1.0
    asked = CalibrationProblem(rows, [1.1 * x @ w0, 0.9 * flag @ w0, rows[2] @ w0], initial_weights=w0)
    given = budget(asked, 300, ratio_bound=3.0)
    support = np.sort(np.argsort(-w0)[:300])
    columns = sp.csr_array(asked.matrix)[:, support] * w0[support] / asked.scale[:, None]
    for base, least in ((given, 0.0), (attrs.evolve(given, lower_ratio=0.003), 0.2)):
        floor = floors(base, support)
        assert (floor >= least).all()
        assert (floor > 0).all()
        taken = columns @ (floor - least)
        assert 0.2 < taken.max() <= 0.5 * (1 + 1e-6)
    result = calibrate(asked, keep=300, max_weight_ratio=3.0)
    assert result.kept == 300
    assert result.loss < 1e-3


def test_floors_leave_targets_alone() -> None:
    asked = budget(problem(6), 30, lower_ratio=0.0)
    support = np.arange(0, 150, 5)
    floor = floors(asked, support)
    c = asked.system.columns
    dense = sp.csc_array((c.values, c.indices.astype(int), c.indptr.astype(int)), shape=(c.rows, c.count)).toarray()
    assert (floor > 0).all()
    assert (np.abs(dense[:, support]) * floor).max() <= 0.01 * (1 + 1e-6)
    tight = attrs.evolve(asked, caps=np.full(150, 1e-4))
    np.testing.assert_array_equal(floors(tight, support), 1e-4)
    raised = attrs.evolve(asked, lower_ratio=0.5)
    np.testing.assert_allclose(floors(raised, support), 0.5 * 150 / 30)
    # A sum that is held is not taken up by floors: they add half of what the least weights leave of it at most.
    w0 = asked.system.reference[support]
    for base, least in ((asked, 0.0), (attrs.evolve(asked, lower_ratio=1e-4), 1e-4 * 150 / 30 * w0.sum())):
        plenty = float(floors(base, support) @ w0)
        np.testing.assert_array_equal(floors(attrs.evolve(base, mass=10 * plenty), support), floors(base, support))
        scarce = floors(attrs.evolve(base, mass=0.8 * plenty), support)
        assert float(scarce @ w0) == pytest.approx(0.5 * (least + 0.8 * plenty))
        assert (scarce > 0).all()


@pytest.mark.parametrize(("cap", "curvature"), [(1.0, 0.0), (2.0, 0.1), (np.inf, 0.5)])
@pytest.mark.parametrize("upper", [2.0, np.inf])
def test_gain_of_a_column_equals_a_scalar_minimiser(
    cap: float, curvature: float, upper: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = problem(7, m=15, n=12, density=0.5).system
    random = np.random.default_rng(0)
    residuals = random.standard_normal(15)
    price = RowPrice(np.full(15, cap), np.full(15, 0.05), np.full(15, curvature))
    spread = np.full(12, 0.01)
    gains = column_gains(system.columns, np.arange(12), residuals, price, np.full(12, upper), spread)
    monkeypatch.setattr(column_gain, "_WORTH_A_THREAD", 5)
    shared = column_gains(system.columns, np.arange(12), residuals, price, np.full(12, upper), spread, threads=3)
    np.testing.assert_array_equal(shared, gains)
    c = system.columns
    dense = sp.csc_array((c.values, c.indices.astype(int), c.indptr.astype(int)), shape=(15, 12)).toarray()
    for j, column in enumerate(dense.T.astype(float)):

        def cost(t: float, column: np.ndarray = column) -> float:
            return price.total(residuals + column * t) + 0.005 * t * t

        top = upper if np.isfinite(upper) else 100.0
        best = so.minimize_scalar(cost, bounds=(0, top), method="bounded", options={"xatol": 1e-10})
        assert gains[j] == pytest.approx(max(cost(0.0) - best.fun, 0.0), abs=1e-6)


@pytest.mark.parametrize(("part", "direction"), [(0.5, -1), (1.5, 1), (None, 0)])
def test_exchange_steers_the_spread_towards_the_sample_size_that_is_wanted(part: float | None, direction: int) -> None:
    asked = budget(problem(8), 60)
    support = np.arange(60)
    solution = InnerFits(asked, Machine()).floored(support, Start(), 50)
    ess = effective_sample_size(solution.u * asked.system.reference[support])
    aimed = attrs.evolve(asked, ess_at_least=None if part is None else part * ess)
    state = SearchState(InnerFits(aimed, Machine()), support, solution, np.zeros(150, int), support, solution)
    before = state.objective(support, solution)
    state.steer()
    assert state.fits.budget.spread == pytest.approx(asked.spread * 1.1**direction)
    assert np.sign(state.objective(support, solution) - before) == direction


@pytest.mark.parametrize(
    ("status", "best", "moves", "is_best"),
    [
        ("budget_spent", 1.0, True, True),
        ("budget_spent", 0.0, True, False),  # accepted for the sake of the search: what was better stays the best
        ("infeasible", 1.0, False, False),  # its residuals are those of a point without the mass
    ],
)
def test_the_best_of_a_search_is_replaced_by_better_ones_alone(
    status: str, best: float, moves: bool, is_best: bool
) -> None:
    asked = budget(problem(8), 60)
    support = np.arange(60)

    class Told(InnerFits):
        def floored(self, *arguments: Any) -> Solution:
            found = super().floored(*arguments)
            return attrs.evolve(found, status=status, residuals=0.5 * self.budget.system.b, u=np.zeros(60))

    start = attrs.evolve(
        InnerFits(asked, Machine()).floored(support, Start(), 50), residuals=asked.system.b, u=np.zeros(60)
    )
    known = attrs.evolve(start, residuals=best * asked.system.b)
    state = SearchState(Told(asked, Machine()), support, start, np.zeros(150, int), support, known)
    _exchange(state, np.arange(60, 80), 0.0, 1)
    assert (state.solution is not start) == moves
    assert (state.failures == 0) == moves
    assert (state.best is not known) == is_best
    assert state.best is (state.solution if is_best else known)
    np.testing.assert_array_equal(state.tabu_until[60:80], 0 if moves else 5)


@pytest.mark.parametrize("selector", ["prune", "exchange"])
@pytest.mark.parametrize("part", [0.5, 0.7])
def test_the_spread_found_for_a_sample_size_is_the_least_that_gives_it(selector: str, part: float) -> None:
    asked = problem(9, m=40, n=600, density=0.1)
    wanted = part * 80
    options: dict[str, Any] = {"keep": 80, "max_weight_ratio": 5.0, "selector": selector}
    result = calibrate(asked, ess_at_least=wanted, **options)
    assert result.ess >= wanted
    # The same records with less spread: no longer enough, unless there is next to no spread left to take away.
    kept = result.selection.mask
    less = calibrate(asked, spread=result.spread / 1.3, never_keep=~kept, **options | {"selector": "prune"})
    assert result.spread < 1e-6 or less.ess < wanted * 1.01
    with pytest.raises(InputError, match="cannot be had"):
        calibrate(asked, ess_at_least=81, **options | {"selector": "prune"})


@pytest.mark.parametrize(
    ("keep", "ratio", "more", "of_even"),
    [
        (150, 10.0, 1.2, 0.8),
        (600, 5.0, 1.05, 0.8),
        (600, 5.0, 1.08, 0.8),
        (300, 5.0, 1.08, 1.001),
        (300, 25.0, 1.08, 1.001),
    ],
)
def test_a_wanted_sample_size_decides_which_records_are_chosen(
    keep: int, ratio: float, more: float, of_even: float
) -> None:
    """Never worse than the records that are chosen without it, made even; much better where those are hard to."""
    asked = load_demo()
    options: dict[str, Any] = {"keep": keep, "max_weight_ratio": ratio}
    uneven = calibrate(asked, **options)
    wanted = more * uneven.ess
    chosen_for_it = calibrate(asked, ess_at_least=wanted, **options)
    made_even = calibrate(asked, ess_at_least=wanted, never_keep=~uneven.selection.mask, **options)
    assert min(chosen_for_it.ess, made_even.ess) >= wanted
    assert chosen_for_it.loss <= of_even * made_even.loss


def test_settings_of_exchange_are_checked() -> None:
    for fields in ({"rounds": -1}, {"rounds": 2.5}, {"seconds": -1.0}, {"seconds": float("nan")}, {"failures": True}):
        with pytest.raises(InputError, match=next(iter(fields))):
            ExchangeSelector(**fields)  # type: ignore[arg-type]


def test_a_target_of_no_weight_has_no_say_in_the_choice_of_records() -> None:
    losses = np.zeros((2, 2))
    for seed in range(2):
        g = np.random.default_rng(seed)
        matrix, w = (g.random((20, 300)) < 0.3) * g.gamma(0.7, 1.0, (20, 300)), g.uniform(0.5, 3.0, 300)
        targets, huge = matrix @ w * g.lognormal(0.0, 0.1, 20), g.gamma(0.2, 1e6, (1, 300))  # beside a target of 0
        prices, zero = np.append(np.ones(20), 0.0), np.append(targets, 0.0)
        plain = CalibrationProblem(matrix, targets, initial_weights=w)
        other = CalibrationProblem(np.vstack((matrix, huge)), zero, initial_weights=w, loss_weights=prices)
        for k, asked in enumerate((plain, other)):
            kept = calibrate(asked, keep=15, max_weight_ratio=5, dense_bound=False)
            losses[seed, k] = np.abs(plain.relative_errors(kept.weights)).mean()
    assert losses[:, 1].mean() < 1.2 * losses[:, 0].mean(), losses
