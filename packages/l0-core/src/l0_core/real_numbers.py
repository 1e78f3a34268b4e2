"""Real numbers as callers hand them in, Python's or NumPy's, one or many: nothing that cannot be kept is dropped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError


def is_number(value: object) -> bool:
    """Whether it is one real number; true and false are none, infinity is."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def number(
    low: float,
    what: str,
    *,
    closed: bool = True,
    below: float = math.inf,
    infinite: bool = False,
    optional: bool = False,
) -> Any:
    """A validator of attrs: a number from ``low`` on (above it, unless closed) and less than ``below``.

    Parameters
    ----------
    what
        Said of the number that is wanted: "must be ...".
    infinite, optional
        Whether infinity, and whether None, will do.
    """

    def check(instance: object, attribute: Any, value: Any) -> None:
        if optional and value is None:
            return
        good = is_number(value) and (low <= value if closed else low < value)
        if not good or not (value < below or (infinite and value == math.inf)):
            raise InputError(f"{attribute.name} must be {what}, got {value!r}")

    return check


def real_array(values: Any, what: str) -> npt.NDArray[Any]:
    """The values of an array, frame, sequence or tensor (without its gradient); objects become float64.

    Raises
    ------
    InputError
        They are not real numbers.
    """
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (ValueError, TypeError) as fault:  # rows of several lengths, tensors of a kind that NumPy does not have
        raise InputError(f"{what} must be real numbers: {fault}") from fault
    refuse_other_than_real(array.dtype, what)
    return array


def refuse_other_than_real(dtype: np.dtype[Any], what: str) -> None:
    """InputError for text, dates, and complex numbers, whose imaginary part would be lost."""
    if dtype.kind not in "fiub":
        raise InputError(f"{what} must be real numbers, got dtype {dtype}")
