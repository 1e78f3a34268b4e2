"""Coordinate descent beside SciPy's bounded least squares and the interior point, on ugly problems and beyond them."""

from __future__ import annotations

from fractions import Fraction

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_numbers import exact_objective, hostile_numbers
from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.demo import load_demo
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.losses.squared import SquaredLoss
from l0_calibrate.solvers import coordinate_descent
from l0_calibrate.solvers.base import Machine, Start, Stop, Task
from l0_calibrate.solvers.coordinate_descent import CoordinateDescentSolver, DescentIteration
from l0_calibrate.solvers.extrapolation import Extrapolation
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.iteration import Best
from l0_calibrate.system import build_system
from l0_calibrate.watch import Progress
from l0_core import InputError

TIGHT = Stop(tolerance=1e-8, iterations=20_000)


def dense(task: Task) -> np.ndarray:
    c = task.system.columns
    parts = (c.values.astype(float), c.indices.astype(np.int64), c.indptr.astype(np.int64))
    return sp.csc_array(parts, shape=(c.rows, c.count)).toarray()


def smooth_task(seed: int) -> Task:
    """Prices without corners; empty and repeated columns, empty rows, m > n, pinched bounds, tolerances, weights of 0."""
    g = np.random.default_rng(seed)
    m, n = int(g.integers(1, 12)), int(g.integers(1, 15))
    matrix = (g.random((m, n)) < g.choice([0.2, 0.5, 1.0])) * g.choice([1.0, 2.0, -1.0, 0.3], (m, n)) * g.random((m, n))
    if n > 1 and g.random() < 0.3:
        matrix[:, 1] = matrix[:, 0]
    w = g.integers(0, 5, n).astype(float)
    targets = (matrix @ w * g.uniform(0.5, 2, m), g.normal(size=m) * 5, matrix @ w, np.zeros(m))[g.integers(4)]
    counted = g.random(m) < 0.9
    cap = np.where(counted, np.inf if g.random() < 0.5 else g.choice([0.1, 1.0, 5.0], m), 0.0)
    curvature = np.where(counted, g.choice([0.01, 0.3, 2.0], m), 0.0)
    zone = g.choice([0.0, 0.1], m) if g.random() < 0.4 else np.zeros(m)
    lower = np.zeros(n) if g.random() < 0.7 else g.choice([0.0, 0.3, 1.0], n)
    upper = (np.full(n, np.inf), np.full(n, 3.0), lower + g.choice([0.0, 1.0, 10.0, np.inf], n))[g.integers(3)]
    spread = np.zeros(n) if g.random() < 0.4 else g.choice([0.0, 0.01, 1.0], n)
    system = build_system(sp.csr_array(matrix), targets, w)
    return Task(system, RowPrice(cap, zone, curvature), None, lower, upper, spread, float(g.integers(2)))


@pytest.mark.parametrize("block", range(3))
def test_ugly_problems_beside_the_interior_point(block: int) -> None:
    for seed in range(60 * block, 60 * (block + 1)):
        task = smooth_task(seed)
        ours = CoordinateDescentSolver().solve(task, TIGHT)
        other = InteriorPointSolver().solve(task, Stop(tolerance=1e-9))
        assert ((ours.u >= task.lower) & (ours.u <= task.upper)).all(), seed
        # Without any bound a dual that is off by rounding proves nothing: such an end is said to be stalled.
        open_ = (~np.isfinite(task.upper) & (task.spread == 0)).any()
        assert ours.status in ("optimal", "converged", *(("stalled", "budget_spent") if open_ else ())), seed
        recomputed = task.price.total(dense(task) @ ours.u - task.system.b) + task.spread_cost(ours.u)
        assert ours.objective == pytest.approx(recomputed, rel=1e-9, abs=1e-13), seed
        # What the interior point leaves where its targets are met: prices of 1e-7 a target count as none to it.
        slack = 1e-6 * other.objective + 1e-7 * task.system.targets
        assert ours.objective <= other.objective + slack, seed
        assert ours.bound <= min(ours.objective, other.objective) + 1e-13, seed
        assert other.bound <= ours.objective + 1e-13, seed


@pytest.mark.parametrize("seed", [31, 101, 210])
def test_a_pass_over_some_columns_that_moves_nothing_is_not_the_end(seed: int) -> None:
    task = smooth_task(seed)  # without a certificate, nothing but the residual says that there is more to be had
    quiet = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-9, iterations=5_000, certify=False))
    best = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-9, iterations=5_000))
    assert quiet.objective <= best.objective * (1 + 1e-6) + 1e-9


