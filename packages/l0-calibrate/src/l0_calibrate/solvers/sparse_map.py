"""Products with the columns of a fit, on one thread or several."""

from __future__ import annotations

import itertools

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import Columns, ColumnsCopy, Room
from l0_calibrate.solvers import lanes
from l0_calibrate.solvers.kernels import multiply, multiply_transposed
from l0_calibrate.solvers.lanes import Lanes
from l0_calibrate.solvers.stretch import Pace, Sides, restart, stretch
from l0_calibrate.threads import Threads, useful

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


SCATTER = 0.8
"""What adding an entry to its row costs beside reading it; a sweep does so where the ratio is not 0."""


def ranges(columns: Columns, ends: FloatArray, moving: BoolArray | None = None) -> list[tuple[int, int]]:
    """Ranges of columns that are such parts of the work (0 to 1): by entries, and a little for each column itself.

    ``moving`` marks the columns whose entries are added to rows as well; None: all alike.
    """
    if ends.size == 2:
        return [(0, columns.count)]
    if moving is None:
        work = columns.indptr.astype(np.float64)
    else:
        entries = np.diff(columns.indptr.astype(np.float64)) * (1.0 + SCATTER * moving)
        work = np.concatenate(([0.0], np.cumsum(entries)))
    work += 4.0 * np.arange(columns.count + 1)
    edges = np.searchsorted(work, work[-1] * ends[1:-1])
    return list(itertools.pairwise([0, *edges.tolist(), columns.count]))


_WORTH_A_THREAD = 300_000
"""Non-zeros of one thread's share below which handing it over costs more than it saves (tens of microseconds)."""


def threads_for(columns: Columns, threads: int) -> int:
    """How many of the threads at hand are worth handing parts of a matrix; depends on its size alone."""
    return useful(threads, columns.nnz, _WORTH_A_THREAD)


@attrs.define(eq=False)
class ColumnMap:
    """``A`` as columns, in pieces for the threads that are worth using.

    Each piece adds into row buffers of its own that are summed in the order of the pieces, so results are bit-equal for
    equal numbers of threads, whichever does a piece.
    """

    columns: Columns
    workers: Threads = attrs.field(factory=lambda: Threads(1))
    _moving: BoolArray | None = None
    threads: int = attrs.field(init=False)
    _lanes: Lanes = attrs.field(init=False)
    _products: Lanes = attrs.field(init=False)
    _room: Room | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.threads = useful(self.workers.count, self.columns.nnz, lanes.WORTH)
        self._lanes = self._of(self.threads, self._moving)
        # A single product takes fewer threads than many iterations that are handed out at once.
        fewer = threads_for(self.columns, self.threads)
        self._products = self._lanes if fewer == self.threads else self._of(fewer, None)

    def _of(self, count: int, moving: BoolArray | None) -> Lanes:
        columns = self.columns
        pieces = ranges(columns, lanes.shares(count, columns.nnz, columns.rows), moving)
        return Lanes.of(self.workers, count, pieces, columns.rows)

    @property
    def size(self) -> int:
        """Entries that a product passes over."""
        return self.columns.nnz

    def entries(self, chosen: IntArray) -> float:
        """The part of the entries that some columns have."""
        indptr = self.columns.indptr
        return float((indptr[chosen + 1] - indptr[chosen]).sum()) / max(self.columns.nnz, 1)

    def stretch(self, sides: Sides, pace: Pace) -> tuple[int, float, int, float, float, float]:
        """Iterations (see `l0_calibrate.solvers.stretch`)."""
        arrays, board, no_row = self.columns.arrays, self._lanes.board, np.zeros(0)
        return self._lanes.run(lambda lane: stretch(lane, board, arrays, None, no_row, sides, pace))

    def restricted(self, chosen: IntArray, moving: BoolArray) -> ColumnMap:
        """Some of the columns (ascending), copied close together.

        ``moving`` marks those of them that sweeps will work most on; the copy stays until the next is made.
        """
        self._room = self._room or Room.like(self.columns, self.columns.nnz)
        copy = ColumnsCopy.of(self.columns, chosen, self._room)
        part = ColumnMap(copy.columns, self.workers, moving)
        part._lanes.each(copy.fill)
        return part

    def restart(self, sides: Sides, omega: float) -> float:
        """Go on from the new point; the next omega."""
        board = self._lanes.board
        return self._lanes.run(lambda lane: restart(lane, board, board.numbers[0], None, sides, omega))

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, shape (m,)."""
        return self._products.summed(lambda first, last, sums: multiply(first, last, self.columns.arrays, u, sums))

    def rmatvec(self, y: FloatArray) -> FloatArray:
        """``A'y``, shape (k,)."""
        g, arrays = np.empty(self.columns.count), self.columns.arrays
        # Each piece is of entries of its own: the bits are the same for any number of threads.
        self._products.each(lambda first, last: multiply_transposed(first, last, arrays, y, g))
        return g
