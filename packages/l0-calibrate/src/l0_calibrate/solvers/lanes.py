"""Threads inside one compiled call that wait for one another many times a millisecond.

Handing a piece of work to a thread of Python costs tens of microseconds, as much as an iteration of a small fit takes.
Here each thread is handed many iterations at once, and they meet in machine code (a counting barrier).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import attrs
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from l0_calibrate.threads import Threads, even_shares
from l0_gates.jit import jit

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
"""Numbers of a lane on the board, a cache line of them: two threads do not write to the same one."""


class Lane(NamedTuple):
    """What one thread does: its number among ``lanes``, its columns or bundles, and its rows."""

    number: int
    lanes: int
    first: int
    last: int
    top: int
    bottom: int


class Board(NamedTuple):
    """What the threads share: where they meet, sums over rows of all lanes but the first, and numbers of each.

    Shapes (16,), (lanes - 1, rows) and (2, lanes, 8): what is written for one iteration is read while the fastest may
    be in the next. ``patience``, (lanes, 8), is each lane's own: how often it looks at the gate before it naps.
    """

    gate: IntArray
    sums: FloatArray
    numbers: FloatArray
    patience: IntArray


@attrs.frozen(eq=False)
class Lanes:
    """A fixed share of the columns and of the rows for each thread."""

    workers: Threads
    lanes: tuple[Lane, ...]
    board: Board

    @classmethod
    def of(cls, workers: Threads, ranges: list[tuple[int, int]], rows: int) -> Lanes:
        """One lane for each range of columns; at most as many as there are threads."""
        count = len(ranges)
        of_rows = even_shares(rows, count)
        numbers, patience = np.zeros((2, count, _FIELDS)), np.full((count, _FIELDS), _MOST_LOOKS, np.int64)
        board = Board(np.zeros(16, np.int64), np.zeros((count - 1, rows)), numbers, patience)
        return cls(workers, tuple(Lane(t, count, *ranges[t], *of_rows[t]) for t in range(count)), board)

    def on(self, ranges: list[tuple[int, int]]) -> Lanes:
        """Lanes of other columns on the same threads."""
        return Lanes.of(self.workers, ranges, self.board.sums.shape[1])

    def run(self, work: Callable[[Lane], Outcome]) -> Outcome:
        """``work`` of every lane at the same time; what the first returns."""
        self.board.gate[:] = 0

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

    def summed(self, work: Callable[[Lane, FloatArray], None]) -> FloatArray:
        """What all lanes add to sums over the rows, of their own each, in the order of the lanes; shape (rows,)."""
        first, others = np.zeros(self.board.sums.shape[1]), self.board.sums
        others[:] = 0.0
        self.run(lambda lane: work(lane, first if lane.number == 0 else others[lane.number - 1]))
        for sums in others:
            first += sums
        return first


@intrinsic
def _arrive(_typing: Any, gate: Any) -> Any:
    """Add 1 to the first number of an array, as one step for all threads; what it was."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(gate), code


@intrinsic
def _seen(_typing: Any, gate: Any) -> Any:
    """The first number of an array as other threads have left it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(gate), code


if sys.platform == "win32":
    _sleep = types.ExternalFunction("Sleep", types.void(types.uint32))
    _NAP = np.uint32(0)  # milliseconds: what is left of this turn
else:
    _sleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    _NAP = np.uint32(20)  # microseconds


@jit
def meet(board: Board, lane: Lane) -> bool:
    """Wait until all lanes have come; False where one never will.

    A lane looks out for the others without pause, which is what finds them soonest, and naps between looks where that
    takes too long: one of them may be waiting for this processor. Whoever waits in vain looks less often the next time.
    """
    if lane.lanes == 1:
        return True
    gate, patience = board.gate, board.patience[lane.number]
    last = (_arrive(gate) // lane.lanes + 1) * lane.lanes
    given_up = gate[_GIVEN_UP:]
    looks, most = 0, patience[0]
    while _seen(gate) < last:
        if _seen(given_up) != 0:
            return False
        looks += 1
        if looks > most:
            _sleep(_NAP)
    if looks > most:
        patience[0] = max(most // 2, _FEWEST_LOOKS)
    elif looks > most // 4:
        patience[0] = min(most * 2, _MOST_LOOKS)
    return True
