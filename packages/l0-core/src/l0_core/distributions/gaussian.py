"""Gaussian stochastic gates."""

from __future__ import annotations

import math
from typing import Any

import attrs

from l0_core.distributions import normal
from l0_core.distributions.arrays import check_inside, floating
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.quadrature import Nodes, gauss_legendre
from l0_core.errors import InputError

Array = Any


def _sigma(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"sigma must be a number, got {value!r}") from error
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"sigma must be positive and finite, got {number}")
    return number


@attrs.frozen
class GaussianGate(GateDistribution):
    r"""A normal variable clipped to [0, 1] (stochastic gates: Yamada, Lindenbaum, Negahban & Kluger 2020).

    .. math:: z = \min(1, \max(0, \mu + \sigma \varepsilon)), \qquad \varepsilon \sim N(0, 1)

    with ``log_alpha`` for mu: as for every gate it is the real parameter that opens the gate as it grows,
    here on the scale of the gate itself (1/2 is half open, 0 as often closed as not).

    Parameters
    ----------
    sigma
        Standard deviation of the noise before clipping; 1/2 as in the paper.

    Raises
    ------
    InputError
        A sigma that is not positive and finite.
    """

    sigma: float = attrs.field(default=0.5, converter=_sigma)

    def _noisy(self, xp: Any, log_alpha: Array, uniform: Array) -> Array:
        return log_alpha + self.sigma * normal.quantile(xp, uniform)

    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """``clip(mu + sigma Phi^-1(u))``."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return xp.clip(self._noisy(xp, log_alpha, uniform), 0.0, 1.0)

    def deterministic(self, log_alpha: Array, rule: str = "median") -> Array:
        """``clip(mu)``, the median."""
        self.check_rule(rule)
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return xp.clip(log_alpha, 0.0, 1.0)

    def open_probability(self, log_alpha: Array) -> Array:
        """``Phi(mu / sigma)``."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return normal.cdf(xp, log_alpha / self.sigma)

    def log_open_probability(self, log_alpha: Array) -> Array:
        """``log Phi(mu / sigma)``, finite where `open_probability` underflows."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return normal.log_cdf(xp, log_alpha / self.sigma)

    def prob_zero(self, log_alpha: Array) -> Array:
        """``Phi(-mu / sigma)``, not as a difference from 1."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return normal.cdf(xp, -log_alpha / self.sigma)

    def cdf(self, z: Array, log_alpha: Array) -> Array:
        """0 below 0, 1 from 1 on, ``Phi((z - mu) / sigma)`` between."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = normal.cdf(xp, (z - log_alpha) / self.sigma)
        return xp.where(z < 0.0, xp.zeros_like(inside), xp.where(z >= 1.0, xp.ones_like(inside), inside))

    def survival(self, z: Array, log_alpha: Array) -> Array:
        """P(gate > z), not as a difference from 1."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = normal.cdf(xp, (log_alpha - z) / self.sigma)
        return xp.where(z < 0.0, xp.ones_like(inside), xp.where(z >= 1.0, xp.zeros_like(inside), inside))

    def quantile(self, p: Array, log_alpha: Array) -> Array:
        """The inverse of `cdf`; the same formula as `sample`, with p for the uniform draw."""
        xp, (p, log_alpha) = floating(p=p, log_alpha=log_alpha)
        check_inside(xp, "p", p)
        return self.sample(log_alpha, p)

    def log_alpha_for(self, open_probability: Array) -> Array:
        """``sigma Phi^-1(open_probability)``."""
        xp, (p,) = floating(open_probability=open_probability)
        check_inside(xp, "open_probability", p)
        return self.sigma * normal.quantile(xp, p)

    def moment_nodes(self) -> Nodes:
        """Gauss-Legendre panels at most 2 sigma long: Phi is entire, and on such a panel a polynomial to rounding."""
        return gauss_legendre(0.0, 1.0, panels=math.ceil(0.5 / self.sigma), order=24)

    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """1 where the gate is strictly between 0 and 1, else 0."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return self._inside(xp, self._noisy(xp, log_alpha, uniform))

    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """1 where mu is strictly between 0 and 1, else 0."""
        self.check_rule(rule)
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return self._inside(xp, log_alpha)

    @staticmethod
    def _inside(xp: Any, unclipped: Array) -> Array:
        inside = (unclipped > 0.0) & (unclipped < 1.0)
        return xp.where(inside, xp.ones_like(unclipped), xp.zeros_like(unclipped))

    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """The density of mu / sigma, over sigma."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return normal.density(xp, log_alpha / self.sigma) / self.sigma
