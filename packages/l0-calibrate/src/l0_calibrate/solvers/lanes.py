"""Threads inside one compiled call that wait for one another many times a millisecond.

Handing a piece of work to a thread of Python costs tens of microseconds, as much as an iteration of a small fit takes.
Here each thread is handed many iterations at once, and they meet in machine code (a counting barrier). The columns come
in a few pieces for each thread: whoever is through with its own takes those that another has not begun.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import attrs
import numpy as np
import numpy.typing as npt
from numba import types

from l0_calibrate.solvers.atomics import added, seen, swapped
from l0_calibrate.threads import Threads, even_shares
from l0_gates.jit import inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Outcome = TypeVar("Outcome")

WORTH = 10_000
"""Values of one thread's share below which meeting the others costs more than it saves."""
_GIVEN_UP = 8
"""Place at a gate that tells whether somebody will never come, not on the cache line of the count of arrivals."""
_MOST_LOOKS, _FEWEST_LOOKS = 200_000, 10_000
"""Most and fewest looks at the gate before a lane naps; some hundred thousand take about as long as a nap does."""
_FIELDS = 8
"""Numbers of a lane, or of a piece, on the board: a cache line of them."""
_PIECES, _SUMS = (0.6, 0.2, 0.2), 8
"""Pieces of a lane's part of the work, and values of that part for each row from which on there are more than one."""


class Lane(NamedTuple):
    """What one thread does: its number among ``lanes``, its rows, and its own of the pieces of all columns."""

    number: int
    lanes: int
    first: int
    last: int
    top: int
    bottom: int


class Board(NamedTuple):
    """What the threads share: where they meet, the pieces of the columns, and what each thread and piece comes to.

    ``edges``, (pieces + 1,), has the columns or bundles of each piece, ``taken``, (pieces, 8), the last iteration for
    which somebody took it, ``sums``, (pieces - 1, rows), what each but the first adds to the rows. ``numbers``,
    (2, pieces, 8), are for every other iteration: the fastest may be in the next. ``patience``, (lanes, 8), is each
    lane's own: how often it looks at the gate, (16,), before it naps.
    """

    gate: IntArray
    edges: IntArray
    taken: IntArray
    sums: FloatArray
    numbers: FloatArray
    patience: IntArray


def shares(lanes: int, work: int, rows: int) -> FloatArray:
    """Where the pieces of all work end, as parts of it, from 0 to 1: as many for each lane, and one where there is one.

    A large piece and small ones, which another lane does where it is through sooner; or one where that is not worth
    the sums over all rows of each.
    """
    few = lanes == 1 or work < lanes * _SUMS * rows
    of_lane = (1.0,) if few else _PIECES
    return np.append(0.0, np.cumsum(np.tile(of_lane, lanes)) / lanes)


@attrs.frozen(eq=False)
class Lanes:
    """Pieces of the columns, as many for each thread at first, and a fixed share of the rows."""

    workers: Threads
    lanes: tuple[Lane, ...]
    board: Board

    @classmethod
    def of(cls, workers: Threads, count: int, pieces: Sequence[tuple[int, int]], rows: int) -> Lanes:
        """So many lanes, at most as many as there are threads; ranges of columns, as many for each of them."""
        own, of_rows = len(pieces) // count, even_shares(rows, count)
        edges = np.array([pieces[0][0], *(last for _, last in pieces)], dtype=np.int64)
        board = Board(
            np.zeros(16, np.int64), edges, np.zeros((len(pieces), _FIELDS), np.int64),
            np.zeros((len(pieces) - 1, rows)), np.zeros((2, len(pieces), _FIELDS)),
            np.full((count, _FIELDS), _MOST_LOOKS, np.int64),
        )  # fmt: skip
        lanes = (Lane(t, count, t * own, (t + 1) * own, *of_rows[t]) for t in range(count))
        return cls(workers, tuple(lanes), board)

    def run(self, work: Callable[[Lane], Outcome]) -> Outcome:
        """``work`` of every lane at the same time; what the first returns."""
        self.board.gate[:] = 0
        self.board.taken[:] = 0

        def share(t: int) -> Outcome:
            with self._others_let_go():
                return work(self.lanes[t])

        with self._others_let_go():  # an interrupt, say, when work has been handed out and none of it begun here
            return self.workers.all(len(self.lanes), share)[0]

    @contextmanager
    def _others_let_go(self) -> Iterator[None]:
        """Whoever fails here will not come to the gate where others wait."""
        try:
            yield
        except BaseException:
            self.board.gate[_GIVEN_UP] = 1
            raise

    def each(self, work: Callable[[int, int], None]) -> None:
        """``work(first, last)`` of every piece, which need not meet the others."""
        edges = self.board.edges.tolist()
        self.workers.all(len(edges) - 1, lambda k: work(edges[k], edges[k + 1]), len(self.lanes))

    def summed(self, work: Callable[[int, int, FloatArray], None]) -> FloatArray:
        """What all pieces add to sums over the rows, of their own each, in their order; shape (rows,)."""
        first, others, edges = np.zeros(self.board.sums.shape[1]), self.board.sums, self.board.edges.tolist()
        others[:] = 0.0

        def piece_of(k: int) -> None:
            work(edges[k], edges[k + 1], first if k == 0 else others[k - 1])

        self.workers.all(len(edges) - 1, piece_of, len(self.lanes))
        for sums in others:
            first += sums
        return first


if sys.platform == "win32":
    _sleep = types.ExternalFunction("Sleep", types.void(types.uint32))
    _NAP = np.uint32(0)  # milliseconds: what is left of this turn
else:
    _sleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    _NAP = np.uint32(20)  # microseconds


@jit
def piece(lane: Lane, turn: int) -> int:
    """Which piece a lane asks for: its own in their order, then those of the next lanes, the last first."""
    own = lane.last - lane.first
    if turn < own:
        return lane.first + turn
    of = (lane.number + turn // own) % lane.lanes
    return (of + 1) * own - 1 - turn % own


@jit
def take(board: Board, lane: Lane, wanted: int, iteration: int) -> bool:
    """Whether a piece is this lane's to do in an iteration (from 1 on): nobody else has taken it."""
    return lane.lanes == 1 or swapped(board.taken[wanted], np.int64(iteration)) != iteration


@inner_jit
def waited(counter: IntArray, least: int, given_up: IntArray, patience: int) -> int:
    """How many looks it took until a counter was at ``least``, with naps after so many; -1 once somebody gives up."""
    looks = 0
    while seen(counter) < least:
        if seen(given_up) != 0:
            return -1
        looks += 1
        if looks > patience:
            _sleep(_NAP)
    return looks


@jit
def meet(board: Board, lane: Lane) -> bool:
    """Wait until all lanes have come; False where one never will.

    A lane looks out for the others without pause, which is what finds them soonest, and naps between looks where that
    takes too long: one of them may be waiting for this processor. Whoever waits in vain looks less often the next time.
    """
    if lane.lanes == 1:
        return True
    gate, patience = board.gate, board.patience[lane.number]
    last = (added(gate) // lane.lanes + 1) * lane.lanes
    most = patience[0]
    looks = waited(gate, last, gate[_GIVEN_UP:], most)
    if looks < 0:
        return False
    if looks > most:
        patience[0] = max(most // 2, _FEWEST_LOOKS)
    elif looks > most // 4:
        patience[0] = min(most * 2, _MOST_LOOKS)
    return True
