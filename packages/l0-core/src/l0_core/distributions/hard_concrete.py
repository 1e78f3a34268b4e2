r"""The Hard Concrete distribution, in closed form."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import attrs

from l0_core.distributions.arrays import check_inside, floating
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.logistic import log_sigmoid, logit, sigmoid, sigmoid_derivative
from l0_core.distributions.quadrature import Nodes, gauss_legendre
from l0_core.errors import InputError

Array = Any


def _real(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"a parameter of HardConcrete must be a number, got {value!r}") from error


@attrs.frozen
class HardConcrete(GateDistribution):
    r"""Binary concrete, stretched to (gamma, zeta) and clipped to [0, 1] (Louizos, Welling & Kingma 2018).

    .. math::

        s = \sigma\big((\operatorname{logit} u + \log\alpha) / \beta\big), \qquad
        \bar s = \gamma + (\zeta - \gamma)\, s, \qquad z = \min(1, \max(0, \bar s))

    with u uniform on (0, 1) (eqs. 10-11). The gate is 0 and 1 each with positive probability.

    Parameters
    ----------
    temperature
        beta > 0; the smaller, the closer to a Bernoulli gate.
    gamma
        Lower end of the stretch, below 0.
    zeta
        Upper end of the stretch, above 1.

    Raises
    ------
    InputError
        A parameter outside its range.

    Notes
    -----
    All probabilities are sigmoids of ``log_alpha`` minus a constant, so that each is given to rounding
    in its own tail: an open probability of 1e-30 is that, and so is a probability of 1e-30 to be 0.

    Rules of test time: ``"median"`` is the median of z, ``clip(gamma + (zeta - gamma) sigmoid(log_alpha / beta))``;
    ``"paper"`` is eq. 13 of the paper, the same without beta (it opens at a threshold other than P(z > 0) = 1/2).
    """

    rules: ClassVar[tuple[str, ...]] = ("median", "paper")

    temperature: float = attrs.field(default=2.0 / 3.0, converter=_real)
    gamma: float = attrs.field(default=-0.1, converter=_real)
    zeta: float = attrs.field(default=1.1, converter=_real)

    @temperature.validator
    def _check_temperature(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"temperature must be positive and finite, got {value}")

    @gamma.validator
    def _check_gamma(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and value < 0):
            raise InputError(f"gamma must be finite and below 0, got {value}")

    @zeta.validator
    def _check_zeta(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and value > 1):
            raise InputError(f"zeta must be finite and above 1, got {value}")

    # ------------------------------------------------------------------ the constants of the law

    @property
    def beta(self) -> float:
        """The temperature, by the paper's name."""
        return self.temperature

    @property
    def zero_threshold(self) -> float:
        """The ``log_alpha`` at which P(z != 0) = 1/2: ``beta log(-gamma / zeta)``."""
        return self.temperature * math.log(-self.gamma / self.zeta)

    @property
    def one_threshold(self) -> float:
        """The ``log_alpha`` at which P(z = 1) = 1/2: ``beta log((1 - gamma) / (zeta - 1))``."""
        return self.temperature * math.log((1.0 - self.gamma) / (self.zeta - 1.0))

    def _stretched(self, s: Array) -> Array:
        return self.gamma + (self.zeta - self.gamma) * s

    # ------------------------------------------------------------------ probabilities

    def open_probability(self, log_alpha: Array) -> Array:
        """``sigmoid(log_alpha - beta log(-gamma / zeta))`` (eq. 12)."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, log_alpha - self.zero_threshold)

    def log_open_probability(self, log_alpha: Array) -> Array:
        """log P(z != 0), finite where `open_probability` underflows."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return log_sigmoid(xp, log_alpha - self.zero_threshold)

    def prob_zero(self, log_alpha: Array) -> Array:
        """P(z = 0), not as a difference from 1."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, self.zero_threshold - log_alpha)

    def log_prob_zero(self, log_alpha: Array) -> Array:
        """log P(z = 0), finite where `prob_zero` underflows."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return log_sigmoid(xp, self.zero_threshold - log_alpha)

    def prob_one(self, log_alpha: Array) -> Array:
        """P(z = 1)."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid(xp, log_alpha - self.one_threshold)

    def log_alpha_for(self, open_probability: Array) -> Array:
        """``logit(open_probability) + beta log(-gamma / zeta)``, the inverse of `open_probability`."""
        xp, (p,) = floating(open_probability=open_probability)
        check_inside(xp, "open_probability", p)
        return logit(xp, p) + self.zero_threshold

    def cdf(self, z: Array, log_alpha: Array) -> Array:
        """P(gate <= z): 0 below 0, 1 from 1 on, ``sigmoid(beta log((z - gamma) / (zeta - z)) - log_alpha)`` between."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, self._level(xp, z) - log_alpha)
        return xp.where(z < 0.0, xp.zeros_like(inside), xp.where(z >= 1.0, xp.ones_like(inside), inside))

    def survival(self, z: Array, log_alpha: Array) -> Array:
        """P(gate > z), not as a difference from 1."""
        xp, (z, log_alpha) = floating(z=z, log_alpha=log_alpha)
        inside = sigmoid(xp, log_alpha - self._level(xp, z))
        return xp.where(z < 0.0, xp.ones_like(inside), xp.where(z >= 1.0, xp.zeros_like(inside), inside))

    def _level(self, xp: Any, z: Array) -> Array:
        """The ``log_alpha`` at which P(gate <= z) = 1/2, for z in [0, 1]."""
        z = xp.clip(z, 0.0, 1.0)
        return self.temperature * (xp.log(z - self.gamma) - xp.log(self.zeta - z))

    def quantile(self, p: Array, log_alpha: Array) -> Array:
        """The inverse of `cdf`; the same formula as `sample`, with p for the uniform draw."""
        xp, (p, log_alpha) = floating(p=p, log_alpha=log_alpha)
        check_inside(xp, "p", p)
        return self.sample(log_alpha, p)

    def moment_nodes(self) -> Nodes:
        """Nodes on (0, 1) that are Gauss-Legendre nodes in ``v = log((t - gamma) / (zeta - t))``.

        In v the integrand is ``sigmoid(log_alpha - beta v)`` times a logistic density. Its nearest
        singularities are at distance ``pi min(1, 1/beta)`` of the real line, whatever ``log_alpha`` is.
        A panel is at most twice that long, so that rho >= 1 + sqrt(2), and 24 nodes a panel leave a relative
        error below 1e-15 (the default law has one panel).
        """
        low, high = self.zero_threshold / self.temperature, self.one_threshold / self.temperature
        half = math.pi * min(1.0, 1.0 / self.temperature)
        panels = math.ceil((high - low) / (2.0 * half))
        width = self.zeta - self.gamma
        nodes = []
        for v, weight in gauss_legendre(low, high, panels=panels, order=24):
            s = 1.0 / (1.0 + math.exp(-v))
            nodes.append((self.gamma + width * s, weight * width * s * (1.0 - s)))
        return tuple(nodes)

    # ------------------------------------------------------------------ gates

    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """The gate of each uniform draw (eqs. 10-11); the exact inverse of `cdf` at the draw."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        s = sigmoid(xp, (logit(xp, uniform) + log_alpha) / self.temperature)
        return xp.clip(self._stretched(s), 0.0, 1.0)

    def deterministic(self, log_alpha: Array, rule: str = "median") -> Array:
        """The gate of test time; see the class for the two rules."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return xp.clip(self._stretched(sigmoid(xp, log_alpha / self._divisor(rule))), 0.0, 1.0)

    def _divisor(self, rule: str) -> float:
        return self.temperature if self.check_rule(rule) == "median" else 1.0

    # ------------------------------------------------------------------ derivatives

    def _clipped_derivative(self, xp: Any, x: Array, divisor: float) -> Array:
        """d clip(gamma + (zeta - gamma) sigmoid(x)) / d (divisor x)."""
        stretched = self._stretched(sigmoid(xp, x))
        slope = ((self.zeta - self.gamma) / divisor) * sigmoid_derivative(xp, x)
        return xp.where((stretched > 0.0) & (stretched < 1.0), slope, xp.zeros_like(slope))

    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """``(zeta - gamma) s (1 - s) / beta`` where the gate is strictly between 0 and 1, else 0."""
        xp, (log_alpha, uniform) = floating(log_alpha=log_alpha, uniform=uniform)
        return self._clipped_derivative(xp, (logit(xp, uniform) + log_alpha) / self.temperature, self.temperature)

    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """As `sample_derivative`, at the median (or without beta, by the rule ``"paper"``)."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        divisor = self._divisor(rule)
        return self._clipped_derivative(xp, log_alpha / divisor, divisor)

    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """``P (1 - P)`` with P the open probability, without cancellation."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        return sigmoid_derivative(xp, log_alpha - self.zero_threshold)

    def with_temperature(self, temperature: float) -> HardConcrete:
        """The same stretch at another temperature."""
        return attrs.evolve(self, temperature=temperature)
