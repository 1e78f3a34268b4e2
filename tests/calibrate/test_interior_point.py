"""The interior point solver against HiGHS and L-BFGS-B on small ugly problems, and its certificates."""

from __future__ import annotations

import time
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers import sparse_map
from l0_calibrate.solvers.base import Machine, Solution, Start, Stop, Task
from l0_calibrate.solvers.interior_point import InteriorPointSolver, finding, products, program, solver
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.system import build_system
from l0_calibrate.watch import Progress
from l0_core.plugins import registry

TIGHT = Stop(tolerance=1e-6)
RESOLUTION = 2e-7
"""Relative error that float32 entries (6e-8) leave open, of a row and of the row of the mass."""


def dense(task: Task) -> np.ndarray:
    c = task.system.columns
    parts = (c.values.astype(float), c.indices.astype(np.int64), c.indptr.astype(np.int64))
    return sp.csc_array(parts, shape=(c.rows, c.count)).toarray()


def reference_optimum(task: Task) -> float | None:
    """HiGHS on the epigraph form; None where there is no feasible point."""
    a, m, n = dense(task), task.system.targets, task.count
    price = task.price
    rows = np.hstack([a, -np.eye(m), np.eye(m), -np.eye(m)])
    right = task.system.b
    if task.mass is not None:
        rows = np.vstack([rows, np.concatenate((task.system.reference / task.mass, np.zeros(3 * m)))])
        right = np.append(right, 1.0)
    cost = np.concatenate((np.zeros(n), price.cap, price.cap, np.zeros(m)))
    lower = np.concatenate((task.lower, np.zeros(2 * m), -price.dead_zone))
    upper = np.concatenate((task.upper, np.full(2 * m, np.inf), price.dead_zone))
    found = so.linprog(
        cost, A_eq=rows, b_eq=right, bounds=np.column_stack((lower, upper)), method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    return float(found.fun) if found.status == 0 else None


def floor(task: Task, u: np.ndarray) -> float:
    """Sum-form objective that the resolution of entries leaves open."""
    weights = np.where(np.isfinite(task.price.cap), task.price.cap, 1.0)
    return RESOLUTION * float(weights @ (1.0 + np.abs(dense(task)) @ u)) + RESOLUTION * task.system.targets


def ugly_task(seed: int) -> Task:
    """Empty and repeated columns, empty rows, negative entries, weights of 0, pinched bounds, m > n, a mass."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 12)), int(rng.integers(1, 15))
    kinds = (
        lambda: rng.random((m, n)),
        lambda: rng.integers(0, 3, (m, n)).astype(float),
        lambda: rng.normal(size=(m, n)) * 10.0 ** rng.integers(-2, 3),
    )
    matrix = (rng.random((m, n)) < rng.choice([0.2, 0.5, 1.0])) * kinds[rng.integers(3)]()
    if n > 1 and rng.random() < 0.2:
        matrix[:, 1] = matrix[:, 0]
    w = rng.integers(1, 5, n).astype(float)
    if rng.random() < 0.2:
        w[rng.integers(n)] = 0.0
    targets = (matrix @ w, rng.normal(size=m) * 5, np.round(rng.random(m) * 50), np.zeros(m))[rng.integers(4)]
    weights = np.ones(m) if rng.random() < 0.5 else rng.choice([0.0, 0.1, 1.0, 5.0], m)
    zone = np.zeros(m) if rng.random() < 0.6 else rng.choice([0.0, 0.05, 0.3], m)
    lower = np.zeros(n) if rng.random() < 0.7 else rng.choice([0.0, 0.3, 1.0], n)
    upper = (np.full(n, np.inf), np.full(n, 3.0), lower + rng.choice([0.0, 1.0, 10.0, np.inf], n))[rng.integers(3)]
    mass = float(w.sum()) if rng.random() < 0.3 and w.sum() > 0 else None
    system = build_system(sp.csr_array(matrix), targets, w)
    return Task(system, RowPrice(weights, zone, np.zeros(m)), None, lower, upper, np.zeros(n), 1.0, mass)


def assert_sound(task: Task, solution: Solution) -> None:
    assert np.isfinite(solution.u).all()
    assert (solution.u >= task.lower).all()
    assert (solution.u <= task.upper).all()
    residuals = dense(task) @ solution.u - task.system.b
    assert solution.residuals == pytest.approx(residuals, abs=1e-9 * (1 + np.abs(dense(task)) @ solution.u).max())
    # The recomputed residuals differ by rounding of the sums, and a price multiplies that by its weight.
    recomputed = task.price.total(solution.residuals) + task.spread_cost(solution.u)
    assert solution.objective == pytest.approx(recomputed, rel=1e-12, abs=1e-15)
    if task.mass is not None:
        assert task.system.reference @ solution.u == pytest.approx(task.mass, rel=1e-10)


@pytest.mark.parametrize("block", range(8))
def test_optimum_of_ugly_problems_and_a_bound_never_above_it(block: int) -> None:
    for seed in range(100 * block, 100 * (block + 1)):
        task = ugly_task(seed)
        optimum = reference_optimum(task)
        solution = InteriorPointSolver().solve(task, TIGHT)
        if optimum is None:
            assert solution.status == "infeasible", seed
            continue
        assert solution.status != "infeasible", seed
        assert_sound(task, solution)
        assert solution.objective <= optimum + 1e-5 * optimum + floor(task, solution.u), seed
        # HiGHS itself stops at 1e-10 of feasibility: its optimum is short of the true one by that, times the duals.
        assert solution.bound <= optimum + 1e-8 * max(1.0, optimum), seed


def bent_task(seed: int) -> Task:
    """Huber, squared and mixed prices, dead zones, spreads."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 12)), int(rng.integers(1, 15))
    matrix = (rng.random((m, n)) < 0.5) * rng.random((m, n))
    w = rng.integers(1, 5, n).astype(float)
    targets = (matrix @ w * rng.uniform(0.5, 2, m), rng.normal(size=m) * 5, np.zeros(m))[rng.integers(3)]
    cap, curvature = rng.choice([0.1, 1.0, 5.0], m), rng.choice([0.01, 0.3, 2.0], m)
    zone = rng.choice([0.0, 0.1], m) if rng.random() < 0.5 else np.zeros(m)
    kind = rng.integers(4)
    if kind == 0:
        curvature = np.zeros(m)
    elif kind == 1:
        cap = np.full(m, np.inf)
    elif kind == 2:
        curvature = np.where(rng.random(m) < 0.5, 0.0, curvature)
    lower = np.zeros(n) if rng.random() < 0.7 else rng.choice([0.0, 0.3, 1.0], n)
    upper = (np.full(n, np.inf), np.full(n, 3.0), lower + rng.choice([0.0, 1.0, 10.0], n))[rng.integers(3)]
    spread = np.zeros(n) if rng.random() < 0.3 else rng.choice([0.01, 1.0], n) * rng.random(n)
    system = build_system(sp.csr_array(matrix), targets, w)
    return Task(system, RowPrice(cap, zone, curvature), None, lower, upper, spread, float(rng.integers(2)))


def smooth_optimum(task: Task, starts: tuple[np.ndarray, ...]) -> float:
    """L-BFGS-B with the gradient written out from the definition of the price."""
    a, price = dense(task), task.price

    def value(u: np.ndarray) -> tuple[float, np.ndarray]:
        r = a @ u - task.system.b
        excess = np.maximum(np.abs(r) - price.dead_zone, 0.0)
        slope = np.full(r.size, np.inf)
        np.divide(excess, price.curvature, out=slope, where=price.curvature > 0)
        slope[(price.curvature == 0) & (excess == 0)] = 0.0
        slope = np.minimum(slope, price.cap)
        inner = np.where(price.curvature > 0, excess**2 / np.where(price.curvature > 0, 2 * price.curvature, 1), 0)
        corner = np.where(np.isfinite(price.cap), price.cap, 0.0)
        outer = corner * excess - 0.5 * price.curvature * corner**2
        cost = np.where((price.curvature > 0) & (excess <= price.curvature * price.cap), inner, outer)
        gradient = a.T @ (np.sign(r) * slope) + task.spread * (u - task.centre)
        return float(cost.sum() + 0.5 * task.spread @ (u - task.centre) ** 2), gradient

    bounds = np.column_stack((task.lower, np.minimum(task.upper, 1e6)))
    options = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 3000}
    return min(
        so.minimize(value, np.clip(s, *bounds.T), jac=True, bounds=bounds, method="L-BFGS-B", options=options).fun
        for s in starts
    )


