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
from l0_gates.descent.kernels import Columns, FloatArray, IndexArray, Terms, cycle, gains, swap
from l0_gates.descent.problem import DescentSettings, Regression

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


class _Point:
    """Coefficients, intercept and the quadratic around them, moved in place by the kernels."""

    def __init__(self, problem: Regression, coefficients: FloatArray, intercept: float) -> None:
        self.problem = problem
        self.coefficients = np.clip(coefficients, problem.lower, problem.upper)
        self.intercept = intercept
        self.expand()

    def copy(self) -> _Point:
        """The same point, to be moved by itself."""
        return _Point(self.problem, self.coefficients, self.intercept)

    def expand(self) -> None:
        """Build the quadratic that touches the loss here; for a loss that is quadratic it is built once."""
        problem = self.problem
        eta = problem.predictor(self.coefficients, self.intercept)
        curvature, response = problem.loss.majoriser(eta, problem.response)
        weights = curvature * problem.row_weights
        if not (problem.loss.exact and hasattr(self, "columns")):
            self.columns: Columns = problem.quadratic(weights)
        self.root = np.sqrt(weights)
        without = eta - self.intercept
        self.residual = self.root * (response - without)
        self.shift = np.array([float(self.root @ self.residual)])
        self.scale = math.sqrt(float(weights @ problem.response**2)) or 1.0
        if problem.intercept:
            self.intercept = self.shift[0] / self.columns.mass

    def settle(self) -> None:
        """Read the intercept off the kernels' sums."""
        self.intercept = float(self.shift[0]) / self.columns.mass if self.problem.intercept else 0.0

    def value(self) -> float:
        """Loss and ridge here."""
        return self.problem.objective(self.coefficients, self.intercept)

    def terms(self, price: FloatArray) -> Terms:
        """What the kernels need beside the columns."""
        return Terms(price, self.problem.ridge, self.problem.lower, self.problem.upper)

    def sacrifices(self) -> FloatArray:
        """What leaving each coordinate out costs in the quadratic, all others held."""
        return 0.5 * (self.columns.squares + self.problem.ridge) * self.coefficients**2


def _descend(point: _Point, price: FloatArray, order: IndexArray, settings: DescentSettings) -> bool:
    """Coordinate descent over ``order``, quadratic by quadratic; whether it came to rest."""
    last = math.inf
    for _ in range(settings.max_majorisations):
        _, rests = cycle(
            point.columns,
            point.terms(price),
            order,
            point.coefficients,
            point.residual,
            point.shift,
            settings.tolerance * point.scale,
            settings.max_passes,
        )
        point.settle()
        if point.problem.loss.exact:
            return bool(rests)
        value = point.value() + float(price @ (point.coefficients != 0.0))
        point.expand()
        # The quadratic lies above the loss, so the value never rises; squares of the tolerance are below rounding.
        if rests and last - value <= max(settings.tolerance, 1e-12) * abs(value):
            return True
        last = value
    return False


def _swap_until_still(
    point: _Point,
    price: FloatArray,
    barred: npt.NDArray[np.bool_],
    settings: DescentSettings,
    members: npt.NDArray[np.bool_] | None = None,
) -> bool:
    """Exchange single coordinates, descending after each, until none lowers the objective.

    With ``members`` the model's size is held: these are the coordinates of the model, updated in place.
    Returns whether no exchange was left.
    """
    everything = np.arange(point.coefficients.size)
    for _ in range(settings.max_swaps):
        inside = np.flatnonzero(point.coefficients != 0.0 if members is None else members)
        inside = inside[~point.problem.forced[inside] & ~barred[inside]]
        if not inside.size:
            return True
        leavers = inside[np.argsort(point.sacrifices()[inside], kind="stable")][: settings.swap_leavers]
        # Members at zero count as outside of the kernel's test; they are barred so that nothing is let in twice.
        closed = barred if members is None else barred | members
        margin = 1e-10 * max(point.value(), 1e-300)
        before, objective = point.copy(), point.value() + float(price @ (point.coefficients != 0.0))
        leaver, newcomer = swap(
            point.columns, point.terms(price), leavers, closed, point.coefficients, point.residual, point.shift, margin
        )
        if newcomer < 0:
            return True
        point.settle()
        if members is None:
            order = everything
        else:
            members[leaver], members[newcomer] = False, True
            order = np.flatnonzero(members)
        if not point.problem.loss.exact:
            point.expand()
        _descend(point, price, order, settings)
        if point.value() + float(price @ (point.coefficients != 0.0)) >= objective:
            # Rounding undid the gain: stay where we were, or the search could go round in circles.
            point.__dict__.update(before.__dict__)
            if members is not None:
                members[leaver], members[newcomer] = True, False
            return True
    return False


