"""Which rows of a matrix lie within others: their records are among the other's, with entries that fit into its own.

A row can be a part of another only so. Candidates are found by the record of each row that the fewest rows share, and
then looked at entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.problem.matrices import entries_of_columns
from l0_gates.jit import inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EFFORT = 300
"""Entries that one search in a row looks at (see `effort`), for each of its own."""

LEAST = 10_000
"""And at the least."""


def effort(entries: int) -> int:
    """How many entries the search for the rows in a row, and that for its parts, look at until they are cut short."""
    return max(LEAST, EFFORT * entries)


class Rows(NamedTuple):
    """A matrix by rows as kernels take it, and which of the rows may overlap as counts do."""

    indptr: npt.NDArray[Any]
    indices: npt.NDArray[Any]
    data: npt.NDArray[Any]
    counts: BoolArray


class Room(NamedTuple):
    """Memory of a search.

    Of each record, and zero between two wholes: what is left of the whole's entry, what the candidates add, how many
    they are. Of each row: the candidates, and those chosen with the places of their records in the order.
    """

    left: FloatArray
    added: FloatArray
    candidates: IntArray
    children: IntArray
    chosen: IntArray
    pivots: IntArray

    @classmethod
    def of(cls, rows: int, records: int) -> Room:
        """For a matrix."""

        def places(count: int) -> IntArray:
            return np.zeros(count, dtype=np.int64)

        return cls(
            np.zeros(records), np.zeros(records), places(records), places(rows), places(rows + 1), places(rows + 1)
        )


class Nest(NamedTuple):
    """A row, those that lie within it, and its records.

    Parameters
    ----------
    children
        The row with the most entries first.
    order
        Records, those that the fewest children hold first.
    covered
        Whether the children together have at least the entry of the whole on every record.
    complete
        Whether all children are there: the search for them ends after some effort.
    """

    whole: int
    children: IntArray
    order: npt.NDArray[Any]
    covered: bool
    complete: bool


class _ByRecord(NamedTuple):
    """Rows by the rarest of their records: those of record j are ``rows[starts[j]:starts[j + 1]]``."""

    starts: IntArray
    rows: IntArray


@attrs.frozen(eq=False)
class Nesting:
    """Some rows of a matrix, no two of them equal, and memory to look at them one within the other.

    ``sizes`` has the number of entries of each row; ``largest`` the largest entry of each row whose entries are all
    whole numbers from 1 on, 0 for the others.
    """

    rows: Rows
    distinct: IntArray
    sizes: IntArray
    largest: FloatArray
    room: Room
    _by_record: _ByRecord

    @classmethod
    def of(cls, matrix: sp.csr_array, distinct: IntArray) -> Nesting:
        """Of a canonical CSR matrix; the chosen rows without any entry are left out."""
        m, n = matrix.shape
        sizes = np.diff(matrix.indptr).astype(np.int64)
        distinct = distinct[sizes[distinct] > 0].astype(np.int64)
        rows = Rows(matrix.indptr, matrix.indices, matrix.data, np.zeros(m, dtype=np.bool_))
        base, largest = np.empty(distinct.size, dtype=np.int64), np.zeros(m)
        _describe(rows, distinct, entries_of_columns(matrix), base, largest)
        starts = np.zeros(n + 1, dtype=np.int64)
        np.cumsum(np.bincount(base, minlength=n), out=starts[1:])
        by_record = _ByRecord(starts, distinct[np.argsort(base, kind="stable")])
        return cls(rows, distinct, sizes, largest, Room.of(m, n), by_record)

    @contextmanager
    def laid_out(self, whole: int) -> Iterator[Nest]:
        """The rows within a row, whose entries are in ``room.left`` meanwhile."""
        rows, room = self.rows, self.room
        limit = effort(int(self.sizes[whole]))
        count, covered, complete = _find_within(rows, whole, self._by_record, room, limit)
        children = room.children[:count]
        children = children[np.lexsort((children, -self.sizes[children]))]
        records = rows.indices[rows.indptr[whole] : rows.indptr[whole + 1]]
        order = records[np.argsort(room.candidates[records], kind="stable")]
        try:
            yield Nest(whole, children, order, covered, complete)
        finally:
            _clear(rows, whole, room)


# ---------------------------------------------------------------------- kernels


@jit
def _describe(rows: Rows, distinct: IntArray, lengths: IntArray, base: IntArray, largest: FloatArray) -> None:
    """Of each row the record that the fewest rows share, and its largest entry if all are whole numbers from 1 on."""
    for k in range(distinct.size):
        i = distinct[k]
        rarest = rows.indices[rows.indptr[i]]
        most = 0.0
        whole = True
        for p in range(rows.indptr[i], rows.indptr[i + 1]):
            j = rows.indices[p]
            if lengths[j] < lengths[rarest]:
                rarest = j
            value = np.float64(rows.data[p])
            if value < 1.0 or value != np.floor(value):
                whole = False
            most = max(most, value)
        base[k] = rarest
        largest[i] = most if whole else 0.0


@jit
def size(rows: Rows, row: int) -> int:
    """Number of entries of a row."""
    return int(rows.indptr[row + 1] - rows.indptr[row])


@inner_jit
def _fitting(rows: Rows, part: int, whole: int, left: FloatArray) -> int:
    """Number of entries of a row, from its first, that can be a part of what is left of the whole."""
    counts = rows.counts[part] and rows.counts[whole]
    for p in range(rows.indptr[part], rows.indptr[part + 1]):
        value = np.float64(rows.data[p])
        rest = left[rows.indices[p]]
        if value != rest and not (counts and value <= rest):
            return int(p - rows.indptr[part])
    return int(size(rows, part))


@jit
def fits(rows: Rows, part: int, whole: int, left: FloatArray) -> bool:
    """Whether a row can be a part of what is left of the whole."""
    return bool(_fitting(rows, part, whole, left) == size(rows, part))


@inner_jit
def is_left(rows: Rows, part: int, left: FloatArray) -> bool:
    """Whether the entries of a row are all that is left of the whole on its records."""
    p = rows.indptr[part]
    while p < rows.indptr[part + 1] and left[rows.indices[p]] == rows.data[p]:
        p += 1
    return bool(p == rows.indptr[part + 1])


@jit
def within(rows: Rows, part: int, whole: int) -> bool:
    """Whether a row could be a part of another, which is not laid out."""
    counts = rows.counts[part] and rows.counts[whole]
    q = rows.indptr[whole]
    for p in range(rows.indptr[part], rows.indptr[part + 1]):
        while q < rows.indptr[whole + 1] and rows.indices[q] < rows.indices[p]:
            q += 1
        if q == rows.indptr[whole + 1] or rows.indices[q] != rows.indices[p]:
            return False
        if rows.data[p] != rows.data[q] and not (counts and rows.data[p] <= rows.data[q]):
            return False
    return True


@jit
def take(rows: Rows, row: int, left: FloatArray, sign: float) -> None:
    """Take a row from what is left of the whole (sign 1), or give it back (-1): exact, as its entries fit."""
    for p in range(rows.indptr[row], rows.indptr[row + 1]):
        left[rows.indices[p]] -= sign * rows.data[p]


@jit
def _find_within(rows: Rows, whole: int, by_record: _ByRecord, room: Room, limit: int) -> tuple[int, bool, bool]:
    """Lay out a row and list those that fit into it: how many, and what `Nest` says of them."""
    first, last = rows.indptr[whole], rows.indptr[whole + 1]
    for p in range(first, last):
        room.left[rows.indices[p]] = rows.data[p]
    count, spent = 0, 0
    for p in range(first, last):
        j = rows.indices[p]
        for q in range(by_record.starts[j], by_record.starts[j + 1]):
            k = by_record.rows[q]
            if k == whole or size(rows, k) > last - first or spent > limit:
                continue
            fitting = _fitting(rows, k, whole, room.left)
            spent += fitting + 1
            if fitting == size(rows, k):
                room.children[count] = k
                count += 1
                for r in range(rows.indptr[k], rows.indptr[k + 1]):
                    room.added[rows.indices[r]] += abs(rows.data[r])
                    room.candidates[rows.indices[r]] += 1
    covered = True
    for p in range(first, last):
        if room.added[rows.indices[p]] < abs(rows.data[p]):
            covered = False
    return count, covered, spent <= limit


@jit
def _clear(rows: Rows, whole: int, room: Room) -> None:
    for p in range(rows.indptr[whole], rows.indptr[whole + 1]):
        j = rows.indices[p]
        room.left[j] = 0.0
        room.added[j] = 0.0
        room.candidates[j] = 0
