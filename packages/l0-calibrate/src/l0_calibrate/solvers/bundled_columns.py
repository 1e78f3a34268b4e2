"""Products and iterations of the primal-dual method with the columns of a fit in bundles."""

from __future__ import annotations

import itertools

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.bundles.kernels import multiply, multiply_transposed
from l0_calibrate.bundles.packed import BundleRoom, kept, pays
from l0_calibrate.columns import Columns, chosen_columns
from l0_calibrate.solvers import lanes
from l0_calibrate.solvers.lanes import Lanes
from l0_calibrate.solvers.sparse_map import SCATTER, ColumnMap
from l0_calibrate.solvers.stretch import Pace, Sides, restart, stretch
from l0_calibrate.threads import Threads, useful

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_OF_COLUMN, _OF_ROW = 6.0, 2.0
"""What a column and a row of a bundle cost a sweep, beside a value."""


def _lengths(bundles: Bundles) -> IntArray:
    """Values of each column."""
    return np.repeat(np.diff(bundles.arrays.touched_edges), np.diff(bundles.arrays.columns))


def _cuts(bundles: Bundles, ends: FloatArray, moving: BoolArray | None) -> list[tuple[int, int]]:
    """Ranges of bundles that are such parts of the work (0 to 1); ``moving``: columns added to rows, None for all."""
    a = bundles.arrays
    if ends.size == 2:
        return [(0, a.lines.size)]
    of_columns = _lengths(bundles) * (1.0 + SCATTER * (1.0 if moving is None else moving)) + _OF_COLUMN
    work = np.concatenate(([0.0], np.cumsum(of_columns)))[a.columns[a.run_edges]] + _OF_ROW * a.row_edges
    edges = np.searchsorted(work, work[-1] * ends[1:-1])
    return list(itertools.pairwise([0, *edges.tolist(), a.lines.size]))


@attrs.define(eq=False)
class BundledColumns:
    """``A`` in bundles, in pieces for the threads that are worth using; columns in their order.

    ``columns`` are the same as they are, in the order that ``bundles.order`` refers to. ``mass_row`` is one more row,
    the last, shape (columns,), or (0,) for none. Results are bit-equal for equal numbers of threads.
    """

    bundles: Bundles
    columns: Columns
    mass_row: FloatArray
    workers: Threads = attrs.field(factory=lambda: Threads(1))
    _moving: BoolArray | None = None
    threads: int = attrs.field(init=False)
    _lanes: Lanes = attrs.field(init=False)
    _room: BundleRoom | None = attrs.field(init=False, default=None)
    _lengths: IntArray | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.threads = useful(self.workers.count, self.size, lanes.WORTH)
        pieces = _cuts(self.bundles, lanes.shares(self.threads, self.size, self.rows), self._moving)
        self._lanes = Lanes.of(self.workers, self.threads, pieces, self.rows)

    @property
    def rows(self) -> int:
        """Rows with that of the mass."""
        return self.bundles.height + bool(self.mass_row.size)

    @property
    def size(self) -> int:
        """Values and rows that a product passes over."""
        return self.bundles.size + int(self.bundles.arrays.rows.size)

    def entries(self, chosen: IntArray) -> float:
        """The part of the values that some columns have."""
        if self._lengths is None:
            self._lengths = _lengths(self.bundles)
        return float(self._lengths[chosen].sum()) / max(self.bundles.size, 1)

    def restricted(self, chosen: IntArray, moving: BoolArray) -> BundledColumns | ColumnMap:
        """Some of the columns (ascending), copied close together.

        As they are, where that is less work; the copy stays until the next is made.
        """
        self._room = self._room or BundleRoom.like(self.bundles)
        part = kept(self.bundles, chosen, self._room, self.workers)
        ids = self.bundles.order[chosen]
        if not pays(part, int((self.columns.indptr[ids + 1] - self.columns.indptr[ids]).sum())):
            return ColumnMap(chosen_columns(self.columns, ids), self.workers, moving)
        row = self.mass_row[chosen] if self.mass_row.size else self.mass_row
        return BundledColumns(part, self.columns, row, self.workers, moving)

    def stretch(self, sides: Sides, pace: Pace) -> tuple[int, float, int, float, float, float]:
        """Iterations (see `l0_calibrate.solvers.stretch`)."""
        arrays, board = self.bundles.arrays, self._lanes.board
        return self._lanes.run(lambda lane: stretch(lane, board, None, arrays, self.mass_row, sides, pace))

    def restart(self, sides: Sides, omega: float) -> float:
        """Go on from the new point; the next omega."""
        arrays, board = self.bundles.arrays, self._lanes.board
        return self._lanes.run(lambda lane: restart(lane, board, board.numbers[0], arrays, sides, omega))

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, shape (rows,)."""
        arrays = self.bundles.arrays
        product = self._lanes.summed(lambda first, last, sums: multiply(first, last, arrays, u, sums))
        if self.mass_row.size:
            product[-1] = float((self.mass_row * u).sum())
        return product

    def rmatvec(self, y: FloatArray) -> FloatArray:
        """``A'y``, shape (columns,)."""
        g, arrays = np.empty(self.bundles.count), self.bundles.arrays
        self._lanes.each(lambda first, last: multiply_transposed(first, last, arrays, y, g))
        if self.mass_row.size:
            g += y[-1] * self.mass_row
        return g
