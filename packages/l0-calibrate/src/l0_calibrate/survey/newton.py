r"""Damped Newton on the dual of calibration (Deville & Särndal 1992, section 3; Haziza & Beaumont 2017).

Minimise ``phi(l) = sum_j (d_j / q_j) Phi(q_j x_j'l) - t'l`` with ``Phi' = F``. Its gradient is the
miss of the totals, its Hessian ``X' diag(d q F') X``; it is convex, so a step that is halved until phi has
fallen always leads on, where the plain iteration of the textbooks may run away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from l0_calibrate.survey.distances import Distance

FloatArray = npt.NDArray[np.float64]

ACCEPTED = 1e-9
"""Relative miss of a total that counts as met; iterations go on to rounding where they can."""
_EXACT = 1e-13
_ITERATIONS = 200
_HALVINGS = 40
_ARMIJO = 1e-4
_RANK = 1e-13
"""Eigenvalues of the scaled Hessian below this part of the largest belong to constraints that repeat others."""


class CalibrationNotConverged(RuntimeError):
    """The totals can be met, yet the iteration did not get there; ``misses`` has the relative miss of each."""

    def __init__(self, message: str, misses: FloatArray) -> None:
        super().__init__(message)
        self.misses = misses


def g_weights(
    design: FloatArray, x: Any, totals: FloatArray, q: FloatArray, distance: Distance
) -> tuple[FloatArray, FloatArray]:
    """The g-weights at the minimum of the dual, or at the last point reached, and the relative miss of each total.

    Parameters
    ----------
    design, q
        Shapes (records,), positive.
    x
        CSR or CSC matrix of shape (records, constraints), float64.
    totals
        Shape (constraints,).
    distance
        Where the g-weights come from.

    Notes
    -----
    Constraints are scaled by ``s = max(|t|, sum d |x|)``, so that all misses are relative ones.
    """
    size = np.maximum(np.abs(totals), abs(x).T @ design)
    scale = np.where(size > 0, size, 1.0)
    scaled = x.multiply(1.0 / scale[None, :]).tocsc()
    target = totals / scale
    dual, mobile = np.zeros(totals.size), design * q
    value, miss, inner = _look(design, scaled, target, q, distance, dual)
    for _ in range(_ITERATIONS):
        if float(np.abs(miss).max(initial=0.0)) <= _EXACT:
            break
        step = _downhill(scaled, mobile, distance.slope(inner), miss)
        if step.is_blind:
            step = _downhill(scaled, mobile, distance.steepest(inner), miss)
        length, found = 1.0, None
        for _ in range(_HALVINGS):
            trial = _look(design, scaled, target, q, distance, dual + length * step.direction)
            # Near the minimum phi no longer resolves its own fall; the miss does.
            fell = trial[0] <= value + _ARMIJO * length * step.descent
            nearer = float(np.abs(trial[1]).max()) <= 0.5 * float(np.abs(miss).max())
            if np.isfinite(trial[0]) and (fell or nearer):
                found = trial
                break
            length *= 0.5
        if found is None:
            break
        dual = dual + length * step.direction
        value, miss, inner = found
    return distance.weight(inner), miss


class _Step(NamedTuple):
    """A direction of the dual, the slope of phi along it, and whether the Hessian does not see most of the miss.

    It does not where g-weights that could do something about it are all cut off at the bounds.
    """

    direction: FloatArray
    descent: float
    is_blind: bool


def _downhill(x: Any, mobile: FloatArray, slope: FloatArray, miss: FloatArray) -> _Step:
    """A Newton step by ``x' diag(d q slope) x``, or one along the gradient where rounding has turned it uphill."""
    hessian = (x.T.multiply(mobile * slope) @ x).toarray()
    step = -_solve(hessian, miss)
    with np.errstate(over="ignore", invalid="ignore"):
        blind = float(np.abs(hessian @ step + miss).max()) > 0.5 * float(np.abs(miss).max())
    descent = float(miss @ step)
    if not np.isfinite(step).all() or descent >= 0.0:
        step = -miss / max(float(mobile.mean()), np.finfo(float).tiny)
        descent = float(miss @ step)
    return _Step(step, descent, blind)


def _look(
    design: FloatArray, x: Any, target: FloatArray, q: FloatArray, distance: Distance, dual: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """phi, its gradient, and ``q x'l``."""
    inner = q * (x @ dual)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float((design / q) @ distance.value(inner) - target @ dual)
        miss = x.T @ (design * distance.weight(inner)) - target
    return value, miss, inner


def _solve(hessian: FloatArray, miss: FloatArray) -> FloatArray:
    """``H^+ miss``: by Cholesky where H has full rank, otherwise without the directions that it does not see."""
    if not np.isfinite(hessian).all():
        return np.full(miss.size, np.nan)
    diagonal = np.diagonal(hessian)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    even = hessian / root[:, None] / root[None, :]
    try:
        factor = scipy.linalg.cho_factor(even, lower=True)
        if float(np.abs(np.diagonal(factor[0])).min(initial=1.0)) > np.sqrt(_RANK):
            return np.asarray(scipy.linalg.cho_solve(factor, miss / root) / root)
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(even)
    kept = values > _RANK * max(float(values[-1]), 0.0)
    return np.asarray((vectors[:, kept] @ ((vectors[:, kept].T @ (miss / root)) / values[kept])) / root)
