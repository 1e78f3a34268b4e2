"""The matrix in the order of its blocks, in bundles of columns on which many rows are multiples of one another.

Records of one place and kind add each of their amounts to several totals: those of the place and of the nation, of
their class and of all classes. Divided by the targets, such rows are multiples of one another on these records. A
bundle keeps them once, as a *line*, and the multiple that each row is of its line: what is streamed in each pass is
a fraction of the matrix, and products of columns are summed in a small dense square of lines.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import Entries, RowNumbers

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PASSES = 16.0
"""Products with the matrix that an iteration makes, about: they weigh an entry against a product of two."""


class BundleArrays(NamedTuple):
    """`Bundles` as compiled kernels take them.

    Bundle b has the rows ``rows[row_edges[b] : row_edges[b + 1]]``, ascending; each is ``multiple`` times the line
    ``line`` (below ``lines[b]``). Its runs are ``run_edges[b]`` to ``run_edges[b + 1]``. Run r has the columns
    ``columns[r]`` to ``columns[r + 1]``, all with values on the lines
    ``touched[touched_edges[r] : touched_edges[r + 1]]``, ascending; they follow one another from ``starts[r]``.
    """

    row_edges: IntArray
    rows: RowNumbers
    line: npt.NDArray[np.uint16]
    multiple: Entries
    lines: IntArray
    run_edges: IntArray
    columns: IntArray
    touched_edges: IntArray
    touched: npt.NDArray[np.uint16]
    starts: IntArray
    values: Entries


@attrs.frozen(eq=False)
class Bundles:
    """A matrix of shape (``height``, ``count``) by bundles of columns.

    ``order`` has the old number of each column, ``of_blocks`` the first bundle of each block and, last, their number.
    """

    arrays: BundleArrays
    height: int
    order: IntArray
    of_blocks: IntArray

    @property
    def count(self) -> int:
        """Number of columns."""
        return int(self.order.size)

    @property
    def size(self) -> int:
        """Number of values kept."""
        return int(self.arrays.values.size)

    @property
    def work(self) -> FloatArray:
        """What the bundles before each, and all of them, cost an iteration, in multiplications: (bundles + 1,)."""
        a = self.arrays
        columns, touched = np.diff(a.columns), np.diff(a.touched_edges).astype(np.float64)
        of_runs = columns * (0.5 * touched**2 + _PASSES * (touched + 1.0))
        rows = np.diff(a.row_edges).astype(np.float64)
        before = np.concatenate(([0.0], np.cumsum(of_runs)))[a.run_edges]
        before[1:] += np.cumsum(0.5 * rows**2 + _PASSES * rows)
        return np.asarray(before)

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Ranges of bundles that are about the same work in a product."""
        a = self.arrays
        work = a.starts[a.run_edges] + 16.0 * a.columns[a.run_edges] + 4.0 * a.row_edges
        edges = np.searchsorted(work, np.linspace(0.0, work[-1], count + 1)[1:-1])
        return list(itertools.pairwise([0, *(int(e) for e in edges), a.lines.size]))
