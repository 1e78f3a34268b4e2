"""The loop around a restarted primal-dual iteration: looks, restarts, when to stop. The same for every backend."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.inner import inner
from l0_calibrate.solvers.base import Solution, Start, Stop, relative_gap
from l0_calibrate.solvers.certificate import Certificate
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.mass import project_mass
from l0_calibrate.solvers.restarts import COLD_WEIGHT, RestartRule
from l0_calibrate.threads import Threads
from l0_calibrate.watch import Progress, Watch

FloatArray = npt.NDArray[np.float64]

CHECK_EVERY = 40
"""Iterations between two looks at the objective (and the bound, where it costs one pass)."""
DEAR_CHECK_EVERY = 1_000
"""Iterations between two bounds where duals must be repaired first."""
SETTLED = 1e-13
"""A fixed-point residual that small beside the size of the point is rounding, or hidden by the largest rows."""
PATIENCE = 2_000
"""Iterations without a better objective or bound after which such residuals end a run whose gap is open."""
NEWS = 1e-12
"""Relative change of the best objective, or of the best bound, that makes it a better one."""


@attrs.frozen(eq=False)
class Opening:
    """Where an iteration begins: ratios, duals, the primal weight omega, and the steps T and R."""

    u: FloatArray
    y: FloatArray
    omega: float
    step_u: FloatArray
    step_y: FloatArray

    @classmethod
    def of(cls, fit: Fit, start: Start | None) -> Opening:
        """Cold: u = 1, y = 0, omega = 4. Warm: omega from the sizes of the ratios and of the rows."""
        n, m = fit.columns.count, fit.columns.rows
        u = np.ones(n) if start is None or start.u is None else np.asarray(start.u, dtype=np.float64)
        y = np.zeros(m) if start is None or start.y is None else np.asarray(start.y, dtype=np.float64)
        if y.size == m - 1:
            y = np.append(y, 0.0 if start is None else start.mass_dual)
        u = np.clip(u, fit.lower, fit.upper)
        y = np.clip(y, -fit.price.cap, fit.price.cap)
        omega = COLD_WEIGHT
        rows = float(fit.row_sums.sum())
        if start is not None and start.u is not None and rows > 0:
            omega = math.sqrt(inner(fit.column_sums, u**2) / rows) or COLD_WEIGHT
        step_u = np.divide(1.0, fit.column_sums, out=np.ones(n), where=fit.column_sums > 0)
        step_y = np.divide(1.0, fit.row_sums, out=np.ones(m), where=fit.row_sums > 0)
        return cls(u, y, omega, step_u, step_y)


class Iteration(ABC):
    """The state of one run of the method, wherever its numbers live."""

    rule: RestartRule

    is_whole: bool = True
    """Whether the last step moved every column: only then does a residual of nothing mean that nothing moves."""

    workers: Threads = Threads(1)
    """What work on the host is handed to between the steps."""

    @abstractmethod
    def step(self, most: int = 1, still: float = -1.0) -> float:
        """An iteration, or up to ``most`` at once where that is quicker; returns the residual of the last.

        That is the fixed-point residual of the columns that it moved. None follows one after which a restart is due,
        or that moved every column and had a residual of at most ``still``.
        """

    @abstractmethod
    def restart(self) -> None:
        """Go on from the new point; the anchors move there."""

    @abstractmethod
    def point(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(u1, y1, A u1)`` on the host; not to be written to, nor kept beyond the next step."""

    @abstractmethod
    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, host to host."""

    @abstractmethod
    def gradient(self) -> FloatArray:
        """``A'y1``, on the host."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the run holds (threads)."""


