"""Huber's loss: squared for small errors, absolute for large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from l0_calibrate.losses.base import Loss, RowPrice
from l0_calibrate.losses.settings import positive

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem


@attrs.frozen
class HuberLoss(Loss):
    """``sum_i c_i H(max(|r_i| - tolerance_i, 0))``: ``H(s) = s^2 / (2 delta)`` to delta, ``s - delta / 2`` beyond.

    Huber (1964), scaled so that its slope far out is that of the absolute loss.

    Parameters
    ----------
    delta
        Relative error at which an error begins to count in proportion.
    """

    delta: float = attrs.field(default=0.05, validator=positive)

    def price(self, problem: CalibrationProblem) -> RowPrice:
        """The price of each target."""
        weights = problem.loss_weights
        curvature = np.divide(self.delta, weights, out=np.zeros_like(weights), where=weights > 0)
        return RowPrice(weights, problem.tolerances, curvature)
