"""Arrays of real numbers as callers hand them in: nothing that cannot be kept is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError


def real_array(values: Any, what: str) -> npt.NDArray[Any]:
    """The values of an array, frame, sequence or tensor (without its gradient); objects become float64.

    Raises
    ------
    InputError
        They are not real numbers.
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (ValueError, TypeError) as fault:
            raise InputError(f"{what} must be real numbers: {fault}") from fault
    refuse_other_than_real(array.dtype, what)
    return array


def refuse_other_than_real(dtype: np.dtype[Any], what: str) -> None:
    """InputError for text, dates, and complex numbers, whose imaginary part would be lost."""
    if dtype.kind not in "fiub":
        raise InputError(f"{what} must be real numbers, got dtype {dtype}")