@attrs.define(eq=False)
class Best:
    """The best point and the best bound so far."""

    u: FloatArray
    y: FloatArray
    product: FloatArray
    objective: float = math.inf
    bound: float = -math.inf
    _known: tuple[float, float] = (math.inf, 0.0)
    _since: int = 0

    @property
    def gap(self) -> float | None:
        """Certified relative gap, or None."""
        return relative_gap(self.objective, self.bound)

    def is_short_of(self, tolerance: float, negligible: float) -> bool:
        """Whether the certificate says that there is more to be had: rounding, or steps too small, ended the run."""
        return self.gap is not None and self.gap > tolerance and self.objective > negligible

    def gets_on(self, iteration: int) -> bool:
        """Whether the objective or the bound has become better since `PATIENCE` iterations ago (ask now and then)."""
        objective, bound = self._known
        if self.objective < objective * (1.0 - NEWS) or self.bound > bound * (1.0 + NEWS):
            self._known, self._since = (self.objective, self.bound), iteration
        return iteration - self._since < PATIENCE

    def look(self, run: Iteration, fit: Fit, certificate: Certificate | None) -> bool:
        """Evaluate the new point, with a bound where a certificate is given; False when the mass cannot be met."""
        u, y, product = run.point()
        if fit.mass is not None:
            closed = project_mass(u, fit.reference, fit.mass, fit.lower, fit.upper)
            if closed is None:
                return False
            u, product = closed, run.matvec(closed)
        objective = fit.objective(u, product)
        if objective < self.objective:
            self.objective = objective
            self.u, self.y, self.product = u.copy(), y.copy(), product.copy()
        if certificate is not None:
            self.bound = max(self.bound, certificate.bound(y, run.gradient(), self.objective))
        return True


def iterate(run: Iteration, fit: Fit, stop: Stop, watch: Watch, began: float) -> Solution:
    """Iterate until the gap is closed, nothing moves, or the budget is spent."""
    rule = run.rule
    certificate = Certificate(fit, run.workers)
    u, y, product = run.point()
    # No price is negative, so neither is the optimum.
    best = Best(u.copy(), y.copy(), product.copy(), bound=0.0 if stop.certify else -math.inf)
    size = 1.0 + math.sqrt(inner(fit.column_sums, u**2))
    stage = "fit" if fit.centre == 1.0 else "refit"

    def look(certify: bool) -> bool:
        return best.look(run, fit, certificate if certify and stop.certify else None)

    def finish(status: str) -> Solution:
        if status != "infeasible" and best.gap is not None and best.gap <= stop.tolerance:
            status = "optimal"
        residuals = (best.product - fit.b)[: fit.targets]
        seconds = time.perf_counter() - began
        mass_dual = 0.0 if fit.mass is None else float(best.y[-1])
        return Solution(
            best.u,
            best.y[: fit.targets],
            residuals,
            best.objective,
            best.bound,
            status,
            rule.total,
            seconds,
            mass_dual,
        )

    # An inner fit is asked to move on, not to confirm a start that is hard to beat in a few iterations.
    if (stop.certify or stop.iterations == 0) and not look(certificate.is_cheap):
        return finish("infeasible")
    while rule.total < stop.iterations:
        if best.objective <= 0.0 or (best.gap is not None and best.gap <= stop.tolerance):
            break
        residual = run.step(min(stop.iterations - rule.total, CHECK_EVERY - rule.total % CHECK_EVERY), SETTLED * size)
        settled = run.is_whole and residual <= SETTLED * size
        if rule.due(residual):
            run.restart()
        spent = time.perf_counter() - began >= stop.seconds
        last = rule.total >= stop.iterations or settled or spent
        if rule.total % CHECK_EVERY == 0 or last:
            if not look(last or certificate.is_cheap or rule.total % DEAR_CHECK_EVERY == 0):
                return finish("infeasible")
            watch(
                Progress(
                    stage, rule.total, _fraction(rule.total, best.gap, stop), best.objective / max(fit.targets, 1),
                    best.gap, best.u.size, time.perf_counter() - began,
                )
            )  # fmt: skip
        if settled and not best.is_short_of(stop.tolerance, fit.negligible):
            return finish("converged")
        # Where the units of targets are far apart, the rows of the largest hide how far the others still move.
        if settled and not best.gets_on(rule.total):
            return finish("stalled")
        if spent:
            break
    return finish("budget_spent")


def _fraction(done: int, gap: float | None, stop: Stop) -> float:
    """How far along: by iterations, or by the digits of the gap gained, whichever is more."""
    by_count = done / stop.iterations
    if gap is None or not 0.0 < stop.tolerance < 1.0:
        return by_count
    by_gap = math.log(max(gap, 1e-300)) / math.log(stop.tolerance)
    return min(max(by_count, by_gap, 0.0), 1.0)
