"""The block-arrow interior point solver."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager

import attrs
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from l0_calibrate.memory import give_back_freed
from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task, relative_gap
from l0_calibrate.solvers.certificate import Certificate
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point.arrow import BlockFactor, NotPositiveDefinite
from l0_calibrate.solvers.interior_point.finding import Finder
from l0_calibrate.solvers.interior_point.newton import Newton, State
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.opening import cautious, opened
from l0_calibrate.solvers.interior_point.products import BundleMap
from l0_calibrate.solvers.interior_point.program import Program, Use
from l0_calibrate.solvers.interior_point.steps import choose_step
from l0_calibrate.solvers.mass import project_mass
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.threads import Threads
from l0_calibrate.watch import Progress, Watch, unwatched

FloatArray = npt.NDArray[np.float64]

_MOST_ITERATIONS = 200
"""Where nothing else stops it: an interior point method that has not arrived by then will not."""
_SHORT = 1e-4
"""Steps shorter than this, several times in a row, mean that rounding has the last word."""
_LEAST_GAP = 1e-11
"""Complementarity beside the objective below which doubles have no more digits to give."""
_WORTH_TRIMMING = 2**19
"""Entries of a matrix: beside smaller ones the time counts that giving memory back takes."""
_FARTHEST = 1e15
"""A ratio beyond it has lost the digits that its row needs."""
_NEAR_CHEAP, _NEAR = 6.0, 2.0
"""Complementarity, in tolerances of the gap, from which on the gap is certified: cheaply, or with a repair of duals."""


@attrs.frozen(kw_only=True)
class InteriorPointSolver(Solver):
    """Certified gaps of 0.1 % and better in 7 to 30 iterations, where ``A D A'`` can be factored.

    Parameters
    ----------
    correctors
        Most centrality correctors in an iteration.
    factor_bytes
        Most bytes that the factor may take; above it the task is refused.
    operations
        Most multiplications of one factorisation.

    Notes
    -----
    Memory: the entries once more, in bundles (`bundled`; 8 bytes an entry at most, a fraction where rows are alike),
    and the factor.
    Rows are put into areas by `find_structure`, by the areas of the task where it has some; without any, one dense
    block serves up to some 10,000 rows.
    """

    correctors: int = attrs.field(default=7, validator=attrs.validators.ge(0))
    factor_bytes: float = attrs.field(default=2.0**30, validator=attrs.validators.gt(0))
    operations: float = attrs.field(default=4e11, validator=attrs.validators.gt(0))
    _threads: int = attrs.field(default=1, init=False, eq=False, repr=False)
    _finder: Finder = attrs.field(factory=Finder, init=False, eq=False, repr=False)

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
        threads = (machine or Machine()).threads
        fit = Fit.of(task)
        use = Use.of(fit)
        run = _Run(fit, use, stop, watch, began, threads)
        try:
            if not run.look(use.settled if start is None or start.u is None else start.u, start):
                return run.solution("infeasible")
            if not use.columns.any() or not use.rows.any():
                run.settle()
                return run.solution("converged")
            if run.is_spent():
                return run.solution("budget_spent")
            structure, bundles = self._finder.bundled(task, fit, use, threads)
            if run.is_spent():
                return run.solution("budget_spent")
            program = Program.of(fit, use, structure, bundles)
            if task.system.columns.indices.size >= _WORTH_TRIMMING:
                give_back_freed()  # by the search for blocks and bundles
            with _blas_threads(threads if len(structure.blocks) == 1 else 1):
                status = run.iterate(program, self.correctors, start)
            return run.solution(status)
        finally:
            run.close()

    def on(self, machine: Machine) -> InteriorPointSolver:
        """The search for blocks, for a task that is asked about, on the machine's threads."""
        solver = attrs.evolve(self)
        object.__setattr__(solver, "_threads", machine.threads)
        return solver

    def refusal(self, task: Task) -> str | None:
        """Hard rows, ratios without a lower bound, and matrices that do not fall into blocks."""
        price = task.price
        if (~np.isfinite(price.cap) & (price.curvature == 0)).any():
            return "a target has an infinite weight and no curvature (a hard constraint); give it a large finite weight"
        if not np.isfinite(task.lower).all():
            return "a ratio has no lower bound; give one (0 for weights that are not negative)"
        structure = self._structure(task)
        if structure.factor_bytes > self.factor_bytes or structure.cost > self.operations:
            rows, largest = task.system.targets, max(block.own for block in structure.blocks)
            return (
                f"its {rows} targets do not fall into small enough areas (the largest block has {largest} "
                f"rows; factoring would take {structure.factor_bytes / 2**30:.1f} GiB and "
                f"{structure.cost / 1e9:.0f} billion multiplications an iteration); use solver='primal_dual'"
            )
        return None

    def _structure(self, task: Task) -> Structure:
        fit = Fit.of(task)
        return self._finder.structure(task, fit, Use.of(fit), self._threads)

    def blocks(self, task: Task) -> int:
        """How many blocks the targets of a task fall into."""
        return len(self._structure(task).blocks)

    def use_of_areas(self, task: Task) -> str:
        """What becomes of the areas of a task, in a sentence."""
        structure = self._structure(task)
        blocks = f"{len(structure.blocks)} blocks" if len(structure.blocks) > 1 else "one block"
        if structure.by_areas:
            return f"targets in {blocks} on {structure.levels} levels, by the areas given"
        return f"the areas given do not divide the targets well; {blocks} found from the matrix instead"

    def effort(self, task: Task) -> float:
        """Multiplications of one factorisation for each non-zero of the matrix."""
        fit = Fit.of(task)
        structure = self._finder.structure(task, fit, Use.of(fit), self._threads)
        return structure.cost / max(fit.columns.nnz, 1)


