"""The interface of gate distributions: how one gate behaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

Array = Any


class GateDistribution(ABC):
    """The law of a gate z with a real parameter ``log_alpha``; larger means more open.

    Every method is elementwise over arrays of any array-API namespace (NumPy, torch, ...): shapes
    broadcast, the dtype (float32 or float64) is kept, gradients flow where the namespace has them,
    and the derivatives are given in closed form for where it has none.

    A gate is *active* when it is not zero. The deterministic rule ``"median"`` is the median of the
    law, so that ``deterministic(log_alpha) > 0`` exactly where ``open_probability(log_alpha) > 1/2``.
    """

    rules: ClassVar[tuple[str, ...]] = ("median",)
    """Names of the deterministic rules this distribution has."""

    @abstractmethod
    def sample(self, log_alpha: Array, uniform: Array) -> Array:
        """A gate for each uniform draw in (0, 1), differentiable in ``log_alpha``."""

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
        """Least z with cdf(z) >= p, for p in (0, 1)."""

    @abstractmethod
    def log_alpha_for(self, open_probability: Array) -> Array:
        """The parameter with that open probability, for probabilities in (0, 1)."""

    @abstractmethod
    def sample_derivative(self, log_alpha: Array, uniform: Array) -> Array:
        """d sample / d log_alpha, elementwise (0 where the gate is clipped)."""

    @abstractmethod
    def deterministic_derivative(self, log_alpha: Array, rule: str = "median") -> Array:
        """d deterministic / d log_alpha, elementwise (0 where the gate is clipped)."""

    @abstractmethod
    def open_probability_derivative(self, log_alpha: Array) -> Array:
        """d open_probability / d log_alpha, elementwise."""

    def with_temperature(self, temperature: float) -> GateDistribution:
        """The same law at another temperature (itself where it has none)."""
        return self
