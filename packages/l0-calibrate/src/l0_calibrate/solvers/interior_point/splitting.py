"""Splitting rows into a border and areas that share no column with one another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.patterns import Lists, Pattern
from l0_calibrate.threads import Threads
from l0_gates.jit import inner_jit, jit

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

BORDER = -1
"""Area of a row that touches several."""

_SAMPLE = 128
"""Patterns of a row that are looked at when its neighbours are counted."""
_GAPS = 4
"""Thresholds of neighbours that are tried where the sorted counts jump most,"""
_TAILS = 5
"""... and such that leave out a half, a quarter, ... of the rows."""
_SOLID = (128, 16, 1)
"""Least records of rows that may join columns into areas: a national total of five records says nothing of areas."""


@attrs.frozen(eq=False)
class Splitter:
    """A pattern with room for the work: small areas are many, and whole arrays for each would cost more than the work.

    ``late`` is -1 for each pattern between calls, ``member`` False for each row; the others are made ready by a call.
    """

    pattern: Pattern
    owner: IntArray
    late: IntArray
    forest: IntArray
    member: BoolArray
    seen: IntArray

    @classmethod
    def of(cls, pattern: Pattern) -> Splitter:
        """Room for one pattern."""
        owner, late = (np.full(pattern.count, -1, dtype=np.int64) for _ in range(2))
        rows = pattern.rows
        seen = np.full(rows, -1, dtype=np.int64)
        return cls(pattern, owner, late, np.arange(rows), np.zeros(rows, dtype=bool), seen)


@attrs.frozen(eq=False)
class Splitters:
    """A splitter for each thread."""

    lanes: tuple[Splitter, ...]
    workers: Threads

    @classmethod
    def of(cls, pattern: Pattern, workers: Threads) -> Splitters:
        """Room for one pattern."""
        return cls(tuple(Splitter.of(pattern) for _ in range(workers.count)), workers)

    @property
    def pattern(self) -> Pattern:
        """What is split."""
        return self.lanes[0].pattern

    def each(self, items: Sequence[Item], work: Callable[[Splitters, Item], Outcome]) -> list[Outcome]:
        """``work(splitter that is free, item)`` of each item, in order."""
        if len(self.lanes) == 1:
            return [work(self, item) for item in items]
        free = deque(Splitters((lane,), Threads(1)) for lane in self.lanes)

        def one(k: int) -> Outcome:
            mine = free.pop()
            done = work(mine, items[k])
            free.append(mine)
            return done

        return self.workers.all(len(items), one)


@attrs.frozen(eq=False)
class Split:
    """``areas`` of shape (rows given,): 0, 1, ... or `BORDER`; ``sizes`` rows of each area; ``border`` rows of it.

    Sizes count the rows that the given ones stand for. ``solid`` is the least number of records of rows that joined.
    """

    areas: IntArray
    sizes: IntArray
    border: int
    solid: int


def splits(splitters: Splitters, rows: IntArray) -> Iterator[Split]:
    """Different ways to split some (first) rows, for the caller to choose from.

    Rows with many neighbours (rows that share a column with them) are left out, those that remain join
    their columns into areas, and each row left out then joins the one area that it touches, or the border.
    """
    splitter = splitters.lanes[0]
    pattern, owner, late, forest = splitter.pattern, splitter.owner, splitter.late, splitter.forest
    by_rows, heft = pattern.by_rows, pattern.heft
    neighbours = _neighbours(splitters, rows)
    order = np.argsort(neighbours, kind="stable")
    ordered, ranked = rows[order], neighbours[order]
    records, heft = pattern.records[ordered], heft[ordered]
    cuts = _cuts(ranked)
    for solid in _SOLID:
        if solid > 1 and not (records < solid).any():
            continue
        forest[rows] = rows
        _clear(by_rows, rows, owner)
        joined = np.zeros(rows.size, dtype=bool)
        before, done = 0, 0
        for cut in cuts:
            joined[done:cut] = records[done:cut] >= solid
            _join(by_rows, ordered[done:cut][joined[done:cut]], forest, owner)
            done = int(cut)
            area_of = np.full(rows.size, BORDER, dtype=np.int64)
            _assign(by_rows, ordered, joined, forest, owner, late, area_of)
            labels, inverse = np.unique(area_of, return_inverse=True)
            has_border = labels.size > 0 and labels[0] == BORDER
            if labels.size - has_border in (0, 1, before):
                continue
            before = labels.size - has_border
            sizes = np.bincount(inverse, weights=heft).astype(np.int64)
            areas = np.empty(rows.size, dtype=np.int64)
            areas[order] = inverse - 1 if has_border else inverse
            yield Split(areas, sizes[1:] if has_border else sizes, int(sizes[0]) if has_border else 0, solid)


def _neighbours(splitters: Splitters, rows: IntArray) -> IntArray:
    """How many rows share a column with each of some rows, among them."""
    pattern, member = splitters.pattern, splitters.lanes[0].member
    neighbours, lanes = np.zeros(rows.size, dtype=np.int64), len(splitters.lanes)
    member[rows] = True

    def work(t: int) -> None:
        seen = splitters.lanes[t].seen
        seen[rows] = -1
        _count_neighbours(t, lanes, pattern.by_patterns, pattern.by_rows, rows, member, pattern.heft, seen, neighbours)

    splitters.workers.all(lanes, work)
    member[rows] = False
    return neighbours


def _cuts(ranked: IntArray) -> IntArray:
    """Positions in the sorted counts of neighbours: rows before one join columns, those after it do not."""
    jumps = np.diff(np.log(np.maximum(ranked, 1)))
    gaps = 1 + np.argsort(-jumps, kind="stable")[:_GAPS]
    gaps = gaps[jumps[gaps - 1] > 0]
    tails = ranked.size - ranked.size // 2 ** np.arange(1, _TAILS + 1)
    steps = np.searchsorted(ranked, ranked[np.minimum(tails, ranked.size - 1)], side="left")
    cuts = np.unique(np.concatenate((gaps, steps, [ranked.size])))
    return cuts[cuts > 0].astype(np.int64)


@jit
def _count_neighbours(
    first: int,
    step_of_rows: int,
    by_patterns: Lists,
    by_rows: Lists,
    rows: IntArray,
    member: BoolArray,
    heft: IntArray,
    seen: IntArray,
    neighbours: IntArray,
) -> None:
    """Of each so many-th row, from one on."""
    for k in range(first, rows.size, step_of_rows):
        start, last = by_rows.edges[rows[k]], by_rows.edges[rows[k] + 1]
        step = max((last - start) // _SAMPLE, 1)
        for p in range(start, last, step):
            j = by_rows.members[p]
            for q in range(by_patterns.edges[j], by_patterns.edges[j + 1]):
                i = by_patterns.members[q]
                if member[i] and seen[i] != k:
                    seen[i] = k
                    neighbours[k] += heft[i]


@inner_jit
def _root(forest: IntArray, i: int) -> int:
    while forest[i] != i:
        forest[i] = forest[forest[i]]
        i = forest[i]
    return i


@jit
def _join(by_rows: Lists, rows: IntArray, forest: IntArray, owner: IntArray) -> None:
    """Make one area of all patterns of each row; ``owner`` has a row of each pattern's area."""
    for i in rows:
        for p in range(by_rows.edges[i], by_rows.edges[i + 1]):
            j = by_rows.members[p]
            if owner[j] < 0:
                owner[j] = i
            else:
                forest[_root(forest, owner[j])] = _root(forest, i)


