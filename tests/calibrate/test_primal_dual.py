"""The primal-dual solver and its certificate against linear programmes and other independent solvers."""

from __future__ import annotations

from fractions import Fraction

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l0_calibrate import system as system_module
from l0_calibrate.columns import take_columns
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers import Machine, Start, Stop, Task, certificate, lanes
from l0_calibrate.solvers.certificate import Certificate
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.iteration import Opening, iterate
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.solvers.primal_dual_backend import BackendIteration
from l0_calibrate.solvers.restarts import RestartRule, Travel
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.system import ScaledSystem, build_system
from l0_calibrate.testing.optimum import matrix_of, optimum
from l0_calibrate.threads import Threads
from l0_calibrate.watch import unwatched
from l0_core import InputError

QUICK = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def dense_matrix(system: ScaledSystem) -> np.ndarray:
    c = system.columns
    shape = (c.rows, c.count)
    return sp.csc_array((c.values, c.indices.astype(np.int64), c.indptr.astype(np.int64)), shape=shape).toarray()


@st.composite
def tasks(draw: st.DrawFn, mass: bool = False) -> Task:
    """Small ugly fits: empty and equal columns, negative entries, pinched bounds, weights, tolerances, m > n."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, n = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    a = random.choice([0.0, 0.0, 1.0, 2.0, 0.3, 7.0, -1.5 if draw(st.booleans()) else 4.0], (m, n))
    if draw(st.booleans()) and n > 1:
        a[:, 0] = a[:, 1]
    w0 = random.choice([1.0, 2.0, 30.0] if mass else [0.0, 1.0, 2.0, 30.0], n)
    t = a @ (w0 * random.uniform(0, 2, n)) * random.choice([1.0, 1.0, 0.0, -1.0, 3.0], m)
    system = build_system(sp.csr_array(a), t, w0)
    lower = random.choice([0.0, 0.0, 0.5], n)
    kind = draw(st.sampled_from(["open", "boxed", "pinched", "in name only"]))
    upper = {
        "open": np.full(n, np.inf),
        "boxed": np.full(n, 3.0),
        "pinched": lower + random.choice([0.0, 1.0], n),
        "in name only": random.choice([3.0, 2e3, 1e6], n),
    }[kind]
    weights = random.choice([1.0, 0.5, 3.0, 0.0], m)
    zone = random.choice([0.0, 0.1], m) if draw(st.booleans()) else np.zeros(m)
    total = None
    if mass:
        room = np.where(np.isfinite(upper), upper, lower + 2.0)
        total = float(w0 @ (lower + random.uniform(0.1, 0.9) * (room - lower)))
        if total <= 0 or not (upper > lower).any():
            total = float(w0 @ lower) or None
    return Task(system, RowPrice(weights, zone, np.zeros(m)), None, lower, upper, np.zeros(n), 1.0, total)


def check_against_optimum(task: Task) -> None:
    best = optimum(task).upper
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-5, iterations=20_000))
    # HiGHS meets its rows to 1e-7, each at the price of its cap; a bound above that is a wrong bound.
    assert solution.bound <= best + 1e-7 * (float(task.price.cap.sum()) + best)
    assert solution.objective >= best - 1e-7 * (1 + best)
    assert solution.objective <= best + 2e-3 * (1 + best)
    assert (solution.u >= task.lower).all()
    assert (solution.u <= task.upper).all()
    if solution.status == "optimal" and best > 1e-6:
        assert solution.objective <= best * (1 + 1.1e-5) + 1e-7


@QUICK
@given(tasks())
def test_small_problems_reach_the_optimum_and_never_claim_a_bound_above_it(task: Task) -> None:
    check_against_optimum(task)


@QUICK
@given(tasks(mass=True))
def test_the_mass_is_held_exactly_and_its_bound_is_valid(task: Task) -> None:
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-4, iterations=8_000))
    best = optimum(task).upper
    assert solution.bound <= best + 1e-7 * (1 + best)
    assert solution.objective >= best - 1e-7 * (1 + best)
    if task.mass is not None:
        assert float(solution.u @ task.system.reference) == pytest.approx(task.mass, rel=1e-12)
    assert (solution.u >= task.lower).all()
    assert (solution.u <= task.upper).all()


@QUICK
@given(tasks(), st.integers(0, 2**32 - 1), st.floats(0, 5))
def test_any_dual_point_gives_a_valid_bound(task: Task, seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    y = np.clip(size * random.standard_normal(task.system.targets), -task.price.cap, task.price.cap)
    fit = Fit.of(task)
    feasible = np.clip(np.ones(task.count), task.lower, task.upper)
    a = matrix_of(task)
    best = optimum(task).upper
    bound = Certificate(fit).bound(y, a.T @ y, fit.objective(feasible, a @ feasible))
    assert bound <= best + 1e-7 * (1 + best)


def dual_value(
    scaled: np.ndarray,
    system: ScaledSystem,
    y: np.ndarray,
    box: tuple[float, float],
    dual: float = 0.0,
    mass: float = 1.0,
) -> Fraction:
    """The dual function in exact arithmetic, of absolute errors; weights of 1 where a mass is held by ``dual``."""
    held = Fraction(dual) / Fraction(mass)
    value = -Fraction(dual) - sum(Fraction(v) * Fraction(goal) for v, goal in zip(y, system.b, strict=True))
    for column in scaled.T:
        terms = (Fraction(v) * Fraction(a) / Fraction(t) for v, a, t in zip(y, column, system.scale, strict=True))
        slope = held + sum(terms)
        value += min(slope * Fraction(end) for end in box if np.isfinite(end))
    return value


@pytest.mark.parametrize(
    ("box", "held"),
    [
        *(((0.0, 2.0), False), ((0.5, 2.0), False), ((-2.0, 0.0), False), ((-1.0, 3.0), False), ((-3.0, -1.0), False)),
        *(((0.5, 2.0), True), ((0.5, np.inf), True)),
    ],
    ids=str,
)
def test_the_bound_at_a_dual_point_is_its_value_for_the_true_entries_and_no_more(
    box: tuple[float, float], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", 0)  # stored in float32
    random = np.random.default_rng(0)
    for _ in range(20):
        m, n = 5, 8
        # With a mass, entries that float32 holds: what its row of the mass loses is then all that is lost.
        a, w0 = random.uniform(0.5, 2.0, (m, n)), random.uniform(1.0, 2.0, n)
        a, w0 = (np.round(a), np.ones(n)) if held else (a * random.choice([1.0, -1.0], (m, n)), w0)
        system = build_system(sp.csr_array(a), random.choice([1.0, 2.0, 8.0], m), w0)
        assert system.columns.values.dtype == np.float32
        mass = float(random.uniform(9.0, 15.0)) if held else None
        ends = (np.full(n, end) for end in box)
        task = Task(system, RowPrice.absolute(np.ones(m)), None, *ends, np.zeros(n), 1.0, mass)
        y = random.uniform(-1.0, 1.0, m)
        dual = float(random.uniform(900.0, 990.0)) if held else 0.0
        value = dual_value(a * w0, system, y, box) if mass is None else dual_value(a, system, y, box, dual, mass)
        fit = Fit.of(task)
        y = np.append(y, dual) if held else y
        bound = Certificate(fit).bound(y, ColumnMap(fit.columns).rmatvec(y), np.inf)
        assert Fraction(bound) <= value
        assert bound == pytest.approx(float(value), abs=1e-5)


def test_a_bound_allows_for_the_rounding_of_slopes_that_cancel() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        half = random.uniform(0.5, 2.0, (4, 8))
        a = np.vstack((half, half * (1.0 + 1e-14 * random.standard_normal(half.shape))))
        system = build_system(sp.csr_array(a), np.ones(8), np.ones(8))
        v, box = random.uniform(0.1, 1.0, 4), (0.0, 1e3)
        y = np.concatenate((v, -v))
        task = boxed(system, RowPrice.absolute(np.ones(8)), upper=box[1])
        bound = Certificate(Fit.of(task)).bound(y, ColumnMap(system.columns).rmatvec(y), np.inf)
        assert Fraction(bound) <= dual_value(a, system, y, box)


def test_a_bound_does_not_profit_from_a_slope_that_rounding_made_positive() -> None:
    random, above = np.random.default_rng(0), 0
    for _ in range(400):
        part, pair = 2.0 ** random.uniform(-17, -3), float(random.choice([3, 5, 7, 11]))
        large = random.integers(600, 2**20, 2) * 2.0**10
        a = np.array([[part, 0.0], [large[0], -large[0] * pair], [large[1], -large[1] * pair]])
        u = pair * np.floor(1.0 / part / pair) * np.array([1.0, 1.0 / pair])  # meets all three targets, and exactly
        system = build_system(sp.csr_array(a), np.array([part * u[0], 0.0, 0.0]), np.ones(2))
        fit = Fit.of(boxed(system, RowPrice.absolute(np.ones(3)), upper=float(2.0 * u[0])))
        one = float(random.uniform(0.1, 0.5))
        y = np.array([-1.1e-16 * random.uniform(0.05, 0.9) * large[0] / part, one, -one * large[0] / large[1]])
        y = np.clip(y, -1.0, 1.0)
        g = ColumnMap(fit.columns).rmatvec(y)
        above += bool((g >= 0.0).all())
        for best in (np.inf, 1e-9):
            assert Certificate(fit).bound(y, g, best) <= 0.0
    assert above > 3  # slopes of which one is negative in truth: the value at those that were computed is above 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("entries", [0, 50_000], ids=["float32", "float64"])
def test_duals_are_moved_as_far_as_open_ratios_need_and_no_further(
    sign: float, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", entries)
    random = np.random.default_rng(0)
    m, n = 4, 24
    a = random.uniform(0.5, 2.0, (m, n)) * (np.arange(n) % m == np.arange(m)[:, None])  # a column has one row
    system = build_system(sp.csr_array(sign * a), sign * 3.0 * a.sum(axis=1), np.ones(n))
    fit = Fit.of(boxed(system, RowPrice.absolute(np.ones(m)), upper=np.inf))
    y = -sign * random.uniform(0.1, 0.9, m)
    bound = Certificate(fit).bound(y, ColumnMap(fit.columns).rmatvec(y), np.inf)
    assert -1e-5 <= bound <= 0.0  # all targets can be met: duals of 0 are the best


def mixed_rows(seed: int) -> ScaledSystem:
    """Rows of both signs in every column, in conflict with each other: targets twice, with other values."""
    random = np.random.default_rng(seed)
    half = random.gamma(1.0, 1.0, (10, 60)) * np.where(random.random((10, 60)) < 0.2, -1.0, 1.0)
    a = np.vstack((half, half))
    return build_system(sp.csr_array(a), a.sum(axis=1) * random.uniform(0.7, 1.4, 20), np.ones(60))


@pytest.mark.parametrize("curvature", [0.0, 0.5], ids=["absolute", "squared"])
@pytest.mark.parametrize(
    ("upper", "entries"), [(np.inf, 0), (np.inf, 50_000), (1e9, 0)], ids=["float32", "float64", "in name only"]
)
def test_open_ratios_in_rows_of_both_signs_have_a_bound(
    upper: float, entries: int, curvature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row bounds a ratio, and at the optimum's own duals rounding leaves the sign of many a slope open."""
    monkeypatch.setattr(system_module, "_WHOLE", entries)
    for seed in (0, 1, 3):
        system = mixed_rows(seed)
        cap = np.linspace(0.5, 1.5, 20) if curvature == 0.0 else np.full(20, np.inf)
        task = boxed(system, RowPrice(cap, np.zeros(20), np.full(20, curvature)), upper=upper)
        solution = InteriorPointSolver().solve(task, Stop(tolerance=0.0))
        best = optimum(task)
        g = ColumnMap(system.columns).rmatvec(solution.y)
        bound = Certificate(Fit.of(task)).bound(solution.y, g, solution.objective)
        assert 0.999 * best.upper <= bound <= best.upper * (1 + 1e-6)
        quick = PrimalDualSolver().solve(task, Stop(tolerance=1e-2, iterations=20_000))
        assert quick.status == "optimal"


