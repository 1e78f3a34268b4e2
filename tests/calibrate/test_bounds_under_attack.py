"""Wrong bounds hunted where numbers are ugliest, in exact arithmetic; every ugly kind of problem on every solver."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from hostile_numbers import exact_objective, hostile_numbers
from l0_calibrate import CalibrationProblem, calibrate, run
from l0_calibrate import system as system_module
from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Stop, Task, certificate
from l0_calibrate.solvers.base import Solver
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.system import build_system

SOLVERS: dict[str, tuple[Solver, Stop]] = {
    "interior_point": (InteriorPointSolver(), Stop(tolerance=1e-9, iterations=3_000)),
    "primal_dual": (PrimalDualSolver(), Stop(tolerance=1e-6, iterations=1_500)),
}

RESOLUTION = 2e-7
"""Relative error of a row that float32 entries (6e-8) leave open: felt where large weights cancel."""


def hostile_task(seed: int) -> Task:
    """Entries of 1e-9 to 1e12 of both signs, tiny weights, huge and pinching bounds, weights of 0 to 1e6, any price."""
    g = np.random.default_rng(seed)
    matrix, targets, w = hostile_numbers(g)
    m, n = matrix.shape
    if g.random() < 0.3:
        targets = 10.0 ** g.uniform(-3, 9, m) * g.choice([-1.0, 1.0], m)
    upper = np.full(n, g.choice([np.inf, 1e15, 1e9, 10.0, 1.0]))
    lower = np.minimum(upper, 1.0) * g.choice([0.0, 1.0], n) if g.random() < 0.2 else np.zeros(n)
    weights = g.choice([1.0, 1e-6, 1e6, 0.0], m) if g.random() < 0.4 else np.ones(m)
    zone = g.choice([0.0, 0.1, 1e-9], m) if g.random() < 0.3 else np.zeros(m)
    curvature = g.choice([1e-9, 0.1, 10.0], m) if g.random() < 0.3 else np.zeros(m)
    spread = np.zeros(n) if g.random() < 0.5 else g.choice([0.0, 1e-12, 1e-3, 10.0], n)
    system = build_system(sp.csr_array(matrix), targets, w)
    return Task(system, RowPrice(weights, zone, curvature), None, lower, upper, spread, float(g.integers(2)))


@pytest.mark.parametrize("block", range(4))
def test_no_bound_is_above_any_point_of_either_solver(block: int) -> None:
    finite = 0
    for seed in range(40 * block, 40 * (block + 1)):
        task = hostile_task(seed)
        found = {name: solver.solve(task, stop) for name, (solver, stop) in SOLVERS.items()}
        for solution in found.values():
            assert np.isfinite(solution.u).all(), seed
            assert np.isfinite(solution.objective), seed
            assert ((solution.u >= task.lower) & (solution.u <= task.upper)).all(), seed
        best = min(exact_objective(task, solution.u) for solution in found.values())
        for name, solution in found.items():
            if np.isfinite(solution.bound):
                finite += 1
                assert Fraction(float(solution.bound)) <= best, (seed, name)
    assert finite > 40


def without_corners(task: Task, seed: int) -> Task:
    """The same task with prices that bend, some of them without a bound on their slope."""
    g, price = np.random.default_rng(seed), task.price
    steep = g.random(price.cap.size) < 0.5 if g.random() < 0.7 else np.ones(price.cap.size, dtype=bool)
    cap = np.where(price.cap == 0, 0.0, np.where(steep, np.inf, price.cap))
    bend = np.where(price.curvature > 0, price.curvature, g.choice([1.0, 0.05, 1e-6]))
    return attrs.evolve(task, price=RowPrice(cap, price.dead_zone, np.where(cap > 0, bend, 0.0)))


@pytest.mark.parametrize("seed", [*range(30), 225, 1596])
def test_prices_without_corners_end_with_numbers(seed: int) -> None:
    task = without_corners(hostile_task(seed), seed)  # 225, 1596: a tolerance of 1e-9 beside residuals of 1e9
    solution = InteriorPointSolver().solve(task, Stop(tolerance=1e-8))
    assert np.isfinite(solution.u).all()
    assert np.isfinite(solution.objective)
    assert solution.bound <= solution.objective * (1 + 1e-9) + 1e-15


def rounded_problem(seed: int) -> CalibrationProblem:
    """Entries of many digits, of both signs or one, with targets that some weights meet or none does."""
    g = np.random.default_rng(seed)
    m, n = int(g.integers(1, 8)), int(g.integers(2, 10))
    matrix = (g.random((m, n)) < 0.7) * g.uniform(0.5, 2, (m, n)) * g.choice([1.0, 30.0, -1.0], (m, n))
    w = g.uniform(0.5, 3.0, n)
    return CalibrationProblem(sp.csr_array(matrix), (matrix @ w) * g.choice([1.0, 1.3, 0.1], m), initial_weights=w)


def true_objective(asked: CalibrationProblem, weights: np.ndarray) -> Fraction:
    """Mean |relative error| from the entries as they were given, without rounding."""
    total = Fraction(0)
    for row, target in zip(asked.matrix.toarray(), asked.targets, strict=True):
        estimate = sum(
            (Fraction(float(a)) * Fraction(float(w)) for a, w in zip(row, weights, strict=True)), Fraction(0)
        )
        total += abs(estimate - Fraction(float(target))) / max(abs(Fraction(float(target))), 1)
    return total / asked.n_targets


@pytest.mark.parametrize("entries", [0, 50_000], ids=["float32", "float64"])
@pytest.mark.parametrize("how", [{}, {"max_weight_ratio": 1.5}, {"conserve_mass": True}], ids=["open", "box", "mass"])
def test_bounds_hold_for_the_entries_before_they_were_stored(
    entries: int, how: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", entries)
    optimal = 0
    for seed in range(40):
        asked = rounded_problem(seed)
        found = [
            calibrate(asked, solver=solver, spread=0.0, tol=tol, **how)  # type: ignore[arg-type]
            for solver, tol in (("primal_dual", 1e-5), ("interior_point", 1e-10))
        ]
        scores = [true_objective(asked, result.weights) for result in found]
        for result, score in zip(found, scores, strict=True):
            assert result.objective == pytest.approx(float(score), rel=1e-9, abs=1e-13), seed
            assert Fraction(result.bound or 0.0) <= min(scores), (seed, result.solver)
            optimal += result.status == "optimal"
    assert optimal > 5


def priced_exactly(asked: CalibrationProblem, weights: np.ndarray) -> Fraction:
    """Mean priced |relative error| from the entries as they were given, without rounding."""
    total = Fraction(0)
    for row, target, price in zip(asked.matrix.toarray(), asked.targets, asked.loss_weights, strict=True):
        miss = sum((Fraction(a) * Fraction(w) for a, w in zip(row.tolist(), weights.tolist(), strict=True)), Fraction())
        miss -= Fraction(float(target))
        total += Fraction(float(price)) * abs(miss) / max(abs(Fraction(float(target))), 1)
    return total / asked.n_targets


@pytest.mark.parametrize("solver", ["primal_dual", "interior_point"])
@pytest.mark.parametrize("how", [{"max_weight_ratio": 1.2}, {}, {"conserve_mass": True}], ids=["box", "open", "mass"])
def test_a_target_of_no_weight_does_not_hide_the_gap_of_the_others(
    how: dict[str, Any], solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", 0)  # stored in float32
    g = np.random.default_rng(1)
    matrix, w = g.uniform(0.5, 2, (5, 40)), g.uniform(0.5, 3.0, 40)
    matrix[4] *= 1e9  # beside a target of 0: relative errors of 1e11, of which float32 hides some 1e4
    targets, prices = matrix @ w * [1.1, 0.9, 3.0, 1.0, 0.0], np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    asked = CalibrationProblem(sp.csr_array(matrix), targets, initial_weights=w, loss_weights=prices)
    result = calibrate(asked, solver=solver, spread=0.0, tol=1e-3, time_limit=10.0, **how)
    assert result.status == "optimal"
    assert result.bound is not None
    assert Fraction(result.bound) <= priced_exactly(asked, result.weights)


def test_bounds_that_look_at_rounding_term_by_term_hold_for_the_entries_before_they_were_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_module, "_WHOLE", 0)
    monkeypatch.setattr(certificate, "_FELT", 0.0)
    monkeypatch.setattr(certificate, "_FINER", np.inf)
    g, above = np.random.default_rng(0), 0
    for seed in range(40):
        plain = rounded_problem(seed)
        prices = g.choice([1.0, 1e-5, 20.0], plain.n_targets)
        weights, how = plain.initial_weights, {"max_weight_ratio": float(g.choice([1.5, 1e6]))}
        asked = CalibrationProblem(plain.matrix, plain.targets, initial_weights=weights, loss_weights=prices)
        result = calibrate(asked, solver="interior_point", spread=0.0, tol=1e-10, **how)
        assert result.bound is not None
        assert Fraction(result.bound) <= priced_exactly(asked, result.weights), seed
        above += result.bound > 0.0
    assert above > 20


def test_a_net_total_of_large_entries_is_met_by_the_true_ones() -> None:
    g = np.random.default_rng(0)
    n = 60_000
    matrix = np.vstack((g.uniform(0.5, 2, (2, n)), g.normal(size=(1, n)) * 1e6))
    w = g.uniform(500, 1_500, n)
    asked = CalibrationProblem(sp.csr_array(matrix), matrix @ w * [1.1, 0.9, 0.0], initial_weights=w)
    result = calibrate(asked, max_weight_ratio=3, spread=0.0, tol=1e-4, time_limit=20.0)
    # In float32 entries of 1e9 leave open some 60 each: their sum was 0 there, and thousands in truth.
    assert result.loss < 1e-3
    assert result.objective == pytest.approx(result.loss, rel=1e-9)


def small_problem(seed: int) -> CalibrationProblem:
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 8)), int(rng.integers(2, 10))
    matrix = (rng.random((m, n)) < 0.6) * rng.choice([1.0, 2.0, -1.0, 0.5], (m, n))
    w = rng.uniform(0.5, 3.0, n)
    targets = (matrix @ w * rng.uniform(0.3, 2.0, m), np.round(rng.normal(size=m) * 6))[rng.integers(2)]
    return CalibrationProblem(sp.csr_array(matrix), targets, initial_weights=w)


def linear_optimum(asked: CalibrationProblem, ratio: float | None) -> float:
    scale = np.maximum(np.abs(asked.targets), 1.0)
    a, b = asked.matrix.toarray() * asked.initial_weights / scale[:, None], asked.targets / scale
    m, n = a.shape
    cost = np.concatenate((np.zeros(n), np.ones(2 * m))) / m
    bounds = [(0, ratio)] * n + [(0, None)] * (2 * m)
    return float(so.linprog(cost, A_eq=np.hstack((a, -np.eye(m), np.eye(m))), b_eq=b, bounds=bounds).fun)


@pytest.mark.parametrize("solver", ["auto", "primal_dual"])
@pytest.mark.parametrize("ratio", [None, 3.0])
def test_hundreds_of_small_problems_through_calibrate_beside_linprog(solver: str, ratio: float | None) -> None:
    for seed in range(150):
        asked = small_problem(seed)
        best = linear_optimum(asked, ratio)
        result = calibrate(asked, solver=solver, max_weight_ratio=ratio, spread=0.0, tol=1e-3)
        scale = np.maximum(np.abs(asked.targets), 1.0)
        resolution = RESOLUTION * float((1.0 + np.abs(asked.matrix) @ result.weights / scale).mean())
        assert result.loss >= best - 1e-6 * (1 + best), seed
        assert result.loss <= best * (1 + 2e-3) + 2e-6 + resolution, seed
        assert result.bound is None or result.bound <= best + 1e-6 * (1 + best), seed


@pytest.mark.parametrize("solver", ["primal_dual", "interior_point"])
@pytest.mark.parametrize("how", [{"max_weight_ratio": 0.5}, {"min_weight_ratio": 2.0}], ids=["most", "least"])
def test_the_ratio_of_a_record_without_a_weight_costs_nothing(how: dict[str, Any], solver: str) -> None:
    w = np.array([2.0, 0.0, 0.0, 1.0])
    asked = CalibrationProblem(np.array([[1.0, 1.0, 1.0, 3.0], [0.0, 2.0, 1.0, 1.0]]), [4.0, 2.0], initial_weights=w)
    result = calibrate(asked, spread=1.0, solver=solver, tol=1e-3, **how)
    ratios = result.weights[w > 0] / w[w > 0]
    cost = np.abs(asked.relative_errors(result.weights)).mean() + 0.5 * ((ratios - 1.0) ** 2).sum() / asked.n_records
    assert result.objective == pytest.approx(cost, rel=1e-12)
    assert result.bound is not None
    assert result.bound <= cost


def test_a_gap_that_storage_hid_from_the_solver_is_not_called_optimal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = small_problem(3)
    assert calibrate(asked, spread=0.0, tol=1e-3).status == "optimal"
    monkeypatch.setattr(run, "_stored_away", lambda *_: 10.0)
    result = calibrate(asked, spread=0.0, tol=1e-3)
    assert result.gap is not None
    assert result.gap > 1e-3
    assert result.status == "converged"


def test_a_run_that_gets_nowhere_is_not_called_converged() -> None:
    task = hostile_task(729)  # steps of 1e-9 and less
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-5))
    assert solution.objective > 10 * InteriorPointSolver().solve(task, Stop(tolerance=1e-5)).objective
    assert solution.status == "stalled"


@pytest.mark.parametrize("seed", [344, 393, 641, 677])
def test_a_run_goes_on_where_the_largest_rows_hide_that_the_others_move(seed: int) -> None:
    task = hostile_task(seed)  # units of rows up to 1e15 apart: a residual of "nothing" after 2 to 81 iterations
    best = InteriorPointSolver().solve(task, Stop(tolerance=1e-9)).objective
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-6, iterations=3_000))
    assert solution.status in ("optimal", "budget_spent")
    assert solution.objective == pytest.approx(best, rel=1e-6)


def ugly_problems() -> dict[str, CalibrationProblem]:
    rng = np.random.default_rng(5)

    def made(matrix: np.ndarray, targets: np.ndarray | None = None) -> CalibrationProblem:
        w = np.ones(matrix.shape[1])
        return CalibrationProblem(sp.csr_array(matrix), matrix @ w if targets is None else targets, initial_weights=w)

    base = rng.uniform(0.5, 2.0, (4, 9))
    gaps = base.copy()
    gaps[:, [2, 5]] = 0.0
    gaps[1] = 0.0
    scales = base * 10.0 ** np.linspace(-9, 12, 4)[:, None]
    signs = base * rng.choice([-1.0, 1.0], base.shape)
    lonely = np.eye(4, 9)
    lonely[:, 0] = 1.0
    return {
        "empty rows and columns": made(gaps, np.array([5.0, 7.0, 9.0, 3.0])),
        "the same column again and again": made(np.repeat(base[:, :3], 3, axis=1)),
        "a target no weight can meet": made(base, np.array([-5.0, 10.0, 10.0, 10.0])),
        "one record in all targets": made(lonely, np.array([9.0, 1.0, 0.5, 4.0])),
        "entries of 1e-9 to 1e12": made(scales, scales.sum(axis=1) * 1.3),
        "negative entries and targets": made(signs, -np.abs(signs).sum(axis=1)),
        "more targets than records": made(rng.uniform(0, 1, (20, 5)), rng.uniform(1, 5, 20)),
        "all targets met": made(base),
        "targets of 0": made(base, np.zeros(4)),
        "targets that contradict": made(np.ones((3, 6)), np.array([1.0, 6.0, 60.0])),
    }


@pytest.mark.parametrize("name", sorted(ugly_problems()))
@pytest.mark.parametrize("solver", ["interior_point", "primal_dual"])
@pytest.mark.parametrize(
    "how",
    [{}, {"keep": 1}, {"keep": "all"}, {"max_weight_ratio": 1.0, "min_weight_ratio": 1.0}, {"conserve_mass": True}],
    ids=["dense", "one", "all", "pinched", "mass"],
)
def test_ugly_problems_end_with_finite_weights_and_a_status(name: str, solver: str, how: dict[str, object]) -> None:
    asked = ugly_problems()[name]
    how = {key: asked.n_records if value == "all" else value for key, value in how.items()}
    result = calibrate(asked, solver=solver, time_limit=20.0, **how)  # type: ignore[arg-type]
    assert np.isfinite(result.weights).all()
    assert (result.weights >= 0).all()
    assert result.status in ("optimal", "converged", "stalled", "budget_spent")
    assert np.isfinite(result.loss)
    if "keep" in how:
        assert result.kept == how["keep"]
    if "max_weight_ratio" in how:
        assert result.weights == pytest.approx(asked.initial_weights)
    if "conserve_mass" in how:
        assert result.weights.sum() == pytest.approx(asked.initial_weights.sum())
    assert result.bound is None or result.bound <= result.objective * (1 + 1e-9) + 1e-12