@pytest.mark.parametrize("block", range(3))
def test_bent_prices_and_spreads(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        task = bent_task(seed)
        solution = InteriorPointSolver().solve(task, TIGHT)
        assert solution.status in ("optimal", "converged"), seed
        assert_sound(task, solution)
        best = smooth_optimum(task, (solution.u, np.ones(task.count)))
        assert solution.objective <= best * (1 + 1e-5) + floor(task, solution.u), seed
        assert solution.bound <= best * (1 + 1e-9) + 1e-9, seed


# ------------------------------------------------------------------ areas, threads, starts


def area_task(seed: int = 0, areas: int = 12, per_area: int = 60, records: int = 200) -> Task:
    """Rows of areas of 200 records each and a few rows over all of them."""
    rng = np.random.default_rng(seed)
    blocks = [sp.random_array((per_area, records), density=0.1, rng=rng) for _ in range(areas)]
    for block in blocks:
        block.data[:] = rng.lognormal(0, 1, block.nnz)
    above = sp.random_array((20, areas * records), density=0.2, rng=rng)
    matrix = sp.vstack([sp.block_diag(blocks), above]).tocsr()
    w = rng.lognormal(3, 0.5, matrix.shape[1])
    targets = (matrix @ w) * rng.uniform(0.7, 1.4, matrix.shape[0])
    order = rng.permutation(matrix.shape[0])
    columns = rng.permutation(matrix.shape[1])
    system = build_system(sp.csr_array(matrix[order][:, columns]), targets[order], w[columns])
    n, m = w.size, targets.size
    price = RowPrice.absolute(np.ones(m))
    return Task(system, price, None, np.zeros(n), np.full(n, 10.0), np.full(n, 1e-3 * m / n), 1.0)


def test_agrees_with_the_other_solver_on_areas() -> None:
    task = area_task()
    inner = InteriorPointSolver().solve(task, Stop(tolerance=1e-6))
    outer = PrimalDualSolver().solve(task, Stop(tolerance=1e-4))
    assert inner.status == outer.status == "optimal"
    assert inner.iterations < 40
    # Each optimum lies between the other's bound and objective.
    assert inner.objective >= outer.bound
    assert outer.objective >= inner.bound


def test_same_bits_again_and_for_any_number_of_threads_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_map, "_WORTH_A_THREAD", 1)  # or so small a matrix would not be split
    task = area_task()
    runs = [InteriorPointSolver().solve(task, Stop(tolerance=1e-3), machine=Machine(threads=1)) for _ in range(2)]
    assert (runs[0].u == runs[1].u).all()
    assert (runs[0].y == runs[1].y).all()
    two = InteriorPointSolver().solve(task, Stop(tolerance=1e-3), machine=Machine(threads=2))
    again = InteriorPointSolver().solve(task, Stop(tolerance=1e-3), machine=Machine(threads=2))
    assert (two.u == again.u).all()
    # Products with the columns are summed by thread: equal to rounding only.
    assert two.objective == pytest.approx(runs[0].objective, rel=1e-6)


