"""Where a search stands: coefficients with the quadratic around them, and the two moves of local search."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from l0_gates.descent.kernels import Columns, FloatArray, IndexArray, Terms, cycle, move, swap
from l0_gates.descent.problem import DescentSettings, Regression


class Point:
    """Coefficients, intercept and the quadratic around them, moved in place by the kernels.

    ``intercept`` is that of the stored columns, `given_intercept` that of the columns as they were given.
    """

    def __init__(self, problem: Regression, coefficients: FloatArray, intercept: float) -> None:
        self.problem = problem
        self.coefficients = np.clip(coefficients, problem.lower, problem.upper)
        self.intercept = intercept + float(problem.offsets @ self.coefficients)
        self.expand()

    def copy(self) -> Point:
        """The same point, to be moved by itself; the columns are shared, since no move changes them."""
        twin = object.__new__(Point)
        twin.become(self)
        twin.coefficients = self.coefficients.copy()
        twin.residual, twin.shift = self.residual.copy(), self.shift.copy()
        return twin

    def become(self, other: Point) -> None:
        """Be at the other point; it must not be moved any more."""
        self.__dict__.update(other.__dict__)

    def expand(self, *, above: bool = True) -> None:
        """Build the quadratic that touches the loss here; for a loss that is quadratic it is built once.

        ``above`` is the one that lies above the loss everywhere, otherwise it is the second-order expansion.
        """
        problem = self.problem
        products = problem.products(self.coefficients)
        quadratic = problem.loss.majoriser if above else problem.loss.expansion
        curvature, response = quadratic(products + self.intercept, problem.response)
        weights = curvature * problem.row_weights
        if not (problem.loss.exact and hasattr(self, "columns")):
            self.columns: Columns = problem.quadratic(weights)
        self.root = np.sqrt(weights)
        self.residual = self.root * (response - products)
        self.shift = np.array([float(self.root @ self.residual)])
        self.scale = math.sqrt(float(weights @ problem.response**2)) or 1.0
        if problem.intercept:
            self.intercept = self.shift[0] / self.columns.mass

    def settle(self) -> None:
        """Read the intercept off the kernels' sums."""
        self.intercept = float(self.shift[0]) / self.columns.mass if self.problem.intercept else 0.0

    def value(self) -> float:
        """Loss and ridge here."""
        return self.problem.objective(self.coefficients, self.given_intercept)

    @property
    def given_intercept(self) -> float:
        """The intercept beside the columns as they were given."""
        return self.intercept - float(self.problem.offsets @ self.coefficients)

    def terms(self, price: FloatArray) -> Terms:
        """What the kernels need beside the columns."""
        return Terms(price, self.problem.ridge, self.problem.lower, self.problem.upper)

    def dense(self, order: IndexArray) -> FloatArray:
        """The scaled columns of ``order`` as a dense matrix (rows, len(order))."""
        rows, coordinates = self.problem.shape
        columns = self.columns
        if self.problem.is_sparse:
            matrix = sp.csc_array(
                (columns.data, columns.indices.view(np.int32), columns.indptr), shape=(rows, coordinates)
            )
            return np.asarray(matrix[:, order].toarray())
        return columns.data.reshape(coordinates, rows)[order].T

    def sacrifices(self) -> FloatArray:
        """What leaving each coordinate out costs in the quadratic, all others held."""
        return 0.5 * (self.columns.squares + self.problem.ridge) * self.coefficients**2


_DIRECT = 500
"""Coordinates up to which the normal equations are solved before coordinate descent looks at the bounds."""


def _solve(point: Point, order: IndexArray) -> None:
    """Go to the minimiser over ``order`` by the normal equations, where that is within the bounds and better.

    Coordinate descent alone is slow where columns are nearly dependent.
    """
    problem, columns = point.problem, point.columns
    part = point.dense(order)
    gram = part.T @ part - columns.mass * np.outer(columns.means[order], columns.means[order])
    linear = part.T @ point.residual - columns.means[order] * point.shift[0]
    # What rounding leaves of a constant column, beside a ridge alone, would send its coefficient anywhere.
    constant = columns.squares[order] == 0.0
    gram[constant], gram[:, constant], linear[constant] = 0.0, 0.0, 0.0
    gram[np.diag_indices(order.size)] += problem.ridge[order]
    slope = linear - problem.ridge[order] * point.coefficients[order]
    try:
        step = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram), slope)
    except scipy.linalg.LinAlgError:
        step = np.linalg.lstsq(gram, slope, rcond=None)[0]
    moved = point.coefficients[order] + step
    inside = (moved >= problem.lower[order]).all() and (moved <= problem.upper[order]).all()
    # The fall that the quadratic promises; negative or NaN where the equations were too ill-conditioned to trust.
    fall = float(slope @ step - 0.5 * step @ gram @ step)
    if inside and fall > 0.0 and np.isfinite(moved).all():
        for j, change in zip(order, step, strict=True):
            move(columns, j, change, point.residual, point.shift)
        point.coefficients[order] = moved


_SHORTEST = 1e-3
"""Share of Newton's step down to which it is halved until the loss falls."""


def _newton(point: Point, order: IndexArray, settings: DescentSettings) -> float:
    """Newton's steps over ``order`` while the loss falls; its last value. Quadratics above it take many more.

    Where a step leaves the bounds or its equations cannot be trusted there is none, and descent goes on from here.
    """
    value = point.value()
    for _ in range(settings.max_majorisations):
        start, intercept = point.coefficients.copy(), point.intercept
        point.expand(above=False)
        _solve(point, order)
        point.settle()
        step, rise = point.coefficients - start, point.intercept - intercept
        share, found = 1.0, point.value()
        while not found < value and share >= _SHORTEST:
            share *= 0.5
            point.coefficients, point.intercept = start + share * step, intercept + share * rise
            found = point.value()
        if not found < value:
            point.coefficients, point.intercept = start, intercept
            break
        fall, value = value - found, found
        if fall <= settings.tolerance * abs(value):
            break
    point.expand()
    return value


def relax(point: Point, price: FloatArray, order: IndexArray, settings: DescentSettings) -> bool:
    """Coordinate descent over ``order``, quadratic by quadratic; whether it came to rest."""
    last = math.inf
    # With a price the solution has zeros, which the normal equations do not find.
    direct = 0 < order.size <= _DIRECT and not price[order].any()
    if direct and not point.problem.loss.exact:
        last = _newton(point, order, settings)
    for _ in range(settings.max_majorisations):
        if direct:
            _solve(point, order)
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


def exchange(
    point: Point,
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
        relax(point, price, order, settings)
        if point.value() + float(price @ (point.coefficients != 0.0)) >= objective:
            # Rounding undid the gain: stay where we were, or the search could go round in circles.
            point.become(before)
            if members is not None:
                members[leaver], members[newcomer] = True, False
            return True
    return False