def test_open_ratios_that_can_grow_for_nothing_have_none() -> None:
    """Two columns that cancel: no duals give both a slope above 0."""
    system = build_system(sp.csr_array([[1.0, -1.0], [0.5, -0.5]]), np.array([3.0, 3.0]), np.ones(2))
    task = boxed(system, RowPrice.absolute(np.ones(2)), upper=np.inf)
    y = np.array([-0.3, 0.1])
    assert Certificate(Fit.of(task)).bound(y, ColumnMap(system.columns).rmatvec(y), 1.0) == -np.inf


@pytest.mark.parametrize(
    ("goal", "zone", "upper", "duals"),
    [(1.0, 0.0, 1e-9, (0.1, 1.0)), (1e-6, 1e6, 1e-9, (0.1, 1.0)), (1e-9, 0.0, 1e3, (-1.0, -1.0))],
    ids=["targets", "zones", "ratios"],
)
def test_a_bound_allows_for_the_rounding_of_each_of_its_parts(
    goal: float, zone: float, upper: float, duals: tuple[float, float]
) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        a, y = random.uniform(0.5, 2.0, (20, 30)), random.uniform(*duals, 20)
        system = build_system(sp.csr_array(a), goal * random.uniform(0.5, 1.0, 20), np.ones(30))
        zones = zone * random.uniform(0.5, 1.0, 20)
        fit = Fit.of(boxed(system, RowPrice(np.ones(20), zones, np.zeros(20)), upper=upper))
        value = dual_value(a, system, y, (0.0, upper))
        value -= sum(Fraction(v) * Fraction(abs(d)) for v, d in zip(zones, y, strict=True))
        bound = Certificate(fit).bound(y, ColumnMap(fit.columns).rmatvec(y), np.inf)
        assert Fraction(bound) <= value
        assert bound == pytest.approx(float(value), rel=1e-12)


