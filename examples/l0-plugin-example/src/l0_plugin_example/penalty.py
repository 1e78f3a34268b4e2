"""A penalty: the price of gates that have not made up their mind."""

from __future__ import annotations

from typing import Any

import attrs

from l0_core import GateDistribution
from l0_core.distributions.arrays import floating
from l0_core.penalties.base import WeightedPenalty, check_shapes

Array = Any


@attrs.frozen
class Undecided(WeightedPenalty):
    """``weight * sum_j P_j (1 - P_j)``, the variance of the number of open gates (P_j: open probability).

    `WeightedPenalty` brings the price and its check; sums with ``+`` come from `Penalty`.
    """

    def value(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> Array:
        """The price, a scalar array."""
        check_shapes(weights, log_alpha)
        xp, (opened,) = floating(open_probability=distribution.open_probability(log_alpha))
        return self.weight * xp.sum(opened * distribution.prob_zero(log_alpha))

    def gradient(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> tuple[Array, Array]:
        """(zeros, weight (1 - 2 P) dP/dlog_alpha)."""
        check_shapes(weights, log_alpha)
        xp, (weights, opened) = floating(weights=weights, open_probability=distribution.open_probability(log_alpha))
        slope = distribution.open_probability_derivative(log_alpha)
        return xp.zeros_like(weights), self.weight * (1.0 - 2.0 * opened) * slope
