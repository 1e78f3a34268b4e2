"""Hard Concrete gates on the NumPy backend: the same step in two passes over the gates, without temporaries.

The formulas are those of `l0_core.HardConcrete` and of `ArrayGateState`; a test holds the two equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.distributions.base import GateDistribution
from l0_core.distributions.hard_concrete import HardConcrete
from l0_gates.hard_concrete.gate_state import ANYWHERE, EPSILON, FIRST_DECAY, SECOND_DECAY, GateState
from l0_gates.jit import jit

Array = npt.NDArray[Any]


@jit
def _open(free: Array, log_alpha: Array, uniform: Array, law: Array, gated: Array, slope: Array, tilt: Array) -> float:
    """Gated weights, their derivative in log_alpha, and that of the open probability; the sum of the latter.

    ``law`` holds 1/beta, gamma, zeta - gamma, the threshold at which a gate is open with probability 1/2, 0 and 1.
    """
    # Constants come in the arrays' own dtype: a literal would make float32 arithmetic float64.
    inverse, gamma, width, threshold, zero, one = law[0], law[1], law[2], law[3], law[4], law[5]
    total = 0.0
    for j in range(free.size):
        weight = np.exp(free[j])
        a = log_alpha[j]
        noise = np.log(uniform[j] / (one - uniform[j])) if uniform.size else zero
        s = one / (one + np.exp(-(noise + a) * inverse))
        z = gamma + width * s
        if z <= zero:
            gated[j], slope[j] = zero, zero
        elif z >= one:
            gated[j], slope[j] = weight, zero
        else:
            gated[j] = weight * z
            slope[j] = weight * width * inverse * s * (one - s)
        chance = one / (one + np.exp(threshold - a))
        tilt[j] = chance * (one - chance)
        total += chance
    return total


@jit
def _adam(
    gradient: Array,
    gated: Array,
    slope: Array,
    tilt: Array,
    free: Array,
    log_alpha: Array,
    moments: Array,
    constants: Array,
) -> None:
    """Adam on log-weights and ``log_alpha``.

    ``constants``: both rates, the correction of the root, decays, epsilon, the price of a gate, twice that of a square,
    least and greatest ``log_alpha``.
    """
    weight_rate, gate_rate, correction = constants[0], constants[1], constants[2]
    keep1, take1, keep2, take2 = constants[3], constants[4], constants[5], constants[6]
    epsilon, cost, ridge, low, high = constants[7], constants[8], constants[9], constants[10], constants[11]
    ridged = ridge > 0.0
    for j in range(free.size):
        g = gradient[j] * gated[j]
        if ridged:
            weight = np.exp(free[j])
            g += ridge * weight * weight
        moments[0, j] = keep1 * moments[0, j] + take1 * g
        moments[1, j] = keep2 * moments[1, j] + take2 * g * g
        free[j] -= weight_rate * moments[0, j] / (np.sqrt(moments[1, j] * correction) + epsilon)
        g = gradient[j] * slope[j] + cost * tilt[j]
        moments[2, j] = keep1 * moments[2, j] + take1 * g
        moments[3, j] = keep2 * moments[3, j] + take2 * g * g
        moved = log_alpha[j] - gate_rate * moments[2, j] / (np.sqrt(moments[3, j] * correction) + epsilon)
        log_alpha[j] = min(max(moved, low), high)


class FusedHardConcreteState(GateState):
    """Positive weights and Hard Concrete gates of NumPy arrays."""

    def __init__(self, weights: Array, log_alpha: Array) -> None:
        self._adopt(np.log(weights), log_alpha.copy(), np.zeros((4, weights.size), dtype=weights.dtype), 0)

    @classmethod
    def resume(cls, log_weights: Array, log_alpha: Array, moments: Array, steps: int) -> FusedHardConcreteState:
        """Where an earlier training stopped, on the given arrays themselves: training changes them in place.

        Parameters
        ----------
        moments
            Shape (4, items): Adam's first and second moments of the log-weights, then of ``log_alpha``.
        steps
            How many steps the moments have seen.
        """
        state = cls.__new__(cls)
        state._adopt(log_weights, log_alpha, moments, steps)
        return state

    def _adopt(self, log_weights: Array, log_alpha: Array, moments: Array, steps: int) -> None:
        self._free, self._log_alpha, self._moments, self._steps = log_weights, log_alpha, moments, steps
        self._gated, self._slope, self._tilt = (np.empty_like(log_weights) for _ in range(3))

    def open_gates(
        self, distribution: GateDistribution, uniform: Array | None, keep: int | None = None
    ) -> tuple[Array, float]:
        """(gated weights, expected number of open gates)."""
        assert isinstance(distribution, HardConcrete)
        assert keep is None
        kind = self._free.dtype
        constants = np.array(
            [
                1.0 / distribution.temperature,
                distribution.gamma,
                distribution.zeta - distribution.gamma,
                distribution.zero_threshold,
                0.0,
                1.0,
            ],
            dtype=kind,
        )
        draws = np.zeros(0, dtype=kind) if uniform is None else uniform
        total = _open(self._free, self._log_alpha, draws, constants, self._gated, self._slope, self._tilt)
        return self._gated, float(total)

    def update(
        self,
        gradient: Array,
        price: float,
        rates: tuple[float, float],
        ridge: float = 0.0,
        reach: tuple[float, float] = ANYWHERE,
    ) -> None:
        """One step of Adam."""
        self._steps += 1
        first = 1.0 - FIRST_DECAY**self._steps
        constants = np.array(
            [
                rates[0] / first,
                rates[1] / first,
                1.0 / (1.0 - SECOND_DECAY**self._steps),
                FIRST_DECAY,
                1.0 - FIRST_DECAY,
                SECOND_DECAY,
                1.0 - SECOND_DECAY,
                EPSILON,
                price,
                2.0 * ridge,
                *reach,
            ],
            dtype=self._free.dtype,
        )
        _adam(gradient, self._gated, self._slope, self._tilt, self._free, self._log_alpha, self._moments, constants)

    def limit(self, log_largest: Array) -> None:
        """Bring log-weights above ``log_largest`` down to it."""
        np.minimum(self._free, log_largest, out=self._free)

    def parameters(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(weights of open gates, log_alpha)."""
        return np.exp(self._free.astype(np.float64)), self._log_alpha.astype(np.float64)
