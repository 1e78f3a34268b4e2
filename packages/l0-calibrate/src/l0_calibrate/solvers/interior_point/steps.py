"""Steps: how far a direction leads, and the weighted correctors that lengthen it.

Predictor and corrector after Mehrotra (1992), centrality correctors after Gondzio (1996), each added with
a weight of its own for primal and dual after Colombo & Gondzio (2008).
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.newton import Move, Newton, State
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]

_WEIGHTS = np.array([1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05, 0.0])
_BOX = (0.4, 2.5)
"""Products within this part and this multiple of the target need no correction."""
_REACH = 1.1
"""A corrector asks for products at steps this much longer (and 0.1 more) than those at hand."""
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
    x, z = state.slacks, state.multipliers
    common = state.program.curved_rows
    gaps = state.gaps()
    mean = state.complementarity / x.size
    affine = newton.direction(-x * z, gaps)
    step = _measured(state, affine, common)
    reached = float((x + step.primal * affine.slacks) @ (z + step.dual * affine.multipliers)) / x.size
    centring = min(max((float(reached) / mean) ** 3, _LEAST_CENTRING), 1.0)
    target = centring * mean
    wanted = target - x * z - affine.slacks * affine.multipliers
    # Directions are as long as the matrix is wide: none is kept longer than it is used.
    del affine, step
    step = _measured(state, newton.direction(wanted, gaps), common)
    for _ in range(correctors):
        if min(step.primal, step.dual) >= 1.0:
            break
        _corrections(
            x, z, step.direction.slacks, step.direction.multipliers,
            min(1.0, _REACH * step.primal + 0.1), min(1.0, _REACH * step.dual + 0.1), target, wanted,
        )  # fmt: skip
        before = step.primal + step.dual
        step = _corrected(state, step, newton.direction(wanted, None), common)
        if step.primal + step.dual - before < _GAIN:
            break
    grown = (x + step.primal * step.direction.slacks) @ (z + step.dual * step.direction.multipliers)
    if grown > _GROWTH * mean * x.size:
        # One side would run ahead of what the other can follow.
        shorter = min(step.primal, step.dual)
        step = Step(step.direction, shorter, shorter)
    return step


def _measured(state: State, direction: Move, common: bool) -> Step:
    none = np.zeros(1)
    primal = float(_reaches(state.slacks, direction.slacks, direction.slacks, none)[0])
    dual = float(_reaches(state.multipliers, direction.multipliers, direction.multipliers, none)[0])
    if common:
        primal = dual = min(primal, dual)
    return Step(direction, primal, dual)


def _corrected(state: State, step: Step, correction: Move, common: bool) -> Step:
    """Add a correction, in place, with the weights that allow the longest steps, if these are longer."""
    old = step.direction
    primal = _reaches(state.slacks, old.slacks, correction.slacks, _WEIGHTS)
    dual = _reaches(state.multipliers, old.multipliers, correction.multipliers, _WEIGHTS)
    if common:
        primal = dual = np.minimum(primal, dual)
    i, j = int(np.argmax(primal)), int(np.argmax(dual))
    if primal[i] + dual[j] <= step.primal + step.dual:
        return step
    a, b = _WEIGHTS[i], _WEIGHTS[j]
    for kept, added, weight in zip(old, correction, (a, b, b), strict=True):
        np.multiply(added, weight, out=added)
        np.add(kept, added, out=kept)
    return Step(old, float(primal[i]), float(dual[j]))


@fast_jit
def _reaches(point: FloatArray, direction: FloatArray, correction: FloatArray, weights: FloatArray) -> FloatArray:
    """The longest steps, at most 1, along ``direction + w correction`` that keep a point from falling below 0."""
    inverse = np.ones(weights.size)
    least = 1.0
    for k in range(point.size):
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
    x: FloatArray,
    z: FloatArray,
    dx: FloatArray,
    dz: FloatArray,
    primal: float,
    dual: float,
    target: float,
    wanted: FloatArray,
) -> None:
    """What products at a longer step are short of the box around the target (at most 2.5 targets too much)."""
    low = _BOX[0] * target
    high = _BOX[1] * target
    for k in range(x.size):
        product = (x[k] + primal * dx[k]) * (z[k] + dual * dz[k])
        if product < low:
            wanted[k] = low - product
        elif product > high:
            wanted[k] = max(high - product, -high)
        else:
            wanted[k] = 0.0
