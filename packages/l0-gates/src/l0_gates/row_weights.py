"""What rows count for: one non-negative number each, checked and put in proportion in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_core.real_numbers import real_array

FloatArray = npt.NDArray[np.float64]


def checked_row_weights(values: Any, rows: int, what: str = "row_weights") -> FloatArray:
    """The weights in float64, of shape (rows,), in an array of their own; one number stands for every row.

    Parameters
    ----------
    what
        How the caller calls them, for the errors.

    Raises
    ------
    InputError
        On other than real numbers, a wrong shape, a weight that is negative or not finite (its row is named), or
        weights that are all zero.
    """
    weights = real_array(values, what).astype(np.float64)
    if weights.ndim == 0:
        weights = np.full(rows, float(weights))
    if weights.shape != (rows,):
        raise InputError(f"{what} must be one number or have shape ({rows},), one for each row, got {weights.shape}")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if bad.size:
        raise InputError(f"{what} of row {bad[0]} is {weights[bad[0]]}; it must be finite and not negative")
    if not weights.any():
        raise InputError(f"{what} must be positive for at least one row; all are zero")
    return weights


def row_shares(weights: FloatArray) -> FloatArray:
    """The weights divided by their sum: only their proportions are left, whatever their unit."""
    part = weights / weights.max()  # their sum cannot overflow
    return np.asarray(part / part.sum())
