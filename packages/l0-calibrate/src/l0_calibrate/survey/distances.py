r"""The distances of Deville & Särndal (1992), each by its ``F``: the g-weight as a function of ``q x'lambda``.

``F`` is the inverse of the derivative of the distance, ``slope`` its derivative. With bounds ``[L, U]`` the
linear and raking functions are truncated (their case 7), the logit function stays strictly between them (their
case 6).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs
import numpy as np
import numpy.typing as npt
import scipy.special

from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

METHODS = ("linear", "raking", "logit")


@attrs.frozen
class Distance(ABC):
    """One distance; ``lower`` and ``upper`` are the ends of its g-weights (infinite for none).

    One of your own is a subclass with ``weight`` and ``slope``, both defined for every x, elementwise over arrays of
    shape (records,). F does not decrease, ``F(0) = 1`` and ``F'(0) = 1``. `l0_calibrate.testing.DistanceContract` tests
    it.
    """

    lower: float
    upper: float

    is_open = False
    """Whether the ends themselves cannot be reached."""

    @property
    def can_be_widened(self) -> bool:
        """Whether an end is one that somebody has set: 0 is none where weights are positive in any case."""
        return bool(np.isfinite(self.upper) or (np.isfinite(self.lower) and not (self.is_open and self.lower == 0.0)))

    @property
    def name(self) -> str:
        """As files of results tell it."""
        return type(self).__name__.lower()

    @abstractmethod
    def weight(self, x: FloatArray) -> FloatArray:
        """F, the g-weight."""

    @abstractmethod
    def slope(self, x: FloatArray) -> FloatArray:
        """F'."""

    def steepest(self, x: FloatArray) -> FloatArray:
        """The largest slope of F between x and 0: where F has flattened out, what it had before.

        Newton's steps are damped by it. Unless a distance knows better, the largest of five on the way.
        """
        return np.asarray(np.max([self.slope(part * x) for part in (0.0, 0.25, 0.5, 0.75, 1.0)], axis=0))


class Linear(Distance):
    """``F = 1 + x``, cut off at the bounds: the chi-square distance, GREG without bounds."""

    def weight(self, x: FloatArray) -> FloatArray:
        """``1 + x`` within the bounds."""
        return np.clip(1.0 + x, self.lower, self.upper)

    def slope(self, x: FloatArray) -> FloatArray:
        """1 within the bounds, 0 beyond."""
        return np.where((1.0 + x > self.lower) & (1.0 + x < self.upper), 1.0, 0.0)

    def steepest(self, x: FloatArray) -> FloatArray:
        """1."""
        return np.ones_like(x)


class Raking(Distance):
    """``F = exp(x)``, cut off at the bounds: iterative proportional fitting in one."""

    @property
    def is_open(self) -> bool:  # type: ignore[override]
        """Without a lower bound weights are positive."""
        return self.lower <= 0.0

    def _cut(self, x: FloatArray) -> FloatArray:
        low = np.log(self.lower) if self.lower > 0 else -np.inf
        high = np.log(self.upper) if np.isfinite(self.upper) else np.inf
        return np.clip(x, low, high)

    def weight(self, x: FloatArray) -> FloatArray:
        """``exp(x)`` within the bounds."""
        with np.errstate(over="ignore"):
            return np.clip(np.exp(self._cut(x)), self.lower, self.upper)  # exp(log(3)) is not 3

    def slope(self, x: FloatArray) -> FloatArray:
        """``exp(x)`` within the bounds, 0 beyond."""
        inner = self._cut(x)
        with np.errstate(over="ignore"):
            return np.where(inner == x, np.exp(inner), 0.0)

    def steepest(self, x: FloatArray) -> FloatArray:
        """``exp(x)`` within the bounds, above 0 no more than 1."""
        return np.maximum(self.weight(x), 1.0)


class Logit(Distance):
    r"""``F = (L (U-1) + U (1-L) e^{A x}) / ((U-1) + (1-L) e^{A x})`` with ``A = (U-L) / ((1-L)(U-1))``."""

    is_open = True

    @property
    def _rate(self) -> float:
        return (self.upper - self.lower) / ((1.0 - self.lower) * (self.upper - 1.0))

    def _shifted(self, x: FloatArray) -> FloatArray:
        """The log-odds of where between the bounds."""
        return np.asarray(self._rate * x + np.log((1.0 - self.lower) / (self.upper - 1.0)))

    def weight(self, x: FloatArray) -> FloatArray:
        """F."""
        return np.asarray(self.lower + (self.upper - self.lower) * scipy.special.expit(self._shifted(x)))

    def slope(self, x: FloatArray) -> FloatArray:
        """``A (U - L) share (1 - share)``, exact to rounding next to both ends."""
        odds = self._shifted(x)
        width = self._rate * (self.upper - self.lower)
        return np.asarray(width * scipy.special.expit(odds) * scipy.special.expit(-odds))

    def steepest(self, x: FloatArray) -> FloatArray:
        """A quarter of ``A (U - L)``: the slope half way between the bounds."""
        return np.full_like(x, 0.25 * self._rate * (self.upper - self.lower))


def distance_of(method: str | Distance, bounds: tuple[float, float] | None) -> Distance:
    """The distance of a method with bounds on the g-weights, or one that somebody brings, checked."""
    if isinstance(method, Distance):
        return _checked(method, bounds)
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}, and every survey.Distance")
    if bounds is None:
        if method == "logit":
            raise InputError("method 'logit' needs bounds (L, U) of the g-weights with L < 1 < U, such as (0.3, 3)")
        return Linear(-np.inf, np.inf) if method == "linear" else Raking(0.0, np.inf)
    try:
        lower, upper = (float(bound) for bound in bounds)
    except (TypeError, ValueError) as error:
        raise InputError(f"bounds must be two numbers (L, U) for the g-weights, got {bounds!r}") from error
    if not lower < 1.0 < upper:
        raise InputError(f"bounds of the g-weights must have L < 1 < U, got ({lower:g}, {upper:g})")
    if method == "linear":
        return Linear(lower, upper)
    if lower < 0.0:
        raise InputError(f"method {method!r} gives positive weights only: its lower bound cannot be {lower:g}")
    if method == "raking":
        return Raking(lower, upper)
    if not np.isfinite(upper):
        raise InputError("method 'logit' needs a finite upper bound; raking has none")
    return Logit(lower, upper)


def _checked(distance: Distance, bounds: tuple[float, float] | None) -> Distance:
    if bounds is not None:
        raise InputError(f"{distance!r} has bounds of its own, lower and upper: leave out bounds={bounds!r}")
    if not distance.lower < 1.0 < distance.upper:
        raise InputError(
            f"{distance!r} must have g-weights below and above 1, not from {distance.lower:g} to {distance.upper:g}"
        )
    for what, values in (("weight", distance.weight(np.zeros(2))), ("slope", distance.slope(np.zeros(2)))):
        if np.shape(values) != (2,) or not np.allclose(values, 1.0, rtol=1e-12, atol=0.0):
            raise InputError(
                f"{distance!r} must leave each weight as it is, at unit slope, where nothing asks for more: "
                f"{what}(x) at x = (0, 0) must be (1, 1), got {values!r}"
            )
    return distance
