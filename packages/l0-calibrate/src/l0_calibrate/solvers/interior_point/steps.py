"""Steps: how far a direction leads, and the weighted correctors that lengthen it.

Predictor and corrector after Mehrotra (1992), centrality correctors after Gondzio (1996), each added with
a weight of its own for primal and dual after Colombo & Gondzio (2008).
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.newton import Move, Newton, State, add_both
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]

_WEIGHTS = np.array([1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05, 0.0])
_BOX = (0.4, 2.5)
"""Products within this part and this multiple of the target need no correction."""
_GAIN = 0.02
"""The least that a corrector must add to the two steps together; the next is not tried after one that adds less."""
_LEAST_CENTRING = 0.1
_GROWTH = 3.0
"""Growth of the complementarity in one step above which the two steps are made equal."""


@attrs.frozen(eq=False)
class Step:
    """A direction and how far it may be followed, at most 1, short of the first bound."""

    direction: Move
    primal: float
    dual: float


def choose_step(state: State, newton: Newton, correctors: int) -> Step:
    """Predict, correct, and centre up to ``correctors`` times."""
    x, z, room, over = state.slacks, state.multipliers, state.room, state.columns.over
    common = state.program.curved_rows
    gaps = state.gaps()
    size = x.size
    mean = state.complementarity / size
    over(size, _closed, x, z, room.wanted)
    affine = newton.direction(room.wanted, gaps, room.step)
    step = _measured(state, affine, common)
    centring = min(max((_reached(state, step) / size / mean) ** 3, _LEAST_CENTRING), 1.0)
    target = centring * mean
    over(size, _centred, target, x, z, affine.slacks, affine.multipliers, room.wanted)
    # Directions are as long as the matrix is wide: the second takes the place of the first, which it needs no more.
    step = _measured(state, newton.direction(room.wanted, gaps, room.step), common)
    for _ in range(correctors):
        if min(step.primal, step.dual) >= 1.0:
            break
        over(size, _corrections, x, z, step.direction.slacks, step.direction.multipliers, target, room.wanted)
        before = step.primal + step.dual
        step = _corrected(state, step, newton.direction(room.wanted, None, room.correction), common)
        if step.primal + step.dual - before < _GAIN:
            break
    if _reached(state, step) > _GROWTH * mean * size:
        # One side would run ahead of what the other can follow.
        shorter = min(step.primal, step.dual)
        step = Step(step.direction, shorter, shorter)
    return step


def _measured(state: State, direction: Move, common: bool) -> Step:
    primal, dual = (float(steps[0]) for steps in _steps(state, direction, direction, np.zeros(1)))
    if common:
        primal = dual = min(primal, dual)
    return Step(direction, primal, dual)


def _corrected(state: State, step: Step, correction: Move, common: bool) -> Step:
    """Add a correction, in place, with the weights that allow the longest steps, if these are longer."""
    old = step.direction
    primal, dual = _steps(state, old, correction, _WEIGHTS)
    if common:
        primal = dual = np.minimum(primal, dual)
    i, j = int(np.argmax(primal)), int(np.argmax(dual))
    if primal[i] + dual[j] <= step.primal + step.dual:
        return step
    state.columns.over(
        state.slacks.size, add_both, old.slacks, _WEIGHTS[i], correction.slacks,
        old.multipliers, _WEIGHTS[j], correction.multipliers,
    )  # fmt: skip
    return Step(Move(old.slacks, old.multipliers, old.y + _WEIGHTS[j] * correction.y), float(primal[i]), float(dual[j]))


def _reached(state: State, step: Step) -> float:
    """The complementarity at the end of a step."""
    d = step.direction
    parts = state.columns.over(
        state.slacks.size, _product, state.slacks, state.multipliers, d.slacks, d.multipliers, step.primal, step.dual
    )
    return float(sum(parts))


def _steps(state: State, direction: Move, correction: Move, weights: FloatArray) -> FloatArray:
    """Primal and dual steps, shape (2, weights)."""

    def reached(first: Any, last: Any) -> FloatArray:
        primal = _reaches(first, last, state.slacks, direction.slacks, correction.slacks, weights)
        dual = _reaches(first, last, state.multipliers, direction.multipliers, correction.multipliers, weights)
        return np.array((primal, dual))

    return np.asarray(np.min(state.columns.over(state.slacks.size, reached), axis=0))


@fast_jit
def _closed(first: int, last: int, x: FloatArray, z: FloatArray, wanted: FloatArray) -> None:
    """Products of nought."""
    for k in range(first, last):
        wanted[k] = -x[k] * z[k]


@fast_jit
def _centred(
    first: int,
    last: int,
    target: float,
    x: FloatArray,
    z: FloatArray,
    dx: FloatArray,
    dz: FloatArray,
    wanted: FloatArray,
) -> None:
    """Products of the target, with what the predicted step does to them beyond first order."""
    for k in range(first, last):
        wanted[k] = target - x[k] * z[k] - dx[k] * dz[k]


@fast_jit
def _product(
    first: int,
    last: int,
    x: FloatArray,
    z: FloatArray,
    dx: FloatArray,
    dz: FloatArray,
    primal: float,
    dual: float,
) -> float:
    total = 0.0
    for k in range(first, last):
        total += (x[k] + primal * dx[k]) * (z[k] + dual * dz[k])
    return total


@fast_jit
def _reaches(
    first: int, last: int, point: FloatArray, direction: FloatArray, correction: FloatArray, weights: FloatArray
) -> FloatArray:
    """The longest steps, at most 1, along ``direction + w correction`` that keep a point from falling below 0."""
    inverse = np.ones(weights.size)
    least = 1.0
    for k in range(first, last):
        down = -direction[k]
        turn = -correction[k]
        # Linear in the weights (0 to 1): a pair that binds at neither end binds nowhere, and few do.
        if max(down, down + turn) <= least * point[k]:
            continue
        scale = 1.0 / point[k]
        least = np.inf
        for w in range(weights.size):
            inverse[w] = max(inverse[w], scale * (down + weights[w] * turn))
            least = min(least, inverse[w])
    return 1.0 / inverse


@fast_jit
def _corrections(
    first: int,
    last: int,
    x: FloatArray,
    z: FloatArray,
    dx: FloatArray,
    dz: FloatArray,
    target: float,
    wanted: FloatArray,
) -> None:
    """What products at full steps are short of the box around the target (at most 2.5 targets too much).

    Full steps, however short those at hand are: asking for a little longer ones took a fifth to a half more iterations.
    """
    low = _BOX[0] * target
    high = _BOX[1] * target
    for k in range(first, last):
        product = (x[k] + dx[k]) * (z[k] + dz[k])
        if product < low:
            wanted[k] = low - product
        elif product > high:
            wanted[k] = max(high - product, -high)
        else:
            wanted[k] = 0.0
