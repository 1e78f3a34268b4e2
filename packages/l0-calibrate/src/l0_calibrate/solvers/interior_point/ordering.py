"""The matrix in the order of its blocks, without the rows and columns that a fit has no use for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.structure import Structure
from l0_calibrate.system import ColumnArrays, Columns
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]


def ordered_columns(columns: Columns, structure: Structure) -> Columns:
    """The columns of a structure in its order, row numbers in its order and ascending within each column."""
    place = np.full(columns.rows, -1, dtype=np.int64)
    place[structure.row_order] = np.arange(structure.row_order.size)
    indptr = np.zeros(structure.column_order.size + 1, dtype=np.int64)
    _lengths(columns.arrays, structure.column_order, place, indptr)
    indptr = np.cumsum(indptr)
    indices = np.empty(int(indptr[-1]), dtype=np.uint32)
    values = np.empty(indices.size, dtype=columns.values.dtype)
    out = Columns(indptr.astype(np.uint64), indices, values, structure.row_order.size)
    _fill(columns.arrays, structure.column_order, place, out.arrays)
    return out


@jit
def _lengths(matrix: ColumnArrays, order: IntArray, place: IntArray, out: IntArray) -> None:
    for k in range(order.size):
        for p in range(np.int64(matrix.indptr[order[k]]), np.int64(matrix.indptr[order[k] + 1])):
            if place[np.int64(matrix.indices[p])] >= 0:
                out[k + 1] += 1


@jit
def _fill(matrix: ColumnArrays, order: IntArray, place: IntArray, out: ColumnArrays) -> None:
    for k in range(order.size):
        first = np.int64(out.indptr[k])
        q = first
        for p in range(np.int64(matrix.indptr[order[k]]), np.int64(matrix.indptr[order[k] + 1])):
            row = place[np.int64(matrix.indices[p])]
            if row < 0:
                continue
            # Insertion keeps the rows of a column ascending; columns are short.
            at = q
            while at > first and np.int64(out.indices[at - 1]) > row:
                out.indices[at] = out.indices[at - 1]
                out.values[at] = out.values[at - 1]
                at -= 1
            out.indices[at] = row
            out.values[at] = matrix.values[p]
            q += 1
