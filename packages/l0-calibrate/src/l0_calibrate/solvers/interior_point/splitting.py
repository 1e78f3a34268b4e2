"""Splitting rows into a border and areas that share no column with one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.system import ColumnArrays, Columns
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

BORDER = -1
"""Area of a row that touches several."""

_SAMPLE = 128
"""Columns of a row that are looked at when its neighbours are counted."""
_GAPS = 4
"""Thresholds of neighbours that are tried where the sorted counts jump most,"""
_TAILS = 5
"""... and such that leave out a half, a quarter, ... of the rows."""
_SOLID = (1, 16, 128)
"""Least lengths of rows that may join columns into areas: a national total of five records says nothing of areas."""


class ByRows(NamedTuple):
    """Pattern by rows: ``indptr`` (rows + 1,), ``columns`` (entries,)."""

    indptr: IntArray
    columns: Int32Array


@attrs.frozen(eq=False)
class Pattern:
    """Where a matrix has entries, by columns and by rows (rows and columns in use only).

    ``owner`` and ``late`` are room for `splits`, -1 for each column between calls: the small areas deep in
    a tree are many, and arrays over all columns for each of them would cost more than the work.
    """

    by_columns: ColumnArrays
    by_rows: ByRows
    use_columns: BoolArray
    rows: int
    owner: IntArray
    late: IntArray

    @classmethod
    def of(cls, columns: Columns, use_rows: BoolArray, use_columns: BoolArray) -> Pattern:
        """Transpose the pattern: 4 bytes an entry."""
        counts = np.zeros(columns.rows + 1, dtype=np.int64)
        _count_rows(columns.arrays, use_rows, use_columns, counts)
        indptr = np.cumsum(counts)
        out = np.empty(int(indptr[-1]), dtype=np.int32)
        _fill_rows(columns.arrays, use_rows, use_columns, indptr[:-1].copy(), out)
        owner, late = (np.full(columns.count, -1, dtype=np.int64) for _ in range(2))
        return cls(columns.arrays, ByRows(indptr, out), use_columns, columns.rows, owner, late)

    def lowest(self, block_of_row: IntArray, root: int) -> tuple[IntArray, IntArray, IntArray]:
        """The first block (children come before parents) among the rows of each column; ``root - 1`` for none.

        And the first row in that block, and a number for all rows in blocks, the same where the rows are the same.
        """
        out = np.full(self.use_columns.size, root - 1, dtype=np.int64)
        first, alike = np.zeros_like(out), np.zeros_like(out)
        _lowest(self.by_columns, block_of_row, out, first, alike)
        return out, first, alike

    def marked(self, columns: IntArray, place: IntArray) -> BoolArray:
        """The places of the rows (-1 for none) that some columns touch, as flags of shape (rows,)."""
        out = np.zeros(self.rows, dtype=np.bool_)
        _mark(self.by_columns, columns, place, out)
        return out


@attrs.frozen(eq=False)
class Split:
    """``areas`` of shape (rows given,): 0, 1, ... or `BORDER`; ``sizes`` rows of each area; ``border`` rows of it."""

    areas: IntArray
    sizes: IntArray
    border: int


def splits(pattern: Pattern, rows: IntArray) -> Iterator[Split]:
    """Different ways to split some rows, for the caller to choose from.

    Rows with many neighbours (rows that share a column with them) are left out, those that remain join
    their columns into areas, and each row left out then joins the one area that it touches, or the border.
    """
    member = np.zeros(pattern.rows, dtype=bool)
    member[rows] = True
    neighbours = np.zeros(rows.size, dtype=np.int64)
    _count_neighbours(pattern.by_columns, pattern.by_rows, rows, member, neighbours)
    order = np.argsort(neighbours, kind="stable")
    ordered = rows[order]
    ranked = neighbours[order]
    lengths = np.diff(pattern.by_rows.indptr)[ordered]
    cuts = _cuts(ranked)
    for solid in _SOLID:
        if solid > 1 and not (lengths < solid).any():
            continue
        forest = np.arange(pattern.rows, dtype=np.int64)
        _clear(pattern.by_rows, rows, pattern.owner)
        before, done = 0, 0
        for cut in cuts:
            joining = ordered[done:cut][lengths[done:cut] >= solid]
            _join(pattern.by_rows, joining, forest, pattern.owner)
            done = int(cut)
            area_of = np.full(rows.size, BORDER, dtype=np.int64)
            _assign(pattern.by_rows, ordered, forest, pattern.owner, pattern.late, area_of)
            _clear(pattern.by_rows, rows, pattern.late)
            labels, inverse, sizes = np.unique(area_of, return_inverse=True, return_counts=True)
            has_border = labels.size > 0 and labels[0] == BORDER
            areas = np.empty(rows.size, dtype=np.int64)
            areas[order] = inverse - 1 if has_border else inverse
            border = int(sizes[0]) if has_border else 0
            inner = sizes[1:] if has_border else sizes
            if inner.size > 1 and inner.size != before:
                before = inner.size
                yield Split(areas, inner.astype(np.int64), border)


def _cuts(ranked: IntArray) -> IntArray:
    """Positions in the sorted counts of neighbours: rows before one join columns, those after it do not."""
    jumps = np.diff(np.log(np.maximum(ranked, 1)))
    gaps = 1 + np.argsort(-jumps, kind="stable")[:_GAPS]
    gaps = gaps[jumps[gaps - 1] > 0]
    tails = ranked.size - ranked.size // 2 ** np.arange(1, _TAILS + 1)
    steps = np.searchsorted(ranked, ranked[np.minimum(tails, ranked.size - 1)], side="left")
    cuts = np.unique(np.concatenate((gaps, steps, [ranked.size])))
    return cuts[cuts > 0].astype(np.int64)


@jit
def _count_rows(matrix: ColumnArrays, use_rows: BoolArray, use_columns: BoolArray, counts: IntArray) -> None:
    for j in range(use_columns.size):
        if use_columns[j]:
            for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
                i = np.int64(matrix.indices[p])
                if use_rows[i]:
                    counts[i + 1] += 1


@jit
def _fill_rows(
    matrix: ColumnArrays, use_rows: BoolArray, use_columns: BoolArray, fill: IntArray, out: Int32Array
) -> None:
    for j in range(use_columns.size):
        if use_columns[j]:
            for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
                i = np.int64(matrix.indices[p])
                if use_rows[i]:
                    out[fill[i]] = j
                    fill[i] += 1


@jit
def _lowest(matrix: ColumnArrays, block_of_row: IntArray, out: IntArray, first: IntArray, alike: IntArray) -> None:
    for j in range(out.size):
        mixed = np.uint64(1469598103934665603)
        start, stop = np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])
        for p in range(start, stop):
            row = np.int64(matrix.indices[p])
            block = block_of_row[row]
            if block >= 0:
                out[j] = min(out[j], block)
                mixed = (mixed ^ np.uint64(row)) * np.uint64(1099511628211)  # FNV-1a
        alike[j] = np.int64(mixed >> np.uint64(1))
        for p in range(start, stop):
            if block_of_row[np.int64(matrix.indices[p])] == out[j]:
                first[j] = np.int64(matrix.indices[p])
                break


@jit
def _mark(matrix: ColumnArrays, columns: IntArray, place: IntArray, out: BoolArray) -> None:
    for j in columns:
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            row = place[np.int64(matrix.indices[p])]
            if row >= 0:
                out[row] = True


@jit
def _count_neighbours(
    matrix: ColumnArrays, by_rows: ByRows, rows: IntArray, member: BoolArray, neighbours: IntArray
) -> None:
    seen = np.full(member.size, -1, dtype=np.int64)
    for k in range(rows.size):
        first, last = by_rows.indptr[rows[k]], by_rows.indptr[rows[k] + 1]
        step = max((last - first) // _SAMPLE, 1)
        for p in range(first, last, step):
            j = by_rows.columns[p]
            for q in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
                i = np.int64(matrix.indices[q])
                if member[i] and seen[i] != k:
                    seen[i] = k
                    neighbours[k] += 1


@jit
def _root(forest: IntArray, i: int) -> int:
    while forest[i] != i:
        forest[i] = forest[forest[i]]
        i = forest[i]
    return i


@jit
def _join(by_rows: ByRows, rows: IntArray, forest: IntArray, owner: IntArray) -> None:
    """Make one area of all columns of each row; ``owner`` has a row of each column's area."""
    for i in rows:
        for p in range(by_rows.indptr[i], by_rows.indptr[i + 1]):
            j = by_rows.columns[p]
            if owner[j] < 0:
                owner[j] = i
            else:
                forest[_root(forest, owner[j])] = _root(forest, i)


@jit
def _clear(by_rows: ByRows, rows: IntArray, of_column: IntArray) -> None:
    """-1 for all columns of some rows."""
    for i in rows:
        for p in range(by_rows.indptr[i], by_rows.indptr[i + 1]):
            of_column[by_rows.columns[p]] = -1


@jit
def _assign(
    by_rows: ByRows, rows: IntArray, forest: IntArray, owner: IntArray, late: IntArray, area_of: IntArray
) -> None:
    """The area of each row, in the order given: the one that its columns are in, or the border.

    Columns that are in no area yet join (in ``late``) the area of the first row that has but one.
    """
    for k in range(rows.size):
        i = rows[k]
        first, last = by_rows.indptr[i], by_rows.indptr[i + 1]
        area: Any = np.int64(-1)
        several = False
        for p in range(first, last):
            j = by_rows.columns[p]
            root = np.int64(_root(forest, owner[j])) if owner[j] >= 0 else late[j]
            if root < 0:
                continue
            if area < 0:
                area = root
            elif root != area:
                several = True
                break
        if several:
            continue
        if area < 0:
            area = np.int64(i)
        area_of[k] = area
        for p in range(first, last):
            j = by_rows.columns[p]
            if owner[j] < 0:
                late[j] = area