def test_bounds_of_least_squares_without_caps_are_below_the_optimum_and_reach_it_at_its_duals() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        a = random.uniform(0.5, 2.0, (6, 4))
        system = build_system(sp.csr_array(a), random.uniform(1.0, 9.0, 6), np.ones(4))
        fit = Fit.of(boxed(system, RowPrice(np.full(6, np.inf), np.zeros(6), np.ones(6)), upper=np.inf))
        scaled = dense_matrix(system).astype(float)
        u, miss = so.nnls(scaled, system.b)
        optimum, duals = 0.5 * miss**2, scaled @ u - system.b
        for y in (duals, duals + 0.1 * random.standard_normal(6), duals - 1.0):
            bound = Certificate(fit).bound(y, scaled.T @ y, optimum)
            assert bound <= optimum * (1 + 1e-12) + 1e-14
            if y is duals:
                assert bound == pytest.approx(optimum, rel=1e-6, abs=1e-9)


def test_a_bound_is_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "_STRETCH", 16)
    task = boxed(random_system(1, 40, 600), RowPrice.absolute(np.ones(40)), upper=3.0)
    fit, y = Fit.of(task), np.linspace(-1.0, 1.0, 40)
    gradient = matrix_of(task).T @ y
    alone = Certificate(fit).bound(y, gradient, np.inf)
    with Threads(3) as workers:
        assert Certificate(fit, workers).bound(y, gradient, np.inf) == alone
    assert np.isfinite(alone)


