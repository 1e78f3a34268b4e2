"""The fused restarted primal-dual solver on numba kernels.

The saddle point ``min_u max_y  y'(A u - b) - h*(y) + kappa/2 |u - e|^2`` is iterated with the diagonal
steps of Pock & Chambolle (2011) in one pass over the columns, averaged by the reflected Halpern
iteration (Lu & Yang 2024) and restarted (Applegate et al. 2021); Chambolle & Pock (2011) for the
underlying method. Every few iterations a dual bound is computed, and the gap to it decides.
"""

from __future__ import annotations

import math
import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.solvers.certificate import Certificate, FitData
from l0_calibrate.solvers.kernels import dual_step, primal_sweep
from l0_calibrate.solvers.mass import project_mass
from l0_calibrate.solvers.restarts import COLD_WEIGHT, RestartRule
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.system import Columns, take_columns
from l0_calibrate.watch import Progress, Watch, unwatched

FloatArray = npt.NDArray[np.float64]

CHECK_EVERY = 40
"""Iterations between two looks at the objective (and the bound, where it costs one pass)."""
DEAR_CHECK_EVERY = 1_000
"""Iterations between two bounds where duals must be repaired first."""
SETTLED = 1e-13
"""A fixed-point residual that small beside the size of the point is rounding: nothing moves any more."""


def _with_mass(columns: Columns, row: FloatArray) -> Columns:
    """The columns with one more, dense, row at the end."""
    k = columns.count
    old = columns.indptr.astype(np.int64)
    indptr = old + np.arange(k + 1)
    at = indptr[1:] - 1
    indices = np.empty(columns.nnz + k, dtype=np.uint32)
    values = np.empty(columns.nnz + k, dtype=np.float32)
    inner = np.ones(indices.size, dtype=bool)
    inner[at] = False
    indices[inner], values[inner] = columns.indices, columns.values
    indices[at], values[at] = columns.rows, row
    return Columns(indptr.astype(np.uint64), indices, values, columns.rows + 1)


@attrs.frozen(eq=False)
class _Fit:
    """A task gathered for the iteration."""

    data: FitData
    column_sums: FloatArray
    row_sums: FloatArray
    reference: FloatArray
    mass: float | None

    @classmethod
    def of(cls, task: Task) -> _Fit:
        system, price = task.system, task.price
        if task.support is None:
            columns, row_sums, column_sums = system.columns, system.row_sums, system.column_sums
            reference = system.reference
        else:
            columns, row_sums = take_columns(system.columns, task.support)
            column_sums, reference = system.column_sums[task.support], system.reference[task.support]
        b = system.b
        if task.mass is not None:
            row = reference / task.mass
            columns = _with_mass(columns, row)
            column_sums, row_sums = column_sums + row, np.append(row_sums, row.sum())
            b = np.append(b, 1.0)
            price = RowPrice(
                np.append(price.cap, np.inf), np.append(price.dead_zone, 0.0), np.append(price.curvature, 0.0)
            )
        data = FitData(columns, b, price, task.lower, task.upper, task.spread, task.centre)
        return cls(data, column_sums, row_sums, reference, task.mass)

    def objective(self, u: FloatArray, product: FloatArray) -> float:
        """P at u, without the row of the mass (it is met exactly by then)."""
        costs = self.data.price.values(product - self.data.b)
        values = costs if self.mass is None else costs[:-1]
        return float(values.sum()) + 0.5 * float(self.data.spread @ (u - self.data.centre) ** 2)


@attrs.define(eq=False)
class _Best:
    """The best point and the best bound so far."""

    u: FloatArray
    y: FloatArray
    product: FloatArray
    objective: float = math.inf
    bound: float = -math.inf

    @property
    def gap(self) -> float | None:
        if not math.isfinite(self.bound):
            return None
        return max(0.0, (self.objective - self.bound) / self.objective) if self.objective > 0 else 0.0


class _Iteration:
    """The state of one run of the method."""

    def __init__(self, fit: _Fit, start: Start | None, threads: int) -> None:
        data = fit.data
        self.fit = fit
        self.map = ColumnMap(data.columns, threads)
        n, m = data.columns.count, data.columns.rows
        self.step_u = np.divide(1.0, fit.column_sums, out=np.ones(n), where=fit.column_sums > 0)
        self.step_y = np.divide(1.0, fit.row_sums, out=np.ones(m), where=fit.row_sums > 0)
        warm = start is not None and start.u is not None
        u = start.u if start is not None and start.u is not None else np.ones(n)
        y = start.y if start is not None and start.y is not None else np.zeros(m)
        if y.size == m - 1:
            y = np.append(y, 0.0)  # a start from the targets alone: the mass has no dual yet
        self.u = np.clip(np.asarray(u, dtype=np.float64), data.lower, data.upper)
        self.y = np.clip(np.asarray(y, dtype=np.float64), -data.price.cap, data.price.cap)
        omega = COLD_WEIGHT
        if warm and fit.row_sums.sum() > 0:
            omega = math.sqrt(float(fit.column_sums @ self.u**2) / float(fit.row_sums.sum())) or COLD_WEIGHT
        self.rule = RestartRule(omega)
        self.u1, self.y1 = self.u.copy(), self.y.copy()
        self.product = self.map.matvec(self.u)
        self.product_1 = self.product.copy()
        self.u_anchor, self.y_anchor = self.u.copy(), self.y.copy()
        self.product_anchor = self.product.copy()

    def step(self) -> float:
        """One iteration; returns the fixed-point residual."""
        data, rule = self.fit.data, self.rule
        q = rule.begin()
        moved = self.map.sweep(
            primal_sweep, self.product_1, self.y, self.u, self.u_anchor, self.u1, data.lower, data.upper,
            data.spread, data.centre, self.step_u, rule.omega, q,
        )  # fmt: skip
        dual, cross = dual_step(
            self.y, self.y_anchor, self.y1, self.product, self.product_1, self.product_anchor, data.b,
            self.step_y, rule.omega, q, data.price.cap, data.price.dead_zone, data.price.curvature,
        )  # fmt: skip
        return math.sqrt(max(moved / rule.omega + rule.omega * dual - 2.0 * cross, 0.0))

    def restart(self) -> None:
        """Go on from (u1, y1)."""
        primal = math.sqrt(float(((self.u1 - self.u_anchor) ** 2 / self.step_u).sum()))
        dual = math.sqrt(float(((self.y1 - self.y_anchor) ** 2 / self.step_y).sum()))
        self.rule.restart(primal, dual)
        for target, source in (
            (self.u, self.u1), (self.u_anchor, self.u1), (self.y, self.y1), (self.y_anchor, self.y1),
            (self.product, self.product_1), (self.product_anchor, self.product_1),
        ):  # fmt: skip
            target[:] = source


