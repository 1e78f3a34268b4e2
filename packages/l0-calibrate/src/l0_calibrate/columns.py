"""A sparse matrix by columns, in the types that compiled kernels are fastest with, and copies of some of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_gates.jit import jit, read_only

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ONE = np.uint64(1)


Entries = npt.NDArray[np.float32] | npt.NDArray[np.float64]
"""Scaled entries: float32, or float64 where float32 leaves too much open (see `l0_calibrate.system.build_system`)."""


RowNumbers = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
"""Row numbers of the entries, in 16 bits where the rows are few enough (see `row_numbers`)."""

_NARROW = 2**16


def row_numbers(rows: int, entries: int) -> RowNumbers:
    """Room for the row numbers of a matrix, of 16 bits each up to 65,536 rows."""
    return np.empty(entries, np.uint16) if rows <= _NARROW else np.empty(entries, np.uint32)


class ColumnArrays(NamedTuple):
    """`Columns` as compiled kernels take them."""

    indptr: npt.NDArray[np.uint64]
    indices: RowNumbers
    values: Entries


@attrs.frozen(eq=False)
class Columns:
    """A sparse matrix by columns (CSC) in the types the kernels are fastest with.

    ``indptr`` uint64 of shape (columns + 1,), ``indices`` uint16 or uint32 (see `row_numbers`) and ``values`` float32
    (or float64, see `l0_calibrate.system.build_system`) of shape (non-zeros,); row indices ascend within a column.
    """

    indptr: npt.NDArray[np.uint64]
    indices: RowNumbers
    values: Entries
    rows: int

    @property
    def count(self) -> int:
        """Number of columns."""
        return int(self.indptr.size - 1)

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.values.size)

    @property
    def arrays(self) -> ColumnArrays:
        """For compiled kernels."""
        return ColumnArrays(self.indptr, self.indices, self.values)


@jit
def _gather(first: int, last: int, source: ColumnArrays, support: IntArray, target: ColumnArrays) -> None:
    """Copy the entries of ``support[first:last]`` to their places."""
    indptr, indices, values = source
    new_indptr, new_indices, new_values = target
    for k in range(first, last):
        p = indptr[support[k]]
        q = new_indptr[k]
        end = new_indptr[k + 1]
        while q < end:  # unsigned throughout: signed positions would be tested for their sign
            new_indices[q] = indices[p]
            new_values[q] = values[p]
            p += _ONE
            q += _ONE


@jit
def _add_sizes(matrix: ColumnArrays, row_sums: FloatArray) -> None:
    for p in range(matrix.values.size):
        row_sums[matrix.indices[p]] += abs(matrix.values[p])


@attrs.frozen(eq=False)
class Room:
    """Memory for copies of columns, used again by each: fresh memory costs more than the copying."""

    indices: RowNumbers
    values: npt.NDArray[Any]

    @classmethod
    def like(cls, columns: Columns, entries: int) -> Room:
        """Room for so many entries."""
        return cls(row_numbers(columns.rows, entries), np.empty(entries, columns.values.dtype))


@attrs.frozen(eq=False)
class ColumnsCopy:
    """Some columns of a matrix in an order of their own, to be filled range by range (by several threads)."""

    columns: Columns
    _source: Columns
    _chosen: IntArray

    @classmethod
    def of(cls, source: Columns, chosen: IntArray, room: Room | None = None) -> ColumnsCopy:
        """Room for the chosen columns, not filled yet."""
        indptr = np.zeros(chosen.size + 1, dtype=np.uint64)
        np.cumsum(source.indptr[chosen + 1] - source.indptr[chosen], out=indptr[1:])
        entries = int(indptr[-1])
        room = room or Room.like(source, entries)
        return cls(Columns(indptr, room.indices[:entries], room.values[:entries], source.rows), source, chosen)

    def fill(self, first: int, last: int) -> None:
        """Copy the columns of a range of the new order."""
        _gather(first, last, self._source.arrays, read_only(self._chosen), self.columns.arrays)


def chosen_columns(columns: Columns, support: IntArray) -> Columns:
    """The columns of a support."""
    copy = ColumnsCopy.of(columns, support)
    copy.fill(0, support.size)
    return copy.columns


def take_columns(columns: Columns, support: IntArray) -> tuple[Columns, FloatArray]:
    """The columns of a support, and the sums of absolute entries of each row over them, shape (m,)."""
    chosen = chosen_columns(columns, support)
    row_sums = np.zeros(columns.rows)
    _add_sizes(chosen.arrays, row_sums)
    return chosen, row_sums


@jit
def _add_sizes_in(matrix: ColumnArrays, rows: BoolArray, sums: FloatArray) -> None:
    for j in range(sums.size):
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            if rows[np.int64(matrix.indices[p])]:
                sums[j] += abs(np.float64(matrix.values[p]))


def sums_in_rows(columns: Columns, rows: BoolArray) -> FloatArray:
    """The sums of absolute entries of each column in some rows (flags of shape (m,)), shape (columns,)."""
    sums = np.zeros(columns.count)
    _add_sizes_in(columns.arrays, rows, sums)
    return sums
