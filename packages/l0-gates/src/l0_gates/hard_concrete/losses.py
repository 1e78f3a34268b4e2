"""The losses of gate training: value and gradient in the estimates, over any array namespace."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

Array = Any
GateLoss = Callable[[Any, Array, Array], tuple[Array, Array]]


class MeanLoss(Protocol):
    """The mean of a loss over the rows."""

    def __call__(self, xp: Any, estimates: Array, targets: Array, shares: Array | None = None) -> tuple[Array, Array]:
        """(value, gradient); ``shares``, of shape (rows,) and adding up to 1, weigh the rows, ``None`` all alike."""


def _mean(rowwise: GateLoss) -> MeanLoss:
    """The mean of a loss whose values and slopes are given row by row."""

    @wraps(rowwise)
    def loss(xp: Any, estimates: Array, targets: Array, shares: Array | None = None) -> tuple[Array, Array]:
        values, slopes = rowwise(xp, estimates, targets)
        if shares is None:
            return xp.mean(values), slopes / targets.shape[0]
        return xp.sum(shares * values), shares * slopes

    return loss


@_mean
def absolute(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """``|r|``, ``r = estimates - targets``; its subgradient at 0 is 0."""
    residual = estimates - targets
    return xp.abs(residual), xp.sign(residual)


@_mean
def squared(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """Half of ``r^2``."""
    residual = estimates - targets
    return 0.5 * residual * residual, residual


@_mean
def logistic(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """``log(1 + exp(eta)) - y eta``, in forms that do not overflow."""
    size = xp.abs(estimates)
    tail = xp.exp(-size)
    values = xp.log1p(tail) + 0.5 * (size + estimates) - targets * estimates
    chance = xp.where(estimates >= 0, 1.0 / (1.0 + tail), tail / (1.0 + tail))
    return values, chance - targets


GATE_LOSSES: dict[str, MeanLoss] = {"absolute": absolute, "squared": squared, "logistic": logistic}