@pytest.mark.parametrize("entries", [0, 50_000], ids=["float32", "float64"])
def test_no_point_as_good_as_the_best_known_goes_beyond_the_reach_of_a_ratio(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", entries)
    random = np.random.default_rng(0)
    tight = 0
    for _ in range(60):
        m, n = 4, 3
        a = random.choice([0.0, 1.0, 2.0, -1.0], (m, n), p=[0.3, 0.4, 0.2, 0.1])
        system = build_system(sp.csr_array(a), a @ random.uniform(0, 2, n) * random.choice([1.0, 2.0], m), np.ones(n))
        price = RowPrice(random.choice([0.5, 1.0], m), random.choice([0.0, 0.1], m), np.zeros(m))
        lower = random.choice([0.0, 0.0, 0.0, -1.0], n)
        fit = Fit.of(Task(system, price, None, lower, np.full(n, np.inf), np.zeros(n), 1.0))
        scaled = dense_matrix(system).astype(float)
        best = fit.objective(np.ones(n), scaled.sum(axis=1))
        reach = Certificate(fit)._reach(np.arange(n), best)
        slack = -np.eye(m)
        rows = np.vstack(
            (np.hstack((scaled, slack)), np.hstack((-scaled, slack)), np.concatenate((np.zeros(n), price.cap))[None])
        )
        right = np.concatenate((system.b + price.dead_zone, price.dead_zone - system.b, [best]))
        for j in np.flatnonzero(np.isfinite(reach)):
            found = so.linprog(-np.eye(n + m)[j], rows, right, bounds=[(low, None) for low in (*lower, *np.zeros(m))])
            assert -found.fun <= reach[j] * (1 + 1e-7)
            tight += -found.fun >= 0.9 * reach[j]
    assert tight > 0


@pytest.mark.parametrize("best", [0.0, 0.01, 0.3, 5.0])
def test_the_largest_residual_of_a_row_costs_all_of_the_best_objective_known(best: float) -> None:
    cap, zone, bend = (
        np.array([1.0, 0.5, 2.0, 2.0, np.inf]),
        np.array([0, 0.1, 0, 0.2, 0.1]),
        np.array([0, 0, 0.1, 1, 2]),
    )
    r = certificate.largest_residual(RowPrice(cap, zone, bend), best)
    y = np.linspace(0.0, np.where(np.isfinite(cap), cap, 10.0), 20_001)
    np.testing.assert_allclose((y * (r - zone) - bend * y * y / 2).max(axis=0), best, rtol=1e-6)
    free = RowPrice(np.array([0.0, np.inf]), np.array([0.0, 0.1]), np.zeros(2))  # a row that costs nothing; a hard one
    np.testing.assert_array_equal(certificate.largest_residual(free, best), [np.inf, 0.1])


@pytest.mark.parametrize(
    ("primal", "dual", "expected"),
    [
        (Travel(1.0, 5.0), Travel(4.0, 5.0), 4.0**0.3 * 0.25**0.7),  # that part of the way, on the log scale
        (Travel(1.0, 5.0), Travel(0.0, 5.0), 16.0),  # the duals rest at their caps: longer primal steps
        (Travel(0.0, 0.0), Travel(1.0, 5.0), 1.0),  # the ratios rest at their bounds: longer dual steps
        (Travel(1e-14, 5.0), Travel(1.0, 5.0), 1.0),  # a travel of the size of rounding is none
        (Travel(0.0, 5.0), Travel(0.0, 5.0), 4.0),
    ],
)
def test_the_primal_weight_follows_the_travels(primal: Travel, dual: Travel, expected: float) -> None:
    rule = RestartRule(4.0)
    rule.restart(primal, dual)
    assert rule.omega == pytest.approx(expected)


def random_system(seed: int, m: int = 30, n: int = 200, density: float = 0.2) -> ScaledSystem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (m, n)) * (random.random((m, n)) < density)
    w0 = random.uniform(0.5, 2.0, n)
    return build_system(sp.csr_array(a), (a @ w0) * random.uniform(0.6, 1.5, m), w0)


