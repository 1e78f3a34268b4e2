"""Several iterations in one compiled call, on one thread or on several that wait for one another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.columns import ColumnArrays
from l0_calibrate.solvers.bundle_sweep import bundle_sweep
from l0_calibrate.solvers.kernels import Dual, Primal, Products, Rows, Terms, dual_step, primal_sweep
from l0_calibrate.solvers.lanes import Board, Lane, meet, piece, take
from l0_calibrate.solvers.restarts import halpern, is_due, next_weight, remembered
from l0_gates.jit import fast_inner_jit, fast_jit

FloatArray = npt.NDArray[np.float64]


class Sides(NamedTuple):
    """The state of the columns that are swept and of the rows.

    ``others`` is what columns that are not swept add to ``A u1``, or nothing, and ``others_size`` the sum of their
    ``u_j^2 / T_j``.
    """

    primal: Primal
    terms: Terms
    others: FloatArray
    others_size: float
    dual: Dual
    products: Products
    rows: Rows


class Pace(NamedTuple):
    """How far to go: at most ``most`` iterations, none after one that moves by ``still``.

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
) -> tuple[int, float, int, float, float, float]:
    """What one lane does of iterations and of restarts between them, over columns or over bundles: one is None.

    Returns how many iterations were made, the residual of the last, how many of them since the last restart, omega,
    and the two residuals that the last is compared with (``first``, ``previous``): whether a restart is due after it is
    not asked. As a plain tuple: a named one is made by Python code, in which an interrupt that has waited for the end
    of the call would be raised, and compiled code does not expect that.
    """
    since, total, first, previous = pace.since, pace.total, pace.first, pace.previous
    done, omega = 0, pace.omega
    primal, terms, y = sides.primal, sides.terms, sides.dual.y
    while True:
        done, since, total = done + 1, since + 1, total + 1
        q = halpern(since)
        numbers = board.numbers[done % 2]
        for turn in range(board.taken.shape[0]):
            k = piece(lane, turn)
            if not take(board, lane, k, done):
                continue
            sums, begin, end = _sums(k, board, sides), board.edges[k], board.edges[k + 1]
            if columns is not None:
                numbers[k, 0] = primal_sweep(begin, end, columns, y, primal, terms, omega, q, sums)
            elif bundles is not None:
                numbers[k, 0] = bundle_sweep(begin, end, bundles, mass_row, y, primal, terms, omega, q, sums)
        residual = _rows_follow(lane, board, numbers, sides, omega, q)
        if done == pace.most or residual <= pace.still:
            return done, residual, since, omega, first, previous
        due = is_due(residual, since, total, first, previous)
        first, previous = remembered(residual, since, first)
        if due:
            since, omega = 0, restart(lane, board, numbers, bundles, sides, omega)
            if omega < 0.0:
                return done, -1.0, since, omega, first, previous


@fast_jit
def restart(
    lane: Lane, board: Board, numbers: FloatArray, bundles: BundleArrays | None, sides: Sides, omega: float
) -> float:
    """What one lane does of going on from ``(u1, y1)``; the next omega, or -1 where another lane will never come.

    ``numbers`` may be those of the last iteration: others still read the first three of each.
    """
    first, last = board.edges[lane.first], board.edges[lane.last]
    if bundles is not None:
        first, last = bundles.columns[bundles.run_edges[first]], bundles.columns[bundles.run_edges[last]]
    primal, dual, products = sides.primal, sides.dual, sides.products
    mine = numbers[lane.number]
    mine[3], mine[4] = _travel(first, last, primal.u1, primal.anchor, sides.terms.step)
    mine[5], mine[6] = _travel(lane.top, lane.bottom, dual.y1, dual.anchor, sides.rows.step)
    if not meet(board, lane):
        return -1.0
    _go_on(first, last, primal.u, primal.anchor, primal.u1)
    _go_on(lane.top, lane.bottom, dual.y, dual.anchor, dual.y1)
    _go_on(lane.top, lane.bottom, products.current, products.anchor, products.new)
    length = y_length = y_size = 0.0
    size = sides.others_size
    for t in range(lane.lanes):
        length += numbers[t, 3]
        size += numbers[t, 4]
        y_length += numbers[t, 5]
        y_size += numbers[t, 6]
    if not meet(board, lane):
        return -1.0
    return next_weight(omega, (math.sqrt(length), math.sqrt(size)), (math.sqrt(y_length), math.sqrt(y_size)))


@fast_jit
def _travel(first: Any, last: Any, point: FloatArray, anchor: FloatArray, step: FloatArray) -> tuple[float, float]:
    """The squares of `l0_calibrate.solvers.restarts.Travel`, of some entries."""
    length = size = 0.0
    for i in range(np.uint64(first), np.uint64(last)):
        length += (point[i] - anchor[i]) ** 2 / step[i]
        size += point[i] ** 2 / step[i]
    return length, size


@fast_inner_jit
def _go_on(first: Any, last: Any, current: FloatArray, anchor: FloatArray, new: FloatArray) -> None:
    """Average and anchor go to the new point."""
    for i in range(np.uint64(first), np.uint64(last)):
        current[i] = new[i]
        anchor[i] = new[i]


@fast_jit
def _sums(k: int, board: Board, sides: Sides) -> FloatArray:
    """Where a piece adds up its part of ``A u1``: the first begins with what the other columns add."""
    sums = sides.products.new if k == 0 else board.sums[k - 1]
    sums[:] = 0.0
    if k == 0:
        for i in range(sides.others.size):  # by a slice, the text of an error about shapes would be compiled
            sums[i] = sides.others[i]
    return sums


@fast_inner_jit
def _rows_follow(lane: Lane, board: Board, numbers: FloatArray, sides: Sides, omega: float, q: float) -> float:
    """The rows' part of an iteration, when all lanes have swept their columns; the fixed-point residual.

    -1 where another lane will never come.
    """
    if not meet(board, lane):
        return -1.0
    travel, cross = dual_step(lane.top, lane.bottom, board.sums, sides.dual, sides.products, sides.rows, omega, q)
    numbers[lane.number, 1], numbers[lane.number, 2] = travel, cross
    if not meet(board, lane):
        return -1.0
    moved = travel = cross = 0.0
    for k in range(board.taken.shape[0]):
        moved += numbers[k, 0]
    for t in range(lane.lanes):
        travel += numbers[t, 1]
        cross += numbers[t, 2]
    return math.sqrt(max(moved / omega + omega * travel - 2.0 * cross, 0.0))
