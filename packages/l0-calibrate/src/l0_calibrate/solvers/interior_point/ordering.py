"""The matrix in the order of its blocks, without the rows and columns that a fit has no use for.

Columns with the same rows lie beside one another, in runs that keep their row numbers once: what is streamed
in each pass is the values, and within a run sums are over what is contiguous.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.system import ColumnArrays, Columns, Entries
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]


class RunArrays(NamedTuple):
    """`Runs` as compiled kernels take them.

    Run r has the columns ``columns[r]`` to ``columns[r + 1]``, all with the rows
    ``rows[row_edges[r] : row_edges[r + 1]]``, ascending; their values follow one another from ``starts[r]``.
    """

    columns: npt.NDArray[np.int64]
    row_edges: npt.NDArray[np.int64]
    rows: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    values: Entries


@attrs.frozen(eq=False)
class Runs:
    """A matrix of shape (``height``, ``count``) by runs of columns with the same rows."""

    arrays: RunArrays
    height: int
    longest: int

    @property
    def count(self) -> int:
        """Number of columns."""
        return int(self.arrays.columns[-1])

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.arrays.values.size)

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Ranges of runs that are about the same work."""
        a = self.arrays
        work = a.starts + 16.0 * a.columns + 8.0 * a.row_edges
        edges = np.searchsorted(work, np.linspace(0.0, work[-1], count + 1)[1:-1])
        return list(itertools.pairwise([0, *(int(e) for e in edges), a.columns.size - 1]))


def ordered_runs(columns: Columns, structure: Structure) -> Runs:
    """The columns of a structure in its order, row numbers in its order and ascending within each run."""
    height = structure.row_order.size
    place = np.full(columns.rows, -1, dtype=np.int64)
    place[structure.row_order] = np.arange(height)
    edges = structure.run_edges.astype(np.int64)
    firsts = structure.column_order[edges[:-1]]
    lengths = np.zeros(firsts.size + 1, dtype=np.int64)
    _lengths(columns.arrays, firsts, place, lengths)
    row_edges = np.cumsum(lengths)
    starts = np.concatenate(([0], np.cumsum(lengths[1:] * np.diff(edges))))
    rows = np.empty(int(row_edges[-1]), dtype=np.uint16 if height <= 2**16 else np.uint32)
    longest = int(lengths.max(initial=0))
    runs = RunArrays(edges, row_edges, rows, starts, np.empty(int(starts[-1]), dtype=columns.values.dtype))
    _fill(columns.arrays, structure.column_order, place, runs, longest)
    return Runs(runs, height, longest)


@jit
def _lengths(matrix: ColumnArrays, firsts: IntArray, place: IntArray, out: IntArray) -> None:
    for k in range(firsts.size):
        for p in range(np.int64(matrix.indptr[firsts[k]]), np.int64(matrix.indptr[firsts[k] + 1])):
            if place[matrix.indices[p]] >= 0:
                out[k + 1] += 1


@jit
def _fill(matrix: ColumnArrays, order: IntArray, place: IntArray, runs: RunArrays, longest: int) -> None:
    # The rows of a run, ascending, and which of the rows in use each is.
    found, ranks = np.empty(longest, dtype=np.int64), np.empty(longest, dtype=np.int64)
    for r in range(runs.columns.size - 1):
        first, last = runs.columns[r], runs.columns[r + 1]
        length = 0
        for p in range(np.int64(matrix.indptr[order[first]]), np.int64(matrix.indptr[order[first] + 1])):
            row = place[matrix.indices[p]]
            if row >= 0:
                # Insertion keeps the rows ascending; columns are short, and nearly in order.
                at = length
                while at > 0 and found[at - 1] > row:
                    found[at], ranks[at] = found[at - 1], ranks[at - 1]
                    at -= 1
                found[at], ranks[at] = row, length
                length += 1
        for k in range(length):
            runs.rows[runs.row_edges[r] + k] = found[k]
        q = runs.starts[r]
        for j in range(first, last):
            start = np.int64(matrix.indptr[order[j]])
            if np.int64(matrix.indptr[order[j] + 1]) - start == length:
                for k in range(length):
                    runs.values[q + k] = matrix.values[start + ranks[k]]
            else:
                _fill_filtered(matrix, order[j], place, found[:length], runs.values[q : q + length])
            q += length


@jit
def _fill_filtered(matrix: ColumnArrays, j: int, place: IntArray, found: IntArray, out: Entries) -> None:
    """Values of a column that has other rows beside those in use."""
    for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
        row = place[matrix.indices[p]]
        if row >= 0:
            out[np.searchsorted(found, row)] = matrix.values[p]
