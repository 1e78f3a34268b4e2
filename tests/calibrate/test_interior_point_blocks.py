"""Areas found from the matrix, and the factor built on them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.columns import Columns
from l0_calibrate.solvers.interior_point import arrow, numbering, patterns, products, structure
from l0_calibrate.solvers.interior_point.arrow import BlockFactor, NotPositiveDefinite
from l0_calibrate.solvers.interior_point.branches import Branches, factor_all
from l0_calibrate.solvers.interior_point.bundling import bundled
from l0_calibrate.solvers.interior_point.lapack import ROUTINES, cholesky, downdate, solve_rows
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.products import BundleMap
from l0_calibrate.solvers.interior_point.structure import find_structure
from l0_calibrate.threads import Threads


def columns_of(matrix: sp.csc_array) -> Columns:
    matrix = sp.csc_array(matrix)
    matrix.sort_indices()
    return Columns(
        matrix.indptr.astype(np.uint64), matrix.indices.astype(np.uint32), matrix.data.astype(np.float32), matrix.shape[0]
    )  # fmt: skip


def structure_of(columns: Columns, threads: int = 1) -> Structure:
    touched = np.diff(columns.indptr.astype(np.int64)) > 0
    return find_structure(columns, np.ones(columns.rows, dtype=bool), touched, threads=threads)


def bundles_of(columns: Columns, structure: Structure, threads: int = 1) -> Bundles:
    return bundled(columns, structure, np.ones(columns.rows), threads)


def dense(bundles: Bundles) -> np.ndarray:
    """What some bundles hold, column by column."""
    a, out = bundles.arrays, np.zeros((bundles.height, bundles.count))
    for b in range(a.lines.size):
        span = slice(a.row_edges[b], a.row_edges[b + 1])
        for r in range(a.run_edges[b], a.run_edges[b + 1]):
            touched = a.touched[a.touched_edges[r] : a.touched_edges[r + 1]]
            values = a.values[a.starts[r] : a.starts[r + 1]].reshape(-1, touched.size)
            lines = np.zeros((a.lines[b], values.shape[0]))
            lines[touched] = values.T
            rows = a.multiple[span].astype(float)[:, None] * lines[a.line[span]]
            out[a.rows[span], a.columns[r] : a.columns[r + 1]] = rows
    return out


def in_order(matrix: sp.csc_array, structure: Structure, bundles: Bundles) -> np.ndarray:
    return matrix.toarray()[structure.row_order][:, bundles.order].astype(np.float32)


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
    bundles = bundles_of(columns, found)
    a = bundles.arrays
    for k, block in enumerate(found.blocks):
        first, last = bundles.of_blocks[k : k + 2]
        assert block.columns == (a.columns[a.run_edges[first]], a.columns[a.run_edges[last]])
        allowed = np.concatenate((np.arange(*block.rows), block.above))
        for b in range(first, last):
            rows = a.rows[a.row_edges[b] : a.row_edges[b + 1]].astype(np.int64)
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


def test_columns_with_the_same_rows_lie_beside_one_another_and_nothing_is_lost() -> None:
    matrix, use_rows = repeated(11)
    columns = columns_of(matrix)
    touched = np.diff(sp.csc_array(matrix[use_rows]).indptr) > 0
    found = find_structure(columns, use_rows, touched)
    assert np.sort(found.row_order).tolist() == np.flatnonzero(use_rows).tolist()
    assert np.sort(found.column_order).tolist() == np.flatnonzero(touched).tolist()
    bundles = bundles_of(columns, found)
    assert np.sort(bundles.order).tolist() == np.flatnonzero(touched).tolist()
    want = in_order(matrix, found, bundles)
    np.testing.assert_allclose(dense(bundles), want, rtol=1e-6)
    patterns = {tuple(np.flatnonzero(column)) for column in want.T}
    assert bundles.arrays.columns.size - 1 == len(patterns) < bundles.count / 2


def published(seed: int, levels: bool = True) -> tuple[sp.csc_array, np.ndarray]:
    """Totals of items in all and by class, of the nation and of states, amounts and counts, by random units."""
    rng = np.random.default_rng(seed)
    records, items, classes, states = 600, 12, 5, 4
    amounts = rng.lognormal(size=(items, records)) * (rng.random((items, records)) < 0.6)
    amounts[0] = rng.lognormal(size=records)
    if not levels:
        amounts = np.repeat(amounts[:, None], 2, axis=1).reshape(-1, records)  # never the same as another row
        amounts *= rng.uniform(0.5, 2.0, amounts.shape)
    amounts = np.vstack([amounts, amounts != 0])
    kind, state = rng.integers(classes, size=records), rng.integers(states, size=records)
    places = [np.ones(records), *(state == s for s in range(states))] if levels else [np.ones(records)]
    cells = [place * group for place in places for group in (np.ones(records), *(kind == c for c in range(classes)))]
    raw = np.vstack([amounts * cell for cell in (cells if levels else cells[:1])])
    raw = raw[rng.permutation(raw.shape[0])]
    scale = rng.lognormal(0, 3, raw.shape[0])
    return sp.csc_array(raw * rng.lognormal(size=records) / scale[:, None]), scale


def test_rows_that_are_multiples_on_a_bundle_are_kept_once() -> None:
    matrix, scale = published(3)
    columns = columns_of(matrix)
    found = structure_of(columns)
    bundles = bundled(columns, found, scale, 1)
    # One bundle for each class of each state; each item in four totals there, amount and count.
    assert bundles.arrays.lines.size == 5 * 4
    assert (bundles.arrays.lines == 24).all()
    assert bundles.size * 4 == matrix.nnz
    np.testing.assert_allclose(dense(bundles), in_order(matrix, found, bundles), rtol=1e-6)


def test_rows_that_are_nearly_multiples_are_kept_apart() -> None:
    matrix, scale = published(3)
    matrix.data *= 1.0 + 2e-6 * np.random.default_rng(0).normal(size=matrix.nnz)
    columns = columns_of(matrix)
    found = structure_of(columns)
    bundles = bundled(columns, found, scale, 1)
    np.testing.assert_allclose(dense(bundles), in_order(matrix, found, bundles), rtol=1e-6)


def test_a_matrix_without_multiples_is_kept_as_it_is() -> None:
    matrix, scale = published(4, levels=False)
    columns = columns_of(matrix)
    found = structure_of(columns)
    bundles = bundled(columns, found, scale, 1)
    np.testing.assert_allclose(dense(bundles), in_order(matrix, found, bundles), rtol=1e-6)
    assert bundles.work[-1] <= 1.1 * sum(0.5 * n**2 + 16 * n for n in np.diff(matrix.indptr))


def test_entries_that_vanish_in_float32_are_none() -> None:
    matrix = sp.csc_array(np.array([[1.0, 1e-60, 2.0], [1e-60, 1e-60, 1e-60], [3.0, 1.0, 6.0]]))
    columns = columns_of(matrix)
    found = structure_of(columns)
    bundles = bundles_of(columns, found)
    np.testing.assert_allclose(dense(bundles), in_order(matrix, found, bundles), rtol=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_blocks_are_the_same_for_any_number_of_threads(threads: int) -> None:
    columns = columns_of(nested(7, 4, 5, 60, 120)[0])
    one, more = structure_of(columns), structure_of(columns, threads)
    assert len(one.blocks) > 4
    np.testing.assert_array_equal(one.row_order, more.row_order)
    np.testing.assert_array_equal(one.column_order, more.column_order)
    for block, other in zip(one.blocks, more.blocks, strict=True):
        assert (block.rows, block.columns, block.parent) == (other.rows, other.columns, other.parent)
        np.testing.assert_array_equal(block.above, other.above)


def test_columns_of_the_same_hash_by_chance_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = columns_of(nested(7, 2, 3, 60, 120)[0])
    every, used = np.ones(columns.rows, dtype=bool), np.diff(columns.indptr.astype(np.int64)) > 0

    def alike(first: int, last: int, matrix: object, use_rows: object, hashes: np.ndarray, told: np.ndarray) -> None:
        hashes[first:last] = np.arange(first, last) % 3

    monkeypatch.setattr(patterns, "_hash", alike)
    pattern = patterns.Pattern.of(columns, every, used, Threads(2))
    np.testing.assert_array_equal(pattern.of_column >= 0, used)
    for j in np.flatnonzero(used):
        k = pattern.of_column[j]
        rows = pattern.by_patterns.members[pattern.by_patterns.edges[k] : pattern.by_patterns.edges[k + 1]]
        span = slice(int(columns.indptr[j]), int(columns.indptr[j + 1]))
        np.testing.assert_array_equal(rows, np.unique(pattern.like[columns.indices[span]]))


def test_bundles_are_the_same_for_any_number_of_threads() -> None:
    matrix, _ = nested(9, 5, 3, 50, 90)
    columns = columns_of(matrix)
    found = structure_of(columns)
    once, twice = (bundles_of(columns, found, threads) for threads in (1, 3))
    assert (once.order == twice.order).all()
    assert (once.of_blocks == twice.of_blocks).all()
    for got, want in zip(once.arrays, twice.arrays, strict=True):
        assert got.dtype == want.dtype
        assert (got == want).all()


@pytest.mark.parametrize("which", ["repeated", "published"])
def test_products_of_bundles_are_those_of_the_matrix(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, use_rows = repeated(12) if which == "repeated" else (published(5)[0], np.ones(720, dtype=bool))
    columns = columns_of(matrix)
    found = find_structure(columns, use_rows, np.diff(sp.csc_array(matrix[use_rows]).indptr) > 0)
    bundles = bundles_of(columns, found)
    a, rng = dense(bundles), np.random.default_rng(0)
    u, y = rng.random(bundles.count), rng.normal(size=bundles.height)
    monkeypatch.setattr(products, "_PIECE", bundles.size // 5)
    found_products = []
    for threads in (1, 2, 3):
        with Threads(threads) as workers:
            work = BundleMap(bundles, workers)
            assert work.pieces.sums.shape[0] >= 5
            found_products.append((work.matvec(u), work.rmatvec(y)))
    for product, gradient in found_products:
        np.testing.assert_allclose(product, a @ u, rtol=1e-12)
        np.testing.assert_allclose(gradient, a.T @ y, rtol=1e-9, atol=1e-12 * np.abs(a.T @ y).max())
        assert (product == found_products[0][0]).all()
        assert (gradient == found_products[0][1]).all()


def test_empty_rows_and_a_matrix_of_one_pattern() -> None:
    matrix = sp.csc_array(np.vstack([np.ones((3, 5)), np.zeros((200, 5))]))
    columns = columns_of(matrix)
    found = structure_of(columns)
    assert np.sort(found.row_order).tolist() == list(range(203))
    bundles = bundles_of(columns, found)
    assert bundles.arrays.lines.tolist() == [1]
    assert (dense(bundles) == in_order(matrix, found, bundles)).all()


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
    bundles = bundles_of(columns, found)
    np.testing.assert_allclose(dense(bundles), in_order(matrix, found, bundles), rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (6, 6)])
def test_solves_what_a_dense_matrix_solves(threads: int, shape: tuple[int, int]) -> None:
    matrix, _ = nested(7, *shape, 55, 100)
    columns = columns_of(matrix)
    found = structure_of(columns)
    ordered = bundles_of(columns, found)
    rng = np.random.default_rng(8)
    weights, diagonal = rng.lognormal(0, 3, ordered.count), rng.lognormal(0, 2, ordered.height)
    rhs = rng.normal(size=ordered.height)
    with Threads(threads) as workers:
        factor = BlockFactor(found, ordered, workers)
        for _ in range(2):  # the second factorisation must not see the first
            factor.factor(weights, diagonal)
        x = factor.solve(rhs)
    a = dense(ordered)
    s = (a * weights) @ a.T + np.diag(diagonal)
    np.testing.assert_allclose(x, np.linalg.solve(s, rhs), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_areas_that_share_no_target_leave_a_root_without_rows(threads: int) -> None:
    """States without a nation: nothing is passed up, and each is solved on its own."""
    rng = np.random.default_rng(12)
    states = [sp.random_array((40, 300), density=0.15, rng=rng) for _ in range(5)]
    columns = columns_of(sp.csc_array(sp.block_diag(states)))
    found = structure_of(columns)
    assert found.blocks[-1].own == 0
    ordered = bundles_of(columns, found)
    weights, diagonal = rng.lognormal(0, 2, ordered.count), rng.lognormal(0, 2, ordered.height)
    rhs = rng.normal(size=ordered.height)
    with Threads(threads) as workers:
        factor = BlockFactor(found, ordered, workers)
        factor.factor(weights, diagonal)
        x = factor.solve(rhs)
    a = dense(ordered)
    np.testing.assert_allclose(x, np.linalg.solve((a * weights) @ a.T + np.diag(diagonal), rhs), rtol=1e-6, atol=1e-9)


def deep(seed: int, levels: int, rows: int, records: int) -> sp.csc_array:
    """Rows of all the areas above each of the lowest, of which there are two in each."""
    rng = np.random.default_rng(seed)
    parts = []
    for level in range(levels):
        width = records * 2 ** (levels - 1 - level)
        parts.append(sp.block_diag([rng.uniform(0.5, 2.0, (rows, width)) for _ in range(2**level)]))
    return sp.csc_array(sp.vstack(parts))


def test_a_deep_tree_leaves_each_rest_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "LEAST_ROWS", 4)
    monkeypatch.setattr(structure, "_WORTH", 1.0)
    monkeypatch.setattr(numbering, "_NODE_COST", 0.0)
    matrix = deep(3, 5, 6, 9)
    columns = columns_of(matrix)
    found = structure_of(columns)
    assert found.levels >= 4
    ordered = bundles_of(columns, found)
    rng = np.random.default_rng(8)
    weights, diagonal = rng.lognormal(0, 1, ordered.count), rng.lognormal(0, 1, ordered.height)
    rhs, a = rng.normal(size=ordered.height), dense(ordered)
    with Threads(2) as workers:
        factor = BlockFactor(found, ordered, workers)
        factor.factor(weights, diagonal)
        x = factor.solve(rhs)
    np.testing.assert_allclose(x, np.linalg.solve((a * weights) @ a.T + np.diag(diagonal), rhs), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("place", ["branch", "root"])
def test_what_cannot_be_factored_is_said_and_spoils_nothing(place: str, threads: int) -> None:
    columns = columns_of(nested(7, 4, 3, 55, 100)[0])
    found = structure_of(columns)
    ordered = bundles_of(columns, found)
    good = np.ones(ordered.height)
    bad = good.copy()
    bad[found.blocks[-1].rows[0] if place == "root" else 0] = np.nan
    rhs = np.random.default_rng(1).normal(size=ordered.height)
    with Threads(threads) as workers:
        factor = BlockFactor(found, ordered, workers)
        with pytest.raises(NotPositiveDefinite, match=f"block {len(found.blocks) - 1 if place == 'root' else 0}"):
            factor.factor(np.ones(ordered.count), bad)
        factor.factor(np.ones(ordered.count), good)
        x = factor.solve(rhs)
    a = dense(ordered)
    np.testing.assert_allclose(x, np.linalg.solve(a @ a.T + np.eye(ordered.height), rhs), rtol=1e-6, atol=1e-9)


def test_branches_come_the_largest_first() -> None:
    branch_of = np.array([2, 2, 2, 3, 7, 6, 6, 7])
    work = np.zeros(9)
    work[[2, 3, 6, 7]] = 5.0, 1.0, 3.0, 4.0
    branches = Branches.of(branch_of, work, 3)
    assert [part.tolist() for part in np.split(branches.blocks, branches.edges[1:-1])] == [
        [0, 1, 2],
        [4, 7],
        [5, 6],
        [3],
    ]
    assert branches.groups.tolist() == branches.edges.tolist()
    assert branches.turns.shape[0] == 3  # the fourth is added to the sums of the first, after it


def test_many_branches_make_groups_of_about_equal_work() -> None:
    rng = np.random.default_rng(4)
    branch_of, work = rng.permutation(500), np.append(rng.uniform(1.0, 2.0, 500), 0.0)
    branches = Branches.of(branch_of, work, 8)
    assert (np.diff(work[branch_of[branches.blocks]]) <= 0).all()
    assert np.sort(branches.blocks).tolist() == list(range(500))
    loads = np.add.reduceat(work[branch_of[branches.blocks]], branches.groups[:-1])
    assert 30 <= loads.size <= 33
    assert loads.max() < 1.2 * loads.sum() / loads.size


@pytest.mark.parametrize("threads", [2, 3])
def test_nobody_waits_for_a_thread_that_fails(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "_SQUARES", 1)
    columns = columns_of(nested(7, 6, 6, 55, 100)[0])
    found = structure_of(columns)
    ordered = bundles_of(columns, found)
    weights, diagonal = np.ones(ordered.count), np.ones(ordered.height)
    with Threads(threads) as workers:
        factor = BlockFactor(found, ordered, workers)
        all_here = threading.Barrier(threads)

        def failing(branches: Branches, *arguments: Any) -> None:
            if all_here.wait(10.0) == 0:
                branches.next[0] += 1  # it has taken one, whose turn the others wait for
                all_here.wait(10.0)
                raise MemoryError
            all_here.wait(10.0)
            factor_all(branches, ROUTINES, *arguments)

        arrays = factor._panels.arrays, ordered.arrays, weights, diagonal, factor._sums
        with pytest.raises(MemoryError):
            factor._on_all(threads, failing, factor._tree, *arrays)
        factor.factor(weights, diagonal)
        x = factor.solve(np.ones(ordered.height))
    a = dense(ordered)
    np.testing.assert_allclose(x, np.linalg.solve(a @ a.T + np.eye(ordered.height), np.ones(ordered.height)), rtol=1e-6)


def test_threads_of_blocks_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "_SQUARES", 1)  # each branch waits for the ones before it
    columns = columns_of(nested(9, 12, 2, 50, 90)[0])
    found = structure_of(columns)
    ordered = bundles_of(columns, found)
    weights, diagonal = np.random.default_rng(2).lognormal(0, 2, ordered.count), np.ones(ordered.height)
    rhs = np.random.default_rng(1).normal(size=ordered.height)
    results = []
    for threads in (1, 2, 3):
        with Threads(threads) as workers:
            factor = BlockFactor(found, ordered, workers)
            assert factor._branches.edges.size > 10
            for _ in range(5):
                factor.factor(weights, diagonal)
                results.append(factor.solve(rhs))
    assert all((result == results[0]).all() for result in results)


def test_a_semidefinite_block_is_nudged() -> None:
    twice = sp.csc_array(np.array([[1.0, 2.0], [1.0, 2.0]]))
    columns = columns_of(twice)
    found = structure_of(columns)
    factor = BlockFactor(found, bundles_of(columns, found), Threads(1))
    factor.factor(np.ones(2), np.zeros(2))
    x = factor.solve(np.array([1.0, 1.0]))
    assert np.isfinite(x).all()
    assert x.sum() == pytest.approx(0.2, rel=1e-3)


def test_a_large_semidefinite_block_is_nudged_from_what_it_was() -> None:
    rng = np.random.default_rng(2)
    matrix = np.repeat(rng.normal(size=(60, 200)), 2, axis=0)
    columns = columns_of(sp.csc_array(matrix))
    found = structure_of(columns)
    bundles = bundles_of(columns, found)
    factor = BlockFactor(found, bundles, Threads(1))
    factor.factor(np.ones(200), np.zeros(120))
    a = dense(bundles)
    wanted = rng.normal(size=200)
    x = factor.solve(a @ wanted)
    np.testing.assert_allclose(a @ (a.T @ x), a @ wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("own", "above"), [(1, 1), (64, 5), (65, 1), (200, 70), (331, 40)])
def test_a_front_is_eliminated_in_place(own: int, above: int) -> None:
    rng = np.random.default_rng(own)
    half = rng.normal(size=(own + above, own + above))
    whole = half @ half.T + np.eye(own + above)
    panel, rest = whole[:own].copy(), whole[own:, own:].copy()
    panel[:, :own] = np.triu(panel[:, :own])
    room, at, width = np.zeros(8, dtype=np.int32), panel.ctypes.data, own + above
    assert cholesky(ROUTINES, at, width, own, room) == 0
    solve_rows(ROUTINES, at, at + 8 * own, width, own, above, room)
    downdate(ROUTINES, at + 8 * own, width, own, above, rest.ctypes.data, above, room)
    upper = np.linalg.cholesky(whole[:own, :own]).T
    np.testing.assert_allclose(panel[:, :own], upper, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(panel[:, own:], np.linalg.solve(upper.T, whole[:own, own:]), rtol=1e-7, atol=1e-7)
    left = whole[own:, own:] - whole[own:, :own] @ np.linalg.solve(whole[:own, :own], whole[:own, own:])
    np.testing.assert_allclose(np.triu(rest), np.triu(left), rtol=1e-6, atol=1e-6)
