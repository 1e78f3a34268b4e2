"""The interface of penalties: a price on gates and weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import attrs

from l0_core.distributions.base import GateDistribution
from l0_core.errors import InputError

Array = Any


class Penalty(ABC):
    """A non-negative price on weights w and the gates in front of them.

    ``value`` is the price in expectation over the gates; both gradients are in closed form, elementwise.
    There is one gate for each weight: arrays of different shapes are refused, not broadcast. The price of
    a gate that many weights share is that of their norm (``weights`` = root of the group's sum of squares).
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
        if not isinstance(other, Penalty):
            return NotImplemented
        from l0_core.penalties.combined import SumPenalty

        return SumPenalty((self, other))


def price(value: Any, what: str = "the weight of a penalty") -> float:
    """A price as a float, or InputError, which calls it ``what``, unless it is finite and not negative."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be a number, got {value!r}") from error
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{what} must be finite and not negative, got {number}")
    return number


def check_shapes(weights: Array, log_alpha: Array) -> None:
    """InputError unless there is one gate for each weight."""
    if tuple(weights.shape) != tuple(log_alpha.shape):
        raise InputError(
            f"weights of shape {tuple(weights.shape)} and log_alpha of shape {tuple(log_alpha.shape)}: "
            "a penalty needs one gate for each weight (for a group, give the norm of its weights)"
        )


@attrs.frozen
class WeightedPenalty(Penalty):
    """A penalty with one price.

    Parameters
    ----------
    weight
        The price (lambda), finite and not negative.
    """

    weight: float = attrs.field(default=1.0, converter=price)

    def scaled(self, factor: float) -> WeightedPenalty:
        """The same penalty, ``factor`` times as dear."""
        return attrs.evolve(self, weight=self.weight * price(factor))
