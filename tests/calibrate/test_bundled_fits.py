"""Fits on columns in bundles: the same matrix, the same iteration, and bounds that count what bundles lose."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.bundles.packed import BundleRoom, Packed, kept, pack
from l0_calibrate.columns import Columns
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers import Machine, Stop, Task, fit, lanes
from l0_calibrate.solvers.bundled_columns import BundledColumns
from l0_calibrate.solvers.certificate import Certificate
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.fused import FusedIteration
from l0_calibrate.solvers.iteration import Opening
from l0_calibrate.solvers.kernels import Dual, Primal, Products, Rows, Terms
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.solvers.restarts import next_weight
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.solvers.stretch import Pace, Sides
from l0_calibrate.system import ScaledSystem, build_system
from l0_calibrate.threads import Threads


@pytest.fixture(autouse=True)
def bundles_in_small_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of the size of a test are swept in bundles too."""
    monkeypatch.setattr(fit, "SMALL", 20_000)


def totals(
    seed: int, records: int, states: int = 4, classes: int = 3, items: int = 6, blur: float = 0.0
) -> sp.csr_array:
    """Amounts of items by nation and state, by all and each class, and two rows like no other; records in any order.

    ``blur`` is by how much, relatively, the entries of a record for one item may differ.
    """
    random = np.random.default_rng(seed)
    amounts = random.standard_exponential((records, items)) * (random.random((records, items)) < 0.6)
    amounts[:, 0] += 0.1  # a total that all have
    places = (np.zeros(records, int), 1 + random.integers(0, states, records))
    kinds = (np.zeros(records, int), 1 + random.integers(0, classes, records))
    rows, columns, values = [], [], []
    for place in places:
        for kind in kinds:
            for item in range(items):
                rows.append((place * (classes + 1) + kind) * items + item)
                columns.append(np.arange(records))
                values.append(amounts[:, item] * (1.0 + blur * random.uniform(-1, 1, records)))
    odd = (1.0 + random.standard_normal((2, records))) * (random.random((2, records)) < 0.3)
    named = sp.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
    return sp.csr_array(sp.vstack((named, odd)))


def system_of(seed: int, records: int, **kwargs: float) -> ScaledSystem:
    matrix, random = totals(seed, records, **kwargs), np.random.default_rng(seed + 1)
    matrix.eliminate_zeros()
    weights = random.uniform(0.5, 2.0, records)
    return build_system(matrix, (matrix @ weights) * random.uniform(0.5, 1.5, matrix.shape[0]), weights)


def packed_of(system: ScaledSystem) -> Packed:
    packed = system.packed()
    assert packed is not None
    return packed


def stored(system: ScaledSystem) -> sp.csc_array:
    c = system.columns
    return sp.csc_array((c.values.astype(float), c.indices.astype(int), c.indptr.astype(int)), shape=(c.rows, c.count))


NO_COLUMNS = Columns(np.zeros(1, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.float32), 0)
"""Where only products are asked for."""


def held_by(bundles: Bundles) -> np.ndarray:
    """The matrix of some bundles, in the order that they give: unit vectors through it, one by one."""
    columns = BundledColumns(bundles, NO_COLUMNS, np.zeros(0))
    return np.array([columns.rmatvec(row) for row in np.eye(bundles.height)])


def task_of(system: ScaledSystem, upper: float = 4.0, kappa: float = 0.0, lower: float = 0.0, **more: object) -> Task:
    n = system.records
    price = RowPrice.absolute(np.ones(system.targets))
    return Task(system, price, None, np.full(n, lower), np.full(n, upper), np.full(n, kappa), 1.0, **more)


@pytest.mark.parametrize(("records", "blur"), [(900, 0.0), (4_000, 0.0), (4_000, 5e-8)])
def test_bundles_are_the_matrix_and_say_what_they_lose(records: int, blur: float) -> None:
    """Few entries are kept in double precision, many in single."""
    system = system_of(0, records, blur=blur)
    packed, a = packed_of(system), stored(system).toarray()
    assert packed.bundles.size < 0.5 * system.columns.nnz
    made = np.zeros_like(a)
    made[:, packed.bundles.order] = held_by(packed.bundles)
    np.testing.assert_allclose(made, a, rtol=1e-6 if records > 1_000 else 1e-14)
    np.testing.assert_allclose(packed.rounding, np.abs(made - a).sum(axis=0), rtol=1e-6, atol=1e-17)


