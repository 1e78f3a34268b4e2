r"""A lower bound of the optimum from any dual point.

For the fit of `l0_calibrate.solvers.base.Task` and any y with ``|y_i| <= c_i``, with ``g = A'y``,

.. math:: D = -b'y - h^*(y) + \sum_j \min_{lo_j \le u \le hi_j} \big( g_j u + \tfrac{\kappa_j}{2} (u - e)^2 \big)

never exceeds the optimum (weak duality). It holds for the entries before they were rounded to be stored: each
``g_j`` is taken as low as they, and the rounding of its own sum, allow. It is finite where each hi_j is or
kappa_j > 0. Elsewhere, and where hi_j is finite but huge, a column with ``g_j < 0`` is first repaired by moving duals,
and what is left is charged at the largest value that the ratio can have in any point no worse than the best known.
Where nothing bounds that, all duals are drawn, as little as will do, towards some that give it a slope above 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import ColumnArrays, Entries, RowNumbers
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.kernels import multiply, multiply_transposed
from l0_calibrate.threads import Threads
from l0_gates.jit import fast_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_UNIT = float(np.finfo(np.float64).eps)


_HALF_UNIT = 2.0**-24 * (1.0 + 2.0**-20)
"""What storage in float32 takes from an entry at most, in parts of what is left, a little more than half a unit ..."""
_LEAST = float(np.finfo(np.float32).tiny)
"""... of one of this size, if it is smaller."""
_FELT = 1e-4
"""Rounding that may be this part of the objective is looked at term by term, ..."""
_FINER = 0.5
"""... as long as that makes less of it than this part."""
_PASSES = 50
"""Over the columns, in search of duals that leave each a slope above 0: few are needed where there are any, ..."""
_CLEAR = 1e-3
"""... and above 0 is by more than this part of its entries."""
_STRETCH = 2**15
"""Columns that are looked at together: what is worked out on the way stays small, and in the cache."""
WIDE = 1e3
"""Ratios that may be larger than this are bounded in name only: the smallest negative ``g_j`` would cost all of it."""


class _ByRows(NamedTuple):
    """The matrix by rows; ``sign`` is that of the entries of a row that bounds the ratios of its columns from above.

    A row does so only where nothing in it can cancel: its entries are of one sign, least ratios at least 0. It is 0
    for every other row.
    """

    indptr: IntArray
    columns: npt.NDArray[np.int32]
    values: Entries
    sign: npt.NDArray[np.int8]


@jit
def _count(numbers: RowNumbers, counts: IntArray) -> None:
    for i in numbers:
        counts[i] += 1


@jit
def _turn(matrix: ColumnArrays, fill: IntArray, columns: npt.NDArray[np.int32], values: Entries) -> None:
    """The matrix by rows; ``fill`` has the place of each row's next entry."""
    for j in range(matrix.indptr.size - 1):
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            q = fill[matrix.indices[p]]
            fill[matrix.indices[p]] = q + 1
            columns[q] = j
            values[q] = matrix.values[p]


@jit
def _raise_duals(
    order: IntArray,
    matrix: ColumnArrays,
    by_rows: _ByRows,
    cost: FloatArray,
    cap: FloatArray,
    y: FloatArray,
    g: FloatArray,
) -> None:
    """Raise duals, the most violated column first, until no column in ``order`` has ``g < 0`` or no row can rise.

    The row chosen is the cheapest, by ``cost_i / a_ij``, for the column at hand; one of negative entries counts with
    its sign turned, its dual with it.
    """
    row_ptr, row_columns, row_values, sign = by_rows
    for j in order:
        while g[j] < 0.0:
            best = np.int64(-1)
            best_price = np.inf
            best_entry = 0.0
            for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
                i = np.int64(matrix.indices[p])
                a = sign[i] * np.float64(matrix.values[p])
                if a > 0.0 and sign[i] * y[i] < cap[i] and cost[i] / a < best_price:
                    best = i
                    best_price = cost[i] / a
                    best_entry = a
            if best < 0:
                break
            room = cap[best] - sign[best] * y[best]
            wanted = -g[j] / best_entry
            full = wanted >= room
            amount = sign[best] * (room if full else wanted)
            y[best] = sign[best] * cap[best] if full else y[best] + amount
            for p in range(row_ptr[best], row_ptr[best + 1]):
                g[row_columns[p]] += amount * np.float64(row_values[p])
            if not full:
                g[j] = max(g[j], 0.0)  # exact by construction: rounding would leave -1e-17


