"""Coordinate descent: one ratio at a time, for prices without corners.

A pass moves each ratio to the minimum of its parabola within its bounds, with the residuals kept up to date. Most
ratios end at a bound: a pass over all columns says which are pushed against theirs, and the passes after it go over
the others alone, copied close together in a random order (neighbours in a file are alike, and moving like columns one
after another undoes what the last has done). Passes over the same columns are extrapolated (Anderson; see
`l0_calibrate.solvers.extrapolation`) where that lowers the objective. The slopes of the prices are dual points, and
the certificate is that of every other solver.
"""

from __future__ import annotations

import math
import time

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.columns import Columns, ColumnsCopy
from l0_calibrate.inner import inner
from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task
from l0_calibrate.solvers.descent_kernels import (
    Coordinates,
    RowPrices,
    RowState,
    column_curvatures,
    descent_pass,
    refresh_rows,
)
from l0_calibrate.solvers.extrapolation import Extrapolation
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.iteration import Iteration, Opening, iterate
from l0_calibrate.solvers.restarts import RestartRule
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.threads import Threads
from l0_calibrate.watch import Watch, unwatched

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MOST_PASSES = 40
"""Passes over the columns in play before all columns are looked at again."""
STILL = 0.01
"""... or when a pass lowers the objective by this part of what the first of them did."""
COMBINED = 5
"""Passes that are extrapolated together (Bertrand & Massias 2021), and the fewest before another look at all."""


@attrs.frozen
class CoordinateDescentSolver(Solver):
    """For the squared loss, and others whose slope is continuous: fast to within 1 %."""

    def solve(
        self,
        task: Task,
        stop: Stop,
        start: Start | None = None,
        machine: Machine | None = None,
        watch: Watch = unwatched,
    ) -> Solution:
        """Solve the task (see `Solver.solve`); an iteration is a pass, over all columns or those in play."""
        began = time.perf_counter()
        machine = machine or Machine()
        fit = Fit.of(task)
        run = DescentIteration(fit, Opening.of(fit, start).u, machine)
        try:
            return iterate(run, fit, stop, watch, began)
        finally:
            run.close()

    def refusal(self, task: Task) -> str | None:
        """Prices with a corner, where single ratios get stuck, and a sum of weights to be held."""
        corners = (task.price.cap > 0) & (task.price.curvature == 0)
        if corners.any():
            return (
                f"the price of {int(corners.sum())} targets has a corner (an absolute error, or a hard constraint), "
                "where moving one ratio at a time gets stuck; use loss='squared' or 'huber', or "
                "solver='primal_dual' or 'interior_point'"
            )
        if task.mass is not None:
            return (
                "the sum of the weights is to be held, which moving one ratio at a time cannot do; use "
                "solver='primal_dual' or 'interior_point'"
            )
        return None


class _Passes(RestartRule):
    """Counts passes; nothing restarts."""

    def due(self, residual: float) -> bool:
        return False


@attrs.define(eq=False)
class _Play:
    """Columns that are passed over together, in their order."""

    columns: Columns
    ids: IntArray
    state: Coordinates
    extrapolation: Extrapolation
    passes: int = 0
    first_fall: float = math.inf
    is_over: bool = False


