"""The interface of gate distributions: how one gate behaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from l0_core.distributions.arrays import floating
from l0_core.distributions.quadrature import Nodes, gauss_legendre
from l0_core.errors import InputError

Array = Any


class GateDistribution(ABC):
    """The law of a gate z in [0, 1] with a real parameter ``log_alpha``; larger means more open.

    Every method is elementwise over arrays of any array-API namespace (NumPy, torch, ...): shapes
    broadcast, the dtype (float32 or float64) is kept, gradients flow where the namespace has them,
    and the derivatives are given in closed form for where it has none. Python numbers are taken too.
    Every method raises InputError for what is not a floating array or a number.

    A gate is *active* when it is not zero. The deterministic rule ``"median"`` is the median of the
    law, so that ``deterministic(log_alpha) > 0`` exactly where ``open_probability(log_alpha) > 1/2``.

    What can be derived from the abstract facts is derived here; override it where a closed form is
    better (`prob_zero` in the tail, say).
    """

    rules: ClassVar[tuple[str, ...]] = ("median",)
    """Names of the deterministic rules this distribution has."""

    pathwise: ClassVar[bool] = True
    """Whether `sample_derivative` is the derivative of `sample` (almost everywhere).

    False for a gate that jumps: its derivatives, and the gradients that flow through `sample` and
    `deterministic`, are then a *surrogate* that the class documents.
    """

    @abstractmethod
    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """A gate for each uniform draw in (0, 1), increasing in both, differentiable in ``log_alpha``."""

    @abstractmethod
    def deterministic(self, log_alpha: Array, rule: str = "median") -> Array:
        """The gate of test time by the named rule (InputError for one that is not in `rules`)."""

    @abstractmethod
    def open_probability(self, log_alpha: Array) -> Array:
        """P(z != 0)."""

    @abstractmethod
    def cdf(self, z: Array, log_alpha: Array) -> Array:
        """P(gate <= z), right-continuous, for any real z."""

    @abstractmethod
    def quantile(self, p: Array, log_alpha: Array) -> Array:
        """Least z with cdf(z) >= p, for p in (0, 1) (InputError for others)."""

    @abstractmethod
    def log_alpha_for(self, open_probability: Array) -> Array:
        """The parameter with that open probability, for probabilities in (0, 1) (InputError for others)."""

    @abstractmethod
    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """d sample / d log_alpha, elementwise (0 where the gate is clipped); see `pathwise`."""

    @abstractmethod
    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """d deterministic / d log_alpha, elementwise (0 where the gate is clipped); see `pathwise`."""

    @abstractmethod
    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """d open_probability / d log_alpha, elementwise."""

    # ------------------------------------------------------------------ derived

    def prob_zero(self, log_alpha: Array) -> Array:
        """P(z = 0)."""
        return 1.0 - self.open_probability(log_alpha)

    def log_open_probability(self, log_alpha: Array) -> Array:
        """log P(z != 0)."""
        xp, (opened,) = floating(open_probability=self.open_probability(log_alpha))
        return xp.log(opened)

    def survival(self, z: Array, log_alpha: Array) -> Array:
        """P(gate > z) = 1 - cdf."""
        return 1.0 - self.cdf(z, log_alpha)

    def mean(self, log_alpha: Array) -> Array:
        """E[z], as the integral of `survival` over [0, 1] by the rule of `moment_nodes`."""
        return self._moment(self.survival, log_alpha, first=True)

    def variance(self, log_alpha: Array) -> Array:
        """Var[z], from the moments of z or of 1 - z, whichever is the smaller (no cancellation at 1)."""
        xp, (log_alpha,) = floating(log_alpha=log_alpha)
        mean, square = self._moment(self.survival, log_alpha, first=True), self._moment(self.survival, log_alpha)
        rest, rest_square = self._moment(self.cdf, log_alpha, first=True), self._moment(self.cdf, log_alpha, rest=True)
        return xp.where(mean < rest, square - mean * mean, rest_square - rest * rest)

    def moment_nodes(self) -> Nodes:
        """Nodes and weights on (0, 1) for `mean` and `variance`.

        By default 64 Gauss-Legendre nodes, as exact as rounding where `survival` has no singularity in
        the complex plane within about 0.05 of [0, 1].
        """
        return gauss_legendre(0.0, 1.0, panels=2, order=32)

    def _moment(self, tail: Any, log_alpha: Array, *, first: bool = False, rest: bool = False) -> Array:
        """Integral of ``tail(t)`` (first), of ``2 (1 - t) tail(t)`` (rest), or of ``2 t tail(t)`` over [0, 1]."""
        total: Array = 0.0
        for node, weight in self.moment_nodes():
            factor = 1.0 if first else 2.0 * (1.0 - node if rest else node)
            total = total + (weight * factor) * tail(node, log_alpha)
        return total

    def with_temperature(self, temperature: float) -> GateDistribution:
        """The same law at another temperature (itself where it has none)."""
        return self

    def check_rule(self, rule: str) -> str:
        """The rule's name, or InputError that lists those of this distribution."""
        if rule not in self.rules:
            raise InputError(f"unknown rule {rule!r} of {type(self).__name__}; known: {', '.join(self.rules)}")
        return rule