@jit
def _shortest(order: IntArray, matrix: ColumnArrays, sign: npt.NDArray[np.int8], room: FloatArray) -> FloatArray:
    """The least of ``room_i / |a_ij|`` over the rows of one sign, for each column in ``order``."""
    reach = np.full(order.size, np.inf)
    for k in range(order.size):
        j = order[k]
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            i = np.int64(matrix.indices[p])
            a = sign[i] * np.float64(matrix.values[p])
            if a > 0.0:
                reach[k] = min(reach[k], room[i] / a)
    return reach


@fast_jit
def _term_by_term(
    first: int, last: int, matrix: ColumnArrays, y: FloatArray, targets: int, g: FloatArray, sizes: FloatArray,
    of_targets: FloatArray,
) -> None:  # fmt: skip
    """``A'y`` of some columns, the sums of its absolute terms, and of those that are no part of a row of the mass."""
    for j in range(first, last):
        g[j] = sizes[j] = of_targets[j] = 0.0
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            i = np.int64(matrix.indices[p])
            value = np.float64(matrix.values[p])
            size = abs(y[i]) * (abs(value) + _LEAST)
            g[j] += value * y[i]
            sizes[j] += size
            if i < targets:
                of_targets[j] += size


class Certificate:
    """Bounds for one fit, the same for any number of threads; what the repair needs is built at its first use."""

    def __init__(self, fit: Fit, workers: Threads | None = None) -> None:
        self.fit = fit
        self._workers = workers or Threads(1)
        self._open = np.flatnonzero((fit.upper > WIDE) & (fit.spread <= 0))
        self._rows: _ByRows | None = None
        self._inner: tuple[FloatArray, FloatArray] | None = None
        self._stored = float(np.finfo(fit.columns.values.dtype).eps)
        # A dot product of L terms errs by at most L units of its absolute terms, in however many running sums.
        longest = float(np.diff(fit.columns.indptr.astype(np.int64)).max(initial=0))
        self._rounding = _UNIT * (longest + 8.0)
        self._all_stored, self._all_sizes = float(fit.rounding.sum()), float(fit.column_sums.sum())
        self._is_finer = True

    @property
    def is_cheap(self) -> bool:
        """Whether every bound is finite, and no worse for it, without a repair."""
        return self._open.size == 0

    def bound(self, y: FloatArray, g: FloatArray, best: float) -> float:
        """A lower bound of the optimum.

        Parameters
        ----------
        y
            Duals within the caps, shape (rows of the fit,).
        g
            ``A'y``, shape (k,).
        best
            The objective of the best point known, sum form (of any feasible point; ``inf`` for none).
        """
        if not np.isfinite(y).all():
            return -np.inf
        g = self.fit.exact_gradient(y, g)
        value = self._doubted(y, g, best, self._at_most(y))
        if not self._is_felt(y, value, best):
            return value
        # By the dearest row for all of them: far too much, where one that costs little or nothing has huge entries.
        g, doubt = self._term_by_term(y)
        self._is_finer = float(doubt.sum()) < _FINER * self._all_at_most(y)
        return max(value, self._doubted(y, g, best, doubt, finely=True))

    def _is_felt(self, y: FloatArray, value: float, best: float) -> bool:
        """Whether rounding may be what keeps a bound from the best point known, and a closer look is worth a pass."""
        if not self._is_finer or not 0.0 < best < np.inf or value >= (1.0 - _FELT) * best:
            return False
        return self._all_at_most(y) > _FELT * best

    def _at_most(self, y: FloatArray) -> FloatArray:
        """What storage and arithmetic may have done to ``A'y``, shape (k,), as if all rows had the largest dual."""
        of_sizes = self._rounding * float(np.abs(y).max(initial=0.0))
        return self._dearest(y) * self.fit.rounding + of_sizes * self.fit.column_sums

    def _all_at_most(self, y: FloatArray) -> float:
        """The sum of `_at_most`."""
        of_sizes = self._rounding * float(np.abs(y).max(initial=0.0))
        return self._dearest(y) * self._all_stored + of_sizes * self._all_sizes

    def _term_by_term(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``A'y`` from the entries as they are stored, and what storage and arithmetic may have done to it."""
        fit = self.fit
        g, sizes, of_targets = (np.empty(fit.columns.count) for _ in range(3))
        edges = [*range(0, g.size, _STRETCH), g.size]
        arrays = fit.columns.arrays
        self._workers.all(
            len(edges) - 1,
            lambda k: _term_by_term(edges[k], edges[k + 1], arrays, y, fit.targets, g, sizes, of_targets),
        )
        # In float64 the entries are what they were computed as; the computing is a part of the arithmetic.
        of_targets *= _HALF_UNIT if fit.columns.values.dtype == np.float32 else 0.0
        return fit.exact_gradient(y, g), of_targets + self._rounding * sizes

    def _doubted(self, y: FloatArray, g: FloatArray, best: float, doubt: FloatArray, finely: bool = False) -> float:
        value = self._value(y, g, self._within_reach(g - doubt, best), doubt)
        return value if self.is_cheap else max(value, self._repaired(y.copy(), g, best, finely))

    def _value(self, y: FloatArray, g: FloatArray, upper: FloatArray, doubt: FloatArray) -> float:
        """D at y less an allowance for rounding; ``-inf`` where a column is unbounded."""
        fit = self.fit
        stretches = [slice(k, k + _STRETCH) for k in range(0, max(g.size, 1), _STRETCH)]
        parts = np.array(self._workers.all(len(stretches), lambda k: self._of_columns(stretches[k], g, upper, doubt)))
        minima, sizes = (float(np.ascontiguousarray(part).sum()) for part in parts.T)
        # Sums of products, not BLAS: its threads would wait for those of the sweeps.
        fetched, conjugate = fit.b * y, fit.price.conjugate(y)
        head = -float(fetched.sum()) - conjugate
        size = float(np.abs(fetched).sum()) + conjugate + sizes
        value = head + minima - self._rounding * size
        return value if np.isfinite(value) else -np.inf

    def _of_columns(self, at: slice, g: FloatArray, upper: FloatArray, doubt: FloatArray) -> tuple[float, float]:
        """Of some columns: the sums of their minima, ``-inf`` where one is unbounded, and of the sizes of these."""
        g, lower, upper = g[at], self.fit.lower[at], upper[at]
        # The least of all slopes in doubt, not of the one at hand: the ratio that is best for that one may be 0.
        open_ = doubt[at]
        minima, u = self._least(at, g - open_, np.maximum(lower, 0.0), np.maximum(upper, 0.0))
        below = lower < 0
        if below.any():
            beneath, v = self._least(at, g + open_, np.minimum(lower, 0.0), np.minimum(upper, 0.0))
            below &= (beneath < minima) | (upper < 0)
            minima, u = np.where(below, beneath, minima), np.where(below, v, u)
        if not np.isfinite(u).all():
            return -np.inf, np.inf
        return float(minima.sum()), float(np.abs(minima).sum())

    def _dearest(self, y: FloatArray) -> float:
        """The largest dual of a target; the row of the mass is exact."""
        return float(np.abs(y[: self.fit.targets]).max(initial=0.0))

    def _least(self, at: slice, g: FloatArray, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``min_{lo <= u <= hi} g u + kappa / 2 (u - e)^2`` of some columns, and where."""
        spread, centre = self.fit.spread[at], self.fit.centre
        curved = spread > 0
        u = np.where(g > 0, lower, np.where(g < 0, upper, np.minimum(np.maximum(lower, 0.0), upper)))
        tilt = np.divide(g, spread, out=np.zeros_like(g), where=curved)
        u = np.where(curved, np.clip(centre - tilt, lower, upper), u)
        with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at u
            return g * u + np.where(curved, 0.5 * spread * (u - centre) ** 2, 0.0), u

    def _by_rows(self) -> _ByRows:
        if self._rows is None:
            c = self.fit.columns
            indptr = np.zeros(c.rows + 1, dtype=np.int64)
            _count(c.indices, indptr[1:])  # np.bincount would copy the row numbers in eight bytes each
            np.cumsum(indptr, out=indptr)
            columns, values = np.empty(c.nnz, dtype=np.int32), np.empty_like(c.values)
            _turn(c.arrays, indptr[:-1].copy(), columns, values)
            falls, rises = np.zeros((2, c.rows), dtype=bool)
            falls[c.indices[c.values < 0]] = True
            rises[c.indices[c.values > 0]] = True
            sign = np.where(falls & rises, 0, np.where(falls, -1, 1)).astype(np.int8)
            below = self.fit.lower < 0
            if below.any():
                sign[c.indices[np.repeat(below, np.diff(c.indptr.astype(np.int64)).astype(np.int64))]] = 0
            self._rows = _ByRows(indptr, columns, values, sign)
        return self._rows

    def _repaired(self, y: FloatArray, g: FloatArray, best: float, finely: bool) -> float:
        """The bound after duals, in ``y``, have been raised for the columns whose ratios are bounded in name only."""
        fit, c = self.fit, self.fit.columns
        by_rows = self._by_rows()
        # As low as rounding allows, at the duals that raising may lead to.
        caps = np.where(np.isfinite(fit.price.cap), fit.price.cap, np.abs(y))
        g = g - (self._term_by_term(caps)[1] if finely else self._at_most(caps))
        negative = self._open[g[self._open] < 0]
        order = negative[np.argsort(g[negative], kind="stable")]
        _raise_duals(order, c.arrays, by_rows, by_rows.sign * fit.b + fit.price.dead_zone, fit.price.cap, y, g)
        # Recomputed: the updates along the way have rounded, and a bound must not profit from that.
        g, doubt = self._slopes(y, finely)
        upper = self._within_reach(g - doubt, best)
        value = self._value(y, g, upper, doubt)
        lost = self._open[(upper > WIDE)[self._open] & (g - doubt < 0)[self._open]]
        drawn = self._drawn(y, g - 2.0 * doubt, lost) if lost.size else None  # twice: the slopes there round too
        if drawn is None:
            return value
        g, doubt = self._slopes(drawn, finely)
        return max(value, self._value(drawn, g, self._within_reach(g - doubt, best), doubt))

    def _slopes(self, y: FloatArray, finely: bool) -> tuple[FloatArray, FloatArray]:
        """``A'y`` computed anew, and what storage and arithmetic may have done to it."""
        if finely:
            return self._term_by_term(y)
        return self.fit.exact_gradient(y, self._transposed(y)), self._at_most(y)

    def _transposed(self, y: FloatArray) -> FloatArray:
        g = np.empty(self.fit.columns.count)
        multiply_transposed(0, g.size, self.fit.columns.arrays, y, g)
        return g

    def _drawn(self, y: FloatArray, least: FloatArray, lost: IntArray) -> FloatArray | None:
        """Duals on the way to `_within`, so far that the least slopes of some columns are not below 0.

        The bound is concave in them: a short way costs little. None where that way raises none of these slopes.
        """
        inner, slopes = self._within()
        rising = lost[slopes[lost] > 0.0]
        if rising.size == 0:
            return None
        part = float((least[rising] / (least[rising] - slopes[rising])).max())
        drawn: FloatArray = np.clip(y + part * (inner - y), -self.fit.price.cap, self.fit.price.cap)
        return drawn

    def _within(self) -> tuple[FloatArray, FloatArray]:
        """Duals within the caps, and ``A'y`` there, above 0 for all columns without an upper bound if that is found.

        They begin with the price of an error of 1 and the sign of each row's sum, which most of its entries share;
        columns that this leaves too low are added until none is (the perceptron: Rosenblatt 1958).
        """
        if self._inner is None:
            price, c, sums = self.fit.price, self.fit.columns, self.fit.column_sums
            is_open = np.zeros(c.count, dtype=bool)
            is_open[self._open] = sums[self._open] > 0.0
            sizes = price.slopes(price.dead_zone + 1.0)
            sizes[~np.isfinite(sizes)] = 0.0  # the row of the mass, which can be raised without an end
            y = sizes * np.sign(self._times(is_open.astype(np.float64)))
            for _ in range(_PASSES):
                slopes = self._transposed(y)
                low = is_open & (slopes <= _CLEAR * sums)
                if not low.any():
                    break
                y += sizes * self._times(np.divide(1.0, sums, out=np.zeros(c.count), where=low))
            y *= float(np.divide(sizes, np.abs(y), out=np.ones(c.rows), where=np.abs(y) > sizes).min(initial=1.0))
            self._inner = y, self._transposed(y)
        return self._inner

    def _times(self, u: FloatArray) -> FloatArray:
        product = np.zeros(self.fit.columns.rows)
        multiply(0, u.size, self.fit.columns.arrays, u, product)
        return product

    def _within_reach(self, least: FloatArray, best: float) -> FloatArray:
        """Largest ratios, by the best point known where the least slope would cost one that is bounded in name only."""
        left = self._open[least[self._open] < 0]
        if left.size == 0:
            return self.fit.upper
        upper = self.fit.upper.copy()
        upper[left] = np.minimum(upper[left], self._reach(left, best))
        return upper

    def _finite_caps(self) -> FloatArray:
        cap = self.fit.price.cap[: self.fit.targets]
        return cap[np.isfinite(cap)]

    def _reach(self, columns: IntArray, best: float) -> FloatArray:
        """The largest ratio of each of some columns in any point with an objective of at most ``best``."""
        fit, c = self.fit, self.fit.columns
        if not np.isfinite(best):
            return np.full(columns.size, np.inf)
        # What the rounding of the entries may have hidden of the best point's cost, with room to spare:
        # h(r + d) <= (1 + t) h(r) + (1 + 1 / t) h(d) for each of these prices.
        best = best * (1.0 + math.sqrt(self._stored)) + 16.0 * self._stored * float(self._finite_caps().sum())
        sign = self._by_rows().sign
        reach = _shortest(columns, c.arrays, sign, largest_residual(fit.price, best) + sign * fit.b)
        return np.maximum(reach * (1.0 + 4.0 * self._stored), fit.lower[columns])


def largest_residual(price: RowPrice, best: float) -> FloatArray:
    """The largest ``r_i`` with ``h_i(r_i) <= best``, shape (rows,): no row of a point as good as ``best`` has more."""
    best = max(best, 0.0)
    curved = price.curvature > 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        corner = np.where(curved, 0.5 * price.curvature * price.cap**2, 0.0)
        excess = np.where(curved & (best <= corner), np.sqrt(2.0 * price.curvature * best), (best + corner) / price.cap)
    # A row that costs nothing bounds nothing; a hard row (infinite cap, no curvature) has no excess at all.
    return price.dead_zone + np.where(price.cap == 0.0, np.inf, excess)