def _start(problem: Regression, start: DescentResult | None) -> _Point:
    """The point of an earlier fit, or zero (where that is allowed)."""
    if start is None:
        return _Point(problem, np.zeros(problem.shape[1]), 0.0)
    if start.coefficients.shape != (problem.shape[1],):
        raise InputError(
            f"start has {start.coefficients.size} coefficients, the regression has {problem.shape[1]} coordinates"
        )
    return _Point(problem, start.coefficients.copy(), start.intercept)


def _result(point: _Point, l0: float, rests: bool, members: npt.NDArray[np.bool_] | None = None) -> DescentResult:
    inside = point.coefficients != 0.0 if members is None else members
    return DescentResult(
        point.coefficients.copy(),
        point.intercept,
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
    start: DescentResult | None = None,
    settings: DescentSettings | None = None,
) -> DescentResult:
    """A local minimum of the regression at the price ``l0``: no coordinate, and no exchange of two, lowers it.

    Without a price the minimum is global (the problem is convex) up to the tolerance.
    """
    settings = settings or DescentSettings()
    price = _price(problem, l0)
    point = _start(problem, start)
    return _fit(point, price, l0, settings)


def _fit(point: _Point, price: FloatArray, l0: float, settings: DescentSettings) -> DescentResult:
    problem = point.problem
    nobody = np.zeros(problem.shape[1], dtype=bool)
    # The most promising first: sweeps in the given order end in poorer local minima.
    worth = gains(point.columns, point.terms(np.zeros_like(price)), point.coefficients, point.residual, point.shift)
    rests = _descend(point, price, np.argsort(-worth, kind="stable"), settings)
    if l0 > 0.0 and settings.max_swaps:
        rests = _swap_until_still(point, price, nobody, settings) and rests
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
    _descend(point, np.zeros(problem.shape[1]), np.flatnonzero(problem.forced), DescentSettings())
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
    pinned[_positions(must_keep, problem.shape[1])] = True
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
        rests = _swap_until_still(point, np.zeros(members.size), pinned, settings, members)
        fit = _result(point, 0.0, rests, members)
        if best is None or fit.objective < best.objective:
            best = fit
    assert best is not None
    return best


def _positions(values: Any, total: int) -> IndexArray:
    positions = np.asarray(values, dtype=np.int64)
    if positions.size and (positions.ndim != 1 or positions.min() < 0 or positions.max() >= total):
        raise InputError(f"must_keep must be positions in 0..{total - 1}")
    return positions.ravel()


def _ranked(point: _Point, candidates: npt.NDArray[np.bool_]) -> IndexArray:
    """The candidates that are zero, by falling gain; those without any come last, in their order."""
    free = np.zeros(candidates.size)
    worth = gains(point.columns, point.terms(free), point.coefficients, point.residual, point.shift)
    order = np.argsort(-worth, kind="stable")
    return order[candidates[order]]


def _grown(
    problem: Regression, pinned: npt.NDArray[np.bool_], size: int, rounds: int, settings: DescentSettings
) -> tuple[_Point, npt.NDArray[np.bool_]]:
    """A model of the size asked for: at each of ``rounds`` an equal share of what is missing comes in."""
    point, members = _start(problem, None), pinned.copy()
    free = np.zeros(members.size)
    if members.any():
        _descend(point, free, np.flatnonzero(members), settings)
    for rounds_left in range(rounds, 0, -1):
        missing = size - int(members.sum())
        if not missing:
            break
        members[_ranked(point, ~members)[: math.ceil(missing / rounds_left)]] = True
        _descend(point, free, np.flatnonzero(members), settings)
    return point, members


def _cut_back(
    point: _Point,
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
        _descend(point, free, np.flatnonzero(members), settings)


def _without(point: _Point, leavers: IndexArray) -> None:
    """Set coordinates to zero."""
    point.coefficients[leavers] = 0.0
    point.expand()


def _splice(
    point: _Point, members: npt.NDArray[np.bool_], pinned: npt.NDArray[np.bool_], settings: DescentSettings
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
        _descend(trial, free, np.flatnonzero(changed), settings)
        if trial.value() < point.value() * (1.0 - 1e-10):
            point.__dict__.update(trial.__dict__)
            members[:] = changed
        else:
            count //= 2
