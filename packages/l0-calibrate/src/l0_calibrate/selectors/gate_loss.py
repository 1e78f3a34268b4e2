"""The calibrator's price of residuals as a loss of gate training, over the arrays of any backend."""

from __future__ import annotations

from typing import Any

import attrs

from l0_calibrate.losses.base import RowPrice
from l0_core import Backend, InputError

Array = Any


@attrs.frozen(eq=False)
class GateRowLoss:
    """Mean of ``h_i(r_i)``, ``r = estimates - targets``, and its slope in the estimates (see `RowPrice`).

    Parameters
    ----------
    cap, dead_zone, curvature
        As in `RowPrice`, shape (m,), on the backend.
    """

    cap: Array
    dead_zone: Array
    curvature: Array

    @classmethod
    def of(cls, price: RowPrice, backend: Backend, dtype: str) -> GateRowLoss:
        """The loss on a backend.

        Raises
        ------
        InputError
            A target that must be met exactly: gates learn by slopes, and a hard row has none.
        """
        cap, dead_zone, curvature = (backend.asarray(a, dtype) for a in (price.cap, price.dead_zone, price.curvature))
        if bool(backend.xp.any((cap == float("inf")) & (curvature == 0.0))):
            raise InputError(
                "selector 'hard_concrete' cannot learn under a target with an infinite weight and no curvature "
                "(a hard constraint); give it a large finite weight, or take selector 'prune'"
            )
        return cls(cap, dead_zone, curvature)

    def __call__(self, xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
        """(mean price, its derivative in each estimate); the subgradient at a corner at 0 is 0."""
        residual = estimates - targets
        excess = xp.maximum(xp.abs(residual) - self.dead_zone, xp.zeros_like(residual))
        curved = self.curvature > 0.0
        # y, the maximiser of y s - q y^2 / 2 on 0 <= y <= c: s / q or the cap; of a flat row the cap where s > 0
        size = xp.where(curved, excess / xp.where(curved, self.curvature, xp.ones_like(excess)), self.cap)
        size = xp.minimum(size, self.cap)
        size = xp.where(excess > 0.0, size, xp.zeros_like(size))
        value = size * (excess - 0.5 * self.curvature * size)
        return xp.mean(value), xp.sign(residual) * size / residual.shape[0]
