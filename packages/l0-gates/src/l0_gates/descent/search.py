"""The searches: one descent, a path over the price, and the best subset of a given size.

References
----------
Hazimeh & Mazumder (2020), Fast best subset selection: coordinate descent and local combinatorial
optimization algorithms, Operations Research 68(5). Zhu et al. (2020), A polynomial algorithm for best-subset
selection problem, PNAS 117(52), for the exchange of several coordinates at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_core.selection import check_count
from l0_gates.descent.kernels import FloatArray, IndexArray, gains
from l0_gates.descent.point import Point, exchange, relax
from l0_gates.descent.problem import DescentSettings, Regression
from l0_gates.positions import checked_positions

_LARGER_MODEL = 200
"""Size of the model that is cut back, where the rows determine it and twice the size asked for is less."""


@attrs.frozen(eq=False)
class DescentResult:
    """A sparse fit.

    Parameters
    ----------
    coefficients
        Shape (coordinates,).
    intercept
        0 where the regression has none.
    support
        Ascending positions of what is in the model: the non-zeros, and in a fit of given size also those
        members whose best value under the bounds is zero.
    objective
        Loss and ridge, without the L0 price.
    l0
        The price under which it was found; 0 for a fit of given size.
    status
        ``"converged"``, or ``"budget_spent"`` where a limit of the settings came first.
    """

    coefficients: FloatArray
    intercept: float
    support: IndexArray
    objective: float
    l0: float
    status: str


def _start(problem: Regression, start: DescentResult | FloatArray | None) -> Point:
    """The point of an earlier fit, given coefficients, or zero (where that is allowed)."""
    if start is None:
        return Point(problem, np.zeros(problem.shape[1]), 0.0)
    earlier = start.coefficients if isinstance(start, DescentResult) else np.asarray(start, dtype=np.float64)
    if earlier.shape != (problem.shape[1],) or not np.isfinite(earlier).all():
        raise InputError(f"start must be {problem.shape[1]} finite coefficients, got shape {earlier.shape}")
    return Point(problem, earlier.copy(), start.intercept if isinstance(start, DescentResult) else 0.0)


def _result(point: Point, l0: float, rests: bool, members: npt.NDArray[np.bool_] | None = None) -> DescentResult:
    inside = point.coefficients != 0.0 if members is None else members
    return DescentResult(
        point.coefficients.copy(),
        point.given_intercept,
        np.flatnonzero(inside).astype(np.int64),
        point.value(),
        l0,
        "converged" if rests else "budget_spent",
    )


def _price(problem: Regression, l0: float) -> FloatArray:
    if not (math.isfinite(l0) and l0 >= 0.0):
        raise InputError(f"l0 must be a finite price, not negative, got {l0!r}")
    return np.full(problem.shape[1], float(l0))


def descend(
    problem: Regression,
    l0: float = 0.0,
    *,
    start: DescentResult | FloatArray | None = None,
    settings: DescentSettings | None = None,
) -> DescentResult:
    """A local minimum of the regression at the price ``l0``: no coordinate, and no exchange of two, lowers it.

    Without a price the minimum is global (the problem is convex) up to the tolerance.

    Parameters
    ----------
    start
        An earlier fit, or coefficients, to start from; ``None`` is zero.
    """
    settings = settings or DescentSettings()
    price = _price(problem, l0)
    point = _start(problem, start)
    return _fit(point, price, l0, settings)


def _fit(point: Point, price: FloatArray, l0: float, settings: DescentSettings) -> DescentResult:
    problem = point.problem
    nobody = np.zeros(problem.shape[1], dtype=bool)
    # The most promising first: sweeps in the given order end in poorer local minima.
    worth = gains(point.columns, point.terms(np.zeros_like(price)), point.coefficients, point.residual, point.shift)
    rests = relax(point, price, np.argsort(-worth, kind="stable"), settings)
    if l0 > 0.0 and settings.max_swaps:
        rests = exchange(point, price, nobody, settings) and rests
    return _result(point, l0, rests)


def path(
    problem: Regression,
    *,
    prices: Sequence[float] | None = None,
    max_support: int | None = None,
    settings: DescentSettings | None = None,
) -> list[DescentResult]:
    """Fits at falling prices, each started from the one before.

    Parameters
    ----------
    prices
        The prices, taken from the highest; ``None`` chooses each just below the gain of the best coordinate
        that is still out, so that every fit differs from the one before.
    max_support
        Stop after the first fit with at least so many coordinates; ``None`` is the lesser of rows and coordinates.
    """
    settings = settings or DescentSettings()
    limit = min(problem.shape) if max_support is None else check_count(max_support, problem.shape[1], "max_support")
    point = _start(problem, None)
    free = np.zeros(problem.shape[1])
    if prices is not None:
        fits: list[DescentResult] = []
        for l0 in sorted(prices, reverse=True):
            fits.append(_fit(point, _price(problem, l0), l0, settings))
            if fits[-1].support.size >= limit:
                break
        return fits
    fits = [_fit(point, _price(problem, _highest_price(problem)), _highest_price(problem), settings)]
    while fits[-1].support.size < limit:
        out = gains(point.columns, point.terms(free), point.coefficients, point.residual, point.shift)
        # 0.97: low enough that the gain beats the price after the fit has moved a little.
        l0 = min(0.97 * float(out.max(initial=0.0)), 0.97 * fits[-1].l0)
        if l0 <= 1e-12 * max(fits[0].objective, 1e-300):
            break
        fits.append(_fit(point, _price(problem, l0), l0, settings))
    return fits


def _highest_price(problem: Regression) -> float:
    """The price from which nothing that may be zero enters a model that has nothing else in it."""
    point = _start(problem, None)
    relax(point, np.zeros(problem.shape[1]), np.flatnonzero(problem.forced), DescentSettings())
    out = gains(point.columns, point.terms(np.zeros(problem.shape[1])), point.coefficients, point.residual, point.shift)
    return max(float(out.max(initial=0.0)), 0.0)


def best_subset(
    problem: Regression, keep: int, *, must_keep: Any = (), settings: DescentSettings | None = None
) -> DescentResult:
    """The best fit found with exactly ``keep`` coordinates in the model.

    Three models are built: grown in steps, grown at a stroke, and cut back from a larger one (which
    sees through a decoy that stands for several coordinates). Each is improved by exchanging several
    coordinates at a time and at last one by one until no exchange helps; the best is returned. It is a
    local optimum of a problem that is hard in general.

    Parameters
    ----------
    must_keep
        Positions that are in the model whatever they are worth; coordinates whose bounds exclude zero always are.
    """
    settings = settings or DescentSettings()
    keep = check_count(keep, problem.shape[1])
    pinned = problem.forced.copy()
    pinned[checked_positions(must_keep, problem.shape[1], "must_keep")] = True
    if pinned.sum() > keep:
        raise InputError(
            f"keep is {keep}, but {int(pinned.sum())} coordinates must be in the model (must_keep, or bounds "
            "without zero); raise keep or free some"
        )
    best: DescentResult | None = None
    rows, coordinates = problem.shape
    larger = min(coordinates, max(2 * keep, min(rows // 2, _LARGER_MODEL)))
    for size, rounds in ((keep, 8), (keep, 1), (larger, 8)):
        point, members = _grown(problem, pinned, size, rounds, settings)
        _cut_back(point, members, pinned, keep, settings)
        _splice(point, members, pinned, settings)
        rests = exchange(point, np.zeros(members.size), pinned, settings, members)
        fit = _result(point, 0.0, rests, members)
        if best is None or fit.objective < best.objective:
            best = fit
    assert best is not None
    return best


def _ranked(point: Point, candidates: npt.NDArray[np.bool_]) -> IndexArray:
    """The candidates that are zero, by falling gain; those without any come last, in their order."""
    free = np.zeros(candidates.size)
    worth = gains(point.columns, point.terms(free), point.coefficients, point.residual, point.shift)
    order = np.argsort(-worth, kind="stable")
    return order[candidates[order]]


def _grown(
    problem: Regression, pinned: npt.NDArray[np.bool_], size: int, rounds: int, settings: DescentSettings
) -> tuple[Point, npt.NDArray[np.bool_]]:
    """A model of the size asked for: at each of ``rounds`` an equal share of what is missing comes in."""
    point, members = _start(problem, None), pinned.copy()
    free = np.zeros(members.size)
    if members.any():
        relax(point, free, np.flatnonzero(members), settings)
    for rounds_left in range(rounds, 0, -1):
        missing = size - int(members.sum())
        if not missing:
            break
        members[_ranked(point, ~members)[: math.ceil(missing / rounds_left)]] = True
        relax(point, free, np.flatnonzero(members), settings)
    return point, members


def _cut_back(
    point: Point,
    members: npt.NDArray[np.bool_],
    pinned: npt.NDArray[np.bool_],
    keep: int,
    settings: DescentSettings,
) -> None:
    """Take the least useful members out, a quarter of the surplus (at least one) at a time."""
    free = np.zeros(members.size)
    while (surplus := int(members.sum()) - keep) > 0:
        inside = np.flatnonzero(members & ~pinned)
        leavers = inside[np.argsort(point.sacrifices()[inside], kind="stable")][: max(1, surplus // 4)]
        members[leavers] = False
        _without(point, leavers)
        relax(point, free, np.flatnonzero(members), settings)


def _without(point: Point, leavers: IndexArray) -> None:
    """Set coordinates to zero."""
    point.coefficients[leavers] = 0.0
    point.expand()


def _splice(
    point: Point, members: npt.NDArray[np.bool_], pinned: npt.NDArray[np.bool_], settings: DescentSettings
) -> None:
    """Exchange the least useful members for the most promising others, many at first, while the loss falls."""
    free = np.zeros(members.size)
    count = min(int((members & ~pinned).sum()), int((~members).sum()))
    while count >= 1:
        inside = np.flatnonzero(members & ~pinned)
        leavers = inside[np.argsort(point.sacrifices()[inside], kind="stable")][:count]
        newcomers = _ranked(point, ~members)[:count]
        trial = point.copy()
        _without(trial, leavers)
        changed = members.copy()
        changed[leavers], changed[newcomers] = False, True
        rests = relax(trial, free, np.flatnonzero(changed), settings)
        better = trial.value() < point.value() * (1.0 - 1e-10)
        if better:
            point.become(trial)
            members[:] = changed
        # A loss without a minimum (one class alone under an intercept) falls in any model for ever, so that a fall is
        # no reason to try as many again unless the descent came to rest.
        if not (better and rests):
            count //= 2
