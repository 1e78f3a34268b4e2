r"""The Newton system of the perturbed optimality conditions, and the state that it moves.

Primal: ``A u - b = z + q y + p - s`` with ``lo <= u <= hi``, ``p, s >= 0``, ``|z| <= d``. Dual:
``kappa (u - e) + A'y = z_l - z_u``, ``|y| <= c``, ``y = a - b`` for the multipliers of the dead zone.
Every bound pairs a slack X with a multiplier Z, and ``X Z = mu`` on the central path. All pairs lie in one
flat vector, in the order: lower bounds, upper bounds (finite ones), (p, c - y), (s, c + y), (d - z, a),
(d + z, b). Eliminating all but y leaves ``(A D A' + E) dy = rhs``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.kernels import multiply_transposed
from l0_calibrate.ordered import place_of
from l0_calibrate.solvers.interior_point.arrow import BlockFactor
from l0_calibrate.solvers.interior_point.opening import Opened, central_rows
from l0_calibrate.solvers.interior_point.products import BundleMap, Pieces, multiply_piece, taken
from l0_calibrate.solvers.interior_point.program import Program, Terms
from l0_gates.jit import fast_inner_jit, fast_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_HOLD = 1e-3
"""Least curvature of a ratio's barrier, beside that of a centred one, mu / x^2: along a direction that costs
nothing and has no end, a pair that has lost its multiplier would be carried off without limit."""


_LARGEST_GROWTH = 20.0
"""Growth of a product of slack and multiplier, in means of all, up to which a gap is closed by it: far beyond the
mean a pair is so badly centred that it stops every step."""

_LEAST_SLACK = 1e-30
"""Least slack of a first point: far below what any has but for rounding, and its inverse is a number still."""


class Move(NamedTuple):
    """A direction: of slacks and multipliers (flat), and of the duals y."""

    slacks: FloatArray
    multipliers: FloatArray
    y: FloatArray


class Pairs(NamedTuple):
    """The parts of a flat vector that belong to columns: lower bounds (k,), and upper ones of bounded columns."""

    low: FloatArray
    high: FloatArray


class Gaps(NamedTuple):
    """What keeps a point from feasibility: of columns (k,), of rows (m,), of dead zones (zoned rows,)."""

    columns: FloatArray
    rows: FloatArray
    zones: FloatArray


class Known(NamedTuple):
    """What a direction is made of in the columns: pairs, the products wanted, and how far each ratio gives and goes."""

    bounded: IntArray
    x: Pairs
    z: Pairs
    wanted: Pairs
    give: FloatArray
    push: FloatArray


@attrs.frozen(eq=False)
class Layout:
    """Where each kind of pair lies in the flat vectors."""

    low: slice
    high: slice
    over: slice
    under: slice
    zone_high: slice
    zone_low: slice
    size: int

    @classmethod
    def of(cls, program: Program) -> Layout:
        """Count the pairs of a program."""
        sizes = (
            program.lower.size, program.bounded.size, program.caps, program.caps,
            program.zoned.size, program.zoned.size,
        )  # fmt: skip
        edges = np.concatenate(([0], np.cumsum(sizes)))
        low, high, over, under, zone_high, zone_low = (slice(int(edges[k]), int(edges[k + 1])) for k in range(6))
        return cls(low, high, over, under, zone_high, zone_low, int(edges[-1]))

    def columns(self, flat: FloatArray) -> Pairs:
        """What of a flat vector belongs to columns."""
        return Pairs(flat[self.low], flat[self.high])


@attrs.frozen(eq=False)
class Room:
    """Vectors as long as the matrix is wide (twice so where columns are bounded above), made once and used throughout.

    ``wanted`` products of an iteration, the slacks and multipliers of its step and of a correction; ``give``,
    ``push``, ``gradient`` and ``gaps`` of columns.
    """

    wanted: FloatArray
    step: tuple[FloatArray, FloatArray]
    correction: tuple[FloatArray, FloatArray]
    give: FloatArray
    push: FloatArray
    gradient: FloatArray
    gaps: FloatArray

    @classmethod
    def of(cls, layout: Layout, columns: int) -> Room:
        """Room for one program."""
        flat = [np.empty(layout.size) for _ in range(5)]
        return cls(flat[0], (flat[1], flat[2]), (flat[3], flat[4]), *(np.empty(columns) for _ in range(4)))


@attrs.define(eq=False)
class State:
    """A point strictly inside all bounds; ``gradient`` is ``A'y`` and ``product`` is ``A u``."""

    program: Program
    layout: Layout
    slacks: FloatArray
    multipliers: FloatArray
    y: FloatArray
    zone: FloatArray
    product: FloatArray
    gradient: FloatArray
    columns: BundleMap
    room: Room
    complementarity: float = 0.0
    """``X'Z``, the gap of a feasible point: that of the point as it is but while gaps are closed."""

    @classmethod
    def of(cls, program: Program, columns: BundleMap, start: Opened) -> State:
        """Duals and multipliers on the central path of the opening's barrier."""
        layout = Layout.of(program)
        rows = central_rows(program, start.residuals, start.barrier)
        slacks, multipliers = np.empty(layout.size), np.empty(layout.size)
        slacks[layout.low] = start.above
        slacks[layout.high] = (program.width - start.above)[program.bounded]
        slacks[layout.over], slacks[layout.under] = rows.over[program.capped], rows.under[program.capped]
        zone = program.zone[program.zoned]
        slacks[layout.zone_high], slacks[layout.zone_low] = zone - rows.zone, zone + rows.zone
        # Rounding may leave none of a slack where a tolerance of 1e-9 stands beside a residual of 1e9.
        np.maximum(slacks, _LEAST_SLACK, out=slacks)
        multipliers[:] = start.barrier / slacks
        state = cls(
            program, layout, slacks, multipliers, rows.y, rows.zone, start.residuals + program.b,
            columns.rmatvec(rows.y), columns, Room.of(layout, columns.bundles.count),
        )  # fmt: skip
        state.close_gaps()
        return state

    @property
    def ratios(self) -> FloatArray:
        """u, shape (k,)."""
        return self.program.lower + self.slacks[self.layout.low]

    def gaps(self) -> Gaps:
        """How far from feasible the point is; the part of the columns holds until the next call."""
        at, p = self.layout, self.program
        return Gaps(self._column_gaps(), self._row_gaps(), self.y[p.zoned] - self._zone_multipliers(at))

    def _zone_multipliers(self, at: Layout) -> FloatArray:
        return self.multipliers[at.zone_high] - self.multipliers[at.zone_low]

    def _column_gaps(self) -> FloatArray:
        p, at, out = self.program, self.layout, self.room.gaps
        self.columns.over(
            out.size, _gaps, p.terms, self.slacks[at.low], at.columns(self.multipliers), self.gradient, out
        )
        return out

    def _row_gaps(self) -> FloatArray:
        p, at = self.program, self.layout
        rows = self.product - p.b - p.curvature * self.y
        rows[p.zoned] -= self.zone
        rows[p.capped] -= self.slacks[at.over] - self.slacks[at.under]
        return rows

    def _products(self) -> float:
        size = self.layout.size
        return float(sum(self.columns.over(size, product, self.slacks, self.multipliers)))

    def close_gaps(self) -> None:
        """Close those that can be closed: what is left is for the next direction to close."""
        most = _LARGEST_GROWTH * self._products() / self.slacks.size
        self._close_rows(most)
        self._close_columns(most)
        self.complementarity = self._products()

    def _close_rows(self, most: float) -> None:
        """Take what is missing in each capped row into p or s, whichever grows by it; products grow by ``most``."""
        at, missing = self.layout, self._row_gaps()[self.program.capped]
        for part, amount in ((at.over, missing), (at.under, -missing)):
            taken = (amount > 0) & (amount * self.multipliers[part] <= most)
            self.slacks[part] += np.where(taken, amount, 0.0)

    def _close_columns(self, most: float) -> None:
        """Take what is missing in each column into the multiplier of the bound that grows by it, if there is one."""
        at, missing = self.layout, self._column_gaps()
        slacks, multipliers = at.columns(self.slacks), at.columns(self.multipliers)
        self.columns.over(missing.size, _take_up, self.program.terms.bounded, slacks, multipliers, missing, most)

    def move(self, direction: Move, primal: float, dual: float) -> None:
        """Take a step, and close the gaps that can be closed."""
        size = self.layout.size
        self.columns.over(
            size, add_both, self.slacks, primal, direction.slacks, self.multipliers, dual, direction.multipliers
        )
        self.zone += primal * direction.slacks[self.layout.zone_low]
        self.y += dual * direction.y
        capped, cap = self.program.capped, self.program.cap
        self.y[capped] = np.clip(self.y[capped], -cap[capped], cap[capped])
        self.product = self.columns.matvec(self.ratios)
        self.columns.rmatvec(self.y, self.gradient)
        self.close_gaps()


