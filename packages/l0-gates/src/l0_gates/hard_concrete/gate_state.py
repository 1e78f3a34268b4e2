"""The parameters under training, gate by gate: the generic step over any backend and any distribution."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.backends.base import Backend
from l0_core.distributions.base import GateDistribution

Array = Any
FIRST_DECAY, SECOND_DECAY = 0.9, 0.999
EPSILON = 1e-8
"""Adam's constants (Kingma & Ba 2015). Epsilon is far below the square root of any second moment that matters."""

ANYWHERE = (-math.inf, math.inf)


class GateState(ABC):
    """Weights and gates of all items with the moments of Adam; ``x`` is the gated weight that the system sees."""

    @abstractmethod
    def open_gates(
        self, distribution: GateDistribution, uniform: Array | None, keep: int | None = None
    ) -> tuple[Array, float]:
        """(gated weights x of shape (items,), expected number of open gates).

        Parameters
        ----------
        uniform
            Draws in (0, 1), one for each gate; ``None`` is the median gate.
        keep
            Exactly so many gates, those of the largest ``log_alpha``, are 1 and the others 0, whatever the law; in
            `update` the gate then stands for its open probability (straight-through). ``None``: gates by the law.
        """

    @abstractmethod
    def update(
        self,
        gradient: Array,
        price: float,
        rates: tuple[float, float],
        ridge: float = 0.0,
        reach: tuple[float, float] = ANYWHERE,
    ) -> None:
        """One step of Adam on ``loss(x) + price * expected open gates + ridge * sum of squared weights``.

        Parameters
        ----------
        gradient
            d loss / d x at the latest ``x``, shape (items,).
        rates
            Step sizes of the weights and of ``log_alpha``.
        ridge
            Price of a squared weight, of open and closed gates alike.
        reach
            ``log_alpha`` is held between the two.
        """

    @abstractmethod
    def limit(self, log_largest: Array) -> None:
        """Bring log-weights above ``log_largest``, shape (items,), down to it; for positive weights."""

    @abstractmethod
    def parameters(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(weights of open gates, log_alpha), on the host."""


class Adam:
    """Adam on one array (Kingma & Ba 2015, algorithm 1)."""

    def __init__(self, xp: Any, like: Array) -> None:
        self._xp = xp
        self._first = xp.zeros_like(like)
        self._second = xp.zeros_like(like)
        self._steps = 0

    def resume(self, first: Array, second: Array, steps: int) -> None:
        """Go on from the moments of an earlier training."""
        self._first, self._second, self._steps = first, second, steps

    @property
    def moments(self) -> tuple[Array, Array]:
        """(first, second)."""
        return self._first, self._second

    def step(self, gradient: Array, rate: float) -> Array:
        """What to subtract from the array."""
        self._steps += 1
        self._first = FIRST_DECAY * self._first + (1.0 - FIRST_DECAY) * gradient
        self._second = SECOND_DECAY * self._second + (1.0 - SECOND_DECAY) * gradient * gradient
        scale = rate / (1.0 - FIRST_DECAY**self._steps)
        root = self._xp.sqrt(self._second / (1.0 - SECOND_DECAY**self._steps))
        return scale * self._first / (root + EPSILON)


def largest(xp: Any, values: Array, count: int) -> Array:
    """Flags of exactly ``count`` largest values; of equal ones those that come first."""
    size = values.shape[0]
    flags = values >= xp.sort(values)[size - count]
    if int(xp.sum(xp.astype(flags, xp.int64))) == count:
        return flags
    return xp.argsort(xp.argsort(values, descending=True, stable=True), stable=True) < count


class ArrayGateState(GateState):
    """The formulas as they are written, over the arrays of any backend.

    Parameters
    ----------
    positive
        Train log-weights (weights stay positive); otherwise the weights themselves, of any sign.
    """

    def __init__(self, backend: Backend, weights: Array, log_alpha: Array, positive: bool) -> None:
        self._backend, self._xp, self._positive = backend, backend.xp, positive
        self._free = self._xp.log(weights) if positive else weights
        self._log_alpha = log_alpha
        self._weight_adam, self._gate_adam = Adam(self._xp, weights), Adam(self._xp, log_alpha)

    @classmethod
    def resume(
        cls, backend: Backend, log_weights: Array, log_alpha: Array, moments: Array, steps: int
    ) -> ArrayGateState:
        """Positive weights where an earlier training stopped; ``moments`` as in `FusedHardConcreteState.resume`."""
        state = cls.__new__(cls)
        state._backend, state._xp, state._positive = backend, backend.xp, True
        state._free, state._log_alpha = log_weights, log_alpha
        state._weight_adam, state._gate_adam = Adam(state._xp, log_weights), Adam(state._xp, log_alpha)
        state._weight_adam.resume(moments[0], moments[1], steps)
        state._gate_adam.resume(moments[2], moments[3], steps)
        return state

    def raw(self) -> tuple[Array, Array, Array]:
        """(log-weights or weights, log_alpha, moments of shape (4, items)), on the device."""
        stacked = self._xp.stack([*self._weight_adam.moments, *self._gate_adam.moments])
        return self._free, self._log_alpha, stacked

    def open_gates(
        self, distribution: GateDistribution, uniform: Array | None, keep: int | None = None
    ) -> tuple[Array, float]:
        """(gated weights, expected number of open gates)."""
        self._distribution, self._uniform, self._keep = distribution, uniform, keep
        self._weights = self._xp.exp(self._free) if self._positive else self._free
        if keep is not None:
            self._gates = self._xp.astype(largest(self._xp, self._log_alpha, keep), self._log_alpha.dtype)
            return self._weights * self._gates, float(keep)
        if uniform is None:
            self._gates = distribution.deterministic(self._log_alpha)
        else:
            self._gates = distribution.sample(self._log_alpha, uniform)
        return self._weights * self._gates, float(self._xp.sum(distribution.open_probability(self._log_alpha)))

    def update(
        self,
        gradient: Array,
        price: float,
        rates: tuple[float, float],
        ridge: float = 0.0,
        reach: tuple[float, float] = ANYWHERE,
    ) -> None:
        """One step of Adam."""
        law = self._distribution
        if self._keep is not None:
            slope = law.open_probability_derivative(self._log_alpha)
        elif self._uniform is None:
            slope = law.deterministic_derivative(self._log_alpha)
        else:
            slope = law.sample_derivative(self._log_alpha, self._uniform)
        chain = self._weights if self._positive else 1.0
        for_weights = gradient * self._gates * chain
        if ridge > 0.0:
            for_weights = for_weights + (2.0 * ridge) * self._weights * chain
        for_gates = gradient * self._weights * slope + price * law.open_probability_derivative(self._log_alpha)
        self._free = self._free - self._weight_adam.step(for_weights, rates[0])
        moved = self._log_alpha - self._gate_adam.step(for_gates, rates[1])
        self._log_alpha = moved if reach == ANYWHERE else self._xp.clip(moved, reach[0], reach[1])

    def limit(self, log_largest: Array) -> None:
        """Bring log-weights above ``log_largest`` down to it."""
        self._free = self._xp.minimum(self._free, log_largest)

    def parameters(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(weights of open gates, log_alpha)."""
        weights = self._xp.exp(self._free) if self._positive else self._free
        to_host = self._backend.to_numpy
        return to_host(weights).astype(np.float64), to_host(self._log_alpha).astype(np.float64)
