"""The capped loss: an error counts up to a level and no further, so that hopeless targets let go of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.losses.settings import positive

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@attrs.frozen
class CappedLoss(Loss):
    """``sum_i c_i min(max(|r_i| - tolerance_i, 0), level)``, not convex.

    Solved by majorisation: a target beyond the level is charged the constant ``c_i level``, the others
    their absolute error. Both lie on or above the capped price and touch it at the residuals they were
    made from, so the loss never rises from one fit to the next. What is found is a local optimum.

    Parameters
    ----------
    level
        Relative error beyond which a target is abandoned.
    """

    level: float = attrs.field(default=1.0, validator=positive)

    def price(self, problem: CalibrationProblem) -> RowPrice:
        """The price before any target is abandoned: the absolute loss."""
        return RowPrice.absolute_of(problem)

    def abandoned(self, price: RowPrice, residuals: FloatArray) -> BoolArray:
        """Census of the targets beyond the level, flags of shape (m,)."""
        return (np.abs(residuals) - price.dead_zone > self.level) & (price.cap > 0)

    def reprice(self, price: RowPrice, residuals: FloatArray) -> RowPrice | None:
        """The price with the targets beyond the level at no charge."""
        return attrs.evolve(price, cap=np.where(self.abandoned(price, residuals), 0.0, price.cap))
