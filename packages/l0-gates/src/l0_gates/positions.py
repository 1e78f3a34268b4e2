"""Positions of items as callers give them: whole numbers, or a flag for each item."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError


def checked_positions(values: Any, total: int, what: str) -> npt.NDArray[np.int64]:
    """The positions, in the order given (ascending where flags were given).

    Parameters
    ----------
    values
        Whole numbers in 0..total - 1, or booleans of shape (total,).
    total
        How many items there are.
    what
        The argument's name, for the message.

    Raises
    ------
    InputError
        Anything else: fractions and flags of another length would be taken for positions that nobody meant.
    """
    array = np.asarray(values)
    if array.dtype.kind == "b":
        if array.shape != (total,):
            raise InputError(f"{what} as flags must have shape ({total},), got {array.shape}")
        return np.flatnonzero(array).astype(np.int64)
    if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
        raise InputError(
            f"{what} must be positions (whole numbers in one dimension) or a flag for each of {total} items, "
            f"got dtype {array.dtype} and shape {array.shape}"
        )
    positions = array.astype(np.int64).ravel()
    bad = positions[(positions < 0) | (positions >= total)]
    if bad.size:
        raise InputError(f"{what} must be positions in 0..{total - 1}, got {bad[0]}")
    return positions