class Newton:
    """The linear system at one state: factored once, solved for several right-hand sides."""

    def __init__(self, state: State, factor: BlockFactor) -> None:
        p, at, x, z = state.program, state.layout, state.slacks, state.multipliers
        self._state, self._factor = state, factor
        held = _HOLD * state.complementarity / x.size
        give = state.room.give
        state.columns.over(give.size, _gives, p.terms, at.columns(x), at.columns(z), held, give)
        diagonal = p.curvature.copy()
        diagonal[p.capped] += x[at.over] / z[at.over] + x[at.under] / z[at.under]
        self._zone_give = 1.0 / (z[at.zone_high] / x[at.zone_high] + z[at.zone_low] / x[at.zone_low])
        diagonal[p.zoned] += self._zone_give
        factor.factor(give, diagonal)

    def direction(self, wanted: FloatArray, gaps: Gaps | None, room: tuple[FloatArray, FloatArray]) -> Move:
        """The move with ``X dZ + Z dX = wanted`` that closes the gaps (None: there are none to close), in ``room``."""
        state, (dx, dz) = self._state, room
        p, at, x, z = state.program, state.layout, state.slacks, state.multipliers
        columns, give, push, gradient = state.columns, state.room.give, state.room.push, state.room.gradient
        zone_pull = wanted[at.zone_low] / x[at.zone_low] - wanted[at.zone_high] / x[at.zone_high]
        if gaps is not None:
            zone_pull += gaps.zones
        missing = _NO_GAPS if gaps is None else gaps.columns
        known = Known(p.terms.bounded, at.columns(x), at.columns(z), at.columns(wanted), give, push)
        rhs = columns.summed(_push_and_multiply, known, missing)
        if gaps is not None:
            rhs += gaps.rows
        rhs[p.capped] += wanted[at.under] / z[at.under] - wanted[at.over] / z[at.over]
        rhs[p.zoned] -= self._zone_give * zone_pull
        y = self._factor.solve(rhs)
        columns.each(_multiply_and_move, y, known, gradient, at.columns(dx), at.columns(dz))
        zone = self._zone_give * (y[p.zoned] + zone_pull)
        dx[at.zone_high], dx[at.zone_low] = -zone, zone
        dz[at.over], dz[at.under] = -y[p.capped], y[p.capped]
        for part in (at.zone_high, at.zone_low):
            dz[part] = (wanted[part] - z[part] * dx[part]) / x[part]
        for part in (at.over, at.under):
            dx[part] = (wanted[part] - x[part] * dz[part]) / z[part]
        return Move(dx, dz, y)


