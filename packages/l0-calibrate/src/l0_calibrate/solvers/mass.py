"""Holding the sum of the weights exactly: the closing projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import Columns, row_numbers
from l0_calibrate.inner import inner

FloatArray = npt.NDArray[np.float64]

_STEPS = 200
"""Of a safeguarded Newton iteration on a piecewise linear function: a few are needed, halving alone would do in 100."""


def with_mass_row(columns: Columns, row: FloatArray) -> Columns:
    """The columns with one more, dense, row at the end."""
    k = columns.count
    indptr = columns.indptr.astype(np.int64) + np.arange(k + 1)
    at = indptr[1:] - 1
    indices = row_numbers(columns.rows + 1, columns.nnz + k)
    values = np.empty(columns.nnz + k, dtype=columns.values.dtype)
    inner = np.ones(indices.size, dtype=bool)
    inner[at] = False
    indices[inner], values[inner] = columns.indices, columns.values
    indices[at], values[at] = columns.rows, row
    return Columns(indptr.astype(np.uint64), indices, values, columns.rows + 1)


def project_mass(
    u: FloatArray, reference: FloatArray, mass: float, lower: FloatArray, upper: FloatArray
) -> FloatArray | None:
    """A point near u within the bounds with ``reference @ u = mass``, or None where the bounds allow none.

    It is ``clip(t u)``, which keeps the proportions of the weights; where no t gives the mass (too many
    records at zero or at a bound), ``clip(u + t)``.
    """
    counted = reference > 0
    most = inner(upper[counted], reference[counted])
    least = inner(lower[counted], reference[counted])
    slack = 1e-12 * abs(mass)
    if mass > most + slack or mass < least - slack:
        return None
    point = _solve(lambda t: t * u, u, reference, mass, lower, upper, 1.0)
    if point is None:
        point = _solve(lambda t: u + t, np.ones_like(u), reference, mass, lower, upper, 0.0)
    return None if point is None else _close(point, reference, mass, lower, upper)


def _solve(
    move: Callable[[float], FloatArray],
    speed: FloatArray,
    reference: FloatArray,
    mass: float,
    lower: FloatArray,
    upper: FloatArray,
    t: float,
) -> FloatArray | None:
    """``clip(move(t))`` with the mass, for a move of the given speed; ``t`` is the first guess."""
    low, high = -np.inf, np.inf
    for _ in range(_STEPS):
        with np.errstate(over="ignore"):  # a factor may be large where most ratios are next to nothing
            free = move(t)
        point = np.clip(free, lower, upper)
        miss = mass - inner(point, reference)
        if abs(miss) <= 1e-13 * abs(mass):
            return point
        if miss > 0:
            low = t
        else:
            high = t
        slope = float((speed * reference)[(free > lower) & (free < upper)].sum())
        following = t + miss / slope if slope > 0 else np.nan
        if not low < following < high:
            following = _between(low, high, t)
        if following == t or not np.isfinite(following):
            break
        t = following
    return point if abs(miss) <= 1e-10 * abs(mass) else None


def _between(low: float, high: float, t: float) -> float:
    """A point of the interval: its middle, or twice as far where it has no end yet."""
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high)
    width = max(abs(t), 1e-3)
    return t + width if np.isfinite(low) else t - width


def _close(u: FloatArray, reference: FloatArray, mass: float, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Take up the last rounding error in the records that have room for it."""
    for _ in range(3):
        miss = mass - inner(u, reference)
        free = (u > lower) & (u < upper) & (reference > 0)
        weight = inner(reference[free], u[free])
        if miss == 0.0 or weight <= 0.0:
            break
        u = u.copy()
        u[free] *= 1.0 + miss / weight
        u = np.clip(u, lower, upper)
    return u