def test_the_order_of_the_records_and_the_threads_change_nothing() -> None:
    matrix, weights = totals(1, 3_000), np.ones(3_000)
    one, three = (build_system(matrix, matrix @ weights + 1.0, weights).packed(threads) for threads in (1, 3))
    for mine, theirs in zip(one.bundles.arrays, three.bundles.arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(one.bundles.order, three.bundles.order)
    by_class = np.argsort(np.diff(sp.csc_array(matrix).indptr), kind="stable")
    sorted_first = build_system(sp.csr_array(matrix[:, by_class]), matrix @ weights + 1.0, weights).packed()
    assert sorted_first.bundles.size == one.bundles.size


def test_a_matrix_without_multiples_is_left_as_it_is() -> None:
    random = np.random.default_rng(2)
    matrix = sp.random_array((60, 3_000), density=0.2, random_state=random, data_sampler=random.standard_exponential)
    weights = np.ones(3_000)
    assert build_system(matrix.tocsr(), matrix @ weights, weights).packed() is None
    nothing = sp.csr_array((5, 40))
    assert pack(build_system(nothing, np.ones(5), np.ones(40)).columns, np.ones(5), 1) is None


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mass", [False, True])
def test_a_step_on_bundles_is_one_on_columns(mass: bool, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    task = task_of(system_of(3, 900), kappa=0.02, mass=900.0 if mass else None)
    plain, random, price = Fit.of(task), np.random.default_rng(4), Fit.of(task).price
    bundles = packed_of(task.system).bundles
    at = bundles.order
    row = (plain.reference / 900.0)[at] if mass else np.zeros(0)
    workers = Threads(threads)
    bundled, columns = BundledColumns(bundles, plain.columns, row, workers), ColumnMap(plain.columns, workers)
    assert bundled.threads == columns.threads == threads
    assert bundled.rows == plain.columns.rows
    u, y = random.uniform(0.0, 4.0, at.size), random.normal(size=plain.columns.rows)
    np.testing.assert_allclose(bundled.matvec(u[at]), columns.matvec(u), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(bundled.rmatvec(y), columns.rmatvec(y)[at], rtol=1e-6, atol=1e-9)
    others, results = random.normal(size=y.size), []
    for product_of, order in ((columns, np.arange(at.size)), (bundled, at)):
        primal = Primal(u[order], 0.5 * u[order], u[order], np.zeros(u.size, dtype=bool))
        step = 0.1 / plain.column_sums
        terms = Terms(plain.lower[order], plain.upper[order], plain.spread[order], 1.0, step[order])
        dual, products = (Dual(*(v.copy() for _ in range(3))) for v in (y, plain.b))
        rows = Rows(plain.b, price.cap, price.dead_zone, price.curvature, 0.1 / plain.row_sums)
        now = Products(*products)
        beside = 2.5 if mass else 1e30  # so large that no travel is more than rounding
        sides = Sides(primal, terms, others, beside, dual, now, rows)
        made, residual, *_ = product_of.stretch(sides, Pace(3, -1.0, 1.3, 0, 0, np.inf, np.inf))
        assert made == 3
        back = np.argsort(order)
        results.append(
            [residual, *(v.copy() for v in (*now, *dual)), *(v[back] for v in (primal.u, primal.u1, primal.held))]
        )
        # A restart goes on from the new point, with the weight that the travels of both sides ask for.
        size = math.sqrt(beside + float((primal.u1**2 / terms.step).sum()))
        length = math.sqrt(float(((primal.u1 - primal.anchor) ** 2 / terms.step).sum()))
        of_rows = [math.sqrt(float((v**2 / rows.step).sum())) for v in (dual.y1 - dual.anchor, dual.y1)]
        weight = product_of.restart(sides, 1.3)
        assert weight == pytest.approx(next_weight(1.3, (length, size), tuple(of_rows)), rel=1e-12)
        for current, anchor, new in (
            (primal.u, primal.anchor, primal.u1),
            (dual.y, dual.anchor, dual.y1),
            (now.current, now.anchor, now.new),
        ):
            np.testing.assert_array_equal(current, new)
            np.testing.assert_array_equal(anchor, new)
    workers.close()
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)


def test_choices_of_columns_follow_one_another_in_the_same_room() -> None:
    system, random = system_of(5, 900), np.random.default_rng(6)
    packed = packed_of(system)
    whole, a = BundledColumns(packed.bundles, system.columns, np.zeros(0)), held_by(packed.bundles)
    for share in (0.5, 0.02, 0.9, 0.0, 1.0):
        chosen = np.flatnonzero(random.random(system.records) < share)
        part = whole.restricted(chosen, np.ones(chosen.size, dtype=bool))
        as_they_are = isinstance(part, ColumnMap)
        assert as_they_are == (share < 0.1)  # the rows of all bundles would be more work than so few columns
        made = np.array([part.rmatvec(row) for row in np.eye(system.targets)])
        np.testing.assert_allclose(made, a[:, chosen], rtol=1e-12)
        assert whole.entries(chosen) == pytest.approx(chosen.size / system.records, abs=0.1)
    support = np.flatnonzero(random.random(system.records) < 0.3)
    on = packed.on(support)
    for threads in (2, 5):
        workers = Threads(threads)
        other = kept(
            packed.bundles, np.sort(np.argsort(packed.bundles.order)[support]), BundleRoom.like(packed.bundles), workers
        )
        workers.close()
        for mine, theirs in zip(other.arrays, on.arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    made = np.zeros((system.targets, support.size))
    made[:, on.order] = held_by(on)
    np.testing.assert_allclose(made, stored(system).toarray()[:, support], rtol=1e-12)


@pytest.mark.parametrize(("lower", "upper"), [(0.0, np.inf), (0.9, 1.1)])
@pytest.mark.parametrize("mass", [None, 1_000.0])
def test_the_iteration_goes_the_same_way_on_bundles(mass: float | None, lower: float, upper: float) -> None:
    task = task_of(system_of(7, 900), upper, lower=lower, mass=mass)
    plain = Fit.of(task)
    bundled = plain.packed(task, 1)
    assert bundled.bundles is None  # so small a fit is not worth it
    bundled = attrs.evolve(plain, bundles=packed_of(task.system).bundles)
    runs = [FusedIteration(one, Opening.of(plain, None), 1) for one in (plain, bundled)]
    apart = 0
    for _ in range(400):
        residuals = [run.step() for run in runs]
        assert residuals[0] == pytest.approx(residuals[1], rel=1e-6, abs=1e-9)
        apart += not runs[1].is_whole
        if runs[0].rule.due(residuals[0]):
            assert runs[1].rule.due(residuals[1])
            for run in runs:
                run.restart()
        elif runs[1].rule.due(residuals[1]):
            raise AssertionError("one restarts alone")
    assert apart > (100 if np.isfinite(upper) else -1)
    for mine, theirs in zip(runs[0].point(), runs[1].point(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(runs[0].gradient(), runs[1].gradient(), rtol=1e-5, atol=1e-7)
    u = np.random.default_rng(8).random(task.system.records)
    np.testing.assert_allclose(runs[0].matvec(u), runs[1].matvec(u), rtol=1e-9)


def test_the_row_of_the_mass_is_the_stored_one() -> None:
    """What storage took from it is charged once, whatever the columns lie in."""
    task = task_of(system_of(13, 4_000), mass=4_000.0)
    bundled = Fit.of(task).packed(task, 1)
    assert bundled.bundles is not None
    run = FusedIteration(bundled, Opening.of(bundled, None), 1)
    run._dual.y1[:] = 0.0
    run._dual.y1[-1] = 1.0
    exact = task.system.reference / 4_000.0
    assert (run.gradient() != exact).any()
    np.testing.assert_array_equal(run.gradient(), exact.astype(np.float32))
    np.testing.assert_array_equal(bundled.exact_gradient(run._dual.y1, run.gradient()), exact)


def optimum(task: Task, a: sp.sparray, method: str = "highs-ipm") -> tuple[float, np.ndarray]:
    """The least sum of |relative error| under the bounds of a task with a matrix, and duals."""
    b, eye = task.system.b, sp.eye_array(a.shape[0])
    found = so.linprog(
        np.concatenate((np.zeros(a.shape[1]), np.ones(a.shape[0]))),
        sp.vstack((sp.hstack((a, -eye)), sp.hstack((-a, -eye)))),
        np.concatenate((b, -b)),
        bounds=[*zip(task.lower, task.upper, strict=True), *[(0, None)] * a.shape[0]],
        method=method,
    )
    assert found.status == 0, found.message
    above, below = np.split(found.ineqlin.marginals, 2)
    return float(found.fun), below - above


def test_a_bound_counts_what_bundles_lose() -> None:
    """The best duals of the bundles' own matrix give no bound above the optimum of the stored one."""
    passed = 0
    for seed in range(20, 26):
        task = task_of(system_of(seed, 3_600, blur=5e-8), 1.1, lower=0.9)
        plain = Fit.of(task)
        bundled = plain.packed(task, 1)
        assert bundled.bundles is not None
        bundled = attrs.evolve(bundled, rounding=bundled.rounding - plain.rounding)  # of the bundles alone
        made = np.zeros((task.system.targets, task.system.records))
        made[:, bundled.bundles.order] = held_by(bundled.bundles)
        theirs, y = optimum(task, sp.csc_array(made), "highs-ds")
        best, _ = optimum(task, stored(task.system), "highs-ds")
        passed += theirs > best * (1.0 + 1e-10)
        y = np.clip(y, -1.0, 1.0)
        bound = Certificate(bundled).bound(y, y @ made, theirs)
        assert best * (1.0 - 1e-5) < bound <= best
    assert passed > 0  # or nothing was tried


@pytest.mark.parametrize("blur", [0.0, 5e-8])
@pytest.mark.parametrize("upper", [np.inf, 1.2])
def test_bounds_and_objectives_of_bundled_fits_are_those_of_the_problem(upper: float, blur: float) -> None:
    """Rows that are multiples only as far as single precision tells do not let a bound pass the optimum."""
    task = task_of(system_of(9, 4_000, blur=blur), upper)
    assert Fit.of(task).packed(task, 1).bundles is not None
    best, _ = optimum(task, stored(task.system))
    found = PrimalDualSolver().solve(task, Stop(tolerance=1e-5, iterations=20_000))
    assert found.bound <= best * (1 + 1e-9)
    assert found.objective == pytest.approx(best, rel=1e-4)
    assert found.bound == pytest.approx(best, rel=1e-4)


def test_fits_of_bundles_are_bit_equal_for_a_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 1_000)
    task, stop = task_of(system_of(10, 2_500), upper=1.5), Stop(tolerance=1e-3)
    one, two, again = (PrimalDualSolver().solve(task, stop, machine=Machine(threads=k)) for k in (1, 2, 2))
    np.testing.assert_array_equal(two.u, again.u)
    assert two.bound == again.bound
    assert one.objective == pytest.approx(two.objective, rel=1e-3)


@pytest.mark.parametrize("mass", [False, True])
def test_a_budget_is_the_same_file_with_and_without_bundles(mass: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, random = totals(11, 2_500), np.random.default_rng(12)
    weights = random.uniform(0.5, 2.0, 2_500)
    wanted = (matrix @ weights) * random.uniform(0.9, 1.1, matrix.shape[0])

    def run() -> np.ndarray:
        problem = CalibrationProblem(matrix, wanted, initial_weights=weights)
        return calibrate(problem, keep=1_500, max_weight_ratio=5, conserve_mass=mass, seed=0).weights

    bundled = run()
    monkeypatch.setattr(fit, "SMALL", 10**9)
    plain = run()
    assert (bundled > 0).sum() == (plain > 0).sum() == 1_500
    assert ((bundled > 0) == (plain > 0)).mean() > 0.98
