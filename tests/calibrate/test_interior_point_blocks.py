"""Areas found from the matrix, and the factor built on them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate.solvers.interior_point.arrow import BlockFactor
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.ordering import Runs, ordered_runs
from l0_calibrate.solvers.interior_point.products import RunMap
from l0_calibrate.solvers.interior_point.structure import find_structure
from l0_calibrate.system import Columns


def columns_of(matrix: sp.csc_array) -> Columns:
    matrix = sp.csc_array(matrix)
    matrix.sort_indices()
    return Columns(
        matrix.indptr.astype(np.uint64), matrix.indices.astype(np.uint32), matrix.data.astype(np.float32), matrix.shape[0]
    )  # fmt: skip


def structure_of(columns: Columns) -> Structure:
    return find_structure(columns, np.ones(columns.rows, dtype=bool), np.diff(columns.indptr.astype(np.int64)) > 0)


def dense(runs: Runs) -> np.ndarray:
    """What some runs hold, column by column."""
    a, out = runs.arrays, np.zeros((runs.height, runs.count))
    for r in range(a.columns.size - 1):
        rows = a.rows[a.row_edges[r] : a.row_edges[r + 1]]
        values = a.values[a.starts[r] : a.starts[r + 1]].reshape(-1, rows.size)
        out[np.ix_(rows, np.arange(a.columns[r], a.columns[r + 1]))] = values.T
    return out


def nested(seed: int, states: int, districts: int, rows: int, records: int) -> tuple[sp.csc_array, np.ndarray]:
    """Rows of districts, states and the nation, shuffled; and the level of each row (0 is the nation)."""
    rng = np.random.default_rng(seed)

    def part(height: int, width: int) -> sp.coo_array:
        made = sp.random_array((height, width), density=0.15, rng=rng)
        made.data[:] = rng.uniform(0.5, 2.0, made.nnz)
        return made

    lowest = sp.block_diag([part(rows, records) for _ in range(states * districts)])
    middle = sp.block_diag([part(rows, districts * records) for _ in range(states)])
    top = part(rows, states * districts * records)
    matrix = sp.csr_array(sp.vstack([lowest, middle, top]))
    level = np.repeat([2, 1, 0], [rows * states * districts, rows * states, rows])
    order = rng.permutation(level.size)
    return sp.csc_array(matrix[order][:, rng.permutation(matrix.shape[1])]), level[order]


def test_every_row_and_used_column_is_placed_once_and_columns_stay_on_one_path() -> None:
    matrix, _ = nested(0, 4, 5, 60, 120)
    columns = columns_of(matrix)
    found = structure_of(columns)
    assert np.sort(found.row_order).tolist() == list(range(columns.rows))
    assert np.unique(found.column_order).size == found.column_order.size
    runs = ordered_runs(columns, found).arrays
    for block in found.blocks:
        assert block.columns == (runs.columns[block.runs[0]], runs.columns[block.runs[1]])
        allowed = np.concatenate((np.arange(*block.rows), block.above))
        for r in range(*block.runs):
            rows = runs.rows[runs.row_edges[r] : runs.row_edges[r + 1]].astype(np.int64)
            assert np.isin(rows, allowed).all()
            assert (np.diff(rows) > 0).all()


def test_two_levels_of_areas_are_found_without_labels() -> None:
    matrix, level = nested(1, 6, 6, 60, 120)
    found = structure_of(columns_of(matrix))
    assert found.levels == 3
    root = found.blocks[-1]
    top = found.row_order[root.rows[0] : root.rows[1]]
    assert set(level[top]) == {0}
    assert len(found.blocks) == 1 + 6 + 36


def test_rare_rows_of_the_nation_do_not_join_areas() -> None:
    matrix, _level = nested(2, 5, 4, 60, 300)
    rng = np.random.default_rng(3)
    rare = sp.csr_array(sp.random_array((8, matrix.shape[1]), density=6 / matrix.shape[1], rng=rng))
    found = structure_of(columns_of(sp.csc_array(sp.vstack([sp.csr_array(matrix), rare]))))
    largest = max(block.own for block in found.blocks)
    assert largest <= 60 + 8
    assert found.levels == 3


def repeated(seed: int) -> tuple[sp.csc_array, np.ndarray]:
    """A nested matrix whose columns repeat the rows of others, some of whose rows repeat the columns of others."""
    matrix, _level = nested(seed, 3, 3, 50, 40)
    rng = np.random.default_rng(seed)
    matrix = matrix[:, rng.integers(0, matrix.shape[1], 900)]
    matrix = sp.csc_array(sp.vstack([matrix, matrix[::3]]))
    matrix.data[:] = rng.uniform(0.5, 2.0, matrix.nnz)
    return matrix, rng.permutation(matrix.shape[0]) % 4 > 0


def test_columns_with_the_same_rows_lie_in_one_run_and_nothing_is_lost() -> None:
    matrix, use_rows = repeated(11)
    columns = columns_of(matrix)
    touched = np.diff(sp.csc_array(matrix[use_rows]).indptr) > 0
    found = find_structure(columns, use_rows, touched)
    assert np.sort(found.row_order).tolist() == np.flatnonzero(use_rows).tolist()
    assert np.sort(found.column_order).tolist() == np.flatnonzero(touched).tolist()
    runs = ordered_runs(columns, found)
    want = matrix.toarray()[found.row_order][:, found.column_order].astype(np.float32)
    assert (dense(runs) == want).all()
    patterns = {tuple(np.flatnonzero(column)) for column in want.T}
    assert runs.arrays.columns.size - 1 == len(patterns) < runs.count / 2


@pytest.mark.parametrize("threads", [1, 3])
def test_products_of_runs_are_those_of_the_matrix(threads: int) -> None:
    matrix, use_rows = repeated(12)
    columns = columns_of(matrix)
    found = find_structure(columns, use_rows, np.diff(sp.csc_array(matrix[use_rows]).indptr) > 0)
    runs = ordered_runs(columns, found)
    a, rng = dense(runs), np.random.default_rng(0)
    u, y = rng.random(runs.count), rng.normal(size=runs.height)
    work = RunMap(runs, threads)
    try:
        assert work.matvec(u) == pytest.approx(a @ u, rel=1e-12)
        assert work.rmatvec(y) == pytest.approx(a.T @ y, rel=1e-9, abs=1e-12)
        assert (work.matvec(u) == work.matvec(u)).all()
    finally:
        work.close()


def test_empty_rows_and_a_matrix_of_one_pattern() -> None:
    matrix = sp.csc_array(np.vstack([np.ones((3, 5)), np.zeros((200, 5))]))
    columns = columns_of(matrix)
    found = structure_of(columns)
    assert np.sort(found.row_order).tolist() == list(range(203))
    runs = ordered_runs(columns, found)
    assert runs.arrays.columns.tolist() == [0, 5]
    assert (dense(runs) == matrix.toarray()[found.row_order]).all()


def test_without_areas_there_is_one_block() -> None:
    rng = np.random.default_rng(0)
    found = structure_of(columns_of(sp.csc_array(sp.random_array((150, 900), density=0.2, rng=rng))))
    assert len(found.blocks) == 1
    assert found.blocks[0].own == 150


def test_rows_and_columns_left_out_are_in_no_block() -> None:
    matrix, _ = nested(4, 3, 3, 50, 80)
    columns = columns_of(matrix)
    rows, used = np.ones(columns.rows, dtype=bool), np.ones(columns.count, dtype=bool)
    rows[::7] = False
    used[::5] = False
    found = find_structure(columns, rows, used)
    assert np.sort(found.row_order).tolist() == np.flatnonzero(rows).tolist()
    assert np.sort(found.column_order).tolist() == np.flatnonzero(used).tolist()
    got = dense(ordered_runs(columns, found))
    assert (got == matrix.toarray()[found.row_order][:, found.column_order].astype(np.float32)).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (6, 6)])
def test_solves_what_a_dense_matrix_solves(threads: int, shape: tuple[int, int]) -> None:
    matrix, _ = nested(7, *shape, 55, 100)
    columns = columns_of(matrix)
    found = structure_of(columns)
    ordered = ordered_runs(columns, found)
    rng = np.random.default_rng(8)
    weights, diagonal = rng.lognormal(0, 3, ordered.count), rng.lognormal(0, 2, ordered.height)
    factor = BlockFactor(found, ordered, threads)
    try:
        for _ in range(2):  # the second factorisation must not see the first
            factor.factor(weights, diagonal)
        rhs = rng.normal(size=ordered.height)
        x = factor.solve(rhs)
    finally:
        factor.close()
    a = dense(ordered)
    s = (a * weights) @ a.T + np.diag(diagonal)
    assert x == pytest.approx(np.linalg.solve(s, rhs), rel=1e-6, abs=1e-9)


def test_threads_of_blocks_give_the_same_bits() -> None:
    matrix, _ = nested(9, 5, 3, 50, 90)
    columns = columns_of(matrix)
    found = structure_of(columns)
    ordered = ordered_runs(columns, found)
    rhs = np.random.default_rng(1).normal(size=ordered.height)
    results = []
    for threads in (1, 2, 3):
        factor = BlockFactor(found, ordered, threads)
        factor.factor(np.ones(ordered.count), np.ones(ordered.height))
        results.append(factor.solve(rhs))
        factor.close()
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_a_semidefinite_block_is_nudged() -> None:
    twice = sp.csc_array(np.array([[1.0, 2.0], [1.0, 2.0]]))
    columns = columns_of(twice)
    found = structure_of(columns)
    factor = BlockFactor(found, ordered_runs(columns, found), 1)
    factor.factor(np.ones(2), np.zeros(2))
    x = factor.solve(np.array([1.0, 1.0]))
    assert np.isfinite(x).all()
    assert x.sum() == pytest.approx(0.2, rel=1e-3)
