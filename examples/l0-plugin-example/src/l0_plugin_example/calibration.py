"""A loss, a selector and a solver for l0-calibrate, each as short as it can be."""

from __future__ import annotations

import time

import attrs
import numpy as np
import scipy.optimize
import scipy.sparse as sp

from l0_calibrate.losses import Loss, RowPrice
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.selectors import Budget, Selected, Selector
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.solvers.certificate import Certificate
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.watch import Watch, unwatched
from l0_core import InputError, Selection


@attrs.frozen
class StandardErrorLoss(Loss):
    """The absolute loss, but the first so many standard errors of a target cost nothing.

    Parameters
    ----------
    column
        The column of the targets that holds the standard errors, in their units.
    free
        How many of them are free.
    """

    column: str = "standard_error"
    free: float = attrs.field(default=1.0, validator=attrs.validators.ge(0.0))

    def price(self, problem: CalibrationProblem) -> RowPrice:
        """Residuals are relative errors, so a dead zone is one too: the standard error over ``problem.scale``."""
        if problem.target_info is None or self.column not in problem.target_info.columns:
            raise InputError(f"the targets have no column {self.column!r} of standard errors")
        errors = problem.target_info[self.column].to_numpy(np.float64)
        zone = np.maximum(self.free * errors / problem.scale, problem.tolerances)
        return RowPrice(cap=problem.loss_weights, dead_zone=zone, curvature=np.zeros_like(zone))


@attrs.frozen
class HeaviestSelector(Selector):
    """Keeps the records with the largest initial weights, those that must be kept before all."""

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Exactly ``budget.keep`` of the records that may be kept."""
        worth = np.where(usable_records(budget), budget.problem.initial_weights, -np.inf)
        if budget.must_keep is not None:
            worth = np.where(budget.must_keep, np.inf, worth)
        kept = np.sort(np.argsort(-worth, kind="stable")[: budget.keep])
        return Selected(Selection(kept, budget.system.records), notes=("the heaviest records were kept",))


@attrs.frozen
class LinearProgramSolver(Solver):
    """SciPy's HiGHS, for ``sum_i c_i |r_i|`` without a price on unequal weights."""

    def refusal(self, task: Task) -> str | None:
        """What a linear programme is not, with the remedy."""
        if not task.price.is_absolute:
            return "it takes the absolute loss without tolerances only; use solver='auto'"
        if task.mass is not None:
            return "it does not hold the sum of the weights; leave conserve_mass away"
        return "it knows no price on unequal weights; give spread=0" if np.any(task.spread) else None

    def solve(
        self,
        task: Task,
        stop: Stop,
        start: Start | None = None,
        machine: Machine | None = None,
        watch: Watch = unwatched,
    ) -> Solution:
        """``A u - over + under = b``, over and under priced."""
        began, fit = time.perf_counter(), Fit.of(task)  # the columns of the task's support, gathered
        m, n = fit.targets, fit.columns.count
        c = fit.columns
        a = sp.csc_array((c.values, c.indices.astype(np.int64), c.indptr.astype(np.int64)), shape=(m, n))
        unit = sp.eye_array(m)
        found = scipy.optimize.linprog(
            np.concatenate((np.zeros(n), fit.price.cap, fit.price.cap)),
            A_eq=sp.hstack((a, -unit, unit)),
            b_eq=fit.b,
            bounds=np.vstack((np.column_stack((fit.lower, fit.upper)), np.tile((0.0, np.inf), (2 * m, 1)))),
        )
        if found.status != 0:
            raise RuntimeError(f"HiGHS ended without a solution: {found.message}")
        u = np.clip(found.x[:n], fit.lower, fit.upper)
        # The dual of a target is the slope of its price: what the cost gains where the estimate grows, not the total.
        y = np.clip(-found.eqlin.marginals, -fit.price.cap, fit.price.cap)
        objective = fit.objective(u, a @ u)
        # A bound for any duals, however they were found: rounding is charged against it.
        bound = Certificate(fit).bound(y, a.T @ y, objective)
        return Solution(
            u, y, a @ u - fit.b, objective, max(bound, 0.0), "converged", int(found.nit), time.perf_counter() - began
        )
