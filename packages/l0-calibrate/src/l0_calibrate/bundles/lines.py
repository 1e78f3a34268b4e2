"""Compiled: which rows of some columns are multiples of one another, and the bundles that this makes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.columns import ColumnArrays, Entries
from l0_calibrate.hashing import mixed
from l0_calibrate.ordered import place_of, put_in_order
from l0_gates.jit import inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
UintArray = npt.NDArray[np.uint64]

MOST_LINES = 512
"""Lines of a bundle: the square of their products is to stay in the cache."""
_NO_LINE = -1


class Source(NamedTuple):
    """Columns, the new number of each row (-1: not in use), the unit of each row, and how far multiples may differ."""

    matrix: ColumnArrays
    place: IntArray
    scale: FloatArray
    alike: float


class Room(NamedTuple):
    """Room to look at some columns (c of them, with e entries in r rows): made once, used again and again.

    ``rank`` is -1 for each row, ``table`` -1 throughout, between calls.
    """

    rank: Int32Array
    found: Int32Array
    column_edges: IntArray
    entry_row: Int32Array
    entry_value: Entries
    row_edges: IntArray
    fill: IntArray
    row_column: Int32Array
    row_value: Entries
    hashes: UintArray
    table: Int32Array
    line: Int32Array
    first_row: Int32Array
    multiple: Entries
    values_of: IntArray
    list_edges: IntArray
    list_line: Int32Array
    list_value: Entries
    cuts: IntArray

    @classmethod
    def of(cls, matrix: ColumnArrays, height: int, columns: int, entries: int) -> Room:
        """Room for so many columns and entries."""
        rows = min(height, entries)

        def numbers(count: int, fill: int = 0) -> Int32Array:
            return np.full(count, fill, dtype=np.int32)

        def places(count: int) -> IntArray:
            return np.empty(count, dtype=np.int64)

        def values(count: int) -> Entries:
            return np.empty(count, dtype=matrix.values.dtype)

        return cls(
            rank=numbers(height, -1), found=numbers(rows), column_edges=places(columns + 1),
            entry_row=numbers(entries), entry_value=values(entries), row_edges=places(rows + 1), fill=places(rows),
            row_column=numbers(entries), row_value=values(entries), hashes=np.empty(rows, dtype=np.uint64),
            table=numbers(2 << max(rows, 1).bit_length(), _NO_LINE), line=numbers(rows), first_row=numbers(rows),
            multiple=values(rows), values_of=places(columns), list_edges=places(columns + 1),
            list_line=numbers(entries), list_value=values(entries), cuts=places(columns + 1),
        )  # fmt: skip


class Counts(NamedTuple):
    """How much of the arrays of bundles is filled."""

    bundles: int
    rows: int
    runs: int
    touched: int


@jit
def keys(source: Source, order: IntArray, key_row: int, out: UintArray) -> None:
    """A number for each column: the same where the same rows in use have the raw entry that the key row has.

    Columns without the key row have the same number where they have the same rows.
    """
    matrix, place, scale, alike = source
    for k in range(order.size):
        first, last = np.int64(matrix.indptr[order[k]]), np.int64(matrix.indptr[order[k] + 1])
        at = first + place_of(key_row, matrix.indices[first:last]) if key_row >= 0 else last
        has_key = at < last and np.int64(matrix.indices[at]) == key_row
        wanted = np.float64(matrix.values[at]) * scale[key_row] if has_key else 0.0
        key = np.uint64(has_key)
        for p in range(first, last):
            row = np.int64(matrix.indices[p])
            if place[row] < 0:
                continue
            if not has_key or abs(np.float64(matrix.values[p]) * scale[row] - wanted) <= alike * abs(wanted):
                key += mixed(np.uint64(row))
        out[k] = key


@jit
def count_records(source: Source, order: IntArray, out: IntArray) -> None:
    """Columns of each row in use, among some."""
    for j in order:
        for p in range(np.int64(source.matrix.indptr[j]), np.int64(source.matrix.indptr[j + 1])):
            row = np.int64(source.matrix.indices[p])
            if source.place[row] >= 0:
                out[row] += 1


@jit
def make_bundles(
    source: Source, order: IntArray, edges: IntArray, room: Room, out: BundleArrays
) -> tuple[int, int, int, int]:
    """A bundle of each stretch of columns where that pays, or else of each run of the same rows in it.

    Returns the fields of `Counts`.
    """
    made = Counts(0, 0, 0, 0)
    out.row_edges[0] = out.run_edges[0] = out.columns[0] = out.touched_edges[0] = out.starts[0] = 0
    for g in range(edges.size - 1):
        first, last = edges[g], edges[g + 1]
        rows, lines = _examine(source, order[first:last], room)
        runs = _same_rows(last - first, room)
        if lines <= MOST_LINES and (runs == 1 or _pays(last - first, rows, lines, runs, room)):
            made = _emit(last - first, rows, lines, room, out, made)
            continue
        for k in range(runs):
            start, stop = first + room.cuts[k], first + room.cuts[k + 1]
            rows, lines = _examine(source, order[start:stop], room)
            if lines <= MOST_LINES:
                made = _emit(stop - start, rows, lines, room, out, made)
                continue
            for j in range(start, stop):
                rows, lines = _examine(source, order[j : j + 1], room)
                made = _emit(1, rows, lines, room, out, made)
    return made.bundles, made.rows, made.runs, made.touched


@inner_jit
def _examine(source: Source, columns: IntArray, room: Room) -> tuple[int, int]:
    """Find the rows of some columns, ascending, and the lines among them; how many there are of both."""
    matrix = source.matrix
    rows: Any = np.int64(0)  # for a 0 in the text, what it is handed on to would be compiled by itself
    entries = 0
    room.column_edges[0] = 0
    for c in range(columns.size):
        for p in range(np.int64(matrix.indptr[columns[c]]), np.int64(matrix.indptr[columns[c] + 1])):
            row = source.place[matrix.indices[p]]
            if row < 0 or matrix.values[p] == 0.0:
                continue
            if room.rank[row] < 0:
                room.rank[row] = rows
                room.found[rows] = row
                rows += 1
            room.entry_row[entries] = row
            room.entry_value[entries] = matrix.values[p]
            entries += 1
        room.column_edges[c + 1] = entries
    found = room.found[:rows]
    put_in_order(found)
    for k in range(rows):
        room.rank[found[k]] = k
    _by_rows(columns.size, rows, room)
    for k in range(rows):
        room.rank[found[k]] = -1
    return rows, _find_lines(rows, source.alike, room)


@jit
def _by_rows(columns: int, rows: int, room: Room) -> None:
    """The entries by rows, and a number that is the same for rows with the same columns."""
    room.row_edges[: rows + 1] = 0
    room.hashes[:rows] = 0
    for c in range(columns):
        key = mixed(np.uint64(c))
        for p in range(room.column_edges[c], room.column_edges[c + 1]):
            k = room.rank[room.entry_row[p]]
            room.entry_row[p] = k
            room.row_edges[k + 1] += 1
            room.hashes[k] += key
    for k in range(rows):
        room.fill[k] = room.row_edges[k]
        room.row_edges[k + 1] += room.row_edges[k]
    for c in range(columns):
        for p in range(room.column_edges[c], room.column_edges[c + 1]):
            k = room.entry_row[p]
            room.row_column[room.fill[k]] = c
            room.row_value[room.fill[k]] = room.entry_value[p]
            room.fill[k] += 1


@inner_jit
def _find_lines(rows: int, alike: float, room: Room) -> int:
    """The line of each row and its multiple; lines are numbered in the order of their first rows."""
    size = 4
    while size < 2 * rows:
        size *= 2
    last = np.uint64(size - 1)
    lines = 0
    for k in range(rows):
        slot = mixed(room.hashes[k]) & last
        while True:
            line = room.table[slot]
            if line == _NO_LINE:
                room.table[slot] = lines
                room.first_row[lines] = k
                room.line[k] = lines
                room.multiple[k] = 1.0
                lines += 1
                break
            first = room.first_row[line]
            if room.hashes[first] == room.hashes[k] and _is_multiple(first, k, alike, room):
                room.line[k] = line
                break
            slot = (slot + np.uint64(1)) & last
    room.table[:size] = _NO_LINE
    return lines


@inner_jit
def _is_multiple(first: int, k: int, alike: float, room: Room) -> bool:
    """Whether row k is a multiple of a first row, which is then kept."""
    p, q = room.row_edges[first], room.row_edges[k]
    length = room.row_edges[k + 1] - q
    if room.row_edges[first + 1] - p != length:
        return False
    ratio = np.float64(room.row_value[q]) / np.float64(room.row_value[p])
    products = squares = 0.0
    for i in range(length):
        value, other = np.float64(room.row_value[q + i]), np.float64(room.row_value[p + i])
        if room.row_column[q + i] != room.row_column[p + i] or not abs(value - ratio * other) <= alike * abs(value):
            return False
        products += value * other
        squares += other * other
    if not 0.0 < squares < np.inf:
        return False
    # The best fit: the roundings of many entries cancel in it.
    room.multiple[k] = products / squares
    kept = np.float64(room.multiple[k])
    return bool(abs(kept - ratio) <= alike * abs(ratio))


@inner_jit
def _same_rows(columns: int, room: Room) -> int:
    """Cut the columns where their rows change; how many runs that makes."""
    room.cuts[0] = 0
    runs = 1
    for c in range(1, columns):
        p, q, stop = room.column_edges[c - 1], room.column_edges[c], room.column_edges[c + 1]
        same = stop - q == q - p
        k = 0
        while same and k < q - p:
            same = room.entry_row[p + k] == room.entry_row[q + k]
            k += 1
        if not same:
            room.cuts[runs] = c
            runs += 1
    room.cuts[runs] = columns
    return runs


@inner_jit
def _pays(columns: int, rows: int, lines: int, runs: int, room: Room) -> bool:
    """Whether products of columns are less work in a bundle than they would be at least in runs."""
    room.values_of[:columns] = 0
    for line in range(lines):
        k = room.first_row[line]
        for p in range(room.row_edges[k], room.row_edges[k + 1]):
            room.values_of[room.row_column[p]] += 1
    work = float(rows) * rows
    for c in range(columns):
        work += float(room.values_of[c]) * room.values_of[c]
    apart = 0.0
    for r in range(runs):
        c = room.cuts[r]
        length = float(room.column_edges[c + 1] - room.column_edges[c])
        apart += length * length
    return work <= apart


@inner_jit
def _emit(columns: int, rows: int, lines: int, room: Room, out: BundleArrays, made: Counts) -> Counts:
    """Write a bundle down."""
    bundle, row, run, at = made
    out.lines[bundle] = lines
    for k in range(rows):
        out.rows[row + k] = room.found[k]
        out.line[row + k] = room.line[k]
        out.multiple[row + k] = room.multiple[k]
    out.row_edges[bundle + 1] = row + rows
    _list_values(columns, lines, room)
    start = out.starts[run]
    previous = -1
    for c in range(columns):
        p, stop = room.list_edges[c], room.list_edges[c + 1]
        same = previous >= 0 and stop - p == p - room.list_edges[previous]
        k = 0
        while same and k < stop - p:
            same = room.list_line[p + k] == room.list_line[room.list_edges[previous] + k]
            k += 1
        if not same:
            if previous >= 0:
                run += 1
            out.columns[run + 1] = out.columns[run]
            for q in range(p, stop):
                out.touched[at + q - p] = room.list_line[q]
            at += stop - p
            out.touched_edges[run + 1] = at
        out.columns[run + 1] += 1
        for q in range(p, stop):
            out.values[start + q - p] = room.list_value[q]
        start += stop - p
        out.starts[run + 1] = start
        previous = c
    out.run_edges[bundle + 1] = run + 1
    return Counts(bundle + 1, row + rows, run + 1, at)


@inner_jit
def _list_values(columns: int, lines: int, room: Room) -> None:
    """The values of each column, by lines."""
    room.list_edges[: columns + 1] = 0
    for line in range(lines):
        k = room.first_row[line]
        for p in range(room.row_edges[k], room.row_edges[k + 1]):
            room.list_edges[room.row_column[p] + 1] += 1
    for c in range(columns):
        room.values_of[c] = room.list_edges[c]
        room.list_edges[c + 1] += room.list_edges[c]
    for line in range(lines):
        k = room.first_row[line]
        for p in range(room.row_edges[k], room.row_edges[k + 1]):
            at = room.values_of[room.row_column[p]]
            room.list_line[at] = line
            room.list_value[at] = room.row_value[p]
            room.values_of[room.row_column[p]] = at + 1
