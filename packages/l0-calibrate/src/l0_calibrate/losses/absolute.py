"""The absolute loss: mean |relative error|, with a weight and a tolerance for each target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0_calibrate.losses.base import Loss, RowPrice

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem


class AbsoluteLoss(Loss):
    """``sum_i c_i max(|r_i| - tolerance_i, 0)``, with the weights c of the problem."""

    def price(self, problem: CalibrationProblem) -> RowPrice:
        """The price of each target."""
        return RowPrice.absolute_of(problem)
