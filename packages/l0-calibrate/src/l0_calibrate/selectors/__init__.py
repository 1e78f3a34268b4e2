"""Which records, at an exact count."""

from l0_calibrate.selectors.base import Budget, Selected, Selector

__all__ = ["Budget", "Selected", "Selector"]