_NO_GAPS: FloatArray = np.empty(0)


@fast_jit
def product(first: int, last: int, x: FloatArray, z: FloatArray) -> float:
    """``x'z`` in a range."""
    total = 0.0
    for k in range(first, last):
        total += x[k] * z[k]
    return total


@fast_jit
def add_both(
    first: int,
    last: int,
    to: FloatArray,
    weight: float,
    what: FloatArray,
    other: FloatArray,
    other_weight: float,
    other_what: FloatArray,
) -> None:
    """``to += weight * what`` in a range, and likewise the other."""
    for k in range(first, last):
        to[k] += weight * what[k]
        other[k] += other_weight * other_what[k]


@fast_jit
def _gaps(
    first: int, last: int, terms: Terms, above: FloatArray, z: Pairs, gradient: FloatArray, out: FloatArray
) -> None:
    h = place_of(np.int64(first), terms.bounded)
    for j in range(first, last):
        gap = terms.spread[j] * (terms.lower[j] + above[j] - terms.centre) + gradient[j] - z.low[j]
        if h < terms.bounded.size and terms.bounded[h] == np.int64(j):
            gap += z.high[h]
            h += 1
        out[j] = gap


@fast_jit
def _take_up(first: int, last: int, bounded: IntArray, x: Pairs, z: Pairs, missing: FloatArray, most: float) -> None:
    h = place_of(np.int64(first), bounded)
    for j in range(first, last):
        amount = missing[j]
        if amount > 0.0 and amount * x.low[j] <= most:
            z.low[j] += amount
        if h < bounded.size and bounded[h] == np.int64(j):
            if amount < 0.0 and -amount * x.high[h] <= most:
                z.high[h] -= amount
            h += 1


