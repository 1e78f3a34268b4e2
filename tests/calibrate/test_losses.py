"""Prices of residuals, the non-convex capped loss, and settings."""

from __future__ import annotations

from itertools import product
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from l0_calibrate.losses import RowPrice
from l0_calibrate.losses.capped import CappedLoss
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.losses.reweighting import MOST_ROUNDS, solve_priced
from l0_calibrate.losses.squared import SquaredLoss
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.solvers import Machine, Solution, Stop, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_core import InputError

finite = st.floats(-5, 5)


@given(finite, st.floats(0.1, 3), st.floats(0, 0.5), st.floats(0, 1))
def test_a_price_is_the_conjugate_of_its_conjugate(r: float, cap: float, zone: float, curvature: float) -> None:
    price = RowPrice(np.array([cap]), np.array([zone]), np.array([curvature]))
    y = np.linspace(-cap, cap, 4_001)
    sup = (y * r - zone * np.abs(y) - curvature * y * y / 2).max()
    # A grid of step h misses a quadratic maximum by at most q h^2 / 2 and a linear one not at all.
    assert price.total(np.array([r])) == pytest.approx(sup, abs=1e-6)


def small(seed: int = 0, tolerances: Any = None) -> CalibrationProblem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (8, 5)) * (random.random((8, 5)) < 0.6)
    t = a @ random.uniform(0.5, 2.0, 5) * random.choice([1.0, 1.0, 1.2, 8.0], 8)
    weights = random.choice([0.5, 1.0, 2.0, 0.0], 8)
    return CalibrationProblem(a, t, loss_weights=weights, tolerances=tolerances)


def test_prices_follow_their_formulas() -> None:
    asked = small(tolerances=np.full(8, 0.02))
    c = asked.loss_weights
    r = np.linspace(-2, 2, 8)
    s = np.maximum(np.abs(r) - 0.02, 0)
    np.testing.assert_allclose(SquaredLoss().price(asked).values(r), c * s**2)
    huber = np.where(s <= 0.3, s**2 / 0.6, s - 0.15)
    np.testing.assert_allclose(HuberLoss(delta=0.3).price(asked).values(r), c * huber)
    np.testing.assert_allclose(CappedLoss().price(asked).values(r), c * s)
    # The tolerance comes off before an error is beyond the level, and a target without weight has none to give up.
    near = np.array([0.31, 0.31, 0.33, 0.33, -0.31, -0.33, -0.33, 0.33])
    given_up = CappedLoss(0.3).abandoned(CappedLoss(0.3).price(asked), near)
    np.testing.assert_array_equal(given_up, (np.abs(near) > 0.32) & (c > 0))


@pytest.mark.parametrize("loss", [HuberLoss, CappedLoss])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_settings_are_checked(loss: Any, value: Any) -> None:
    with pytest.raises(InputError, match="must be a positive number"):
        loss(value)


def test_a_target_that_was_given_up_comes_back_once_it_is_within_reach_and_the_fits_share_the_seconds() -> None:
    asked = CalibrationProblem(np.eye(2), np.ones(2))
    task = capped_task(asked, CappedLoss(0.5))
    ends = [np.array([2.0, 0.1]), np.array([0.1, 0.9]), np.array([0.1, 0.1]), np.array([0.1, 0.1])]
    caps: list[list[float]] = []
    seconds: list[float] = []

    class Scripted(PrimalDualSolver):
        def solve(self, task: Task, stop: Stop, *arguments: Any) -> Solution:
            caps.append(task.price.cap.tolist())
            seconds.append(stop.seconds)
            found = super().solve(task, Stop(iterations=10))
            return attrs.evolve(found, residuals=ends[len(caps) - 1])

    solve_priced(Scripted(), CappedLoss(0.5), task, Stop(seconds=1e3), None, Machine())
    assert caps == [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert seconds[0] == 1e3
    assert (np.diff(seconds) < 0).all()


@pytest.mark.parametrize(("seconds", "fits"), [(0.0, 1), (1e3, MOST_ROUNDS + 1)])
def test_a_sequence_that_ends_before_it_settles_has_spent_its_budget(seconds: float, fits: int) -> None:
    asked = CalibrationProblem(np.eye(2), np.ones(2))
    task = capped_task(asked, CappedLoss(0.5))
    solved: list[Solution] = []

    class Restless(PrimalDualSolver):
        def solve(self, task: Task, *arguments: Any) -> Solution:
            error = 0.0 if len(solved) % 2 else 2.0
            solved.append(attrs.evolve(super().solve(task, Stop()), residuals=np.array([error, 0.0])))
            return solved[-1]

    last = solve_priced(Restless(), CappedLoss(0.5), task, Stop(seconds=seconds), None, Machine())
    assert [solution.status for solution in solved] == ["optimal"] * fits
    assert last.status == "budget_spent"
    assert solve_priced(PrimalDualSolver(), CappedLoss(0.5), task, Stop(), None, Machine()).status == "optimal"


def capped_task(asked: CalibrationProblem, loss: CappedLoss) -> Task:
    n = asked.n_records
    return Task(asked.system, loss.price(asked), None, np.zeros(n), np.full(n, 10.0), np.zeros(n), 1.0)


def capped_cost(price: RowPrice, residuals: np.ndarray, level: float) -> float:
    return float((price.cap * np.minimum(np.abs(residuals), level)).sum())


def capped_optimum(asked: CalibrationProblem, price: RowPrice, level: float) -> float:
    """The best over all choices of abandoned targets, each a linear programme."""
    c = asked.system.columns
    a = sp.csc_array((c.values, c.indices.astype(int), c.indptr.astype(int)), shape=(c.rows, c.count)).toarray()
    m, n = a.shape
    best = np.inf
    for abandoned in product([False, True], repeat=m):
        kept = ~np.array(abandoned)
        cost = np.concatenate((np.zeros(n), np.where(kept, price.cap, 0.0)))
        above = np.vstack((np.hstack((a, -np.eye(m))), np.hstack((-a, -np.eye(m)))))
        b = asked.system.b
        found = so.linprog(cost, above, np.concatenate((b, -b)), bounds=[*[(0, 10)] * n, *[(0, None)] * m])
        best = min(best, found.fun + level * price.cap[~kept].sum())
    return float(best)


def test_capped_fits_never_get_worse_and_come_near_the_best_choice_of_targets() -> None:
    level, ratios = 0.3, []
    loss = CappedLoss(level)
    for seed in range(3):
        asked = small(seed)
        task = capped_task(asked, loss)
        seen: list[Solution] = []

        class Recording(PrimalDualSolver):
            def solve(self, *arguments: Any, _seen: list[Solution] = seen) -> Solution:
                _seen.append(super().solve(*arguments))
                return _seen[-1]

        last = solve_priced(Recording(), loss, task, Stop(tolerance=1e-6, iterations=20_000), None, Machine())
        costs = [capped_cost(task.price, solution.residuals, level) for solution in seen]
        assert (np.diff(costs) <= 1e-5).all()
        assert last is seen[-1]
        abandoned = loss.abandoned(task.price, last.residuals)
        np.testing.assert_array_equal(abandoned, (np.abs(last.residuals) > level) & (task.price.cap > 0))
        best = capped_optimum(asked, task.price, level)
        assert costs[-1] >= best - 1e-6
        ratios.append(costs[-1] / best)
    assert len(seen) > 1
    assert max(ratios) <= 1.5  # a local optimum
