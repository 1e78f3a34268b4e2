"""Compiled passes over the columns: the price of an iteration is one of these.

``matrix`` is `l0_calibrate.columns.Columns.arrays` (``indptr`` uint64, ``indices`` unsigned: signed indices
would cost a wrap-around test each). A pass covers a range of columns, so that threads can share them
out; row vectors that are added to are private to the caller.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import ColumnArrays
from l0_gates.jit import fast_inner_jit, fast_jit
from l0_gates.scatter import add_scaled

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_AT_A_TIME = 128
"""Columns that take a step together: their entries are still close at hand when they are added to the rows."""
_ROWS_AT_A_TIME = 256
"""Rows that take a step together, by short loops over few arrays each, which become vector instructions."""


class Primal(NamedTuple):
    """The ratios of an iteration, each of shape (k,): current, anchor of the averages, and the new point.

    ``held`` marks columns that all three have at one bound and that the last step pushed against it.
    """

    u: FloatArray
    anchor: FloatArray
    u1: FloatArray
    held: BoolArray


class Terms(NamedTuple):
    """What a column is charged and may be: bounds, kappa, e, and the step ``T = 1 / colsum``."""

    lower: FloatArray
    upper: FloatArray
    kappa: FloatArray
    centre: float
    step: FloatArray


class Dual(NamedTuple):
    """The duals of an iteration, each of shape (m,): current, anchor of the averages, and the new point."""

    y: FloatArray
    anchor: FloatArray
    y1: FloatArray


class Products(NamedTuple):
    """``A u``, ``A u1`` and ``A u_anchor``, each of shape (m,)."""

    current: FloatArray
    new: FloatArray
    anchor: FloatArray


class Rows(NamedTuple):
    """Scaled targets, the three numbers of each row's price, and the step ``R = 1 / rowsum``."""

    b: FloatArray
    cap: FloatArray
    dead_zone: FloatArray
    curvature: FloatArray
    step: FloatArray


@fast_inner_jit
def column_dot(matrix: ColumnArrays, j: int, y: FloatArray) -> float:
    """``a_j'y``; a loop that compilers turn into vector instructions."""
    indptr, indices, values = matrix
    total = 0.0
    for p in range(indptr[j], indptr[j + 1]):
        total += values[p] * y[indices[p]]
    return total


@fast_inner_jit
def column_steps(first: int, last: int, primal: Primal, terms: Terms, omega: float, q: float) -> float:
    """One primal step of some columns, whose ``u1`` has ``a_j'y`` before, and their reflected Halpern average.

    Returns ``sum (u1 - u)^2 / T`` over the columns (T the unscaled step).
    """
    u, anchor, u1, held = primal
    lower, upper, kappa, centre, step = terms
    travel = 0.0
    for j in range(np.uint64(first), np.uint64(last)):
        old = u[j]
        tau = omega * step[j]
        k = kappa[j]
        free = (old - tau * (u1[j] - k * centre)) / (1.0 + tau * k)
        new = min(max(free, lower[j]), upper[j])
        change = new - old
        travel += change * change / step[j]
        u1[j] = new
        still = change == 0.0 and anchor[j] == old
        held[j] = still and free != new
        # Where it is, the average is the point itself, and must not move by rounding.
        u[j] = old if still else q * (2.0 * new - old) + (1.0 - q) * anchor[j]
    return travel


@fast_inner_jit
def primal_sweep(
    first: int,
    last: int,
    matrix: ColumnArrays,
    y: FloatArray,
    primal: Primal,
    terms: Terms,
    omega: float,
    q: float,
    product: FloatArray,
) -> float:
    """One primal step of every column (`column_steps`), and ``A u1`` added to ``product``; some columns at a time."""
    indptr, indices, values = matrix
    u1 = primal.u1
    travel = 0.0
    for start in range(first, last, _AT_A_TIME):
        stop = min(start + _AT_A_TIME, last)
        for j in range(start, stop):
            u1[j] = column_dot(matrix, j, y)
        travel += column_steps(start, stop, primal, terms, omega, q)
        for j in range(start, stop):
            new = u1[j]
            if new != 0.0:
                add_scaled(product, indices, values, indptr[j], indptr[j + 1], new)
    return travel


@fast_jit
def dual_step(
    first: int, last: int, sums: FloatArray, dual: Dual, products: Products, rows: Rows, omega: float, q: float
) -> tuple[float, float]:
    """The dual step of some rows, their average, and ``A u`` carried along by linearity.

    ``y1 = clip(shrink(y + s (2 A u1 - A u - b), s d) / (1 + s q), -c, c)`` with ``s = R / omega``, where ``sums``,
    shape (further pieces, m), are first added to ``A u1``. Returns ``sum (y1 - y)^2 / R`` and
    ``(y1 - y)'(A u1 - A u)``.
    """
    y, y_anchor, y1 = dual
    product, product_1, product_anchor = products
    b, cap, dead_zone, curvature, step = rows
    travel = 0.0
    cross = 0.0
    for start in range(first, last, _ROWS_AT_A_TIME):
        begin, end = np.uint64(start), np.uint64(min(start + _ROWS_AT_A_TIME, last))
        for t in range(sums.shape[0]):
            for i in range(begin, end):
                product_1[i] += sums[t, i]
        for i in range(begin, end):
            y1[i] = y[i] + step[i] / omega * (2.0 * product_1[i] - product[i] - b[i])
        for i in range(begin, end):
            sigma = step[i] / omega
            zone = sigma * dead_zone[i]
            shrunk = max(y1[i] - zone, 0.0) + min(y1[i] + zone, 0.0)
            y1[i] = min(max(shrunk / (1.0 + sigma * curvature[i]), -cap[i]), cap[i])
        for i in range(begin, end):
            change = y1[i] - y[i]
            travel += change * change / step[i]
            cross += change * (product_1[i] - product[i])
        for i in range(begin, end):
            y[i] = q * (2.0 * y1[i] - y[i]) + (1.0 - q) * y_anchor[i]
        for i in range(begin, end):
            product[i] = q * (2.0 * product_1[i] - product[i]) + (1.0 - q) * product_anchor[i]
    return travel, cross


@fast_jit
def multiply(first: int, last: int, matrix: ColumnArrays, u: FloatArray, product: FloatArray) -> None:
    """``A u`` of the columns added to ``product``."""
    indptr, indices, values = matrix
    for j in range(first, last):
        if u[j] != 0.0:
            add_scaled(product, indices, values, indptr[j], indptr[j + 1], u[j])


@fast_jit
def multiply_transposed(first: int, last: int, matrix: ColumnArrays, y: FloatArray, g: FloatArray) -> None:
    """``g_j = a_j'y`` of the columns."""
    for j in range(first, last):
        g[j] = column_dot(matrix, j, y)
