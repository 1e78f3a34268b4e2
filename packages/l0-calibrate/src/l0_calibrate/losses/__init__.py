"""How error is priced."""

from l0_calibrate.losses.base import Loss, RowPrice

__all__ = ["Loss", "RowPrice"]
