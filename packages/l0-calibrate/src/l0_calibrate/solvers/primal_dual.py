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

from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.iteration import Iteration, Opening, iterate
from l0_calibrate.solvers.kernels import Dual, Primal, Products, Rows, Terms, dual_step, primal_sweep
from l0_calibrate.solvers.restarts import RestartRule, Travel
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.watch import Watch, unwatched

FloatArray = npt.NDArray[np.float64]


class FusedIteration(Iteration):
    """One pass over the columns an iteration, on one or more threads."""

    def __init__(self, fit: Fit, opening: Opening, threads: int) -> None:
        self.rule = RestartRule(opening.omega)
        self._map = ColumnMap(fit.columns, threads)
        u, y = opening.u, opening.y
        product = self._map.matvec(u)
        self._primal = Primal(u.copy(), u.copy(), u.copy())
        self._dual = Dual(y.copy(), y.copy(), y.copy())
        self._products = Products(product, product.copy(), product.copy())
        self._terms = Terms(fit.lower, fit.upper, fit.spread, float(fit.centre), opening.step_u)
        price = fit.price
        self._rows = Rows(fit.b, price.cap, price.dead_zone, price.curvature, opening.step_y)

    def step(self) -> float:
        """One iteration; returns the fixed-point residual."""
        rule = self.rule
        q = rule.begin()
        moved = self._map.sweep(
            primal_sweep, self._products.new, self._dual.y, self._primal, self._terms, rule.omega, q
        )
        dual, cross = dual_step(self._dual, self._products, self._rows, rule.omega, q)
        return math.sqrt(max(moved / rule.omega + rule.omega * dual - 2.0 * cross, 0.0))

    def restart(self) -> None:
        """Go on from (u1, y1)."""
        primal, dual, products = self._primal, self._dual, self._products
        self.rule.restart(
            _travel(primal.u1, primal.anchor, self._terms.step), _travel(dual.y1, dual.anchor, self._rows.step)
        )
        for target, source in (
            (primal.u, primal.u1), (primal.anchor, primal.u1), (dual.y, dual.y1), (dual.anchor, dual.y1),
            (products.current, products.new), (products.anchor, products.new),
        ):  # fmt: skip
            target[:] = source

    def point(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(u1, y1, A u1)``."""
        return self._primal.u1, self._dual.y1, self._products.new

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``."""
        return self._map.matvec(u)

    def gradient(self) -> FloatArray:
        """``A'y1``."""
        return self._map.rmatvec(self._dual.y1)

    def close(self) -> None:
        """End the threads."""
        self._map.close()


def _travel(point: FloatArray, anchor: FloatArray, step: FloatArray) -> Travel:
    length = math.sqrt(float(((point - anchor) ** 2 / step).sum()))
    return Travel(length, math.sqrt(float((point**2 / step).sum())))


@attrs.frozen
class PrimalDualSolver(Solver):
    """To within 1 %: any matrix, any of the convex prices, threads, any backend."""

    runs_on_backends = True

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
        fit = Fit.of(task)
        opening = Opening.of(fit, start)
        run: Iteration
        if machine.backend == "numpy":
            run = FusedIteration(fit, opening, machine.threads)
        else:
            from l0_calibrate.solvers.primal_dual_backend import BackendIteration

            run = BackendIteration(fit, opening, machine.backend)
        try:
            return iterate(run, fit, stop, watch, began)
        finally:
            run.close()

    def refusal(self, task: Task) -> str | None:
        """Hard rows: a target that must be met exactly can only be approached by this method."""
        if (~np.isfinite(task.price.cap) & (task.price.curvature == 0)).any():
            return "a target has an infinite weight and no curvature (a hard constraint); give it a large finite weight"
        return None