def _blas_threads(count: int) -> AbstractContextManager[object]:
    """Hold BLAS to some threads while blocks are factored, so that results do not depend on the machine's cores."""
    limits: AbstractContextManager[object] = threadpool_limits(count, user_api="blas")
    return limits


class _Run:
    """One solve: the best point and bound so far, and when to stop."""

    def __init__(self, fit: Fit, use: Use, stop: Stop, watch: Watch, began: float, threads: int) -> None:
        self._fit, self._use, self._stop, self._watch, self._began = fit, use, stop, watch, began
        self._workers = Threads(threads)
        self._map = ColumnMap(fit.columns, self._workers)
        self._certificate = Certificate(fit, self._workers)
        n, m = fit.columns.count, fit.columns.rows
        self._u, self._y, self._product = np.zeros(n), np.zeros(m), np.zeros(m)
        self._objective, self._bound = math.inf, -math.inf
        self._iterations = 0
        self._is_certified = False

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def is_spent(self) -> bool:
        """Whether the seconds are over."""
        return time.perf_counter() - self._began >= self._stop.seconds

    @property
    def gap(self) -> float | None:
        """Certified relative gap so far."""
        return relative_gap(self._objective, self._bound)

    def look(self, u: FloatArray, start: Start | None) -> bool:
        """Evaluate a first point within the bounds; False when the mass cannot be met."""
        fit = self._fit
        y = np.zeros(fit.columns.rows)
        if start is not None and start.y is not None:
            y[: fit.targets] = start.y
            y[fit.targets :] = start.mass_dual
        u = np.clip(u, fit.lower, fit.upper)
        if not self._evaluate(u):
            self._u, self._product = u, self._map.matvec(u)
            return False
        y = np.clip(y, -fit.price.cap, fit.price.cap)
        self._y = y
        if self._certificate.is_cheap:
            self._certify(y)
        return True

    def settle(self) -> None:
        """The end where no ratio moves a target that costs something, wherever it began.

        The slopes of the prices are the duals.
        """
        self._evaluate(self._use.settled)
        y = self._fit.price.slopes(self._product - self._fit.b)
        y[self._fit.targets :] = 0.0  # no ratio can change the sum, and its slope would be that of a rounding
        if np.isfinite(y).all():
            self._certify(y)

    def _evaluate(self, u: FloatArray) -> bool:
        fit = self._fit
        if fit.mass is not None:
            closed = project_mass(u, fit.reference, fit.mass, fit.lower, fit.upper)
            if closed is None:
                return False
            u = closed
        product = self._map.matvec(u)
        self._take(u, product, fit.objective(u, product))
        return True

    def _take(self, u: FloatArray, product: FloatArray, objective: float) -> None:
        """Keep a point if it is the best so far."""
        if objective < self._objective:
            self._u, self._product, self._objective = u, product, objective

    def _certify(self, y: FloatArray) -> None:
        if not self._stop.certify:
            return
        # No price is negative, so neither is the optimum.
        bound = max(0.0, self._certificate.bound(y, self._map.rmatvec(y), self._objective))
        if bound >= self._bound:
            self._bound, self._y = bound, y

    def iterate(self, program: Program, correctors: int, start: Start | None) -> str:
        """Iterate until the gap is closed, or nothing moves, or the budget is spent."""
        order = program.bundles.order
        columns = BundleMap(program.bundles, self._workers)
        factor = BlockFactor(program.structure, program.bundles, self._workers)
        warm = None if start is None or start.u is None else np.asarray(start.u, dtype=np.float64)[order]
        state = State.of(program, columns, opened(program, columns, warm))
        status = self._iterate(state, factor, correctors)
        if status == "stalled" and self._iterations < _MOST_ITERATIONS:
            # A start too near the boundary for the numbers of this problem: once more from well inside.
            state = State.of(program, columns, cautious(program, columns))
            status = self._iterate(state, factor, correctors)
        if not self._is_certified:
            self._certify_at(state)
        return status

    def _iterate(self, state: State, factor: BlockFactor, correctors: int) -> str:
        stop, short = self._stop, 0
        rough = self._record(state)
        while True:
            if self.gap is not None and self.gap <= stop.tolerance:
                return "converged"
            if self._objective <= self._fit.negligible or state.complementarity <= _LEAST_GAP * self._objective:
                return "converged"
            if self._iterations >= stop.iterations or self.is_spent():
                return "budget_spent"
            if self._iterations >= _MOST_ITERATIONS:
                return "stalled"
            try:
                step = choose_step(state, Newton(state, factor), correctors)
            except NotPositiveDefinite:
                return "stalled"
            self._iterations += 1
            damping = 0.95 if rough > 1e-2 else 0.995
            if not np.isfinite(step.primal + step.dual + float(step.direction.y.sum())):
                return "stalled"
            state.move(step.direction, damping * step.primal, damping * step.dual)
            rough = self._record(state)
            short = short + 1 if max(step.primal, step.dual) < _SHORT else 0
            if short >= 3 or not state.ratios.max() < _FARTHEST:
                return "stalled"

    def _record(self, state: State) -> float:
        """Take up a point; returns the relative gap that its complementarity suggests."""
        fit, stop = self._fit, self._stop
        rows = state.program.structure.row_order
        u = self._use.settled.copy()
        u[state.program.bundles.order] = state.ratios
        np.clip(u, fit.lower, fit.upper, out=u)
        # By the bundles, and rows that cost nothing left out: to a few roundings of what is stored.
        product = np.zeros(fit.columns.rows)
        product[rows] = state.product + (fit.b[rows] - state.program.b)
        objective = fit.objective(u, product)
        rough = state.complementarity / max(min(self._objective, objective), 1e-300)
        reach = _NEAR_CHEAP if self._certificate.is_cheap else _NEAR
        self._is_certified = stop.tolerance <= 0 or rough <= reach * stop.tolerance or rough < 1e-6
        if self._is_certified or fit.mass is not None:
            self._evaluate(u)
        else:
            self._take(u, product, objective)
        if self._is_certified:
            self._certify_at(state)
        self._report(rough)
        return rough

    def _certify_at(self, state: State) -> None:
        fit = self._fit
        y = np.zeros(fit.columns.rows)
        y[state.program.structure.row_order] = state.y
        self._certify(np.clip(y, -fit.price.cap, fit.price.cap))

    def _report(self, rough: float) -> None:
        fit, tolerance = self._fit, self._stop.tolerance
        gap = self.gap if self.gap is not None else rough
        goal = tolerance if 0.0 < tolerance < 1.0 else 1e-9
        fraction = min(max(0.0, math.log(max(gap, 1e-300)) / math.log(goal)), 1.0)
        loss = self._objective / max(fit.targets, 1) if math.isfinite(self._objective) else None
        seconds = time.perf_counter() - self._began
        stage = "fit" if fit.centre == 1.0 else "refit"
        self._watch(Progress(stage, self._iterations, fraction, loss, self.gap, self._u.size, seconds))

    def solution(self, status: str) -> Solution:
        """The best point, with the duals of the best bound."""
        fit = self._fit
        if np.isfinite(self._objective):
            # Once more from the matrix itself: on the way, rows that cost nothing were left out.
            self._product = self._map.matvec(self._u)
            self._objective = fit.objective(self._u, self._product)
            if self._stop.certify:
                # Where all targets are met nothing was certified on the way: no price is negative, and that is enough.
                self._bound = max(self._bound, 0.0)
        if status != "infeasible" and self.gap is not None and self.gap <= self._stop.tolerance:
            status = "optimal"
        m = fit.targets
        return Solution(
            u=self._u,
            y=self._y[:m],
            residuals=(self._product - fit.b)[:m],
            objective=self._objective,
            bound=self._bound,
            status=status,
            iterations=self._iterations,
            seconds=time.perf_counter() - self._began,
            mass_dual=0.0 if fit.mass is None else float(self._y[-1]),
        )
