"""The columns of a system in bundles (see `l0_calibrate.bundles.bundles`), made once for all its fits.

Where most rows are multiples of others on many records an iteration then passes over a fraction of the matrix.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays, Bundles
from l0_calibrate.bundles.kernels import extent, most_lines
from l0_calibrate.bundles.making import NO_ROW, BundleMaker, key_row
from l0_calibrate.columns import ColumnArrays, Columns
from l0_calibrate.threads import Threads, useful
from l0_gates.jit import jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_WORTH_A_THREAD = 300_000
"""Values below which starting a thread to copy some of them costs more than it saves."""
_WORTH = 0.6
"""Part of the entries that values and rows of bundles may come to: above it columns are passed over as they are."""


@attrs.frozen(eq=False)
class Packed:
    """The columns of a system in bundles.

    ``rounding``, shape (n,), is the sum over the entries of each column (in the order of the system) of what the
    bundles take from or add to them.
    """

    bundles: Bundles
    rounding: FloatArray
    _part: float

    @classmethod
    def of(cls, bundles: Bundles, columns: Columns, workers: Threads) -> Packed:
        """Measure what bundles of all columns lose."""
        rounding, parts = np.zeros(columns.count), bundles.parts(workers.shares)

        def work(t: int) -> None:
            _lose(*parts[t], columns.arrays, columns.rows, bundles.arrays, bundles.order, rounding)

        workers.all(len(parts), work)
        return cls(bundles, rounding, bundles.size / columns.nnz)

    def pays_for(self, entries: int) -> bool:
        """Whether passing over bundles is less work than over columns with so many entries."""
        return self._part * entries + self.bundles.arrays.rows.size <= _WORTH * entries

    def on(self, support: IntArray | None, threads: int = 1) -> Bundles:
        """The bundles of a support; their ``order`` has places in it. The same for any number of threads."""
        if support is None:
            return self.bundles
        place = np.full(self.bundles.count, -1, dtype=np.int64)
        place[support] = np.arange(support.size)
        return placed(self.bundles, place, threads)


def pays(bundles: Bundles, entries: int) -> bool:
    """Whether passing over bundles is less work than over their columns, which have so many entries."""
    return bundles.size + bundles.arrays.rows.size <= _WORTH * entries


def pack(columns: Columns, scale: FloatArray, threads: int) -> Packed | None:
    """All columns in bundles, or None where that does not pay.

    Parameters
    ----------
    scale
        What each row was divided by, shape (rows,): entries times it are the raw ones, up to a factor of each column.

    Notes
    -----
    The same for any number of threads.
    """
    if columns.nnz == 0:
        return None
    maker = BundleMaker.of(columns, np.arange(columns.rows), scale)
    order, block = np.arange(columns.count), np.zeros(columns.count, dtype=np.int64)

    def cost(sample: Bundles) -> float:
        return float(sample.size + sample.arrays.rows.size)

    with Threads(threads) as workers:
        by = key_row(maker, order, block, workers, cost)
        # Columns with the same rows one after another: their runs are longer.
        key = maker.keys(order, by, workers)
        order = order[np.lexsort((maker.keys(order, NO_ROW, workers), key))]
        key = key[order]
        changes = np.concatenate(([0], np.flatnonzero(key[1:] != key[:-1]) + 1, [order.size]))
        order, arrays = maker.make_all(order, block, by, changes, workers)
        packed = Packed.of(Bundles(arrays, columns.rows, order, np.array([0, arrays.lines.size])), columns, workers)
    return packed if pays(packed.bundles, columns.nnz) else None


@jit
def _lose(
    first: int, last: int, matrix: ColumnArrays, height: int, bundles: BundleArrays, order: IntArray,
    rounding: FloatArray,
) -> None:  # fmt: skip
    """Sum up how far the entries of each column of some bundles are from what its bundle makes of them."""
    place = np.full(height, -1, dtype=np.int64)
    near = np.zeros(most_lines(first, last, bundles))
    for b in range(first, last):
        for k in range(bundles.row_edges[b], bundles.row_edges[b + 1]):
            place[bundles.rows[k]] = k
        for r in range(bundles.run_edges[b], bundles.run_edges[b + 1]):
            edge, length, count, start = extent(bundles, r)
            for c in range(count):
                for k in range(length):
                    near[bundles.touched[edge + k]] = bundles.values[start + k]
                j = order[np.uint64(bundles.columns[r]) + c]
                for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
                    value = np.float64(matrix.values[p])
                    k = place[matrix.indices[p]]
                    made = 0.0 if k < 0 else np.float64(bundles.multiple[k]) * near[bundles.line[k]]
                    rounding[j] += abs(value - made)
                for k in range(length):
                    near[bundles.touched[edge + k]] = 0.0
                start += length
        for k in range(bundles.row_edges[b], bundles.row_edges[b + 1]):
            place[bundles.rows[k]] = -1


@attrs.frozen(eq=False)
class BundleRoom:
    """Memory for some columns of bundles, used again by each choice of them: fresh memory costs more than copying."""

    run_edges: IntArray
    columns: IntArray
    touched_edges: IntArray
    touched: npt.NDArray[np.uint16]
    starts: IntArray
    values: npt.NDArray[np.float32] | npt.NDArray[np.float64]

    @classmethod
    def like(cls, bundles: Bundles) -> BundleRoom:
        """Room for any choice; of what is not filled no memory is taken."""
        a = bundles.arrays
        return cls(*(np.empty_like(getattr(a, field.name)) for field in attrs.fields(cls)))


def kept(bundles: Bundles, chosen: IntArray, room: BundleRoom, workers: Threads) -> Bundles:
    """Some columns of the bundles (ascending), close together in ``room``; all bundles stay, empty ones too.

    The same for any number of threads.
    """
    a = bundles.arrays
    keep = np.zeros(bundles.count, dtype=np.bool_)
    keep[chosen] = True
    out = a._replace(**attrs.asdict(room, recurse=False))
    parts = bundles.parts(workers.shares)
    # All parts but the last are gone through twice, as those that follow must know where they begin.
    sizes = workers.all(len(parts) - 1, lambda t: _count_kept(*parts[t], a, keep))
    begins = [tuple(row) for row in np.cumsum([(0, 0, 0, 0), *sizes], axis=0).tolist()]
    _, runs, touched, values = workers.all(len(parts), lambda t: _keep(*parts[t], a, keep, out, begins[t]))[-1]
    arrays = out._replace(
        columns=out.columns[: runs + 1], touched_edges=out.touched_edges[: runs + 1], touched=out.touched[:touched],
        starts=out.starts[: runs + 1], values=out.values[:values],
    )  # fmt: skip
    return Bundles(arrays, bundles.height, bundles.order[chosen], bundles.of_blocks)


def placed(bundles: Bundles, place: IntArray, threads: int = 1) -> Bundles:
    """The columns that have a new number, by their old one in ``place``: -1 for the others. All bundles stay.

    The same for any number of threads.
    """
    place = place[bundles.order]
    chosen = np.flatnonzero(place >= 0)
    if chosen.size == place.size:
        return attrs.evolve(bundles, order=place)
    with Threads(useful(threads, bundles.size, _WORTH_A_THREAD)) as workers:
        part = kept(bundles, chosen, BundleRoom.like(bundles), workers)
    return attrs.evolve(part, order=place[chosen])


def without_empty(bundles: Bundles) -> Bundles:
    """The bundles that have columns."""
    a = bundles.arrays
    full = np.diff(a.run_edges) > 0
    of_rows = np.repeat(full, np.diff(a.row_edges))
    ends = np.flatnonzero(np.append(True, full))
    arrays = a._replace(
        row_edges=np.append(0, np.cumsum(np.diff(a.row_edges)[full])), rows=a.rows[of_rows], line=a.line[of_rows],
        multiple=a.multiple[of_rows], lines=a.lines[full], run_edges=a.run_edges[ends],
    )  # fmt: skip
    before = np.append(0, np.cumsum(full))
    return attrs.evolve(bundles, arrays=arrays, of_blocks=before[bundles.of_blocks])


@jit
def _count_kept(first: int, last: int, source: BundleArrays, keep: BoolArray) -> tuple[int, int, int, int]:
    """How many of the columns of some bundles are marked, and their runs, touched lines and values."""
    columns = runs = touched = values = 0
    for r in range(source.run_edges[first], source.run_edges[last]):
        length = source.touched_edges[r + 1] - source.touched_edges[r]
        count = 0
        for c in range(source.columns[r], source.columns[r + 1]):
            count += keep[c]
        if count > 0:
            columns += count
            runs += 1
            touched += length
            values += count * length
    return columns, runs, touched, values


@jit
def _keep(
    first: int, last: int, source: BundleArrays, keep: BoolArray, out: BundleArrays, begin: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Copy the marked columns of some bundles behind those before (`_count_kept`), which are counted on."""
    column, run, at, start = begin
    if run == 0:
        out.run_edges[0] = out.columns[0] = out.touched_edges[0] = out.starts[0] = 0
    for b in range(first, last):
        for r in range(source.run_edges[b], source.run_edges[b + 1]):
            edge = source.touched_edges[r]
            length = source.touched_edges[r + 1] - edge
            before = column
            for c in range(source.columns[r], source.columns[r + 1]):
                if keep[c]:
                    taken = source.starts[r] + (c - source.columns[r]) * length
                    for k in range(length):
                        out.values[start + k] = source.values[taken + k]
                    start += length
                    column += 1
            if column > before:
                for k in range(length):
                    out.touched[at + k] = source.touched[edge + k]
                at += length
                run += 1
                out.columns[run] = column
                out.touched_edges[run] = at
                out.starts[run] = start
        out.run_edges[b + 1] = run
    return column, run, at, start