def boxed(system: ScaledSystem, price: RowPrice, upper: float = 4.0, kappa: float = 0.0) -> Task:
    n = system.records
    return Task(system, price, None, np.zeros(n), np.full(n, upper), np.full(n, kappa), 1.0)


def test_squared_loss_with_spread_equals_bounded_least_squares() -> None:
    system = random_system(1)
    m, n = system.targets, system.records
    kappa = 0.01
    price = RowPrice(np.full(m, np.inf), np.zeros(m), np.full(m, 0.5))
    solution = PrimalDualSolver().solve(boxed(system, price, kappa=kappa), Stop(tolerance=1e-7))
    stacked = np.vstack((np.sqrt(2.0) * dense_matrix(system), np.sqrt(kappa) * np.eye(n)))
    right = np.concatenate((np.sqrt(2.0) * system.b, np.full(n, np.sqrt(kappa))))
    exact = so.lsq_linear(stacked, right, (0.0, 4.0), tol=1e-13)
    assert solution.status == "optimal"
    assert solution.objective == pytest.approx(exact.cost, rel=2e-7)
    np.testing.assert_allclose(solution.u, exact.x, atol=2e-3)


def test_huber_loss_equals_a_quasi_newton_method() -> None:
    system = random_system(2, m=60, n=40)
    m, n = system.targets, system.records
    delta, kappa = 0.05, 0.02
    task = boxed(system, RowPrice(np.ones(m), np.zeros(m), np.full(m, delta)), kappa=kappa)
    a = dense_matrix(system).astype(float)

    def cost(u: np.ndarray) -> tuple[float, np.ndarray]:
        r = a @ u - system.b
        inner = np.abs(r) <= delta
        value = np.where(inner, r * r / (2 * delta), np.abs(r) - delta / 2).sum() + kappa / 2 * ((u - 1) ** 2).sum()
        return value, a.T @ np.clip(r / delta, -1, 1) + kappa * (u - 1)

    options = {"maxiter": 5_000, "ftol": 1e-15, "gtol": 1e-10}
    exact = so.minimize(cost, np.ones(n), jac=True, bounds=[(0, 4)] * n, method="L-BFGS-B", options=options)
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-6))
    assert solution.status == "optimal"
    assert solution.objective == pytest.approx(exact.fun, rel=2e-6)


