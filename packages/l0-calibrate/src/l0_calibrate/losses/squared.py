"""The squared loss: mean squared relative error, with a weight and a tolerance for each target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from l0_calibrate.losses.base import Loss, RowPrice

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem


@attrs.frozen
class SquaredLoss(Loss):
    """``sum_i c_i max(|r_i| - tolerance_i, 0)^2``, with the weights c of the problem: few large errors, many small."""

    def price(self, problem: CalibrationProblem) -> RowPrice:
        """The price of each target."""
        weights = problem.loss_weights
        counted = weights > 0
        curvature = np.divide(0.5, weights, out=np.zeros_like(weights), where=counted)
        return RowPrice(np.where(counted, np.inf, 0.0), problem.tolerances, curvature)
