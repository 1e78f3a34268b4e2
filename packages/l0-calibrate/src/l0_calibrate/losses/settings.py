"""Checks of the settings of losses."""

from __future__ import annotations

from l0_core.real_numbers import number

positive = number(0.0, "a positive number (a relative error)", closed=False)
"""Validator: a positive finite number."""