def test_pieces_of_the_columns_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """... and threads that share them out not even that."""
    task = area_task()
    whole = InteriorPointSolver().solve(task, Stop(tolerance=1e-3))
    monkeypatch.setattr(products, "_PIECE", 500)
    runs = [InteriorPointSolver().solve(task, Stop(tolerance=1e-3), machine=Machine(threads=t)) for t in (1, 2, 3)]
    for run in runs:
        assert run.iterations == whole.iterations
        np.testing.assert_allclose(run.u, whole.u, rtol=1e-5, atol=1e-7)
        assert (run.u == runs[0].u).all()
        assert (run.y == runs[0].y).all()


def test_support_takes_the_named_columns_only() -> None:
    task = area_task()
    support = np.arange(0, task.count, 3)
    part = attrs.evolve(
        task, support=support, lower=task.lower[support], upper=task.upper[support], spread=task.spread[support]
    )
    solution = InteriorPointSolver().solve(part, Stop(tolerance=1e-4))
    outer = PrimalDualSolver().solve(part, Stop(tolerance=1e-3))
    assert solution.u.shape == support.shape
    assert outer.bound <= solution.objective <= outer.objective * (1 + 1e-4)


def test_a_warm_start_saves_iterations() -> None:
    task = area_task()
    cold = InteriorPointSolver().solve(task, Stop(tolerance=1e-3))
    warm = InteriorPointSolver().solve(task, Stop(tolerance=1e-3), cold.start())
    assert warm.status == "optimal"
    assert warm.iterations == 0
    nearby = attrs.evolve(task, upper=np.full(task.count, 9.0))
    again = InteriorPointSolver().solve(nearby, Stop(tolerance=1e-5), Start(cold.u, cold.y))
    assert again.status == "optimal"


def test_a_warm_start_with_the_dual_of_the_mass_is_confirmed_at_once() -> None:
    task = area_task(areas=3)
    task = attrs.evolve(task, mass=0.7 * float(task.system.reference.sum()))
    cold = InteriorPointSolver().solve(task, Stop(tolerance=1e-4))
    warm = InteriorPointSolver().solve(task, Stop(tolerance=1e-3), Start(cold.u, cold.y, cold.mass_dual))
    assert cold.status == warm.status == "optimal"
    assert warm.iterations == 0


