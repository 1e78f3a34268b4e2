"""The price of one residual and its slope, compiled: the formula of `l0_calibrate.losses.base.RowPrice`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_gates.jit import inner_jit, jit

FloatArray = npt.NDArray[np.float64]


@inner_jit
def row_cost(residual: float, cap: float, dead_zone: float, curvature: float) -> float:
    """``h(r)``; ``inf`` where a hard row (infinite cap, no curvature) is violated."""
    excess = abs(residual) - dead_zone
    if excess <= 0.0:
        return 0.0
    if curvature > 0.0:
        if excess <= curvature * cap:
            return excess * excess / (2.0 * curvature)
        return cap * excess - 0.5 * curvature * cap * cap
    return cap * excess


@inner_jit
def row_slope(residual: float, cap: float, dead_zone: float, curvature: float) -> float:
    """``h'(r)``, 0 at a corner at 0."""
    excess = abs(residual) - dead_zone
    if excess <= 0.0:
        return 0.0
    size = cap
    if curvature > 0.0:
        size = min(cap, excess / curvature)
    return size if residual > 0.0 else -size


@jit
def row_costs(
    residuals: FloatArray, cap: FloatArray, dead_zone: FloatArray, curvature: FloatArray, out: FloatArray
) -> None:
    """``h_i(r_i)`` of every row."""
    for i in range(residuals.size):
        out[i] = row_cost(residuals[i], cap[i], dead_zone[i], curvature[i])


@jit
def row_slopes(
    residuals: FloatArray, cap: FloatArray, dead_zone: FloatArray, curvature: FloatArray, out: FloatArray
) -> None:
    """``h_i'(r_i)`` of every row."""
    for i in range(residuals.size):
        out[i] = row_slope(residuals[i], cap[i], dead_zone[i], curvature[i])
