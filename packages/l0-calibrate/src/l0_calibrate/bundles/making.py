"""Finding bundles: columns that belong together, and the rows that are multiples of one another on them.

The rows whose raw entry (unscaled) in a column is that of one *key row*, the total income of a nation, say, are the
totals of the place and the class that the record is in. Columns with the same such rows make a bundle where that is
less work than to do without; any division into bundles is right, for every multiple is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays, Bundles
from l0_calibrate.bundles.lines import Room, Source, count_records, keys, make_bundles
from l0_calibrate.columns import Columns, row_numbers
from l0_calibrate.threads import Threads, even_shares

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ALIKE = 4.0
"""Roundings of an entry (units of its type) by which multiples may differ: two values, a factor and a scale."""
_AT_A_TIME = 2**16
"""Entries that are looked at together, about: more make memory, not better bundles."""
_CANDIDATES = 8
"""Key rows tried, those with most records in the sample;"""
_WINDOWS, _WINDOW = 8, 25_000
"""... which is so many stretches of so many entries,"""
_SAMPLED = 16
"""... and no more than such a part of all: each key row is tried on all of the sample."""
NO_ROW = -1


@attrs.frozen(eq=False)
class BundleMaker:
    """Makes bundles of columns of one matrix."""

    source: Source
    height: int

    @classmethod
    def of(cls, columns: Columns, row_order: IntArray, scale: FloatArray) -> BundleMaker:
        """Of the rows in ``row_order``, which gives them new numbers; ``scale`` is what each row was divided by."""
        place = np.full(columns.rows, -1, dtype=np.int64)
        place[row_order] = np.arange(row_order.size)
        alike = _ALIKE * float(np.finfo(columns.values.dtype).eps)
        return cls(Source(columns.arrays, place, scale, alike), row_order.size)

    def entries(self, order: IntArray) -> IntArray:
        """Entries of some columns."""
        indptr = self.source.matrix.indptr
        return (indptr[order + 1] - indptr[order]).astype(np.int64)

    def keys(self, order: IntArray, key_row: int, workers: Threads | None = None) -> npt.NDArray[np.uint64]:
        """A number for each column, the same for those that belong together by a key row."""
        key = np.empty(order.size, dtype=np.uint64)
        workers = workers or Threads(1)
        shares = [slice(*share) for share in even_shares(order.size, workers.shares)]
        workers.all(len(shares), lambda t: keys(self.source, order[shares[t]], key_row, key[shares[t]]))
        return key

    def make(self, order: IntArray, block: IntArray, key_row: int) -> tuple[IntArray, BundleArrays]:
        """Bundles of some columns by a key row, and these columns in their order; blocks stay where they are."""
        key = self.keys(order, key_row)
        by_key = np.lexsort((key, block))
        order, key, block = order[by_key], key[by_key], block[by_key]
        ends = np.concatenate(([0], np.cumsum(self.entries(order))))
        starts = np.ones(order.size, dtype=bool)
        starts[1:] = (key[1:] != key[:-1]) | (block[1:] != block[:-1])
        firsts = np.flatnonzero(starts)
        # Long stretches of one key are cut where they have grown by as many entries as are looked at together.
        within = ends[:-1] - np.repeat(ends[firsts], np.diff(np.append(firsts, order.size)))
        piece = within // _AT_A_TIME
        starts[1:] |= piece[1:] != piece[:-1]
        edges = np.append(np.flatnonzero(starts), order.size)
        longest, most = int(np.diff(edges).max(initial=0)), int(np.diff(ends[edges]).max(initial=0))
        room = Room.of(self.source.matrix, self.height, longest, most)
        out = self._room_for(order.size, int(ends[-1]))
        made = make_bundles(self.source, order, edges, room, out)
        return order, _filled(out, *made)

    def make_all(
        self, order: IntArray, block: IntArray, key_row: int, cuts: IntArray, workers: Threads
    ) -> tuple[IntArray, BundleArrays]:
        """`make` of parts of the columns side by side, each from one of the ``cuts`` to another; the same for any.

        ``cuts`` has places in ``order``, ascending, from 0 to its end, between which columns stay together.
        """
        ends = np.concatenate(([0], np.cumsum(self.entries(order))))
        shares = np.linspace(0, ends[-1], workers.shares + 1)[1:-1]
        edges = np.unique([0, *cuts[np.searchsorted(ends[cuts], shares)], order.size])
        parts = workers.all(
            edges.size - 1,
            lambda t: self.make(order[edges[t] : edges[t + 1]], block[edges[t] : edges[t + 1]], key_row),
        )
        return np.concatenate([new for new, _ in parts]), _joined([made for _, made in parts])

    def _room_for(self, columns: int, entries: int) -> BundleArrays:
        """Arrays that hold any bundles of so many entries; of what is not filled no memory is taken."""

        def edges() -> IntArray:
            return np.empty(columns + 1, dtype=np.int64)

        def lines() -> npt.NDArray[np.uint16]:
            return np.empty(entries, dtype=np.uint16)

        kind = self.source.matrix.values.dtype
        return BundleArrays(
            edges(), row_numbers(self.height, entries), lines(), np.empty(entries, dtype=kind), edges(),
            edges(), edges(), edges(), lines(), edges(), np.empty(entries, dtype=kind),
        )  # fmt: skip


def key_row(
    maker: BundleMaker, order: IntArray, block: IntArray, workers: Threads, cost: Callable[[Bundles], float]
) -> int:
    """The row that makes the best bundles of a sample of the columns; `NO_ROW` for runs of the same rows."""
    windows: list[tuple[int, int]] = []
    window = min(_WINDOW, int(maker.entries(order).sum()) // (_SAMPLED * _WINDOWS))
    for start in np.linspace(0, order.size, _WINDOWS, endpoint=False).astype(int).tolist():
        first = max(start, windows[-1][1] if windows else 0)
        ahead = order[first : first + window + 1]
        windows.append((first, first + 1 + int(np.searchsorted(np.cumsum(maker.entries(ahead)), window))))
    chosen = np.unique(np.concatenate([np.arange(*window) for window in windows]))
    chosen = chosen[chosen < order.size]
    sample, blocks = order[chosen], block[chosen]
    records = np.zeros(maker.source.place.size, dtype=np.int64)
    count_records(maker.source, sample, records)
    frequent = np.argsort(-records, kind="stable")[:_CANDIDATES]
    candidates = [NO_ROW, *frequent[records[frequent] > 1].tolist()]

    def work(k: int) -> float:
        new, arrays = maker.make(sample, blocks, candidates[k])
        return cost(Bundles(arrays, maker.height, new, np.empty(0, dtype=np.int64)))

    return int(candidates[int(np.argmin(workers.all(len(candidates), work)))])


def _filled(out: BundleArrays, bundles: int, rows: int, runs: int, touched: int) -> BundleArrays:
    """The part of the arrays that is filled."""
    return BundleArrays(
        out.row_edges[: bundles + 1], out.rows[:rows], out.line[:rows], out.multiple[:rows], out.lines[:bundles],
        out.run_edges[: bundles + 1], out.columns[: runs + 1], out.touched_edges[: runs + 1], out.touched[:touched],
        out.starts[: runs + 1], out.values[: int(out.starts[runs])],
    )  # fmt: skip


_EDGES = {"row_edges", "run_edges", "columns", "touched_edges", "starts"}
"""Arrays that go on from one part to the next; the others stand for themselves."""


def _joined(parts: list[BundleArrays]) -> BundleArrays:
    """Bundles of several parts, one after another."""

    def edges(name: str) -> IntArray:
        pieces, end = [np.zeros(1, dtype=np.int64)], 0
        for part in parts:
            pieces.append(getattr(part, name)[1:] + end)
            end = int(pieces[-1][-1]) if pieces[-1].size else end
        return np.concatenate(pieces)

    joined: dict[str, Any] = {
        name: edges(name) if name in _EDGES else np.concatenate([getattr(part, name) for part in parts])
        for name in BundleArrays._fields
    }
    return BundleArrays(**joined)