@fast_jit
def _gives(first: int, last: int, terms: Terms, x: Pairs, z: Pairs, held: float, give: FloatArray) -> None:
    h = place_of(np.int64(first), terms.bounded)
    for j in range(first, last):
        stiffness = terms.spread[j] + max(z.low[j], held / x.low[j]) / x.low[j]
        if h < terms.bounded.size and terms.bounded[h] == np.int64(j):
            stiffness += z.high[h] / x.high[h]
            h += 1
        give[j] = 1.0 / stiffness


@jit
def _columns(pieces: Pieces, k: int) -> Any:
    """First and last column of a piece, unsigned, as places are."""
    return np.uint64(pieces.columns[k]), np.uint64(pieces.columns[k + 1])


@jit
def _push_and_multiply(pieces: Pieces, known: Known, missing: FloatArray) -> None:
    """`_pushes` of all columns, and what they add to the rows."""
    k: Any = taken(pieces)
    while k < pieces.sums.shape[0]:
        first, last = _columns(pieces, k)
        _pushes(first, last, known, missing)
        multiply_piece(k, pieces, known.push)
        k = taken(pieces)


@jit
def _multiply_and_move(pieces: Pieces, y: FloatArray, known: Known, gradient: FloatArray, dx: Pairs, dz: Pairs) -> None:
    """The gradients of a move of the duals, and `_moves` of all columns."""
    k: Any = taken(pieces)
    while k < pieces.sums.shape[0]:
        multiply_transposed(pieces.ends[k], pieces.ends[k + 1], pieces.bundles, y, gradient)
        first, last = _columns(pieces, k)
        _moves(first, last, known, gradient, dx, dz)
        k = taken(pieces)


@fast_inner_jit
def _pushes(first: int, last: int, known: Known, missing: FloatArray) -> None:
    """How far each ratio would go if the duals stayed."""
    bounded, x, _, wanted, give, push = known
    h = place_of(np.int64(first), bounded)
    for j in range(first, last):
        pull = wanted.low[j] / x.low[j]
        if h < bounded.size and bounded[h] == np.int64(j):
            pull -= wanted.high[h] / x.high[h]
            h += 1
        if missing.size:
            pull -= missing[j]
        push[j] = give[j] * pull


@fast_inner_jit
def _moves(first: int, last: int, known: Known, gradient: FloatArray, dx: Pairs, dz: Pairs) -> None:
    """Slacks and multipliers of the columns, from what the duals' move does to their gradients."""
    bounded, x, z, wanted, give, push = known
    h = place_of(np.int64(first), bounded)
    for j in range(first, last):
        change = push[j] - give[j] * gradient[j]
        dx.low[j] = change
        dz.low[j] = (wanted.low[j] - z.low[j] * change) / x.low[j]
        if h < bounded.size and bounded[h] == np.int64(j):
            dx.high[h] = -change
            dz.high[h] = (wanted.high[h] + z.high[h] * change) / x.high[h]
            h += 1
