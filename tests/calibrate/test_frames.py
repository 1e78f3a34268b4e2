"""Tasks that share a frame: blocks and bundles made once of its columns, and nothing felt of it but rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize as so

from l0_calibrate import CalibrationProblem, Options, calibrate
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers import Machine, Stop, Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point import InteriorPointSolver, finding
from l0_calibrate.solvers.interior_point.finding import Finder
from l0_calibrate.solvers.interior_point.products import BundleMap
from l0_calibrate.solvers.interior_point.program import Use
from l0_core import InputError
from nested_areas import nested_problem

STATES, ITEMS, RECORDS = 5, 40, 80
TIGHT = Stop(tolerance=1e-5)


@pytest.fixture(scope="module")
def nested() -> CalibrationProblem:
    district = np.repeat(np.arange(STATES * 3), RECORDS)
    return nested_problem(np.random.default_rng(3), district, STATES, ITEMS, 6)


def task_of(problem: CalibrationProblem, support: np.ndarray, frame: np.ndarray | None, **more: Any) -> Task:
    k = support.size
    weights = np.ones(problem.n_targets)
    weights[::7] = more.pop("seventh", 1.0)
    lower, upper = np.zeros(k), np.full(k, 8.0)
    if more.pop("pinned", False):
        lower[::5] = upper[::5] = 0.7
    price = RowPrice.absolute(weights)
    return Task(problem.system, price, support, lower, upper, np.zeros(k), 1.0, frame=frame, **more)


def supports(problem: CalibrationProblem) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    frame = np.sort(random.choice(problem.n_records, 700, replace=False))
    return frame, np.sort(random.choice(frame, 250, replace=False))


KINDS: list[dict[str, Any]] = [{}, {"seventh": 0.0}, {"pinned": True}, {"mass": 500.0}]


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "free rows", "pinned", "mass"])
def test_the_optimum_is_that_of_highs_and_that_without_a_frame(
    nested: CalibrationProblem, kind: dict[str, Any]
) -> None:
    frame, support = supports(nested)
    framed, plain = (task_of(nested, support, at, **kind) for at in (frame, None))
    a = nested.system.columns
    matrix = np.zeros((nested.n_targets, nested.n_records))
    columns = np.repeat(np.arange(nested.n_records), np.diff(a.indptr.astype(int)))
    matrix[a.indices.astype(int), columns] = a.values
    m = nested.n_targets
    rows, right = np.hstack([matrix[:, support], -np.eye(m), np.eye(m)]), nested.system.b
    if framed.mass is not None:
        rows = np.vstack([rows, np.append(nested.system.reference[support] / framed.mass, np.zeros(2 * m))])
        right = np.append(right, 1.0)
    bounds = [*zip(framed.lower, framed.upper, strict=True), *[(0, None)] * (2 * m)]
    cost = np.concatenate((np.zeros(support.size), framed.price.cap, framed.price.cap))
    best = so.linprog(cost, A_eq=rows, b_eq=right, bounds=bounds, method="highs").fun
    for task in (framed, plain):
        found = InteriorPointSolver().solve(task, TIGHT)
        assert found.status == "optimal"
        assert found.bound <= best * (1 + 1e-9)
        assert best * (1 - 1e-6) <= found.objective <= best * (1 + 2e-5)


@pytest.mark.parametrize("kind", KINDS, ids=["plain", "free rows", "pinned", "mass"])
def test_bundles_of_a_frame_hold_the_columns_of_its_tasks(nested: CalibrationProblem, kind: dict[str, Any]) -> None:
    frame, support = supports(nested)
    few = support[:40]  # most bundles are left without a column
    for chosen in (support, few):
        task = task_of(nested, chosen, frame, **kind)
        fit = Fit.of(task)
        use, finder = Use.of(fit), Finder()
        structure, bundles = finder.bundled(task, fit, use, 1)
        assert np.sort(bundles.order).tolist() == np.flatnonzero(use.columns).tolist()
        assert (np.diff(bundles.arrays.run_edges) > 0).all()
        columns = BundleMap(bundles)
        held = np.array([columns.rmatvec(row) for row in np.eye(bundles.height)])
        plain = np.zeros((fit.columns.rows, fit.columns.count))
        places = np.repeat(np.arange(fit.columns.count), np.diff(fit.columns.indptr.astype(int)))
        plain[fit.columns.indices.astype(int), places] = fit.columns.values
        np.testing.assert_allclose(held, plain[structure.row_order][:, bundles.order], rtol=1e-6, atol=0)
        edges = bundles.arrays.columns[bundles.arrays.run_edges][bundles.of_blocks]
        for block, first, last in zip(structure.blocks, edges, edges[1:], strict=False):
            within = np.zeros(bundles.height, dtype=bool)
            within[slice(*block.rows)] = within[block.above] = True
            assert not held[~within, first:last].any()


def test_what_was_solved_before_changes_no_bit(nested: CalibrationProblem) -> None:
    frame, support = supports(nested)
    task = task_of(nested, support, frame)
    fresh = InteriorPointSolver().solve(task, TIGHT)
    used = InteriorPointSolver()
    used.solve(task_of(nested, frame, frame), TIGHT)
    used.solve(task_of(nested, support[::2], frame), TIGHT)
    again = used.solve(task, TIGHT)
    np.testing.assert_array_equal(fresh.u, again.u)
    assert fresh.bound == again.bound
    # Another mass, or other rows in use, are another frame.
    for kind in ({"mass": 500.0}, {"mass": 600.0}, {"seventh": 0.0}):
        other = task_of(nested, support, frame, **kind)
        np.testing.assert_array_equal(InteriorPointSolver().solve(other, TIGHT).u, used.solve(other, TIGHT).u)


def test_a_frame_without_all_of_the_support_is_refused(nested: CalibrationProblem) -> None:
    _, support = supports(nested)
    for frame in (support[:-1], support[1:], np.delete(support, 7)):
        with pytest.raises(InputError, match="frame must hold all columns"):
            InteriorPointSolver().solve(task_of(nested, support, frame), TIGHT)


def test_a_task_that_is_its_own_frame_is_the_task(nested: CalibrationProblem) -> None:
    _, support = supports(nested)
    one, other = (InteriorPointSolver().solve(task_of(nested, support, at), TIGHT) for at in (support, None))
    np.testing.assert_array_equal(one.u, other.u)
    assert one.bound == other.bound


def test_a_path_and_a_search_for_a_spread_look_for_blocks_once(
    nested: CalibrationProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    find, made = Use.structure, finding.bundled
    bundled: list[int] = []

    def structure(self: Use, columns: Any, areas: Any, threads: int) -> Any:
        looked.append(columns.count)
        return find(self, columns, areas, threads)

    def bundling(columns: Any, *arguments: Any) -> Any:
        bundled.append(columns.count)
        return made(columns, *arguments)

    monkeypatch.setattr(Use, "structure", structure)
    monkeypatch.setattr(finding, "bundled", bundling)
    results = calibrate_path(nested, [600, 400, 200, 90], Options(max_weight_ratio=5))
    assert {result.solver for result in results} == {"interior_point"}
    assert looked == bundled == [600, 90]  # 90 are few enough beside 600 to be worth a look of their own
    del looked[:], bundled[:]
    calibrate(nested, keep=500, max_weight_ratio=5, ess_at_least=250, dense_bound=False)
    assert looked == bundled == [500]


def test_paths_are_bit_equal_for_a_number_of_threads(nested: CalibrationProblem) -> None:
    def path() -> list[str]:
        results = calibrate_path(nested, [600, 400, 200], Options(max_weight_ratio=5, threads=2))
        return [result.fingerprint for result in results]

    assert path() == path()
    frame, support = supports(nested)
    task = task_of(nested, support, frame)
    one, two = (InteriorPointSolver().solve(task, TIGHT, machine=Machine(threads=threads)) for threads in (1, 2))
    np.testing.assert_allclose(one.u, two.u, rtol=1e-6, atol=1e-9)