class DescentIteration(Iteration):
    """Coordinate descent, pass by pass, between looks at all columns."""

    def __init__(self, fit: Fit, u: FloatArray, machine: Machine) -> None:
        self.rule = _Passes()
        self._fit = fit
        self.workers = Threads(machine.threads)
        self._map = ColumnMap(fit.columns, self.workers)
        self._rng = np.random.default_rng(machine.seed)
        price = fit.price
        bends = bool((np.isfinite(price.cap) & (price.cap > 0)).any())
        plain = not bends and not price.dead_zone.any()
        self._prices = RowPrices(price.cap, price.dead_zone, price.curvature, bends, plain)
        m, n = fit.columns.rows, fit.columns.count
        self._rows = RowState(np.zeros(m), np.zeros(m), np.zeros(m))
        refresh_rows(self._rows, self._prices)  # at no residual, weights are at their largest
        curvature = np.empty(n)
        column_curvatures(fit.columns.arrays, self._rows.weight, fit.spread, curvature)
        self._whole = Coordinates(u.copy(), fit.lower, fit.upper, fit.spread, curvature, float(fit.centre))
        stored = float(np.finfo(fit.columns.values.dtype).eps)
        self._resolution = price.total(np.full(m, stored))
        self._held = np.zeros(n, dtype=np.bool_)
        self._play: _Play | None = None
        self._product: FloatArray | None = None
        self._settle()

    def step(self, most: int = 1, still: float = -1.0) -> float:
        """A pass; returns ``sqrt(sum_j d_j^2 sum_i |a_ij|)`` of the changes, or the fall where only some columns moved.

        0 where all targets are met to the digits of the stored entries: the objective would go on to fall for ever.
        """
        self.rule.begin()
        self._product = None
        self.is_whole = self._play is None or self._play.is_over
        if self._play is None or self._play.is_over:
            self._give_back()
            self._play = None  # its copy of the columns goes before another is made
            before = self._whole.u.copy()
            descent_pass(self._fit.columns.arrays, self._whole, self._rows, self._prices, self._held)
            travel = inner(self._fit.column_sums, (self._whole.u - before) ** 2)
            self._play = self._in_play()
            met = self._objective(self._whole, self._whole.u, self._rows.residual) <= self._resolution
            return 0.0 if met else math.sqrt(travel)
        return self._partial(self._play)

    def _in_play(self) -> _Play | None:
        """The columns that are not held, in a random order; None where there are none."""
        ids = self._rng.permutation(np.flatnonzero(~self._held)).astype(np.int64)
        if ids.size == 0:
            return None
        copy = ColumnsCopy.of(self._fit.columns, ids)
        copy.fill(0, ids.size)
        whole = self._whole
        state = Coordinates(
            whole.u[ids], whole.lower[ids], whole.upper[ids], whole.kappa[ids], whole.curvature[ids], whole.centre
        )
        extrapolation = Extrapolation(state.curvature, COMBINED)
        extrapolation.restart(state.u)
        return _Play(copy.columns, ids, state, extrapolation)

    def _partial(self, play: _Play) -> float:
        """A pass over the columns in play, and where the passes so far lead, if that is better; returns its fall."""
        held = np.empty(play.ids.size, dtype=np.bool_)
        fall = descent_pass(play.columns.arrays, play.state, self._rows, self._prices, held)
        play.passes += 1
        ahead = play.extrapolation.add(play.state.u)
        if ahead is not None:
            self._move(play, np.clip(ahead, play.state.lower, play.state.upper))
            play.extrapolation.restart(play.state.u)
        if play.passes == 1:
            play.first_fall = fall
        still = fall <= STILL * play.first_fall
        # A slow direction alone is left after the first pass, at times: that is what an extrapolation is for.
        play.is_over = play.passes >= MOST_PASSES or (still and play.passes >= COMBINED)
        return fall

    def _move(self, play: _Play, ahead: FloatArray) -> None:
        """Go there if the objective is lower there."""
        state, rows = play.state, self._rows
        residual = rows.residual + ColumnMap(play.columns).matvec(ahead - state.u)
        if self._objective(state, ahead, residual) < self._objective(state, state.u, rows.residual):
            state.u[:] = ahead
            rows.residual[:] = residual
            refresh_rows(rows, self._prices)

    def _objective(self, state: Coordinates, u: FloatArray, residual: FloatArray) -> float:
        """What the rows cost, and the spread of the given columns."""
        return self._fit.price.total(residual) + 0.5 * inner(state.kappa, (u - state.centre) ** 2)

    def _give_back(self) -> None:
        if self._play is not None:
            self._whole.u[self._play.ids] = self._play.state.u

    def _settle(self) -> FloatArray:
        """``A u`` and the rows made from it anew: what the passes added up has rounded."""
        if self._product is None:
            self._give_back()
            self._product = self._map.matvec(self._whole.u)
            self._rows.residual[:] = self._product - self._fit.b
            refresh_rows(self._rows, self._prices)
        return self._product

    def restart(self) -> None:
        """Nothing restarts."""

    def point(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(u, h'(A u - b), A u)``."""
        product = self._settle()
        return self._whole.u, self._rows.slope, product

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``."""
        return self._map.matvec(u)

    def gradient(self) -> FloatArray:
        """``A'y``."""
        return self._map.rmatvec(self._rows.slope)

    def close(self) -> None:
        """End the threads."""
        self.workers.close()