def test_ratios_that_cannot_move_are_certified_with_a_sum_to_be_held_too() -> None:
    task, reference = area_task(areas=3), np.random.default_rng(3)
    held = reference.uniform(0.5, 1.5, task.count)  # their sum is met to a rounding, not to the last bit
    mass = float((held * task.system.reference).sum())
    task = attrs.evolve(task, lower=held, upper=held, mass=mass)
    solution = InteriorPointSolver().solve(task, Stop(tolerance=1e-4))
    assert solution.status == "optimal"
    assert solution.bound == pytest.approx(solution.objective, rel=1e-4)


def test_watching_changes_nothing_and_reports_progress() -> None:
    task, events = area_task(areas=3), list[Progress]()
    plain = InteriorPointSolver().solve(task, Stop(tolerance=1e-3))
    watched = InteriorPointSolver().solve(task, Stop(tolerance=1e-3), watch=events.append)
    assert (plain.u == watched.u).all()
    assert [e.iteration for e in events] == list(range(plain.iterations + 1))
    assert events[-1].gap == pytest.approx(plain.gap)


def test_budgets_of_iterations_and_seconds() -> None:
    task = area_task(areas=3)
    few = InteriorPointSolver().solve(task, Stop(tolerance=1e-9, iterations=3))
    assert few.status == "budget_spent"
    assert few.iterations == 3
    assert_sound(task, few)
    more = InteriorPointSolver().solve(task, Stop(tolerance=1e-9, iterations=7))
    assert more.gap is not None  # far from the tolerance nothing is certified on the way, but at the end
    assert 0.0 < more.gap < 0.1
    none = InteriorPointSolver().solve(task, Stop(tolerance=1e-9, seconds=0.0))
    assert none.status == "budget_spent"
    assert none.iterations == 0


