"""Compiled kernels of L0 coordinate descent on a quadratic.

Notation: ``x_j`` column j of the row-scaled matrix, ``m_j`` its weighted mean (zero without an intercept),
``s`` the square roots of the row weights, so that the centred column is ``x_j - m_j s``. The residual
``R = y - X b`` is stored without the centring, beside the number ``S = s'R``: for every column
``(x_j - m_j s)'(R - s S / s's) = x_j'R - m_j S``, so sparse columns stay sparse under an intercept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_gates.jit import fast_inner_jit, fast_jit, inner_jit, jit
from l0_gates.scatter import add_scaled

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """The scaled columns. ``indices`` is empty for a dense matrix, whose columns then lie one after another.

    They are unsigned: signed ones are tested for counting from the end.
    """

    data: FloatArray
    indices: npt.NDArray[np.uint32]
    indptr: IndexArray
    means: FloatArray
    squares: FloatArray
    mass: float


class Terms(NamedTuple):
    """Per coordinate: the L0 price, the ridge, and the bounds."""

    price: FloatArray
    ridge: FloatArray
    lower: FloatArray
    upper: FloatArray


@fast_inner_jit
def column_dot(columns: Columns, j: int, vector: FloatArray) -> float:
    """``x_j' vector``; loops that compilers turn into vector instructions."""
    total = 0.0
    begin, end = columns.indptr[j], columns.indptr[j + 1]
    data = columns.data[begin:end]
    if columns.indices.size == 0:
        for k in range(data.size):
            total += data[k] * vector[k]
    else:
        rows = columns.indices[begin:end]
        for k in range(data.size):
            total += data[k] * vector[rows[k]]
    return total


@inner_jit
def slope_at(columns: Columns, j: int, residual: FloatArray, shift: FloatArray) -> float:
    """The centred column's product with the residual; 0, not what rounding leaves of it, for a constant column."""
    if columns.squares[j] == 0.0:
        return 0.0
    return float(column_dot(columns, j, residual) - columns.means[j] * shift[0])


@fast_jit
def move(columns: Columns, j: int, step: float, residual: FloatArray, shift: FloatArray) -> None:
    """Account for ``b_j += step`` in the residual and in ``S``."""
    begin, end = columns.indptr[j], columns.indptr[j + 1]
    if columns.indices.size == 0:
        data = columns.data[begin:end]
        for k in range(data.size):
            residual[k] -= step * data[k]
    else:
        add_scaled(residual, columns.indices, columns.data, begin, end, -step)
    shift[0] -= step * columns.means[j] * columns.mass


@jit
def coordinate_minimiser(linear: float, curvature: float, price: float, lower: float, upper: float) -> float:
    """Minimiser of ``curvature/2 b^2 - linear b + price [b != 0]`` over ``lower <= b <= upper``.

    The clipped vertex of the parabola competes with zero where zero is allowed; a tie goes to zero.
    Without curvature the objective is flat (the column is empty) and the value nearest to zero is taken.
    """
    best = linear / curvature if curvature > 0.0 else 0.0
    if best < lower:
        best = lower
    elif best > upper:
        best = upper
    if lower <= 0.0 <= upper and 0.5 * curvature * best * best - linear * best + price >= 0.0:
        return 0.0
    return best


@inner_jit
def decrease(linear: float, curvature: float, price: float, lower: float, upper: float) -> float:
    """How much the objective falls when the coordinate goes from zero to its minimiser (price paid)."""
    best = coordinate_minimiser(linear, curvature, price, lower, upper)
    if best == 0.0:
        return 0.0
    return linear * best - 0.5 * curvature * best * best - price