@jit
def _clear(by_rows: Lists, rows: IntArray, of_pattern: IntArray) -> None:
    """-1 for all patterns of some rows."""
    for i in rows:
        for p in range(by_rows.edges[i], by_rows.edges[i + 1]):
            of_pattern[by_rows.members[p]] = -1


@jit
def _assign(
    by_rows: Lists,
    rows: IntArray,
    joined: BoolArray,
    forest: IntArray,
    owner: IntArray,
    late: IntArray,
    area_of: IntArray,
) -> None:
    """The area of each row, in the order given: the one that its patterns are in, or the border.

    Rows that were joined have theirs. Patterns that are in no area yet join (in ``late``, which is left clean) the area
    of the first row that has but one.
    """
    for k in range(rows.size):
        i = rows[k]
        if joined[k]:
            area_of[k] = _root(forest, i)
            continue
        first, last = by_rows.edges[i], by_rows.edges[i + 1]
        area: Any = np.int64(-1)
        several = False
        for p in range(first, last):
            j = by_rows.members[p]
            root = np.int64(_root(forest, owner[j])) if owner[j] >= 0 else late[j]
            if root < 0:
                continue
            if area < 0:
                area = root
            elif root != area:
                several = True
                break
        if several:
            continue
        if area < 0:
            area = np.int64(i)
        area_of[k] = area
        for p in range(first, last):
            j = by_rows.members[p]
            if owner[j] < 0:
                late[j] = area
    for k in range(rows.size):
        if area_of[k] >= 0 and not joined[k]:
            for p in range(by_rows.edges[rows[k]], by_rows.edges[rows[k] + 1]):
                late[by_rows.members[p]] = -1
