"""Compiled passes over the columns: the price of an iteration is one of these.

All take the arrays of `l0_calibrate.system.Columns` (``indptr`` uint64, ``indices`` uint32: signed
indices would cost a wrap-around test each) and a range of columns, so that threads can share them out;
row vectors that are added to are private to the caller.
"""

from __future__ import annotations

import numpy as np
from l0_gates.jit import fast_jit

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)


@fast_jit
def _dot(indices, values, y, p, end):  # type: ignore[no-untyped-def]
    """``a_j'y`` with four accumulators, so that the additions do not wait for one another."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    while p + _THREE < end:
        s0 += values[p] * y[indices[p]]
        s1 += values[p + _ONE] * y[indices[p + _ONE]]
        s2 += values[p + _TWO] * y[indices[p + _TWO]]
        s3 += values[p + _THREE] * y[indices[p + _THREE]]
        p += _FOUR
    while p < end:
        s0 += values[p] * y[indices[p]]
        p += _ONE
    return (s0 + s1) + (s2 + s3)


@fast_jit
def primal_sweep(  # type: ignore[no-untyped-def]
    first, last, indptr, indices, values, y, u, anchor, u1, lower, upper, kappa, centre, step, omega, q, product
):
    """One primal step of every column, its reflected Halpern average, and ``A u1`` added to ``product``.

    Returns ``sum (u1 - u)^2 / T`` over the columns (T the unscaled step).
    """
    travel = 0.0
    for j in range(first, last):
        p = indptr[j]
        end = indptr[j + 1]
        old = u[j]
        tau = omega * step[j]
        k = kappa[j]
        new = (old - tau * (_dot(indices, values, y, p, end) - k * centre)) / (1.0 + tau * k)
        new = min(max(new, lower[j]), upper[j])
        if new != 0.0:
            while p < end:
                product[indices[p]] += values[p] * new
                p += _ONE
        change = new - old
        travel += change * change / step[j]
        u1[j] = new
        u[j] = q * (2.0 * new - old) + (1.0 - q) * anchor[j]
    return travel


@fast_jit
def dual_step(  # type: ignore[no-untyped-def]
    y, y_anchor, y1, product, product_1, product_anchor, b, step, omega, q, cap, dead_zone, curvature
):
    """The dual step of every row, its average, and ``A u`` carried along by linearity.

    ``y1 = clip(shrink(y + s (2 A u1 - A u - b), s d) / (1 + s q), -c, c)`` with ``s = R / omega``.
    Returns ``sum (y1 - y)^2 / R`` and ``(y1 - y)'(A u1 - A u)``.
    """
    travel = 0.0
    cross = 0.0
    for i in range(y.size):
        sigma = step[i] / omega
        old = y[i]
        new = old + sigma * (2.0 * product_1[i] - product[i] - b[i])
        zone = sigma * dead_zone[i]
        if new > zone:
            new -= zone
        elif new < -zone:
            new += zone
        else:
            new = 0.0
        new = new / (1.0 + sigma * curvature[i])
        new = min(max(new, -cap[i]), cap[i])
        change = new - old
        travel += change * change / step[i]
        cross += change * (product_1[i] - product[i])
        y1[i] = new
        y[i] = q * (2.0 * new - old) + (1.0 - q) * y_anchor[i]
        product[i] = q * (2.0 * product_1[i] - product[i]) + (1.0 - q) * product_anchor[i]
    return travel, cross


@fast_jit
def multiply(first, last, indptr, indices, values, u, product):  # type: ignore[no-untyped-def]
    """``A u`` of the columns added to ``product``."""
    for j in range(first, last):
        if u[j] != 0.0:
            p = indptr[j]
            while p < indptr[j + 1]:
                product[indices[p]] += values[p] * u[j]
                p += _ONE


@fast_jit
def multiply_transposed(first, last, indptr, indices, values, y, g):  # type: ignore[no-untyped-def]
    """``g_j = a_j'y`` of the columns."""
    for j in range(first, last):
        g[j] = _dot(indices, values, y, indptr[j], indptr[j + 1])