def squared_task(seed: int, m: int, n: int, ratio: float, spread: float) -> Task:
    g = np.random.default_rng(seed)
    matrix = np.abs(g.normal(size=(m, n))) * (g.random((m, n)) < 0.5)
    w = g.uniform(1.0, 3.0, n)
    problem = CalibrationProblem(
        matrix, matrix @ w * g.uniform(0.4, 1.8, m), initial_weights=w, loss_weights=g.choice([0.5, 1.0, 3.0], m)
    )
    price = SquaredLoss().price(problem)
    return Task(problem.system, price, None, np.zeros(n), np.full(n, ratio), np.full(n, spread), 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 20), st.sampled_from([0.5, 1.5, 6.0]),
    st.sampled_from([0.0, 1e-3, 1.0]),
)  # fmt: skip
def test_squared_loss_beside_bounded_least_squares(seed: int, m: int, n: int, ratio: float, spread: float) -> None:
    task = squared_task(seed, m, n, ratio, spread)
    root = np.sqrt(1.0 / task.price.curvature)
    rows = np.vstack((dense(task) * root[:, None], np.sqrt(spread) * np.eye(n)))
    right = np.concatenate((task.system.b * root, np.full(n, np.sqrt(spread))))
    best = so.lsq_linear(rows, right, (0.0, ratio), tol=1e-14, method="bvls").cost
    found = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-7, iterations=20_000))
    assert found.objective == pytest.approx(best, rel=1e-6, abs=1e-10)
    assert found.bound <= best * (1 + 1e-9) + 1e-14
    if best > 1e-8:
        assert found.status == "optimal"
    # Duals are the slopes of the prices at the residuals.
    np.testing.assert_allclose(found.y, found.residuals / task.price.curvature, rtol=1e-9, atol=1e-12)


def hostile_task(seed: int) -> Task:
    """Entries of 1e-9 to 1e12, tiny and huge weights, bounds that pinch or are none, weights of targets of 1e-6 to 1e6."""
    g = np.random.default_rng(seed)
    matrix, targets, w = hostile_numbers(g)
    m, n = matrix.shape
    problem = CalibrationProblem(
        sp.csr_array(matrix), targets, initial_weights=w, loss_weights=g.choice([1e-6, 1.0, 1e6], m)
    )
    loss = SquaredLoss() if g.random() < 0.5 else HuberLoss(delta=float(g.choice([1e-6, 0.05])))
    upper = np.full(n, g.choice([np.inf, 1e15, 10.0, 1.0]))
    lower = np.minimum(upper, 1.0) * g.choice([0.0, 1.0], n)
    spread = g.choice([0.0, 1e-12, 1e-3], n)
    return Task(problem.system, loss.price(problem), None, lower, upper, spread, 1.0)


def test_no_bound_is_above_a_point_however_ugly_the_numbers() -> None:
    finite = 0
    for seed in range(80):
        task = hostile_task(seed)
        found = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-6, iterations=1_500))
        assert np.isfinite(found.u).all(), seed
        assert np.isfinite(found.objective), seed
        assert ((found.u >= task.lower) & (found.u <= task.upper)).all(), seed
        if np.isfinite(found.bound):
            finite += 1
            assert Fraction(found.bound) <= exact_objective(task, found.u), seed
    assert finite > 60


def demo_task(loss: SquaredLoss | HuberLoss, bound: float = 10.0) -> Task:
    problem = load_demo()
    n, m = problem.n_records, problem.n_targets
    return Task(
        problem.system, loss.price(problem), None, np.zeros(n), np.full(n, bound), np.full(n, 3e-5 * m / n), 1.0
    )


@pytest.mark.parametrize("loss", [SquaredLoss(), HuberLoss()], ids=["squared", "huber"])
def test_a_real_problem_beside_the_interior_point(loss: SquaredLoss | HuberLoss) -> None:
    task = demo_task(loss)
    ours = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-3))
    other = InteriorPointSolver().solve(task, Stop(tolerance=1e-5))
    assert ours.status == "optimal"
    assert ours.bound <= other.objective
    assert other.bound <= ours.objective <= other.objective * (1 + 1e-3)


def test_extrapolation_saves_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    task = demo_task(SquaredLoss())
    with_it = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-4))
    monkeypatch.setattr(coordinate_descent, "COMBINED", 10**9)
    without = CoordinateDescentSolver().solve(task, Stop(tolerance=1e-4))
    assert with_it.status == without.status == "optimal"
    assert with_it.iterations < 0.8 * without.iterations


