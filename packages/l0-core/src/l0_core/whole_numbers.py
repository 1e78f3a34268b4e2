"""Whole numbers as callers hand them in: Python's or NumPy's; true and false are none."""

from __future__ import annotations

from typing import Any

import numpy as np

from l0_core.errors import InputError


def is_whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_whole(value: Any, least: int, what: str) -> int:
    """The value as an int, or InputError unless it is a whole number of at least ``least``."""
    if not is_whole(value) or value < least:
        raise InputError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def whole(least: int, *, optional: bool = False) -> Any:
    """A validator of attrs: `check_whole`, or None where that may be left out."""

    def check(instance: object, attribute: Any, value: Any) -> None:
        if not (optional and value is None):
            check_whole(value, least, attribute.name)

    return check
