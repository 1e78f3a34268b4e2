"""Checks of the settings of losses."""

from __future__ import annotations

import math

import attrs

from l0_core import InputError


def positive(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """Validator: a positive finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InputError(f"{attribute.name} must be a positive number (a relative error), got {value!r}")
