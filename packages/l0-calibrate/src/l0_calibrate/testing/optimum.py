r"""The optimum of a small task between two numbers, by linear programmes alone (SciPy's HiGHS).

A price is the supremum of lines, ``h(r) = sup_{|y| <= c} y r - h*(y)``, and so is the price on unequal weights. A
linear programme over some of the lines has an optimum below that of the task; its point, priced in full, is above. The
lines that touch the price at that point are added until the two meet (Kelley 1960).
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse as sp

from l0_calibrate.solvers.base import Task

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ROUNDS = 100
_CLOSE = 1e-6
"""Distance, beside 1 and the optimum, at which the two numbers have met; HiGHS meets its rows to a tenth of that."""


@attrs.frozen
class Optimum:
    """Numbers between which the optimum of a task lies, sum form."""

    lower: float
    upper: float


def matrix_of(task: Task) -> FloatArray:
    """The scaled matrix of a task, dense, shape (targets, k)."""
    c = task.system.columns
    parts = (c.values.astype(np.float64), c.indices.astype(np.int64), c.indptr.astype(np.int64))
    whole: FloatArray = sp.csc_array(parts, shape=(c.rows, c.count)).toarray()
    return whole if task.support is None else whole[:, task.support]


def reference_of(task: Task) -> FloatArray:
    """The reference weights of the columns of a task, shape (k,)."""
    return task.system.reference if task.support is None else task.system.reference[task.support]


def cost_of(task: Task, u: FloatArray) -> float:
    """The objective at ratios of shape (k,), from the dense matrix."""
    return task.price.total(matrix_of(task) @ u - task.system.b) + task.spread_cost(u)


def optimum(task: Task) -> Optimum:
    """The optimum of a task without hard rows.

    Raises
    ------
    ValueError
        The task has no feasible point.
    """
    lines = _Lines(task)
    lower, upper = 0.0, np.inf
    lines.add(np.clip(np.ones(task.count), task.lower, task.upper))
    for _ in range(_ROUNDS):
        below, u = lines.solve()
        lower, upper = max(lower, below), min(upper, cost_of(task, u))
        if upper - lower <= _CLOSE * (1.0 + upper):
            break
        lines.add(u)
    return Optimum(min(lower, upper), upper)


class _Lines:
    """The linear programme over ``(u, p, s)``: ratios, what rows cost, what the spread of columns costs."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._a = matrix_of(task)
        m, k = self._a.shape
        self._sides: list[FloatArray] = []
        self._rows: list[FloatArray] = []
        cap = task.price.cap
        for y in (np.where(np.isfinite(cap), cap, 0.0), np.where(np.isfinite(cap), -cap, 0.0)):
            self._add_rows(y)
        self._cost = np.concatenate((np.zeros(k), np.ones(m + k)))
        self._bounds = np.vstack((np.column_stack((task.lower, task.upper)), np.tile((0.0, np.inf), (m + k, 1))))
        self._equal = None
        if task.mass is not None:
            self._equal = np.concatenate((reference_of(task) / task.mass, np.zeros(m + k)))[None]

    def add(self, u: FloatArray) -> None:
        """The lines that touch the prices at a point."""
        task, price = self._task, self._task.price
        r = self._a @ u - task.system.b
        excess = np.maximum(np.abs(r) - price.dead_zone, 0.0)
        curved = price.curvature > 0
        slope = np.where(curved, excess / np.where(curved, price.curvature, 1.0), np.where(excess > 0, price.cap, 0.0))
        self._add_rows(np.sign(r) * np.minimum(slope, price.cap))
        k = u.size
        tilt = task.spread * (u - task.centre)
        spread = np.hstack((np.diag(tilt), np.zeros((k, r.size)), -np.eye(k)))
        touched = tilt * u - 0.5 * task.spread * (u - task.centre) ** 2
        self._keep(spread, touched, task.spread > 0)

    def _add_rows(self, y: FloatArray) -> None:
        """``p_i >= y_i r_i - h*(y_i)`` for duals within their caps."""
        price = self._task.price
        conjugate = price.dead_zone * np.abs(y) + 0.5 * price.curvature * y * y
        m, k = self._a.shape
        rows = np.hstack((y[:, None] * self._a, -np.eye(m), np.zeros((m, k))))
        self._keep(rows, y * self._task.system.b + conjugate, y != 0.0)

    def _keep(self, rows: FloatArray, sides: FloatArray, which: npt.NDArray[np.bool_]) -> None:
        if which.any():
            self._rows.append(rows[which])
            self._sides.append(sides[which])

    def solve(self) -> tuple[float, FloatArray]:
        """(optimum, ratios)."""
        rows = np.vstack(self._rows) if self._rows else None
        sides = np.concatenate(self._sides) if self._sides else None
        mass = None if self._equal is None else [1.0]
        found = scipy.optimize.linprog(self._cost, rows, sides, self._equal, mass, self._bounds, method="highs")
        if found.status != 0:
            raise ValueError(f"no optimum: {found.message}")
        u: FloatArray = np.clip(found.x[: self._task.count], self._task.lower, self._task.upper)
        return float(found.fun), u
