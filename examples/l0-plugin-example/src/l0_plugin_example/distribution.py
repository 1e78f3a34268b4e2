"""A distribution: a logistic variable clipped to [0, 1]."""

from __future__ import annotations

import math
from typing import Any

import attrs

from l0_core import GateDistribution, InputError
from l0_core.distributions.arrays import check_inside, floating
from l0_core.distributions.logistic import log_sigmoid, logit, sigmoid, sigmoid_derivative

Array = Any


@attrs.frozen
class LogisticGate(GateDistribution):
    """``z = clip(log_alpha + scale logit(u), 0, 1)``: open with probability ``sigmoid(log_alpha / scale)``.

    Parameters
    ----------
    scale
        Of the logistic noise, positive.
    """

    scale: float = attrs.field(default=0.25, converter=float)

    @scale.validator
    def _check_scale(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"scale must be positive and finite, got {value}")

    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """``clip(log_alpha + scale logit(u), 0, 1)``."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return xp.clip(log_alpha + self.scale * logit(xp, uniform), 0.0, 1.0)

    def deterministic(self, log_alpha: Array, rule: str = "median") -> Array:
        """``clip(log_alpha, 0, 1)``, the median."""
        self.check_rule(rule)
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return xp.clip(log_alpha, 0.0, 1.0)

    def open_probability(self, log_alpha: Array) -> Array:
        """``sigmoid(log_alpha / scale)``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, log_alpha / self.scale)

    def prob_zero(self, log_alpha: Array) -> Array:
        """``sigmoid(-log_alpha / scale)``: the base class would lose the tail in ``1 - open_probability``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, -log_alpha / self.scale)

    def log_open_probability(self, log_alpha: Array) -> Array:
        """``-log(1 + exp(-log_alpha / scale))``, finite where the probability underflows."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return log_sigmoid(xp, log_alpha / self.scale)

    def cdf(self, z: Array, log_alpha: Array) -> Array:
        """0 below 0, 1 from 1 on, ``sigmoid((z - log_alpha) / scale)`` between."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, (z - log_alpha) / self.scale)
        return xp.where(z < 0.0, xp.zeros_like(inside), xp.where(z >= 1.0, xp.ones_like(inside), inside))

    def survival(self, z: Array, log_alpha: Array) -> Array:
        """``1 - cdf``, not as a difference: means and variances of rare gates are integrals of it."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, (log_alpha - z) / self.scale)
        return xp.where(z < 0.0, xp.ones_like(inside), xp.where(z >= 1.0, xp.zeros_like(inside), inside))

    def quantile(self, p: Array, log_alpha: Array) -> Array:
        """The gate of the draw p."""
        xp, (p, log_alpha) = floating(p=p, log_alpha=log_alpha)
        check_inside(xp, "p", p)
        return self.sample(log_alpha, p)

    def log_alpha_for(self, open_probability: Array) -> Array:
        """``scale logit(open_probability)``."""
        xp, (p,) = floating(open_probability=open_probability)
        check_inside(xp, "open_probability", p)
        return self.scale * logit(xp, p)

    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """1 where the gate is strictly between 0 and 1, else 0."""
        return self._inside(self.sample(log_alpha, uniform))

    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """1 where the median is strictly between 0 and 1, else 0."""
        return self._inside(self.deterministic(log_alpha, rule))

    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """``P (1 - P) / scale``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid_derivative(xp, log_alpha / self.scale) / self.scale

    @staticmethod
    def _inside(gate: Array) -> Array:
        xp, (gate,) = floating(gate=gate)
        return xp.where((gate > 0.0) & (gate < 1.0), xp.ones_like(gate), xp.zeros_like(gate))
