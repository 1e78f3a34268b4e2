"""The interface of penalties: a price on gates and weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from l0_core.distributions.base import GateDistribution

Array = Any


class Penalty(ABC):
    """A non-negative price on weights w and the gates in front of them.

    ``value`` is the price in expectation over the gates; both gradients are in closed form, elementwise.
    """

    @abstractmethod
    def value(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> Array:
        """The expected price, a scalar array."""

    @abstractmethod
    def gradient(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> tuple[Array, Array]:
        """(d value / d weights, d value / d log_alpha), each of the shape of its argument."""

    @abstractmethod
    def scaled(self, factor: float) -> Penalty:
        """The same penalty, ``factor`` times as dear."""

    def __add__(self, other: Penalty) -> Penalty:
        """The sum of two penalties."""
        from l0_core.penalties.combined import SumPenalty

        return SumPenalty((self, other))
