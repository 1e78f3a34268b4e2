"""Where a matrix has entries, kept once for all columns with the same rows and for all rows with the same columns.

Records of one kind in one place touch the same targets, and a total and a count of one item have the same
records: blocks are looked for among what is left, a small part of the matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import ColumnArrays, Columns
from l0_calibrate.hashing import mixed
from l0_calibrate.solvers.sparse_map import ranges
from l0_calibrate.threads import Threads
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
UintArray = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


class Lists(NamedTuple):
    """Members of each list, ascending: ``edges`` (lists + 1,), ``members`` (entries,)."""

    edges: IntArray
    members: Int32Array


@attrs.frozen(eq=False)
class Pattern:
    """The pattern of the rows and columns in use.

    Parameters
    ----------
    by_patterns
        Rows of each distinct column pattern, first rows only (see ``like``), in old numbers.
    by_rows
        Patterns of each row.
    of_column
        Pattern of each column, shape (columns,); -1 for a column not in use, or without a row in use.
    like
        For each row the first with the same columns, shape (rows,); -1 for a row not in use.
    heft
        How many rows each first row stands for, shape (rows,); 0 for all other rows.
    records
        Columns in use of each row, shape (rows,).
    """

    by_patterns: Lists
    by_rows: Lists
    of_column: Int32Array
    like: IntArray
    heft: IntArray
    records: IntArray

    @classmethod
    def of(cls, columns: Columns, use_rows: BoolArray, use_columns: BoolArray, workers: Threads) -> Pattern:
        """Find the distinct columns, then the distinct rows among them; the same for any number of threads."""
        firsts, of_column = _distinct(columns, use_rows, use_columns, workers)
        edges, members = _taken(columns, use_rows, firsts)
        sizes = np.bincount(of_column[of_column >= 0], minlength=firsts.size)
        row_edges, records, sums = np.zeros(columns.rows + 1, dtype=np.int64), np.zeros(columns.rows, dtype=np.int64), (
            np.zeros(columns.rows, dtype=np.uint64)
        )  # fmt: skip
        _weigh(edges, members, sizes, row_edges, records, sums)
        row_edges = np.cumsum(row_edges)
        by_rows = Lists(row_edges, np.empty(members.size, dtype=np.int32))
        _turn(edges, members, row_edges[:-1].copy(), by_rows.members)
        like = np.full(columns.rows, -1, dtype=np.int64)
        used = np.flatnonzero(use_rows)
        _values, first, inverse = np.unique(sums[used], return_index=True, return_inverse=True)
        like[used] = used[first[inverse]]
        _part_unlike(by_rows, used, like)
        heft = np.bincount(like[used], minlength=columns.rows)
        kept = _only(edges, members, heft)
        return cls(kept, by_rows, of_column, like, heft, records)

    @property
    def rows(self) -> int:
        """m."""
        return int(self.like.size)

    @property
    def count(self) -> int:
        """Number of distinct column patterns."""
        return int(self.by_patterns.edges.size - 1)

    def expanded(self, firsts: IntArray) -> IntArray:
        """All rows that some first rows stand for, ascending."""
        member = np.zeros(self.rows + 1, dtype=bool)  # the last place is that of rows not in use (-1)
        member[firsts] = True
        return np.flatnonzero(member[self.like])


def _taken(columns: Columns, use_rows: BoolArray, firsts: IntArray) -> tuple[IntArray, Int32Array]:
    """The rows in use of some columns."""
    edges = np.zeros(firsts.size + 1, dtype=np.int64)
    _measure(columns.arrays, use_rows, firsts, edges)
    edges = np.cumsum(edges)
    members = np.empty(int(edges[-1]), dtype=np.int32)
    _take(columns.arrays, use_rows, firsts, edges, members)
    return edges, members


def _only(edges: IntArray, members: Int32Array, heft: IntArray) -> Lists:
    """Lists without the rows that another stands for, in the place of all."""
    _drop(edges, members, heft)
    return Lists(edges, members[: int(edges[-1])])


@jit
def _drop(edges: IntArray, members: Int32Array, heft: IntArray) -> None:
    at = first = edges[0]
    for k in range(edges.size - 1):
        last = edges[k + 1]
        for p in range(first, last):
            if heft[members[p]] > 0:
                members[at] = members[p]
                at += 1
        edges[k + 1] = at
        first = last


@jit
def _same(matrix: ColumnArrays, use_rows: BoolArray, i: int, j: int) -> bool:
    """Whether two columns have the same rows in use."""
    p, p_end = np.int64(matrix.indptr[i]), np.int64(matrix.indptr[i + 1])
    q, q_end = np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])
    while True:
        while p < p_end and not use_rows[matrix.indices[p]]:
            p += 1
        while q < q_end and not use_rows[matrix.indices[q]]:
            q += 1
        if p == p_end or q == q_end:
            return bool(p == p_end and q == q_end)
        if matrix.indices[p] != matrix.indices[q]:
            return False
        p += 1
        q += 1


def _distinct(
    columns: Columns, use_rows: BoolArray, use_columns: BoolArray, workers: Threads
) -> tuple[IntArray, Int32Array]:
    """The first column of each pattern, and the pattern of each column: -1 without a row in use."""
    hashes, told = np.zeros(columns.count, dtype=np.uint64), use_columns.copy()
    of_column = np.full(columns.count, -1, dtype=np.int32)
    parts = ranges(columns, np.linspace(0.0, 1.0, workers.shares + 1))
    workers.all(len(parts), lambda t: _hash(*parts[t], columns.arrays, use_rows, hashes, told))
    table = np.full(1 << max(int(2 * np.count_nonzero(told)).bit_length(), 4), -1, dtype=np.int32)
    firsts = _numbered_by_hash(hashes, told, table, of_column)
    workers.all(len(parts), lambda t: _tell_apart(*parts[t], columns.arrays, use_rows, firsts, of_column, told))
    odd = np.flatnonzero((of_column >= 0) & ~told)  # of the same hash as others, by chance
    of_column[odd] = firsts.size + np.arange(odd.size)
    return np.concatenate((firsts, odd)), of_column


@jit
def _hash(first: int, last: int, matrix: ColumnArrays, use_rows: BoolArray, hashes: UintArray, told: BoolArray) -> None:
    """A number of each column that its rows in use make (FNV-1a); ``told`` is left where there are any."""
    for j in range(first, last):
        if not told[j]:
            continue
        hashed = np.uint64(1469598103934665603)
        told[j] = False
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            row = matrix.indices[p]
            if use_rows[row]:
                hashed = (hashed ^ np.uint64(row)) * np.uint64(1099511628211)
                told[j] = True
        hashes[j] = hashed


@jit
def _numbered_by_hash(hashes: UintArray, told: BoolArray, table: Int32Array, of_column: Int32Array) -> IntArray:
    """Number the hashes in the order of their first columns; returns these."""
    firsts = np.empty(of_column.size, dtype=np.int64)
    count = 0
    last = np.uint64(table.size - 1)
    for j in range(of_column.size):
        if not told[j]:
            continue
        slot = mixed(hashes[j]) & last
        while table[slot] >= 0 and hashes[firsts[table[slot]]] != hashes[j]:
            slot = (slot + np.uint64(1)) & last
        if table[slot] < 0:
            table[slot] = count
            firsts[count] = j
            count += 1
        of_column[j] = table[slot]
    return firsts[:count].copy()


@jit
def _tell_apart(
    first: int,
    last: int,
    matrix: ColumnArrays,
    use_rows: BoolArray,
    firsts: IntArray,
    of_column: Int32Array,
    told: BoolArray,
) -> None:
    """``told`` is left where a column has the rows in use of the first one with its hash."""
    for j in range(first, last):
        if of_column[j] >= 0 and firsts[of_column[j]] != j:
            told[j] = _same(matrix, use_rows, firsts[of_column[j]], j)


@jit
def _measure(matrix: ColumnArrays, use_rows: BoolArray, firsts: IntArray, edges: IntArray) -> None:
    for k in range(firsts.size):
        for p in range(np.int64(matrix.indptr[firsts[k]]), np.int64(matrix.indptr[firsts[k] + 1])):
            if use_rows[matrix.indices[p]]:
                edges[k + 1] += 1


@jit
def _take(matrix: ColumnArrays, use_rows: BoolArray, firsts: IntArray, edges: IntArray, members: Int32Array) -> None:
    for k in range(firsts.size):
        at = edges[k]
        for p in range(np.int64(matrix.indptr[firsts[k]]), np.int64(matrix.indptr[firsts[k] + 1])):
            row = matrix.indices[p]
            if use_rows[row]:
                members[at] = row
                at += 1


@jit
def _weigh(
    edges: IntArray, members: Int32Array, sizes: IntArray, row_edges: IntArray, records: IntArray, sums: UintArray
) -> None:
    """Patterns and records of each row, and a number that is the same for rows with the same patterns."""
    for k in range(edges.size - 1):
        key = mixed(np.uint64(k))
        for p in range(edges[k], edges[k + 1]):
            row = members[p]
            row_edges[row + 1] += 1
            records[row] += sizes[k]
            sums[row] += key


@jit
def _turn(edges: IntArray, members: Int32Array, fill: IntArray, out: Int32Array) -> None:
    """The transpose."""
    for k in range(edges.size - 1):
        for p in range(edges[k], edges[k + 1]):
            row = members[p]
            out[fill[row]] = k
            fill[row] += 1


@jit
def _part_unlike(by_rows: Lists, rows: IntArray, like: IntArray) -> None:
    """Rows that only seemed alike, and rows without entries, stand for themselves."""
    for i in rows:
        first = by_rows.edges[like[i]]
        start = by_rows.edges[i]
        length = by_rows.edges[i + 1] - start
        if length == 0 or by_rows.edges[like[i] + 1] - first != length:
            like[i] = i
            continue
        for p in range(length):
            if by_rows.members[start + p] != by_rows.members[first + p]:
                like[i] = i
                break