@jit
def sweep(
    columns: Columns, terms: Terms, order: IndexArray, coefficients: FloatArray, residual: FloatArray, shift: FloatArray
) -> float:
    """Minimise over each coordinate of ``order`` in turn; the largest change, in units of the residual's norm."""
    largest = 0.0
    for j in order:
        square = columns.squares[j]
        old = coefficients[j]
        linear = slope_at(columns, j, residual, shift) + square * old
        curvature = square + terms.ridge[j]
        new = coordinate_minimiser(linear, curvature, terms.price[j], terms.lower[j], terms.upper[j])
        if new != old:
            move(columns, j, new - old, residual, shift)
            coefficients[j] = new
            largest = max(largest, np.sqrt(curvature) * abs(new - old))
    return largest


@jit
def cycle(
    columns: Columns,
    terms: Terms,
    order: IndexArray,
    coefficients: FloatArray,
    residual: FloatArray,
    shift: FloatArray,
    tolerance: float,
    max_passes: int,
) -> tuple[int, bool]:
    """Coordinate descent with an active set: sweeps over the non-zeros until still, then one over all.

    Returns the number of sweeps and whether the last one over all of ``order`` moved nothing by more
    than the tolerance.
    """
    passes = 0
    while passes < max_passes:
        change = sweep(columns, terms, order, coefficients, residual, shift)
        passes += 1
        if change <= tolerance:
            return passes, True
        active = order[coefficients[order] != 0.0]
        while passes < max_passes:
            change = sweep(columns, terms, active, coefficients, residual, shift)
            passes += 1
            if change <= tolerance:
                break
    return passes, False


@jit
def gains(
    columns: Columns, terms: Terms, coefficients: FloatArray, residual: FloatArray, shift: FloatArray
) -> FloatArray:
    """How much each coordinate that is zero would lower the objective by itself; -inf for the others."""
    result = np.full(coefficients.size, -np.inf)
    for j in range(coefficients.size):
        if coefficients[j] == 0.0:
            linear = slope_at(columns, j, residual, shift)
            curvature = columns.squares[j] + terms.ridge[j]
            result[j] = decrease(linear, curvature, terms.price[j], terms.lower[j], terms.upper[j])
    return result


@jit
def swap(
    columns: Columns,
    terms: Terms,
    leavers: IndexArray,
    barred: npt.NDArray[np.bool_],
    coefficients: FloatArray,
    residual: FloatArray,
    shift: FloatArray,
    margin: float,
) -> tuple[int, int]:
    """The first exchange of one of ``leavers`` for a zero coordinate that lowers the objective by ``margin``.

    It is applied, and (leaver, newcomer) returned; (-1, -1) where there is none, with nothing changed: the
    point then is a partial swap inescapable minimum of order 1 over ``leavers`` (Hazimeh & Mazumder 2020).
    ``barred`` coordinates may not come in.
    """
    for leaver in leavers:
        value = coefficients[leaver]
        move(columns, leaver, -value, residual, shift)
        linear = slope_at(columns, leaver, residual, shift)
        curvature = columns.squares[leaver] + terms.ridge[leaver]
        # What the leaver is worth at its present value, without it: the newcomer must be worth more.
        stay = linear * value - 0.5 * curvature * value * value - (terms.price[leaver] if value != 0.0 else 0.0)
        best, newcomer = stay + margin, -1
        for j in range(coefficients.size):
            if coefficients[j] == 0.0 and j != leaver and not barred[j]:
                slope = slope_at(columns, j, residual, shift)
                square = columns.squares[j] + terms.ridge[j]
                gain = decrease(slope, square, terms.price[j], terms.lower[j], terms.upper[j])
                if gain > best:
                    best, newcomer = gain, j
        if newcomer >= 0:
            slope = slope_at(columns, newcomer, residual, shift)
            coefficients[leaver] = 0.0
            coefficients[newcomer] = coordinate_minimiser(
                slope,
                columns.squares[newcomer] + terms.ridge[newcomer],
                terms.price[newcomer],
                terms.lower[newcomer],
                terms.upper[newcomer],
            )
            move(columns, newcomer, coefficients[newcomer], residual, shift)
            return leaver, newcomer
        move(columns, leaver, value, residual, shift)
    return -1, -1
