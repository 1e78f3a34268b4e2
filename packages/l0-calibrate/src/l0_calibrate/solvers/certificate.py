r"""A lower bound of the optimum from any dual point.

For the fit of `l0_calibrate.solvers.base.Task` and any y with ``|y_i| <= c_i``, with ``g = A'y``,

.. math:: D = -b'y - h^*(y) + \sum_j \min_{lo_j \le u \le hi_j} \big( g_j u + \tfrac{\kappa_j}{2} (u - e)^2 \big)

never exceeds the optimum (weak duality). It is finite where each hi_j is or kappa_j > 0. Elsewhere a
column with ``g_j < 0`` is first repaired by raising duals, and what is left is charged at the largest
value that the ratio can have in any point no worse than the best known.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt
from l0_gates.jit import jit

from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.kernels import multiply_transposed
from l0_calibrate.system import Columns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ROUNDING = 1e-12
"""Relative allowance for rounding in sums of float64 products, taken off every bound."""


@attrs.frozen(eq=False)
class FitData:
    """A fit on its own columns: what a certificate needs of a task, gathered once.

    ``columns`` are those of the support (with the row of the mass constraint last, where there is one);
    ``b`` and ``price`` have a row for each of its rows.
    """

    columns: Columns
    b: FloatArray
    price: RowPrice
    lower: FloatArray
    upper: FloatArray
    spread: FloatArray
    centre: float

    def column_minima(self, g: FloatArray, upper: FloatArray | None = None) -> FloatArray:
        """``min_{lo <= u <= hi} g u + kappa/2 (u - e)^2`` of each column; ``-inf`` where there is none."""
        hi = self.upper if upper is None else upper
        curved = self.spread > 0
        u = np.where(g > 0, self.lower, hi)
        np.divide(g, self.spread, out=u, where=curved)
        u = np.where(curved, np.clip(self.centre - u, self.lower, hi), u)
        with np.errstate(invalid="ignore", over="ignore"):
            flat = np.where(g == 0, 0.0, g * u)
            bent = np.where(curved, 0.5 * self.spread * (u - self.centre) ** 2, 0.0)
        return flat + bent

    @property
    def unbounded(self) -> npt.NDArray[np.bool_]:
        """Columns whose minimum can be ``-inf``."""
        return ~np.isfinite(self.upper) & (self.spread <= 0)

    def value(self, y: FloatArray, g: FloatArray, upper: FloatArray | None = None) -> float:
        """D at y, less an allowance for rounding; ``-inf`` where a column is unbounded."""
        minima = self.column_minima(g, upper)
        if not np.isfinite(minima).all():
            return -np.inf
        head = -float(self.b @ y) - self.price.conjugate(y)
        size = float(np.abs(self.b) @ np.abs(y)) + float(np.abs(minima).sum())
        return head + float(minima.sum()) - _ROUNDING * size


@jit
def _raise_duals(  # type: ignore[no-untyped-def]
    order, col_ptr, col_rows, col_values, row_ptr, row_cols, row_values, rising, b, cap, y, g
):
    """Raise duals, the most violated column first, until no column in ``order`` has ``g < 0`` or no row can rise."""
    for j in order:
        while g[j] < 0.0:
            best = -1
            best_price = np.inf
            best_entry = 0.0
            for p in range(col_ptr[j], col_ptr[j + 1]):
                i = col_rows[p]
                a = np.float64(col_values[p])
                if rising[i] and a > 0.0 and y[i] < cap[i] and b[i] / a < best_price:
                    best = np.int64(i)
                    best_price = b[i] / a
                    best_entry = a
            if best < 0:
                break
            amount = min(cap[best] - y[best], -g[j] / best_entry)
            full = amount >= cap[best] - y[best]
            y[best] = cap[best] if full else y[best] + amount
            for p in range(row_ptr[best], row_ptr[best + 1]):
                g[row_cols[p]] += amount * row_values[p]
            if not full:
                g[j] = max(g[j], 0.0)  # exact by construction: rounding would leave -1e-17


class Certificate:
    """Bounds for one fit; what the repair needs is built at its first use."""

    def __init__(self, data: FitData) -> None:
        self.data = data
        self._open = np.flatnonzero(data.unbounded)
        self._rows: tuple[IntArray, IntArray, FloatArray, npt.NDArray[np.bool_]] | None = None

    @property
    def is_cheap(self) -> bool:
        """Whether every bound is finite without a repair."""
        return self._open.size == 0

    def bound(self, y: FloatArray, g: FloatArray, best: float) -> float:
        """D at y; ``g = A'y``; ``best`` the objective of the best point known, sum form."""
        if self.is_cheap:
            return self.data.value(y, g)
        return self._repaired(y.copy(), g.copy(), best)

    def _by_rows(self) -> tuple[IntArray, IntArray, FloatArray, npt.NDArray[np.bool_]]:
        if self._rows is None:
            c = self.data.columns
            rows = c.indices.astype(np.int64)
            order = np.argsort(rows, kind="stable")
            columns = np.repeat(np.arange(c.count), np.diff(c.indptr.astype(np.int64)))
            values = c.values.astype(np.float64)[order]
            pointer = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=c.rows)))).astype(np.int64)
            # A row bounds the ratios of its columns only if nothing in it can be negative.
            rising = np.ones(c.rows, dtype=bool)
            rising[rows[c.values < 0]] = False
            touched_below = np.zeros(c.rows, dtype=bool)
            negative = self.data.lower[columns] < 0
            touched_below[rows[negative]] = True
            self._rows = (pointer, columns[order], values, rising & ~touched_below)
        return self._rows

    def _repaired(self, y: FloatArray, g: FloatArray, best: float) -> float:
        data, c = self.data, self.data.columns
        pointer, columns, values, rising = self._by_rows()
        negative = self._open[g[self._open] < 0]
        order = negative[np.argsort(g[negative], kind="stable")]
        indptr = c.indptr.astype(np.int64)
        _raise_duals(
            order, indptr, c.indices, c.values, pointer, columns, values, rising, data.b, data.price.cap, y, g
        )
        if not np.isfinite(y).all():
            return -np.inf
        upper = data.upper.copy()
        # Recompute: the updates along the way have rounded, and a bound must not profit from that.
        exact = np.zeros(c.count)
        multiply_transposed(0, c.count, c.indptr, c.indices, c.values, y, exact)
        left = self._open[exact[self._open] < 0]
        if left.size:
            if not np.isfinite(best):
                return -np.inf
            reach = _largest_residual(data.price, best) + data.b
            for j in left:
                span = slice(int(indptr[j]), int(indptr[j + 1]))
                i, a = c.indices[span].astype(np.int64), c.values[span].astype(np.float64)
                usable = rising[i] & (a > 0)
                if not usable.any():
                    return -np.inf
                upper[j] = max(float((reach[i[usable]] / a[usable]).min()), float(data.lower[j]))
        return data.value(y, exact, upper)


def _largest_residual(price: RowPrice, best: float) -> FloatArray:
    """The largest ``r_i`` with ``h_i(r_i) <= best``, shape (m,)."""
    best = max(best, 0.0)
    corner = np.where(price.curvature > 0, 0.5 * price.curvature * np.minimum(price.cap, 1e150) ** 2, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        quadratic = np.sqrt(2.0 * price.curvature * best)
        linear = (best + corner) / price.cap
        excess = np.where((price.curvature > 0) & (best <= corner), quadratic, linear)
    return price.dead_zone + np.where(np.isnan(excess), np.inf, excess)
