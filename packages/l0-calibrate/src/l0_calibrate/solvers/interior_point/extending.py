"""What a block leaves for those above it: added to the front of its parent, or to the sums for the root.

Branches are added to a few sums side by side. Of each only the upper triangle counts, so two share a square: one as it
is, one in the lower triangle after half a turn (its rows are rows still), its diagonal aside. The first square is the
root's own panel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_gates.jit import fast_inner_jit, fast_jit, inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class RootSums(NamedTuple):
    """``squares``, (squares, root, root), and of the turned sum in each its diagonal, (squares, root).

    Sum 2k is the upper triangle of square k, sum 2k + 1 the other.
    """

    squares: FloatArray
    diagonals: FloatArray


@jit
def clear(sums: RootSums, number: int) -> None:
    """Nothing in a sum yet."""
    square = sums.squares[number // 2]
    for i in range(square.shape[0]):
        if number % 2:
            square[i, :i] = 0.0
            sums.diagonals[number // 2, i] = 0.0
        else:
            square[i, i:] = 0.0


@inner_jit
def extend_root(rest: FloatArray, places: IntArray, sums: RootSums, number: int) -> None:
    """Add the upper triangle of what a branch leaves to its places (ascending) in a sum."""
    square = sums.squares[number // 2]
    if number % 2:
        _extend_turned(rest, places, square, sums.diagonals[number // 2])
    else:
        extend(rest, places, square, rest)  # every place is in the square: nothing lies above the root


@fast_jit
def extend(rest: FloatArray, places: IntArray, panel: FloatArray, above: FloatArray) -> None:
    """Add the upper triangle of what a child leaves to its places (ascending) in a front.

    Places from the height of ``panel`` on are in ``above``.
    """
    n = panel.shape[0]
    for q in range(places.size):
        i = places[q]
        if i < n:
            for p in range(q, places.size):
                panel[i, places[p]] += rest[q, p]
        else:
            for p in range(q, places.size):
                above[i - n, places[p] - n] += rest[q, p]


@fast_inner_jit
def _extend_turned(rest: FloatArray, places: IntArray, square: FloatArray, diagonal: FloatArray) -> None:
    last = square.shape[0] - 1
    for q in range(places.size):
        diagonal[places[q]] += rest[q, q]
        i = last - places[q]
        for p in range(q + 1, places.size):
            square[i, last - places[p]] += rest[q, p]


@jit
def add_up(sums: RootSums, count: int) -> None:
    """The first so many sums, one after another, into the upper triangle of the first square."""
    if count == 0:
        clear(sums, count)
    for number in range(1, count):
        square = sums.squares[number // 2]
        if number % 2:
            _add_turned(sums.squares[0], square, sums.diagonals[number // 2])
        else:
            _add(sums.squares[0], square)


@fast_inner_jit
def _add(to: FloatArray, square: FloatArray) -> None:
    for i in range(to.shape[0]):
        for j in range(i, to.shape[0]):
            to[i, j] += square[i, j]


@fast_inner_jit
def _add_turned(to: FloatArray, square: FloatArray, diagonal: FloatArray) -> None:
    last = to.shape[0] - 1
    for i in range(to.shape[0]):
        to[i, i] += diagonal[i]
        for j in range(i + 1, to.shape[0]):
            to[i, j] += square[last - i, last - j]