@attrs.frozen
class PrimalDualSolver(Solver):
    """First choice to within 1 %: any matrix, any of the convex prices, one or more threads."""

    def solve(
        self,
        task: Task,
        stop: Stop,
        start: Start | None = None,
        machine: Machine | None = None,
        watch: Watch = unwatched,
    ) -> Solution:
        """Solve the task (see `Solver.solve`)."""
        began = time.perf_counter()
        machine = machine or Machine()
        fit = _Fit.of(task)
        run = _Iteration(fit, start, machine.threads)
        try:
            best, status = _iterate(run, stop, watch, began)
        finally:
            run.map.close()
        m = task.system.targets
        residuals = (best.product - fit.data.b)[:m]
        return Solution(
            u=best.u,
            y=best.y[:m],
            residuals=residuals,
            objective=best.objective,
            bound=best.bound,
            status=status,
            iterations=run.rule.total,
            seconds=time.perf_counter() - began,
        )


def _iterate(run: _Iteration, stop: Stop, watch: Watch, began: float) -> tuple[_Best, str]:
    """Iterate until the gap is closed, nothing moves, or the budget is spent."""
    fit, rule = run.fit, run.rule
    certificate = Certificate(fit.data)
    best = _Best(run.u1.copy(), run.y1.copy(), run.product_1.copy())
    size = 1.0 + math.sqrt(float((fit.column_sums * run.u**2).sum()))
    stage = "fit" if fit.data.centre == 1.0 else "refit"
    status = "budget_spent"
    if not _look(run, best, certificate, stop.certify):
        return best, "infeasible"
    while rule.total < stop.iterations:
        if best.objective <= 0.0 or (best.gap is not None and best.gap <= stop.tolerance and stop.certify):
            return best, "optimal"
        residual = run.step()
        settled = residual <= SETTLED * size
        if rule.due(residual):
            run.restart()
        last = rule.total >= stop.iterations or settled
        spent = time.perf_counter() - began >= stop.seconds
        if rule.total % CHECK_EVERY == 0 or last or spent:
            dear = not certificate.is_cheap and rule.total % DEAR_CHECK_EVERY != 0
            certify = stop.certify and (last or spent or not dear)
            if not _look(run, best, certificate, certify):
                return best, "infeasible"
            watch(
                Progress(
                    stage, rule.total, _fraction(rule.total, best.gap, stop), best.objective / max(fit.data.b.size, 1),
                    best.gap, best.u.size, time.perf_counter() - began,
                )
            )  # fmt: skip
        if settled:
            status = "converged"
            break
        if spent:
            break
    if best.gap is not None and best.gap <= stop.tolerance:
        status = "optimal"
    return best, status


def _look(run: _Iteration, best: _Best, certificate: Certificate, certify: bool) -> bool:
    """Evaluate (u1, y1); False when the mass cannot be met."""
    fit = run.fit
    u, product = run.u1, run.product_1
    if fit.mass is not None:
        closed = project_mass(u, fit.reference, fit.mass, fit.data.lower, fit.data.upper)
        if closed is None:
            return False
        u, product = closed, run.map.matvec(closed)
    objective = fit.objective(u, product)
    if objective < best.objective:
        best.objective = objective
        best.u, best.y, best.product = u.copy(), run.y1.copy(), product.copy()
    if certify:
        g = run.map.rmatvec(run.y1)
        best.bound = max(best.bound, certificate.bound(run.y1, g, best.objective))
    return True


def _fraction(done: int, gap: float | None, stop: Stop) -> float:
    """How far along: by iterations, or by the digits of the gap gained, whichever is more."""
    by_count = done / stop.iterations
    if gap is None or stop.tolerance <= 0 or gap <= 0:
        return by_count
    by_gap = math.log(max(gap, 1e-300)) / math.log(stop.tolerance) if stop.tolerance < 1 else 1.0
    return min(max(by_count, by_gap, 0.0), 1.0)
