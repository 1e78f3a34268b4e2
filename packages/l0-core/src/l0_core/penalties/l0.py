"""The expected number of open gates."""

from __future__ import annotations

from typing import Any

import attrs

from l0_core.distributions.arrays import floating
from l0_core.distributions.base import GateDistribution
from l0_core.penalties.base import WeightedPenalty, check_shapes

Array = Any


@attrs.frozen
class L0(WeightedPenalty):
    """``weight * sum_j P(z_j != 0)``: the expected number of non-zero weights (Louizos et al. 2018, eq. 12).

    The weights themselves have no part in it; their gradient is zero.
    """

    def value(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> Array:
        """The price, a scalar array."""
        check_shapes(weights, log_alpha)
        xp, (opened,) = floating(open_probability=distribution.open_probability(log_alpha))
        return self.weight * xp.sum(opened)

    def gradient(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> tuple[Array, Array]:
        """(zeros, weight dP/dlog_alpha)."""
        check_shapes(weights, log_alpha)
        xp, (weights,) = floating(weights=weights)
        return xp.zeros_like(weights), self.weight * distribution.open_probability_derivative(log_alpha)