def late(monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> list[float]:
    """A piece of work that takes three seconds more each time; how many it has taken in all."""
    before, true, slept = getattr(where, name), time.perf_counter, [0.0]

    def work(*args: Any, **fields: Any) -> Any:
        slept[0] += 3.0
        return before(*args, **fields)

    monkeypatch.setattr(where, name, work)
    monkeypatch.setattr(time, "perf_counter", lambda: true() + slept[0])
    return slept


@pytest.mark.parametrize(("where", "name"), [(program, "find_structure"), (finding, "bundled")])
def test_no_more_work_is_begun_when_the_search_for_blocks_has_taken_all_seconds(
    where: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = area_task(areas=3)
    late(monkeypatch, where, name)
    monkeypatch.setattr(solver, "opened", lambda *_args: pytest.fail("a start was looked for"))
    cut_off = InteriorPointSolver().solve(task, Stop(seconds=2.0))
    assert (cut_off.status, cut_off.iterations) == ("budget_spent", 0)
    assert_sound(task, cut_off)


@pytest.mark.parametrize("how", [{}, {"keep": 20, "selector": "random"}], ids=["dense", "budget"])
def test_the_search_for_blocks_counts_against_the_time_limit(
    how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made before the solver begins, which is asked about the task."""
    random = np.random.default_rng(1)
    matrix = random.gamma(1.0, 1.0, (6, 40))
    asked = CalibrationProblem(matrix, matrix.sum(axis=1) * random.uniform(0.7, 1.3, 6))
    left = []
    before = InteriorPointSolver.solve

    def solve(self: InteriorPointSolver, task: Task, stop: Stop, *others: Any) -> Solution:
        left.append(stop.seconds + slept[0])
        return before(self, task, stop, *others)

    monkeypatch.setattr(InteriorPointSolver, "solve", solve)
    slept = late(monkeypatch, program, "find_structure")
    calibrate(asked, solver="interior_point", time_limit=600.0, threads=1, **how)
    assert slept[0] > 0.0
    assert left[0] <= 600.0


def test_no_further_than_doubles_reach() -> None:
    solution = InteriorPointSolver().solve(area_task(areas=3), Stop(tolerance=0.0))
    assert solution.status in ("converged", "stalled")
    assert solution.gap is not None
    assert solution.gap < 1e-8


# ------------------------------------------------------------------ extremes


def small_task(matrix: np.ndarray, targets: np.ndarray, **changes: object) -> Task:
    m, n = matrix.shape
    system = build_system(sp.csr_array(matrix), np.asarray(targets, dtype=float), np.ones(n))
    task = Task(
        system, RowPrice.absolute(np.ones(m)), None, np.zeros(n), np.full(n, np.inf), np.zeros(n), 1.0
    )  # fmt: skip
    return attrs.evolve(task, **changes)


def test_a_target_that_no_weight_can_meet_costs_what_it_must() -> None:
    solution = InteriorPointSolver().solve(small_task(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([3.0, 7.0])), TIGHT)
    assert solution.objective == pytest.approx(1.0, abs=1e-6)
    assert solution.bound == pytest.approx(1.0, abs=1e-5)


def test_coefficients_from_tiny_to_huge() -> None:
    rng = np.random.default_rng(5)
    matrix = 10.0 ** rng.uniform(-9, 12, (6, 10))
    targets = matrix @ rng.uniform(0.1, 3.0, 10)
    task = small_task(matrix, targets)
    solution = InteriorPointSolver().solve(task, Stop(tolerance=1e-4))
    assert_sound(task, solution)
    assert solution.objective == pytest.approx(reference_optimum(task), abs=1e-5)


def test_nothing_to_decide() -> None:
    matrix, targets = np.array([[1.0, 1.0]]), np.array([5.0])
    pinned = small_task(matrix, targets, lower=np.array([1.0, 2.0]), upper=np.array([1.0, 2.0]))
    solution = InteriorPointSolver().solve(pinned, TIGHT)
    assert solution.u.tolist() == [1.0, 2.0]
    assert solution.objective == pytest.approx(0.4)
    unpriced = small_task(matrix, targets, price=RowPrice.absolute(np.zeros(1)))
    assert InteriorPointSolver().solve(unpriced, TIGHT).objective == 0.0


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_targets_that_are_met_already_are_certified_to_be(weight: float) -> None:
    matrix = np.array([[1.0, 1.0], [2.0, 0.0]])
    task = small_task(matrix, matrix @ np.ones(2), price=RowPrice.absolute(np.full(2, weight)))
    solution = InteriorPointSolver().solve(task, TIGHT)
    assert (solution.objective, solution.bound, solution.gap, solution.status) == (0.0, 0.0, 0.0, "optimal")
    unasked = InteriorPointSolver().solve(task, attrs.evolve(TIGHT, certify=False))
    assert unasked.gap is None


def test_untouched_records_keep_their_weight_or_go_to_the_centre() -> None:
    matrix, targets = np.array([[1.0, 0.0]]), np.array([4.0])
    solution = InteriorPointSolver().solve(small_task(matrix, targets), TIGHT)
    assert solution.u[1] == 1.0
    centred = small_task(matrix, targets, spread=np.full(2, 0.1), centre=0.0)
    assert InteriorPointSolver().solve(centred, TIGHT).u[1] == 0.0


@pytest.mark.parametrize("price", [0.0, 1.0])
def test_ratios_that_no_priced_target_feels_go_to_the_centre_wherever_they_begin(price: float) -> None:
    matrix = np.array([[1.0 - price, 2.0 * (1.0 - price)]])
    task = small_task(
        matrix, np.array([4.0]), price=RowPrice.absolute(np.full(1, price)), spread=np.full(2, 0.1), centre=1.0
    )
    solution = InteriorPointSolver().solve(task, TIGHT, Start(np.array([0.5, 3.0])))
    assert solution.u.tolist() == [1.0, 1.0]
    assert solution.objective == price
    assert solution.status == "optimal"


def test_a_mass_that_the_bounds_do_not_allow_is_infeasible() -> None:
    task = small_task(np.eye(3), np.ones(3), upper=np.full(3, 2.0), mass=7.0)
    assert InteriorPointSolver().solve(task, TIGHT).status == "infeasible"


# ------------------------------------------------------------------ refusals


def test_refuses_what_it_cannot_do_and_says_what_can() -> None:
    hard = small_task(np.eye(2), np.ones(2), price=RowPrice(np.full(2, np.inf), np.zeros(2), np.zeros(2)))
    assert "hard constraint" in (InteriorPointSolver().refusal(hard) or "")
    free = small_task(np.eye(2), np.ones(2), lower=np.full(2, -np.inf))
    assert "lower bound" in (InteriorPointSolver().refusal(free) or "")
    task = area_task()
    assert InteriorPointSolver().refusal(task) is None
    narrow = InteriorPointSolver(factor_bytes=1e4).refusal(task)
    assert narrow is not None
    assert "primal_dual" in narrow


def test_is_found_by_name() -> None:
    assert isinstance(registry().get("solver", "interior_point"), InteriorPointSolver)
