"""Rows within a row whose targets together want more than the row's own: wages of some above those of all."""

from __future__ import annotations

import numpy as np

from l0_calibrate.problem.nesting import FloatArray, IntArray, Nest, Nesting, Room, Rows, fits, take
from l0_gates.jit import jit


def packed(nesting: Nesting, nest: Nest, values: FloatArray, value: float) -> tuple[int, ...]:
    """Rows that lie within the one that is laid out together, the largest values first, where they exceed its own.

    Whatever the weights (none is negative) the estimate of a row without negative entries is at least that of such
    rows together. Which of them are taken is a rule of thumb: where none exceed the value, others may.

    Parameters
    ----------
    values
        Of all rows; those to be taken must be positive.
    value
        Of the whole.

    Returns
    -------
    Empty where they do not exceed it, or where the whole has negative entries.
    """
    rows, room = nesting.rows, nesting.room
    children = nest.children[values[nest.children] > 0]
    children = children[np.argsort(-values[children], kind="stable")]
    whole = slice(int(rows.indptr[nest.whole]), int(rows.indptr[nest.whole + 1]))
    if not children.size or rows.data[whole].min() < 0:
        return ()
    count = _pack(rows, nest.whole, children, room)
    taken = room.chosen[:count]
    return tuple(sorted(taken.tolist())) if values[taken].sum() > value else ()


@jit
def _pack(rows: Rows, whole: int, children: IntArray, room: Room) -> int:
    """Take what still fits, one after the other; what is left of the whole is as it was."""
    count = 0
    for c in range(children.size):
        if fits(rows, children[c], whole, room.left):
            take(rows, children[c], room.left, 1.0)
            room.chosen[count] = children[c]
            count += 1
    for c in range(count):
        take(rows, room.chosen[c], room.left, -1.0)
    return count
