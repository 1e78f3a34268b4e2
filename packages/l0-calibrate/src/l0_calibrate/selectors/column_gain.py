"""What a record alone could take off the objective: an exact line search along its column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import ColumnArrays, Columns
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.losses.row_kernels import row_cost, row_slope
from l0_calibrate.threads import Threads, even_shares, useful
from l0_gates.jit import jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_HALVINGS = 30
"""Of the interval of the ratio: the least is found to 1e-9 of it."""
_WORTH_A_THREAD = 200
"""Columns below which starting a thread costs more than it saves: each is gone through some thirty times."""


@jit
def _slope(
    matrix: ColumnArrays, j: int, residuals: FloatArray, rows: tuple[FloatArray, FloatArray, FloatArray], t: float
) -> float:
    cap, dead_zone, curvature = rows
    total = 0.0
    for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
        i, a = matrix.indices[p], np.float64(matrix.values[p])
        total += a * row_slope(residuals[i] + a * t, cap[i], dead_zone[i], curvature[i])
    return total


@jit
def _gains(
    matrix: ColumnArrays,
    columns: IntArray,
    residuals: FloatArray,
    rows: tuple[FloatArray, FloatArray, FloatArray],
    upper: FloatArray,
    spread: FloatArray,
    gains: FloatArray,
) -> None:
    cap, dead_zone, curvature = rows
    for k in range(columns.size):
        j = columns[k]
        low = 0.0
        high = upper[k]
        if not np.isfinite(high):
            high = 1.0
            while high < 1e15 and _slope(matrix, j, residuals, rows, high) + spread[k] * high < 0.0:
                high *= 2.0
        if _slope(matrix, j, residuals, rows, high) + spread[k] * high >= 0.0:
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                if _slope(matrix, j, residuals, rows, middle) + spread[k] * middle < 0.0:
                    low = middle
                else:
                    high = middle
        gain = -0.5 * spread[k] * high * high
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            i, a = matrix.indices[p], np.float64(matrix.values[p])
            before = row_cost(residuals[i], cap[i], dead_zone[i], curvature[i])
            gain += before - row_cost(residuals[i] + a * high, cap[i], dead_zone[i], curvature[i])
        gains[k] = max(gain, 0.0)


def column_gains(
    columns: Columns, chosen: IntArray, residuals: FloatArray, price: RowPrice, upper: FloatArray, spread: FloatArray,
    threads: int = 1,
) -> FloatArray:  # fmt: skip
    """``max_{0 <= t <= hi} h(r) - h(r + a_j t) - kappa t^2 / 2`` of each chosen column, sum form.

    Parameters
    ----------
    columns
        The matrix.
    chosen
        Positions of the columns, shape (k,).
    residuals
        ``r``, shape (m,), without the columns.
    price
        ``h``.
    upper, spread
        ``hi`` and ``kappa`` of the chosen columns, shape (k,).
    threads
        The result is the same for any number.
    """
    gains = np.empty(chosen.size)
    rows = (price.cap, price.dead_zone, price.curvature)
    with Threads(useful(threads, chosen.size, _WORTH_A_THREAD)) as workers:
        shares = [slice(*share) for share in even_shares(chosen.size, workers.shares)]

        def work(t: int) -> None:
            at = shares[t]
            _gains(columns.arrays, chosen[at], residuals, rows, upper[at], spread[at], gains[at])

        workers.all(len(shares), work)
    return gains
