"""Rows that are sums of other rows: areas of a nation, bands of a total, persons of a household by age.

The search is exact: what is found holds on every record, in the stored values, without rounding. Two kinds of parts
are looked for:

- *disjoint* ones: each record of the whole is in one part, with the very entry that the whole has;
- *counts* that overlap: entries of the whole and of the parts are small whole numbers, which add up on every record
  (a household of five: two children, three adults).

Parts of which some entries are negative where the whole's are not, and amounts that are added up over overlapping
parts, are not looked for. Of all ways to divide a row into two, each is found. Of those into more one is sought for
each row that could hold the record which the fewest rows share, the largest parts first; divisions of its parts are
found as those of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from l0_calibrate.problem.nesting import (
    FloatArray,
    IntArray,
    Nest,
    Nesting,
    Room,
    Rows,
    effort,
    fits,
    is_left,
    size,
    take,
    within,
)
from l0_gates.jit import inner_jit, jit

MOST_COUNTED = 255
"""Rows whose entries are all whole numbers from 1 up to this are counts: persons, returns, dwellings."""


@attrs.frozen(eq=False)
class Partition:
    """Row ``whole`` is the sum of the rows ``parts``, on every record."""

    whole: int
    parts: tuple[int, ...]


@attrs.frozen(eq=False)
class Division:
    """Ways to divide a row, and whether the search for them came to its end."""

    found: list[Partition]
    finished: bool


def divide(nesting: Nesting, nest: Nest, known: Sequence[Partition]) -> Division:
    """Look for parts of the row that is laid out which add up to it, other than those known."""
    found: list[Partition] = []
    if not nest.covered:
        return Division(found, True)
    rows, room, children = nesting.rows, nesting.room, nest.children
    limit = effort(nest.order.size)
    seen = {partition.parts for partition in known}
    solved = [part for parts in seen for part in parts]
    finished = True
    first = -1
    while True:
        first = _next_fit(rows, nest, first + 1, nest.order[0], room.left)[0]
        if first == children.size:
            return Division(found, finished)
        count, spent = _remainder(rows, nest, first, room)
        if count == 0 and not any(within(rows, int(children[first]), other) for other in solved):
            count, spent = _complete(rows, nest, first, room, limit)
        limit -= spent
        finished = finished and count >= 0
        if count > 0:
            solved.append(int(children[first]))
            parts = tuple(sorted(children[room.chosen[:count]].tolist()))
            if parts not in seen:
                seen.add(parts)
                found.append(Partition(nest.whole, parts))


# ---------------------------------------------------------------------- kernels


@inner_jit
def _holds(rows: Rows, row: int, record: int) -> bool:
    low, high = rows.indptr[row], rows.indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if rows.indices[middle] < record:
            low = middle + 1
        else:
            high = middle
    return bool(low < rows.indptr[row + 1] and rows.indices[low] == record)


@jit
def _next_fit(rows: Rows, nest: Nest, start: int, record: int, left: FloatArray) -> tuple[int, int]:
    """Place of the next candidate that holds a record and fits, or their number; and the entries looked at."""
    spent = 0
    for c in range(start, nest.children.size):
        k = nest.children[c]
        spent += 1
        if _holds(rows, k, record):
            spent += size(rows, k)
            if fits(rows, k, nest.whole, left):
                return c, spent
    return nest.children.size, spent


@jit
def _remainder(rows: Rows, nest: Nest, first: int, room: Room) -> tuple[int, int]:
    """As `_complete`, where one candidate is all that a first part leaves of the whole."""
    left = room.left
    take(rows, nest.children[first], left, 1.0)
    lacking, found = int(np.count_nonzero(left[nest.order])), 0
    spent = nest.order.size
    for c in range(_first_of_size(rows, nest.children, lacking), nest.children.size):
        if size(rows, nest.children[c]) < lacking:
            break
        spent += lacking
        if c != first and is_left(rows, nest.children[c], left):
            room.chosen[0], room.chosen[1] = first, c
            found = 2
            break
    take(rows, nest.children[first], left, -1.0)
    return found, spent


@inner_jit
def _first_of_size(rows: Rows, children: IntArray, most: int) -> int:
    """Place of the first candidate that has at most so many entries."""
    low, high = 0, children.size
    while low < high:
        middle = (low + high) // 2
        if size(rows, children[middle]) > most:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _complete(rows: Rows, nest: Nest, first: int, room: Room, limit: int) -> tuple[int, int]:
    """Parts of a whole with a given first one, by backtracking over the records in order.

    Returns
    -------
    Number of parts, whose places are then in ``room.chosen``; 0 where there are none, -1 where the limit came first.
    The entries looked at. What is left of the whole is as it was.
    """
    children, order = nest.children, nest.order
    left, chosen, pivots = room.left, room.chosen, room.pivots
    level, spent, start, found = 0, 0, first, 0
    pivots[0] = 0
    while True:
        c, looked = _next_fit(rows, nest, start, order[pivots[level]], left)
        spent += looked
        if c < children.size:
            take(rows, children[c], left, 1.0)
            chosen[level] = c
            pivot = pivots[level]
            while pivot < order.size and left[order[pivot]] == 0.0:
                pivot += 1
            level += 1
            if pivot == order.size:
                found = level
                break
            pivots[level] = pivot
            start = c + 1 if pivot == pivots[level - 1] else 0
        else:
            level -= 1
            take(rows, children[chosen[level]], left, -1.0)
            start = chosen[level] + 1
            if level == 0:
                return 0, spent
        if spent > limit:
            found = -1
            break
    for done in range(level):
        take(rows, children[chosen[done]], left, -1.0)
    return found, spent
