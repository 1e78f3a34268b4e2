"""Sums of penalties."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from l0_core.distributions.base import GateDistribution
from l0_core.errors import InputError
from l0_core.penalties.base import Penalty
from l0_core.penalties.l0 import L0
from l0_core.penalties.l2 import L2

Array = Any


def _flat(terms: Iterable[Penalty]) -> tuple[Penalty, ...]:
    """The terms, with those of sums among them in their place."""
    flat: list[Penalty] = []
    for term in terms:
        if not isinstance(term, Penalty):
            raise InputError(f"the terms of a sum must be penalties, got {type(term).__name__}")
        flat.extend(term.terms if isinstance(term, SumPenalty) else (term,))
    if not flat:
        raise InputError("a sum of penalties needs at least one term")
    return tuple(flat)


@attrs.frozen
class SumPenalty(Penalty):
    """The sum of its terms, which are never sums themselves.

    Parameters
    ----------
    terms
        At least one penalty.
    """

    terms: tuple[Penalty, ...] = attrs.field(converter=_flat)

    def value(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> Array:
        """The sum of the terms' prices, a scalar array."""
        total = self.terms[0].value(weights, log_alpha, distribution)
        for term in self.terms[1:]:
            total = total + term.value(weights, log_alpha, distribution)
        return total

    def gradient(self, weights: Array, log_alpha: Array, distribution: GateDistribution) -> tuple[Array, Array]:
        """The sums of the terms' gradients."""
        by_weights, by_log_alpha = self.terms[0].gradient(weights, log_alpha, distribution)
        for term in self.terms[1:]:
            more_weights, more_log_alpha = term.gradient(weights, log_alpha, distribution)
            by_weights, by_log_alpha = by_weights + more_weights, by_log_alpha + more_log_alpha
        return by_weights, by_log_alpha

    def scaled(self, factor: float) -> SumPenalty:
        """Every term ``factor`` times as dear."""
        return SumPenalty(tuple(term.scaled(factor) for term in self.terms))


def l0l2(l0: float = 1.0, l2: float = 1.0) -> Penalty:
    """``l0`` for each open gate and ``l2 / 2`` for the square of each open weight: `L0` plus `L2`."""
    return L0(l0) + L2(l2)
