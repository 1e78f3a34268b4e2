"""The logistic function and its relatives, exact to rounding in both tails, in value and in gradient.

Each takes the array-API namespace and a floating array of it. All are written in ``exp(-|x|)``, with
``|x|`` as a choice of branches: ``abs`` has gradient 0 at 0, where gates often start, and would stop
the training of every gate there.
"""

from __future__ import annotations

from typing import Any

Array = Any


def _exp_minus_abs(xp: Any, x: Array) -> Array:
    """``exp(-|x|)``: in (0, 1], so nothing overflows."""
    return xp.exp(xp.where(x < 0, x, -x))


def sigmoid(xp: Any, x: Array) -> Array:
    """``1 / (1 + exp(-x))``, relative error of a few units in the last place for any x."""
    e = _exp_minus_abs(xp, x)
    return xp.where(x < 0, e, xp.ones_like(e)) / (1.0 + e)


def sigmoid_derivative(xp: Any, x: Array) -> Array:
    """``sigmoid(x) (1 - sigmoid(x))`` without the cancellation in 1 - sigmoid."""
    e = _exp_minus_abs(xp, x)
    return e / ((1.0 + e) * (1.0 + e))


def log_sigmoid(xp: Any, x: Array) -> Array:
    """``log(sigmoid(x))``, finite wherever x is."""
    tail = xp.log1p(_exp_minus_abs(xp, x))
    return xp.where(x < 0, x, xp.zeros_like(x)) - tail


def logit(xp: Any, p: Array) -> Array:
    """``log(p / (1 - p))``, the inverse of `sigmoid`."""
    return xp.log(p) - xp.log1p(-p)
