"""The fused restarted primal-dual solver on numba kernels.

The saddle point ``min_u max_y  y'(A u - b) - h*(y) + kappa/2 |u - e|^2`` is iterated with the diagonal
steps of Pock & Chambolle (2011) in one pass over the columns, averaged by the reflected Halpern
iteration (Lu & Yang 2024) and restarted (Applegate et al. 2021); Chambolle & Pock (2011) for the
underlying method. Every few iterations a dual bound is computed, and the gap to it decides.
"""

from __future__ import annotations

import time

import attrs
import numpy as np

from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.fused import FusedIteration
from l0_calibrate.solvers.iteration import Iteration, Opening, iterate
from l0_calibrate.watch import Watch, unwatched

SHORT = 500
"""Iterations up to which all columns stay in play: so few would be over before most are settled at a bound."""

FEW = 20
"""Iterations up to which the columns are passed over as they are."""


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
            if stop.iterations > FEW:
                fit = fit.packed(task, machine.threads)
            run = FusedIteration(fit, opening, machine.threads, hold=stop.iterations > SHORT)
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
