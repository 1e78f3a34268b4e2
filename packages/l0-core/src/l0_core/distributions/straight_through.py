"""Hard 0/1 gates with a straight-through gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from l0_core.distributions.arrays import check_inside, floating, stop_gradient
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.logistic import log_sigmoid, logit, sigmoid, sigmoid_derivative

Array = Any


@attrs.frozen
class StraightThrough(GateDistribution):
    """A Bernoulli gate, open with probability ``sigmoid(log_alpha)``, that learns by a surrogate.

    The gate jumps, so it has no derivative of use. Backward, it is taken for its mean: every derivative
    is that of ``sigmoid(log_alpha)``, and where the library has gradients they flow so (the straight-through
    estimator: Bengio, Leonard & Courville 2013). For a loss that is linear in the gates that is the unbiased
    gradient of the expected loss; for others it is biased.
    """

    pathwise: ClassVar[bool] = False

    def _hard(self, xp: Any, opened: Array, log_alpha: Array) -> Array:
        """0 or 1 forward, ``sigmoid(log_alpha)`` backward."""
        mean = sigmoid(xp, log_alpha)
        hard = xp.where(opened, xp.ones_like(mean), xp.zeros_like(mean))
        return hard + (mean - stop_gradient(mean))

    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """1 where ``u > P(z = 0)``, else 0."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return self._hard(xp, uniform > sigmoid(xp, -log_alpha), log_alpha)

    def deterministic(self, log_alpha: Array, rule: str = "median") -> Array:
        """1 where ``log_alpha > 0``, else 0: the median, and the likelier of the two."""
        self.check_rule(rule)
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return self._hard(xp, log_alpha > 0.0, log_alpha)

    def open_probability(self, log_alpha: Array) -> Array:
        """``sigmoid(log_alpha)``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, log_alpha)

    def log_open_probability(self, log_alpha: Array) -> Array:
        """``log sigmoid(log_alpha)``, finite where `open_probability` underflows."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return log_sigmoid(xp, log_alpha)

    def prob_zero(self, log_alpha: Array) -> Array:
        """``sigmoid(-log_alpha)``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, -log_alpha)

    def cdf(self, z: Array, log_alpha: Array) -> Array:
        """0 below 0, P(z = 0) from 0 on, 1 from 1 on."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, -log_alpha) + xp.zeros_like(z)
        return xp.where(z < 0.0, xp.zeros_like(inside), xp.where(z >= 1.0, xp.ones_like(inside), inside))

    def survival(self, z: Array, log_alpha: Array) -> Array:
        """P(gate > z), not as a difference from 1."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, log_alpha) + xp.zeros_like(z)
        return xp.where(z < 0.0, xp.ones_like(inside), xp.where(z >= 1.0, xp.zeros_like(inside), inside))

    def quantile(self, p: Array, log_alpha: Array) -> Array:
        """0 up to ``p = P(z = 0)``, 1 above."""
        xp, (p, log_alpha) = floating(p=p, log_alpha=log_alpha)
        check_inside(xp, "p", p)
        return self.sample(log_alpha, p)

    def log_alpha_for(self, open_probability: Array) -> Array:
        """``logit(open_probability)``."""
        xp, (p,) = floating(open_probability=open_probability)
        check_inside(xp, "open_probability", p)
        return logit(xp, p)

    def mean(self, log_alpha: Array) -> Array:
        """The open probability."""
        return self.open_probability(log_alpha)

    def variance(self, log_alpha: Array) -> Array:
        """``P (1 - P)``, without cancellation."""
        return self.open_probability_derivative(log_alpha)

    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """The surrogate ``P (1 - P)``, whatever the draw."""
        _, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return self.open_probability_derivative(log_alpha + 0.0 * uniform)

    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """The surrogate ``P (1 - P)``."""
        self.check_rule(rule)
        return self.open_probability_derivative(log_alpha)

    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """``P (1 - P)``, without cancellation."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid_derivative(xp, log_alpha)
