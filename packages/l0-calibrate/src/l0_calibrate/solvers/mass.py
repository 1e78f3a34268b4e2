"""Holding the sum of the weights exactly: the closing projection."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_HALVINGS = 200  # of an interval of doubles: more than their bits


def project_mass(
    u: FloatArray, reference: FloatArray, mass: float, lower: FloatArray, upper: FloatArray
) -> FloatArray | None:
    """The point ``clip(t u, lower, upper)`` (then shifted, if need be) with ``sum reference * u = mass``.

    Scaling keeps the proportions of the weights. Where scaling cannot reach the mass (columns at zero
    that the bounds would let rise), all are shifted towards their bounds instead. None when the bounds
    do not allow the mass at all.
    """
    with np.errstate(invalid="ignore"):
        most = float(np.where(reference > 0, upper * reference, 0.0).sum())
    least = float(lower @ reference)
    slack = 1e-12 * abs(mass)
    if mass > most + slack or mass < least - slack:
        return None

    def scaled(t: float) -> FloatArray:
        return np.clip(t * u, lower, upper)

    def shifted(t: float) -> FloatArray:
        return np.clip(u + t, lower, upper)

    for move, low, high in ((scaled, 0.0, 2.0), (shifted, -float(u.max(initial=0.0)) - 1.0, 1.0)):
        for _ in range(60):
            if float(move(high) @ reference) >= mass:
                break
            high = high * 2.0 if high > 0 else 1.0
        else:
            continue
        if float(move(low) @ reference) > mass + slack:
            continue
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            if float(move(middle) @ reference) >= mass:
                high = middle
            else:
                low = middle
        return _close(move(high), reference, mass, lower, upper)
    return None


def _close(
    u: FloatArray, reference: FloatArray, mass: float, lower: FloatArray, upper: FloatArray
) -> FloatArray:
    """Take up the last rounding error in the columns that have room for it."""
    for _ in range(3):
        miss = mass - float(u @ reference)
        if miss == 0.0:
            break
        free = (u > lower) & (u < upper) & (reference > 0)
        weight = float(reference[free] @ u[free])
        if weight <= 0.0:
            break
        u = u.copy()
        u[free] *= 1.0 + miss / weight
        u = np.clip(u, lower, upper)
    return u
