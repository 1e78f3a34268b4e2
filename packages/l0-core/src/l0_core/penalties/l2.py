"""The expected half sum of squares of the weights whose gates are open."""

from __future__ import annotations

from typing import Any

import attrs

from l0_core.distributions.arrays import floating
from l0_core.distributions.base import GateDistribution
from l0_core.penalties.base import WeightedPenalty, check_shapes

Array = Any


@attrs.frozen
class L2(WeightedPenalty):
    """``weight / 2 * sum_j P(z_j != 0) w_j^2``: an open weight pays its square, a closed one nothing.

    Louizos et al. (2018), section 2.3: the squared norm under the gates with the weight free of the gate's
    shrinkage, so that ``z`` between 0 and 1 does not make a large weight cheap. The half is for the
    gradient, ``weight P w``, that of ordinary weight decay times the open probability.
    """

    def value(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> Array:
        """The price, a scalar array."""
        check_shapes(weights, log_alpha)
        xp, (weights, opened) = floating(weights=weights, open_probability=distribution.open_probability(log_alpha))
        return (0.5 * self.weight) * xp.sum(opened * weights * weights)

    def gradient(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> tuple[Array, Array]:
        """(weight P w, weight / 2 w^2 dP/dlog_alpha)."""
        check_shapes(weights, log_alpha)
        _, (weights, opened) = floating(weights=weights, open_probability=distribution.open_probability(log_alpha))
        slope = distribution.open_probability_derivative(log_alpha)
        return self.weight * opened * weights, (0.5 * self.weight) * weights * weights * slope