def test_extrapolation_finds_the_limit_of_a_linear_sequence() -> None:
    g = np.random.default_rng(0)
    basis = np.linalg.qr(g.normal(size=(4, 4)))[0]
    step = basis @ np.diag([0.9, 0.8, 0.5, 0.2]) @ basis.T
    limit, point = g.normal(size=4), np.zeros(4)
    sequence = Extrapolation(np.ones(4), 5)
    sequence.restart(point)
    for _ in range(4):
        point = limit + step @ (point - limit)
        assert sequence.add(point) is None
    point = limit + step @ (point - limit)
    ahead = sequence.add(point)
    assert ahead is not None
    assert np.linalg.norm(ahead - limit) < 1e-3 * np.linalg.norm(point - limit)
    sequence.restart(limit)
    assert [sequence.add(limit) for _ in range(5)] == [None] * 5  # nothing moves: nowhere to go


def test_passes_never_raise_the_objective() -> None:
    task = demo_task(HuberLoss())
    fit = Fit.of(task)
    run = DescentIteration(fit, np.ones(task.count), Machine())
    costs = []
    for _ in range(120):
        run.step()
        u, _, product = run.point()
        costs.append(fit.objective(u, product))
    run.close()
    assert (np.diff(costs) <= 1e-12 * costs[0]).all()
    assert costs[-1] < 0.6 * costs[0]


def test_the_best_point_stays_as_it_was_while_the_run_goes_on() -> None:
    task = demo_task(SquaredLoss())
    fit = Fit.of(task)
    run = DescentIteration(fit, np.ones(task.count), Machine())
    best = Best(np.zeros(task.count), np.zeros(fit.targets), np.zeros(fit.targets))
    run.step()
    best.look(run, fit, None)
    before = [array.copy() for array in (best.u, best.y, best.product)]
    run.step()
    moved = [array.copy() for array in run.point()]
    run.close()
    for now, then, later in zip((best.u, best.y, best.product), before, moved, strict=True):
        np.testing.assert_array_equal(now, then)
        assert (later != then).any()


def test_bits_repeat_watching_changes_nothing_and_a_start_at_the_end_ends_at_once() -> None:
    task, stop, events = demo_task(SquaredLoss()), Stop(tolerance=1e-3), list[Progress]()
    solver = CoordinateDescentSolver()
    first = solver.solve(task, stop, machine=Machine(seed=3))
    again = solver.solve(task, stop, machine=Machine(seed=3), watch=events.append)
    assert (first.u == again.u).all()
    assert (first.y == again.y).all()
    assert events[-1].gap == again.gap
    assert (solver.solve(task, stop, machine=Machine(seed=4)).u != first.u).any()
    # A point alone proves less than the best of the bounds on the way to it: ask for less than was reached.
    warm = solver.solve(task, Stop(tolerance=1e-2), Start(first.u))
    assert warm.iterations == 0
    assert warm.status == "optimal"


def test_support_takes_the_named_columns_only() -> None:
    task = demo_task(SquaredLoss())
    support = np.arange(0, task.count, 3)
    part = attrs.evolve(
        task, support=support, lower=task.lower[support], upper=task.upper[support], spread=task.spread[support]
    )
    ours = CoordinateDescentSolver().solve(part, Stop(tolerance=1e-3))
    other = InteriorPointSolver().solve(part, Stop(tolerance=1e-4))
    assert ours.u.shape == support.shape
    assert other.bound <= ours.objective <= other.objective * (1 + 1e-3)


def test_what_it_cannot_take_is_refused_with_what_to_do() -> None:
    solver, task = CoordinateDescentSolver(), demo_task(SquaredLoss())
    assert solver.refusal(task) is None
    assert solver.refusal(demo_task(HuberLoss())) is None
    assert "held" in str(solver.refusal(attrs.evolve(task, mass=1.0)))
    with pytest.raises(InputError, match=r"has a corner .* loss='squared' or 'huber'"):
        calibrate(load_demo(), solver="coordinate_descent")
    with pytest.raises(InputError, match=r"sum of the weights .* solver='primal_dual'"):
        calibrate(load_demo(), solver="coordinate_descent", loss="squared", conserve_mass=True)
    with pytest.raises(InputError, match="backend 'numpy' only"):
        calibrate(load_demo(), solver="coordinate_descent", loss="squared", backend="torch")


def test_targets_that_are_met_already_cost_nothing() -> None:
    problem = load_demo()
    met = CalibrationProblem(
        problem.matrix, problem.matrix @ problem.initial_weights, initial_weights=problem.initial_weights
    )
    result = calibrate(met, solver="coordinate_descent", loss="squared")
    assert result.loss == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(result.weights, met.initial_weights, rtol=1e-3)


@pytest.mark.parametrize("keep", [None, 1, 300])
def test_through_calibrate(keep: int | None) -> None:
    result = calibrate(load_demo(), solver="coordinate_descent", loss="squared", keep=keep, max_weight_ratio=10)
    assert (result.solver, result.status) == ("coordinate_descent", "optimal")
    assert keep is None or result.kept == keep
