"""The losses of gate training: value and gradient in the estimates, over any array namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any
GateLoss = Callable[[Any, Array, Array], tuple[Array, Array]]


def absolute(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """Mean of ``|r|``, ``r = estimates - targets``; its subgradient at 0 is 0."""
    residual = estimates - targets
    return xp.mean(xp.abs(residual)), xp.sign(residual) / residual.shape[0]


def squared(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """Half the mean of ``r^2``."""
    residual = estimates - targets
    return 0.5 * xp.mean(residual * residual), residual / residual.shape[0]


def logistic(xp: Any, estimates: Array, targets: Array) -> tuple[Array, Array]:
    """Mean of ``log(1 + exp(eta)) - y eta``, in forms that do not overflow."""
    size = xp.abs(estimates)
    tail = xp.exp(-size)
    values = xp.log1p(tail) + 0.5 * (size + estimates) - targets * estimates
    chance = xp.where(estimates >= 0, 1.0 / (1.0 + tail), tail / (1.0 + tail))
    return xp.mean(values), (chance - targets) / targets.shape[0]


GATE_LOSSES: dict[str, GateLoss] = {"absolute": absolute, "squared": squared, "logistic": logistic}
