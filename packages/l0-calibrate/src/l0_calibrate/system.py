"""The scaled system: what solvers and selectors see of a problem, made once.

With targets ``t``, reference weights ``w0`` and the matrix ``A`` of a problem, row i is divided by
``s_i = max(|t_i|, 1)`` and column j multiplied by ``w0_j``; ``b = t / s``, the unknown is ``u = w / w0``
and the residual of target i, ``r_i = (A u - b)_i``, is its relative error.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.packed import Packed, pack
from l0_calibrate.columns import Columns, Entries, RowNumbers, row_numbers
from l0_calibrate.ordered import place_of
from l0_calibrate.threads import Threads
from l0_core import InputError
from l0_core.relative_errors import error_scale
from l0_gates.jit import jit, read_only

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class _RowArrays(NamedTuple):
    """A matrix by rows (CSR), as scipy has it."""

    indptr: npt.NDArray[Any]
    indices: npt.NDArray[Any]
    data: npt.NDArray[Any]


class _Sums(NamedTuple):
    """Sums of absolute entries by rows and columns, of the positive ones by rows, and of rounding errors by columns."""

    rows: FloatArray
    columns: FloatArray
    positive: FloatArray
    rounding: FloatArray


@attrs.frozen(eq=False)
class ScaledSystem:
    """A problem in relative errors and ratios to the reference weights.

    Parameters
    ----------
    columns
        The scaled matrix, shape (m targets, n records).
    b
        Scaled targets, shape (m,): -1, 0 or 1 where |t| >= 1.
    scale
        ``s``, shape (m,), in the units of the targets.
    reference
        ``w0``, shape (n,), the reference (design) weights; 0 marks a record that cannot get weight.
    row_sums, column_sums
        Sums of absolute scaled entries, shapes (m,) and (n,).
    rounding
        Shape (n,): the sum, over the entries of a column, of what their storage took from or added to them.
    """

    columns: Columns
    b: FloatArray
    scale: FloatArray
    reference: FloatArray
    row_sums: FloatArray
    column_sums: FloatArray
    rounding: FloatArray
    _packed: list[Packed | None] = attrs.field(init=False, factory=list)

    def packed(self, threads: int = 1) -> Packed | None:
        """The columns in bundles, the same for any number of threads; made once. None where that does not pay."""
        if not self._packed:
            self._packed.append(pack(self.columns, self.scale, threads))
        return self._packed[0]

    @property
    def targets(self) -> int:
        """m."""
        return int(self.b.size)

    @property
    def records(self) -> int:
        """n."""
        return int(self.reference.size)


@jit
def _span(rows: _RowArrays, i: int, first: int, last: int) -> tuple[Any, Any]:
    """Where the entries of a row in some columns lie."""
    start, stop = np.int64(rows.indptr[i]), np.int64(rows.indptr[i + 1])
    start += place_of(first, rows.indices[start:stop])
    return start, start + place_of(last, rows.indices[start:stop])


@jit
def _count_columns(first: int, last: int, rows: _RowArrays, column_factor: FloatArray, counts: IntArray) -> None:
    for i in range(rows.indptr.size - 1):
        for p in range(*_span(rows, i, first, last)):
            j = rows.indices[p]
            if rows.data[p] != 0.0 and column_factor[j] != 0.0:
                counts[j + 1] += 1


@jit
def _fill_columns(
    first: int,
    last: int,
    rows: _RowArrays,
    row_factor: FloatArray,
    column_factor: FloatArray,
    fill: IntArray,
    out_indices: RowNumbers,
    out_values: Entries,
    sums: _Sums,
) -> float:
    """Scale and transpose some columns; ``fill`` has the place of each column's next entry.

    Returns the largest absolute entry.
    """
    row_sums, column_sums, positive, rounding = sums
    largest = 0.0
    for i in range(row_factor.size):
        for p in range(*_span(rows, i, first, last)):
            j = rows.indices[p]
            if rows.data[p] != 0.0 and column_factor[j] != 0.0:
                exact = np.float64(rows.data[p]) * row_factor[i] * column_factor[j]
                q = fill[j]
                fill[j] = q + 1
                out_indices[q] = i
                out_values[q] = exact
                value = np.float64(out_values[q])
                size = abs(value)
                row_sums[i] += size
                column_sums[j] += size
                rounding[j] += abs(exact - value)
                if value > 0.0:
                    positive[i] += size
                largest = max(largest, size)
    return largest


_PARTS, _WORTH_PARTS = 4, 1_000_000
"""Parts of the columns that are scaled side by side, whatever the threads, from so many entries on."""
_LARGEST = 1e30
"""Scaled entries above it leave no room in float32 for sums and products."""
_WHOLE = 50_000
"""Entries up to which their memory is no matter: they are then kept in float64."""
_CANCELS = 100.0
"""Positive and negative entries of a row that add up to more, each, in relative errors, than float32 can subtract: what
it leaves open of them (6e-8) would be felt."""


def _cancel(positive: FloatArray, negative: FloatArray) -> bool:
    return bool((np.minimum(positive, negative) > _CANCELS).any())


def bytes_of_entry(rows: int, entries: int, positive: FloatArray, negative: FloatArray) -> int:
    """What `build_system` takes for each entry, from the sums of a row's positive and of its negative scaled entries.

    The sums, both of shape (rows,), are those of absolute values.
    """
    return row_numbers(rows, 0).itemsize + (8 if entries <= _WHOLE or _cancel(positive, negative) else 4)


def build_system(
    matrix: Any, targets: FloatArray, reference: FloatArray, threads: int = 1, names: Any = None
) -> ScaledSystem:
    """Scale a problem once: rows by ``1 / max(|t|, 1)``, columns by the reference weights.

    Parameters
    ----------
    matrix
        scipy CSR matrix or array, shape (m, n), without duplicate entries, indices ascending in each row, finite.
    targets, reference
        Shapes (m,) and (n,); ``reference`` is non-negative.
    threads
        The result is the same for any number.
    names
        Of the targets, for messages; their positions where there are none.

    Raises
    ------
    InputError
        A scaled entry is too large for float32 values: the units of a target are far from those of its records.

    Notes
    -----
    One pass counts, one pass fills: beside the result (6 bytes a non-zero, 4 of value and 2 of row, or 4 of row above
    65,536 rows, and the pointers) nothing of the size of the matrix is made. Entries are float32, but float64 (4
    bytes more) where they are few, and where a row is a small difference of large sums (a net income, say): weights
    that meet the targets of the rounded matrix would miss those of the true one.
    """
    m, n = matrix.shape
    scale = error_scale(targets)
    counts = np.zeros(n + 1, dtype=np.int64)
    reference = read_only(np.ascontiguousarray(reference, dtype=np.float64))
    rows = _RowArrays(read_only(matrix.indptr), read_only(matrix.indices), read_only(matrix.data))
    parts = _PARTS if matrix.nnz >= _WORTH_PARTS else 1
    with Threads(min(threads, parts)) as workers:
        edges = np.arange(parts + 1) * n // parts
        workers.all(parts, lambda k: _count_columns(edges[k], edges[k + 1], rows, reference, counts))
        indptr = np.cumsum(counts)
        indices = row_numbers(m, int(indptr[-1]))
        edges[1:-1] = np.searchsorted(indptr, indptr[-1] * np.arange(1, parts) // parts)

        def filled(values: Entries) -> tuple[Entries, _Sums, float]:
            of_columns, fill = [np.zeros(n), np.zeros(n)], indptr[:-1].copy()
            of_rows = np.zeros((2, parts, m))

            def work(k: int) -> float:
                sums = _Sums(of_rows[0, k], of_columns[0], of_rows[1, k], of_columns[1])
                return _fill_columns(edges[k], edges[k + 1], rows, 1.0 / scale, reference, fill, indices, values, sums)

            largest = max(workers.all(parts, work))
            totals, positive = of_rows.sum(axis=1)
            return values, _Sums(totals, of_columns[0], positive, of_columns[1]), largest

        whole = indices.size <= _WHOLE
        values, sums, largest = filled(
            np.empty(indices.size, np.float64) if whole else np.empty(indices.size, np.float32)
        )
        row_sums = sums.rows
        if not whole and largest <= _LARGEST and _cancel(sums.positive, row_sums - sums.positive):
            values, sums, largest = filled(np.empty(indices.size, dtype=np.float64))
    if not largest <= _LARGEST:
        i = int(np.argmax(row_sums))
        from l0_calibrate.problem.labels import shown

        name = i if names is None else shown(names[i])
        raise InputError(
            f"target {name} is reached {row_sums[i]:.3g} times over by the initial weights: entries of its row and "
            "the target are in different units, or a weight is far out of range; rescale them"
        )
    columns = Columns(indptr.astype(np.uint64), indices, values, m)
    return ScaledSystem(columns, targets / scale, scale, reference, sums.rows, sums.columns, sums.rounding)