def test_a_support_gives_what_its_columns_alone_give() -> None:
    system = random_system(3)
    support = np.flatnonzero(np.random.default_rng(0).random(system.records) < 0.4)
    columns, row_sums = take_columns(system.columns, support)
    a = dense_matrix(system)[:, support]
    np.testing.assert_allclose(row_sums, np.abs(a.astype(float)).sum(axis=1), rtol=1e-14)
    k = support.size
    alone = ScaledSystem(
        columns,
        system.b,
        system.scale,
        system.reference[support],
        row_sums,
        system.column_sums[support],
        system.rounding[support],
    )
    price = RowPrice.absolute(np.ones(system.targets))
    on_support = Task(system, price, support, np.zeros(k), np.full(k, 9.0), np.zeros(k), 0.0)
    whole = attrs.evolve(on_support, system=alone, support=None)
    one, two = (PrimalDualSolver().solve(task, Stop(iterations=300)) for task in (on_support, whole))
    np.testing.assert_array_equal(one.u, two.u)


def test_same_bits_again_watched_or_not_and_for_equal_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    system = random_system(4, m=300, n=200, density=0.1)
    task = boxed(system, RowPrice.absolute(np.ones(system.targets)))
    stop = Stop(tolerance=0.0, iterations=400)
    events = []
    first = PrimalDualSolver().solve(task, stop)
    watched = PrimalDualSolver().solve(task, stop, watch=events.append)
    assert len(events) == 10
    assert events[-1].iteration == 400
    np.testing.assert_array_equal(first.u, watched.u)
    np.testing.assert_array_equal(first.y, watched.y)
    monkeypatch.setattr(lanes, "WORTH", 1)  # or so small a matrix would not be split
    for threads in (2, 3):
        assert ColumnMap(system.columns, Threads(threads)).threads == threads
        pair = [PrimalDualSolver().solve(task, stop, machine=Machine(threads=threads)) for _ in range(2)]
        np.testing.assert_array_equal(pair[0].u, pair[1].u)
        # Sums are added in another order: the same iteration to rounding that 400 steps have carried along.
        np.testing.assert_allclose(pair[0].u, first.u, atol=1e-6)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("curvature", [0.0, 0.3])
def test_backends_walk_the_same_path(name: str, curvature: float) -> None:
    if name == "torch":
        pytest.importorskip("l0_torch")
    system = random_system(5)
    m = system.targets
    price = RowPrice(np.linspace(0.5, 2.0, m), np.full(m, 0.02), np.full(m, curvature))
    task = attrs.evolve(boxed(system, price, kappa=0.01), mass=float(system.reference.sum()))
    fit = Fit.of(task)
    stop = Stop(tolerance=0.0, iterations=200)
    fused = PrimalDualSolver().solve(task, stop)
    run = BackendIteration(fit, Opening.of(fit, None), name)
    other = iterate(run, fit, stop, unwatched, 0.0)
    # Products are summed in another order; 200 iterations carry that along.
    np.testing.assert_allclose(other.u, fused.u, atol=1e-8)
    np.testing.assert_allclose(other.y, fused.y, atol=1e-7)
    assert other.bound == pytest.approx(fused.bound, rel=1e-8)
    if name != "numpy":
        np.testing.assert_array_equal(PrimalDualSolver().solve(task, stop, machine=Machine(backend=name)).u, other.u)


@pytest.mark.parametrize("part", [None, 0.7])
def test_a_warm_start_at_the_answer_is_confirmed_at_once(part: float | None) -> None:
    system = random_system(6)
    task = boxed(system, RowPrice.absolute(np.ones(system.targets)), kappa=0.05)
    task = attrs.evolve(task, mass=None if part is None else part * float(system.reference.sum()))
    cold = PrimalDualSolver().solve(task, Stop(tolerance=1e-4))
    assert (cold.mass_dual == 0.0) == (part is None)
    warm = PrimalDualSolver().solve(task, Stop(tolerance=1e-3), Start(cold.u, cold.y, cold.mass_dual))
    assert cold.status == warm.status == "optimal"
    assert warm.iterations == 0
    np.testing.assert_allclose(warm.u, cold.u, rtol=0.0 if part is None else 1e-12)


