"""Several iterations in one compiled call, on one thread or on several that wait for one another."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.columns import ColumnArrays
from l0_calibrate.solvers.bundle_sweep import bundle_sweep
from l0_calibrate.solvers.kernels import Dual, Primal, Products, Rows, Terms, dual_step, primal_sweep
from l0_calibrate.solvers.lanes import Board, Lane, meet
from l0_calibrate.solvers.restarts import halpern, is_due, remembered
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]


class Sides(NamedTuple):
    """The state of the columns that are swept and of the rows, and what other columns add to ``A u1``, or nothing."""

    primal: Primal
    terms: Terms
    others: FloatArray
    dual: Dual
    products: Products
    rows: Rows


class Pace(NamedTuple):
    """How far to go: at most ``most`` iterations, none after one that calls for a restart or moves by ``still``.

    The others are `l0_calibrate.solvers.restarts.RestartRule`'s.
    """

    most: int
    still: float
    omega: float
    since: int
    total: int
    first: float
    previous: float


@fast_jit
def stretch(
    lane: Lane,
    board: Board,
    columns: ColumnArrays | None,
    bundles: BundleArrays | None,
    mass_row: FloatArray,
    sides: Sides,
    pace: Pace,
) -> tuple[int, float, float, float]:
    """What one lane does of iterations, over columns or over bundles: one of them is None.

    Returns how many were made, the residual of the last, and the two that it is compared with (``first``,
    ``previous``). As a plain tuple: a named one is made by Python code, in which an interrupt that has waited for the
    end of the call would be raised, and compiled code does not expect that.
    """
    since, total, first, previous = pace.since, pace.total, pace.first, pace.previous
    done, omega = 0, pace.omega
    primal, terms, y = sides.primal, sides.terms, sides.dual.y
    while True:
        done, since, total = done + 1, since + 1, total + 1
        q = halpern(since)
        sums = _sums(lane, board, sides)
        moved = 0.0
        if columns is not None:
            moved = primal_sweep(lane.first, lane.last, columns, y, primal, terms, omega, q, sums)
        elif bundles is not None:
            moved = bundle_sweep(lane.first, lane.last, bundles, mass_row, y, primal, terms, omega, q, sums)
        residual = _rows_follow(lane, board, sides, moved, done, omega, q)
        if done == pace.most or residual <= pace.still or is_due(residual, since, total, first, previous):
            return done, residual, first, previous
        first, previous = remembered(residual, since, first)


@fast_jit
def _sums(lane: Lane, board: Board, sides: Sides) -> FloatArray:
    """Where a lane adds up its part of ``A u1``: the first begins with what the other columns add."""
    sums = sides.products.new
    if lane.number > 0:
        sums = board.sums[lane.number - 1]
        sums[:] = 0.0
    elif sides.others.size > 0:
        sums[:] = sides.others
    else:
        sums[:] = 0.0
    return sums


@fast_jit
def _rows_follow(lane: Lane, board: Board, sides: Sides, moved: float, iteration: int, omega: float, q: float) -> float:
    """The rows' part of an iteration, when all lanes have swept their columns; the fixed-point residual.

    -1 where another lane will never come.
    """
    numbers = board.numbers[iteration % 2]
    numbers[lane.number, 0] = moved
    if not meet(board, lane):
        return -1.0
    travel, cross = dual_step(lane.top, lane.bottom, board.sums, sides.dual, sides.products, sides.rows, omega, q)
    numbers[lane.number, 1], numbers[lane.number, 2] = travel, cross
    if not meet(board, lane):
        return -1.0
    moved = travel = cross = 0.0
    for t in range(lane.lanes):
        moved += numbers[t, 0]
        travel += numbers[t, 1]
        cross += numbers[t, 2]
    return math.sqrt(max(moved / omega + omega * travel - 2.0 * cross, 0.0))
