"""Two levels of areas through `calibrate`: nation, states, districts; a warm start; more correctors, fewer iterations."""

from __future__ import annotations

import numpy as np
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Stop, Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point import InteriorPointSolver
from l0_calibrate.solvers.interior_point.program import Use
from l0_calibrate.solvers.interior_point.structure import find_structure
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from nested_areas import nested_problem

STATES, DISTRICTS, ITEMS, RECORDS = 5, 5, 60, 80


@pytest.fixture(scope="module")
def nested() -> CalibrationProblem:
    """Every record has a few of many items; nation, its state and its district each publish totals of items."""
    district = np.repeat(np.arange(STATES * DISTRICTS), RECORDS)
    return nested_problem(np.random.default_rng(0), district, STATES, ITEMS, 8)


def task_of(asked: CalibrationProblem) -> Task:
    n = asked.n_records
    price = RowPrice.absolute(np.ones(asked.n_targets))
    return Task(asked.system, price, None, np.zeros(n), np.full(n, 8.0), np.full(n, 1e-3), 1.0)


def test_three_levels_of_blocks_are_found_and_fronts_hold_what_is_touched(nested: CalibrationProblem) -> None:
    fit = Fit.of(task_of(nested))
    use = Use.of(fit)
    found = find_structure(fit.columns, use.rows, use.columns)
    assert found.levels == 3
    assert len(found.blocks) == 1 + STATES + STATES * DISTRICTS
    leaves = [block for block in found.blocks if block.columns[1] > block.columns[0]]
    assert {block.own for block in leaves} == {ITEMS}
    assert all(block.above.size <= 2 * ITEMS for block in found.blocks)


def test_two_levels_are_solved_to_the_optimum_of_the_other_solver(nested: CalibrationProblem) -> None:
    result = calibrate(nested, max_weight_ratio=8.0, tol=1e-3)
    assert result.solver == "interior_point"
    assert "31 blocks" in result.solver_reason
    other = calibrate(nested, max_weight_ratio=8.0, tol=5e-3, solver="primal_dual")
    assert result.status == other.status == "optimal"
    assert result.bound <= other.objective
    assert other.bound <= result.objective <= other.objective * (1 + 1e-3)


def test_a_warm_start_from_a_neighbouring_problem_saves_iterations(nested: CalibrationProblem) -> None:
    task = task_of(nested)
    near = PrimalDualSolver().solve(task, Stop(tolerance=1e-2))
    cold = InteriorPointSolver().solve(task, Stop(tolerance=1e-4))
    warm = InteriorPointSolver().solve(task, Stop(tolerance=1e-4), near.start())
    assert cold.status == warm.status == "optimal"
    assert warm.iterations <= cold.iterations


def test_weighted_correctors_save_iterations(nested: CalibrationProblem) -> None:
    task = task_of(nested)
    plain = InteriorPointSolver(correctors=0).solve(task, Stop(tolerance=1e-5))
    corrected = InteriorPointSolver().solve(task, Stop(tolerance=1e-5))
    assert plain.status == corrected.status == "optimal"
    assert corrected.iterations < plain.iterations
    assert corrected.objective == pytest.approx(plain.objective, rel=1e-5)
