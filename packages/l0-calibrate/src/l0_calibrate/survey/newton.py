r"""Newton's method on the dual of calibration (Deville & Särndal 1992, section 3; Haziza & Beaumont 2017).

Minimise ``phi(l) = sum_j (d_j / q_j) Phi(q_j x_j'l) - t'l`` with ``Phi' = F``. Its gradient is the
miss of the totals, its Hessian ``X' diag(d q F') X``; it is convex, so along a direction its slope has one
sign change, which a step brackets, where the plain iteration of the textbooks may run away.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt
import scipy.linalg

from l0_calibrate.survey.deadline import NEVER, Deadline
from l0_calibrate.survey.distances import Distance

FloatArray = npt.NDArray[np.float64]

ACCEPTED = 1e-9
"""Relative miss of a total that counts as met; iterations go on to rounding where they can."""
_EXACT = 1e-13
_ITERATIONS = 200
PUZZLED = 10
"""Iterations without a smaller miss after which totals may be fighting."""
PATIENCE = 50
"""Iterations without a smaller miss that end a run."""
_TRIALS = 60
_FLATTER = 0.1
"""A step has gone far enough where the slope along it is this part of what it was."""
_SHORT = 0.1
"""Steps of that length and less say that the Hessian holds in a small neighbourhood only."""
_DAMPING = 1e-8
_RANK = 1e-13
"""Eigenvalues of the scaled Hessian below this part of the largest belong to constraints that repeat others."""
_SMALL = 4_096
"""Entries, zeros too, up to which a dense product costs less than calling a sparse one; BLAS takes one thread there."""
_SAME = 1e-13
"""Singular values of the constraints below this part of the largest are rounding: a total repeats others."""


class CalibrationNotConverged(RuntimeError):
    """The totals can be met, yet the iteration did not get there; ``misses`` has the relative miss of each."""

    def __init__(self, message: str, misses: FloatArray) -> None:
        super().__init__(message)
        self.misses = misses


def within_totals(design: FloatArray, x: Any, totals: FloatArray, distance: Distance) -> FloatArray:
    """The share of its initial weight that each record could keep if its totals allowed no more, shape (records,).

    Where g-weights may come as near to 0 as need be and are exact to rounding there, a total far below what its
    column adds up to is met by g-weights of that order: what is small must be judged beside them. Columns with
    entries of both signs say nothing.
    """
    kept = np.ones(design.size)
    if distance.lower != 0.0 or not distance.is_open:
        return kept
    before = x.T @ design
    share = np.ones(totals.size)
    one_sign = (np.abs(before) >= abs(x).T @ design) & (totals * before > 0.0)
    np.divide(totals, before, out=share, where=one_sign)
    entries = np.where(x.data != 0.0, np.minimum(share, 1.0)[x.indices], 1.0)
    some = np.flatnonzero(np.diff(x.indptr))
    kept[some] = np.minimum.reduceat(entries, x.indptr[some]) if some.size else 1.0
    return kept


def constraint_scale(design: FloatArray, x: Any, totals: FloatArray) -> FloatArray:
    """What each constraint is divided by: its total, or what its absolute entries add up to where that is more."""
    size = np.maximum(np.abs(totals), abs(x).T @ design)
    return np.where(size > 0, size, 1.0)


@attrs.frozen(eq=False)
class Dual:
    """The dual of a calibration, in the constraints as they are or in combinations of them.

    Parameters
    ----------
    design, q
        Shapes (records,), positive.
    x, target
        The combinations, shape (records, k), sparse or not, and their totals, shape (k,).
    scaled, totals
        The constraints and their totals, each over its `constraint_scale`, so that all misses are relative ones.
    distance
        Where the g-weights come from.
    """

    design: FloatArray
    q: FloatArray
    x: Any
    target: FloatArray
    scaled: Any
    totals: FloatArray
    distance: Distance

    @classmethod
    def of(
        cls, design: FloatArray, x: Any, totals: FloatArray, q: FloatArray, distance: Distance, scale: FloatArray
    ) -> Dual:
        """The constraints as they are, over ``scale``: ``x`` CSR or CSC of shape (records, constraints), float64."""
        scaled = x.multiply(1.0 / scale[None, :]).tocsc()
        if math.prod(scaled.shape) <= _SMALL:
            scaled = scaled.toarray()
        return cls(design, q, scaled, totals / scale, scaled, totals / scale, distance)

    def orthogonal(self) -> Dual:
        """In combinations that are orthogonal under the initial weights, for constraints that nearly repeat others.

        Takes dense arrays of the shape of X.
        """
        root = np.sqrt(self.design * self.q)
        dense = self.scaled if isinstance(self.scaled, np.ndarray) else self.scaled.toarray()
        left, values, right = scipy.linalg.svd(dense * root[:, None], full_matrices=False)
        kept = values > _SAME * values[0]
        combined = (right[kept] @ self.totals) / values[kept]
        return attrs.evolve(self, x=left[:, kept] / root[:, None], target=combined)

    def at(self, dual: FloatArray) -> _Point:
        """The point of a dual of shape (k,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            inner = self.q * (self.x @ dual)
            ratios = self.distance.weight(inner)
            weights = self.design * ratios
            miss = self.scaled.T @ weights - self.totals
            gradient = miss if self.x is self.scaled else self.x.T @ weights - self.target
        return _Point(dual, inner, ratios, gradient, miss)

    def hessian(self, slope: FloatArray) -> FloatArray:
        """``x' diag(d q slope) x``."""
        weighted = self.design * self.q * slope
        if isinstance(self.x, np.ndarray):
            return np.asarray((self.x.T * weighted) @ self.x)
        return np.asarray((self.x.T.multiply(weighted) @ self.x).toarray())


class _Point(NamedTuple):
    """A dual, its ``q x'l``, its g-weights, the gradient of phi, and the relative miss of each total."""

    dual: FloatArray
    inner: FloatArray
    ratios: FloatArray
    gradient: FloatArray
    miss: FloatArray

    @property
    def is_met(self) -> bool:
        """Whether each total is."""
        return bool((np.abs(self.miss) <= ACCEPTED).all())

    @property
    def worst(self) -> float:
        """The largest relative miss."""
        worst = float(np.abs(self.miss).max(initial=0.0))
        return math.inf if math.isnan(worst) else worst


@attrs.define(eq=False)
class Search:
    """A run of Newton's method, which may be looked at on the way and goes on from where it is.

    Parameters
    ----------
    problem
        What is minimised.
    best, here
        The point of the smallest misses so far, and the last.
    """

    problem: Dual
    best: _Point
    here: _Point
    _damping: float = 0.0
    _iterations: int = 0
    _since: int = 0
    _is_over: bool = False

    @classmethod
    def of(cls, problem: Dual) -> Search:
        """At the design weights."""
        here = problem.at(np.zeros(problem.target.size))
        return cls(problem, here, here)

    def run(self, patience: int = PATIENCE, deadline: Deadline = NEVER) -> None:
        """Go on until the totals are met to rounding, or so many iterations have brought no smaller miss.

        `NotDecided` where the deadline passes before.
        """
        while not (self._is_over or self.here.worst <= _EXACT or self._since >= patience):
            deadline.check()
            self._step()
            self._iterations += 1
            self._is_over |= self._iterations >= _ITERATIONS

    def rays(self) -> list[FloatArray]:
        """Weights of the constraints, each of shape (constraints,), that are largest where totals fight.

        The dual grows for ever in the direction of those that do (a Farkas ray). Of a total that repeats others, and is
        missed, the combination that it repeats is one.
        """
        repeated = _repeated(self.problem, self.here.miss)
        return [self.here.dual] if repeated is None else [repeated, self.here.dual]

    def _step(self) -> None:
        best = self.best
        direction = _downhill(self.problem, self.here, self._damping)
        self.here, length = _along(self.problem, self.here, direction)
        is_stuck = length == 0.0 and self._damping >= 1.0
        if length <= _SHORT:
            self._damping = min(max(10.0 * self._damping, _DAMPING), 1.0)
        else:
            self._damping = 0.1 * self._damping if self._damping > 0.1 * _DAMPING else 0.0
        self._since += 1
        at_rounding = best.worst <= ACCEPTED
        if self.here.worst < best.worst:
            at_rounding &= self.here.worst > 0.5 * best.worst
            self.best, self._since = self.here, 0
        self._is_over |= at_rounding or is_stuck


def _downhill(problem: Dual, here: _Point, damping: float) -> FloatArray:
    """A Newton step, damped by what the Hessian is where F is steepest; along the gradient where rounding leads uphill.

    Where g-weights that could do something about the miss are all cut off at the bounds, the Hessian does not see most
    of it: a little of the steepest one is added. Little, so that the step goes as far as it takes along what the
    Hessian does not see, and leaves alone what the g-weights between the bounds have met; the steepest alone zigzags.
    """
    slope, steepest = problem.distance.slope(here.inner), problem.distance.steepest(here.inner)
    hessian = problem.hessian(slope + damping * steepest)
    step = -_solve(hessian, here.gradient)
    with np.errstate(over="ignore", invalid="ignore"):
        left = float(np.abs(hessian @ step + here.gradient).max())
    if damping < _DAMPING and left > 0.5 * float(np.abs(here.gradient).max()):
        step = -_solve(problem.hessian(slope + _DAMPING * steepest), here.gradient)
    if not np.isfinite(step).all() or float(here.gradient @ step) >= 0.0:
        step = -here.gradient / max(float((problem.design * problem.q).mean()), np.finfo(float).tiny)
    return step


def _along(problem: Dual, here: _Point, direction: FloatArray) -> tuple[_Point, float]:
    """The point along a direction where phi has lost half of its slope or more, and how far that is (0: nowhere).

    By slopes alone: near the minimum phi does not resolve its own fall, and far from it a step of 1 may be
    much too short.
    """
    first = float(here.gradient @ direction)
    near, near_slope, near_point = 0.0, first, here
    far, far_slope = math.inf, math.inf
    length = 1.0
    for _ in range(_TRIALS):
        trial = problem.at(here.dual + length * direction)
        with np.errstate(over="ignore", invalid="ignore"):
            slope = float(trial.gradient @ direction)
        if abs(slope) <= _FLATTER * abs(first):
            return trial, length
        if slope < 0.0:
            near, near_slope, near_point = length, slope, trial
        else:
            far, far_slope = length, slope  # NaN: too far
        if math.isinf(far):
            length *= 4.0
        elif math.isfinite(far_slope):
            part = near_slope / (near_slope - far_slope)
            length = near + min(max(part, 0.1), 0.9) * (far - near)
        else:
            length = near + 0.1 * (far - near)
    return near_point, near


def _solve(hessian: FloatArray, miss: FloatArray) -> FloatArray:
    """A solution of ``H l = miss`` by Cholesky, without the constraints that repeat others where there are any.

    Those are found by pivoting; any solution will do, as the g-weights are the same by all of them.
    """
    if not np.isfinite(hessian).all():
        return np.full(miss.size, np.nan)
    diagonal = np.diagonal(hessian)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    even, scaled = hessian / root[:, None] / root[None, :], miss / root
    try:
        factor = scipy.linalg.cho_factor(even, lower=True)
        if float(np.abs(np.diagonal(factor[0])).min(initial=1.0)) > np.sqrt(_RANK):
            return np.asarray(scipy.linalg.cho_solve(factor, scaled) / root)
    except np.linalg.LinAlgError:
        pass
    own, factor = _own(even)
    step = np.zeros(miss.size)
    step[own] = scipy.linalg.cho_solve(factor, scaled[own])
    return step / root


def _own(even: FloatArray) -> tuple[npt.NDArray[np.int64], tuple[FloatArray, bool]]:
    """Constraints that repeat no others, by a Hessian with a unit diagonal, and the Cholesky factor of theirs."""
    lower, pivots, rank, _ = scipy.linalg.lapack.dpstrf(even, tol=_RANK, lower=1)
    return pivots[:rank].astype(np.int64) - 1, (lower[:rank, :rank], True)


def _repeated(problem: Dual, miss: FloatArray) -> FloatArray | None:
    """The combination of constraints that comes to nothing, around the total most missed of those that repeat others.

    None where no such total is missed.
    """
    hessian = problem.hessian(np.ones(problem.design.size))
    root = np.sqrt(np.maximum(np.diagonal(hessian), np.finfo(float).tiny))
    even = hessian / root[:, None] / root[None, :]
    own, factor = _own(even)
    missed = np.abs(np.nan_to_num(miss))
    missed[own] = 0.0
    worst = int(np.argmax(missed))
    if not missed[worst] > ACCEPTED:
        return None
    combination = np.zeros(miss.size)
    combination[own] = -scipy.linalg.cho_solve(factor, even[own, worst])
    combination[worst] = 1.0
    return combination / root
