"""Compiled passes of coordinate descent over the columns of a fit.

Rows are kept as residuals ``r``, slopes ``y = h'(r)`` and weights: the least curvature of a parabola that touches the
price at ``r`` and lies on or above it everywhere. That is ``y / r`` for a price whose slope flattens out (Huber's;
de Leeuw & Lange 2009) and ``1 / q`` for a parabola with or without a dead zone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import ColumnArrays
from l0_calibrate.losses.row_kernels import row_slope
from l0_calibrate.solvers.kernels import column_dot
from l0_gates.descent.kernels import coordinate_minimiser
from l0_gates.jit import fast_inner_jit, fast_jit

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ONE = np.uint64(1)


class RowState(NamedTuple):
    """Residuals, slopes and weights of the rows, each of shape (m,), moved by the passes."""

    residual: FloatArray
    slope: FloatArray
    weight: FloatArray


class RowPrices(NamedTuple):
    """The three numbers of each row's price, shape (m,).

    ``bends``: whether any weight depends on the residual; ``plain``: whether every slope is weight times residual,
    with the weight fixed.
    """

    cap: FloatArray
    dead_zone: FloatArray
    curvature: FloatArray
    bends: bool
    plain: bool


class Coordinates(NamedTuple):
    """Columns of a pass: ratios, bounds, kappa and curvature ``kappa + sum_i a_ij^2 / q_i``, each of shape (k,); e."""

    u: FloatArray
    lower: FloatArray
    upper: FloatArray
    kappa: FloatArray
    curvature: FloatArray
    centre: float


@fast_inner_jit
def _row_weight(residual: float, cap: float, dead_zone: float, curvature: float) -> float:
    if curvature <= 0.0:  # free of charge
        return 0.0
    if dead_zone > 0.0:
        return 1.0 / curvature
    return min(1.0 / curvature, cap / max(abs(residual), 1e-300))


@fast_jit
def refresh_rows(rows: RowState, prices: RowPrices) -> None:
    """Slopes and weights from the residuals."""
    cap, dead_zone, curvature, _, _ = prices
    for i in range(rows.residual.size):
        rows.slope[i] = row_slope(rows.residual[i], cap[i], dead_zone[i], curvature[i])
        rows.weight[i] = _row_weight(rows.residual[i], cap[i], dead_zone[i], curvature[i])


@fast_jit
def column_curvatures(matrix: ColumnArrays, weight: FloatArray, kappa: FloatArray, out: FloatArray) -> None:
    """``kappa_j + sum_i weight_i a_ij^2``."""
    indptr, indices, values = matrix
    for j in range(out.size):
        total = kappa[j]
        for p in range(indptr[j], indptr[j + 1]):
            entry = np.float64(values[p])
            total += entry * entry * weight[indices[p]]
        out[j] = total


@fast_jit
def descent_pass(
    matrix: ColumnArrays, columns: Coordinates, rows: RowState, prices: RowPrices, held: BoolArray
) -> float:
    """Move each ratio in turn to the minimum of its parabola within its bounds.

    ``held`` marks those that were at a bound and pushed against it, and those that nothing depends on. Returns
    ``sum h_j d_j^2`` of the changes d: the objective falls by at least half of it.
    """
    indptr, indices, values = matrix
    u, lower, upper, kappa, steady, centre = columns
    residual, slope, weight = rows
    cap, dead_zone, curvature, bends, plain = prices
    fall = 0.0
    for j in range(u.size):
        old = u[j]
        bend = steady[j]
        begin = indptr[j]
        end = indptr[j + 1]
        if bends:
            bend = kappa[j]
            p = begin
            while p < end:
                entry = np.float64(values[p])
                bend += entry * entry * weight[indices[p]]
                p += _ONE
        if not bend > 0.0:
            held[j] = True
            continue
        g = column_dot(matrix, j, slope) + kappa[j] * (old - centre)
        new = coordinate_minimiser(bend * old - g, bend, 0.0, lower[j], upper[j])
        change = new - old
        held[j] = change == 0.0 and ((old == lower[j] and g > 0.0) or (old == upper[j] and g < 0.0))
        if change == 0.0:
            continue
        u[j] = new
        fall += bend * change * change
        p = begin
        if plain:
            while p < end:
                i = indices[p]
                moved = residual[i] + change * values[p]
                residual[i] = moved
                slope[i] = moved * weight[i]
                p += _ONE
        else:
            while p < end:
                i = indices[p]
                moved = residual[i] + change * values[p]
                residual[i] = moved
                slope[i] = row_slope(moved, cap[i], dead_zone[i], curvature[i])
                weight[i] = _row_weight(moved, cap[i], dead_zone[i], curvature[i])
                p += _ONE
    return fall