def ugly(a: list[list[float]], t: list[float], w0: list[float], upper: float = np.inf) -> Task:
    system = build_system(sp.csr_array(np.array(a)), np.array(t), np.array(w0))
    n, m = system.records, system.targets
    price = RowPrice.absolute(np.ones(m))
    return Task(system, price, None, np.zeros(n), np.full(n, upper), np.zeros(n), 1.0)


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        (ugly([[1, 1]], [-4], [1, 1]), 1.0),  # a target below all reach
        (ugly([[1, -1]], [-4], [1, 1]), 0.0),  # negative entries reach it
        (ugly([[1e-9, 1e-9]], [1], [1, 1], upper=10.0), 1.0),  # an entry far below its target
        (ugly([[1e12, 1.0], [0, 1.0]], [1e12, 1.0], [1, 1]), 1e-12),
    ],
)
def test_ugly_problems_have_an_answer(task: Task, loss: float) -> None:
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-3, iterations=5_000))
    assert np.isfinite(solution.u).all()
    assert np.isfinite(solution.y).all()
    assert solution.objective == pytest.approx(loss, abs=2e-3)
    assert solution.status in ("optimal", "converged")
    assert solution.gap is not None


def test_a_mass_at_the_end_of_its_reach_is_held() -> None:
    task = attrs.evolve(ugly([[1, 1]], [4], [1, 1], upper=2.0), mass=4.0)
    assert PrimalDualSolver().solve(task, Stop()).status == "optimal"


def test_seconds_bind_and_leave_a_valid_point() -> None:
    system = random_system(7, m=60, n=800)
    task = boxed(system, RowPrice.absolute(np.ones(system.targets)), upper=np.inf)
    solution = PrimalDualSolver().solve(task, Stop(tolerance=0.0, seconds=0.0))
    assert solution.status == "budget_spent"
    assert solution.iterations == 1
    assert np.isfinite(solution.objective)


def test_hard_rows_are_refused_by_name() -> None:
    task = ugly([[1, 1]], [4], [1, 1])
    hard = attrs.evolve(task, price=RowPrice(np.array([np.inf]), np.zeros(1), np.zeros(1)))
    assert "hard constraint" in str(PrimalDualSolver().refusal(hard))
    assert PrimalDualSolver().refusal(task) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_system_is_scaled_and_transposed(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype is np.float32:
        monkeypatch.setattr(system_module, "_WHOLE", 0)  # or so small a matrix would be kept whole
    random = np.random.default_rng(0)
    a = random.standard_normal((7, 11)) * (random.random((7, 11)) < 0.5)
    t, w0 = np.array([100.0, -50.0, 0.0, 0.5, 3.0, -2.0, 1.0]), random.choice([0.0, 1.5, 20.0], 11)
    system = build_system(sp.csr_array(a), t, w0)
    expected = a / np.maximum(np.abs(t), 1)[:, None] * w0
    close = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(dense_matrix(system), expected, rtol=close)
    np.testing.assert_allclose(system.row_sums, np.abs(expected).sum(axis=1), rtol=close)
    np.testing.assert_allclose(system.column_sums, np.abs(expected).sum(axis=0), rtol=close)
    assert system.columns.values.dtype == dtype
    lost = np.abs(dense_matrix(system).astype(np.float64) - expected).sum(axis=0)
    np.testing.assert_allclose(system.rounding, lost, rtol=1e-6, atol=1e-15)


def test_entries_whose_sums_cancel_keep_all_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", 0)
    losses = np.array([[3.0, 1.0, 2.0], [1e5, -9e4, 2e3]])
    for target, dtype in ((1e6, np.float32), (1.0, np.float64)):  # sums of 1e5 against 1e6, and against 1
        system = build_system(sp.csr_array(losses), np.array([4.0, target]), np.ones(3))
        assert system.columns.values.dtype == dtype


def test_entries_that_float32_cannot_hold_are_refused_with_their_row() -> None:
    with pytest.raises(InputError, match="target 1 "):
        build_system(sp.csr_array(np.array([[1.0, 1.0], [1e35, 1.0]])), np.ones(2), np.ones(2))
