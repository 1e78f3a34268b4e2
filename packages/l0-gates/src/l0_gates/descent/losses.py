"""The losses of coordinate descent, each through a quadratic that lies above it and touches it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError

FloatArray = npt.NDArray[np.float64]


class DescentLoss(ABC):
    """A loss per row, convex in the linear predictor eta, with a global quadratic majoriser.

    ``majoriser(eta)`` gives weights omega and working responses z with
    ``f(e) <= f(eta) + const + omega/2 (e - z)^2`` for every e and equality at ``e = eta``, so that whatever
    lowers the quadratic (support changes included) lowers the loss.
    """

    exact: bool = False
    """Whether the quadratic is the loss itself, so that one of them is enough."""

    @abstractmethod
    def check(self, response: FloatArray) -> None:
        """InputError where a response cannot be priced by this loss."""

    @abstractmethod
    def values(self, predictor: FloatArray, response: FloatArray) -> FloatArray:
        """The loss of each row."""

    @abstractmethod
    def majoriser(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(omega, z), each of shape (rows,)."""

    @abstractmethod
    def expansion(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(omega, z) of the second-order expansion: closer to the loss, and not above it everywhere."""


class SquaredLoss(DescentLoss):
    """``(eta - y)^2 / 2``."""

    exact = True

    def check(self, response: FloatArray) -> None:
        """Any finite response will do."""

    def values(self, predictor: FloatArray, response: FloatArray) -> FloatArray:
        """The loss of each row."""
        return 0.5 * (predictor - response) ** 2

    def majoriser(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The loss itself."""
        return np.ones_like(response), response

    def expansion(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The loss itself."""
        return self.majoriser(predictor, response)


_FLAT = 1e-8
"""Least curvature of a row in a second-order expansion, far out where the logistic loss is all but straight."""


class LogisticLoss(DescentLoss):
    """``log(1 + exp(eta)) - y eta`` for y in {0, 1}.

    Its majoriser has the curvature ``tanh(eta/2) / (2 eta)``, at most 1/4 and the least that lies above
    everywhere (Jaakkola & Jordan 2000; de Leeuw & Lange 2009).
    """

    def check(self, response: FloatArray) -> None:
        """Responses must be 0 or 1."""
        wrong = np.flatnonzero((response != 0.0) & (response != 1.0))
        if wrong.size:
            raise InputError(
                f"the logistic loss needs responses 0 or 1; row {wrong[0]} has {response[wrong[0]]!r} "
                f"({wrong.size} such rows)"
            )

    def values(self, predictor: FloatArray, response: FloatArray) -> FloatArray:
        """The loss of each row."""
        return np.logaddexp(0.0, predictor) - response * predictor

    def majoriser(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights and working responses at the predictor."""
        size = np.abs(predictor)
        # tanh(e/2) / (2e) = 1/4 - e^2/48 + ...: below 1e-4 the first two terms are exact in double precision.
        small = size < 1e-4
        curvature = np.where(
            small, 0.25 - predictor**2 / 48.0, np.tanh(0.5 * size) / (2.0 * np.where(small, 1.0, size))
        )
        return curvature, predictor - (_probability(predictor) - response) / curvature

    def expansion(self, predictor: FloatArray, response: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights and working responses of Newton's step."""
        probability = _probability(predictor)
        curvature = np.maximum(probability * (1.0 - probability), _FLAT)
        return curvature, predictor - (probability - response) / curvature


def _probability(predictor: FloatArray) -> FloatArray:
    result: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * predictor))
    return result


LOSSES: dict[str, DescentLoss] = {"squared": SquaredLoss(), "logistic": LogisticLoss()}


def descent_loss(name: str) -> DescentLoss:
    """The loss of that name."""
    try:
        return LOSSES[name]
    except KeyError:
        raise InputError(f"unknown loss {name!r} for coordinate descent; known: {', '.join(sorted(LOSSES))}") from None
