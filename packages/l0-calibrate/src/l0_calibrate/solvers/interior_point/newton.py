r"""The Newton system of the perturbed optimality conditions, and the state that it moves.

Primal: ``A u - b = z + q y + p - s`` with ``lo <= u <= hi``, ``p, s >= 0``, ``|z| <= d``. Dual:
``kappa (u - e) + A'y = z_l - z_u``, ``|y| <= c``, ``y = a - b`` for the multipliers of the dead zone.
Every bound pairs a slack X with a multiplier Z, and ``X Z = mu`` on the central path. All pairs lie in one
flat vector, in the order: lower bounds, upper bounds (finite ones), (p, c - y), (s, c + y), (d - z, a),
(d + z, b). Eliminating all but y leaves ``(A D A' + E) dy = rhs``.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.arrow import BlockFactor
from l0_calibrate.solvers.interior_point.opening import Opened, central_rows
from l0_calibrate.solvers.interior_point.program import Program
from l0_calibrate.solvers.sparse_map import ColumnMap

FloatArray = npt.NDArray[np.float64]


_HOLD = 1e-3
"""Least curvature of a ratio's barrier, beside that of a centred one, mu / x^2: along a direction that costs
nothing and has no end, a pair that has lost its multiplier would be carried off without limit."""


_LARGEST_GROWTH = 20.0
"""Growth of a product of slack and multiplier, in means of all, up to which a gap is closed by it: far beyond the
mean a pair is so badly centred that it stops every step."""


class Move(NamedTuple):
    """A direction: of slacks and multipliers (flat), and of the duals y."""

    slacks: FloatArray
    multipliers: FloatArray
    y: FloatArray


class Gaps(NamedTuple):
    """What keeps a point from feasibility: of columns (k,), of rows (m,), of dead zones (zoned rows,)."""

    columns: FloatArray
    rows: FloatArray
    zones: FloatArray


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
            program.lower.size, program.bounded.size, program.capped.size, program.capped.size,
            program.zoned.size, program.zoned.size,
        )  # fmt: skip
        edges = np.concatenate(([0], np.cumsum(sizes)))
        low, high, over, under, zone_high, zone_low = (slice(int(edges[k]), int(edges[k + 1])) for k in range(6))
        return cls(low, high, over, under, zone_high, zone_low, int(edges[-1]))


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

    @classmethod
    def of(cls, program: Program, columns: ColumnMap, start: Opened) -> State:
        """Duals and multipliers on the central path of the opening's barrier."""
        layout = Layout.of(program)
        rows = central_rows(program, start.residuals, start.barrier)
        slacks, multipliers = np.empty(layout.size), np.empty(layout.size)
        slacks[layout.low] = start.above
        slacks[layout.high] = (program.width - start.above)[program.bounded]
        slacks[layout.over], slacks[layout.under] = rows.over[program.capped], rows.under[program.capped]
        zone = program.zone[program.zoned]
        slacks[layout.zone_high], slacks[layout.zone_low] = zone - rows.zone, zone + rows.zone
        multipliers[:] = start.barrier / slacks
        state = cls(
            program, layout, slacks, multipliers, rows.y, rows.zone, start.residuals + program.b,
            columns.rmatvec(rows.y),
        )  # fmt: skip
        state.close_rows()
        state.close_columns()
        return state

    @property
    def ratios(self) -> FloatArray:
        """u, shape (k,)."""
        return self.program.lower + self.slacks[self.layout.low]

    @property
    def complementarity(self) -> float:
        """``X'Z``: the gap of a feasible point."""
        return float(self.slacks @ self.multipliers)

    def gaps(self) -> Gaps:
        """How far from feasible the point is."""
        p, at, z = self.program, self.layout, self.multipliers
        columns = p.spread * (self.ratios - p.centre) + self.gradient - z[at.low]
        columns[p.bounded] += z[at.high]
        rows = self.product - p.b - p.curvature * self.y
        rows[p.zoned] -= self.zone
        rows[p.capped] -= self.slacks[at.over] - self.slacks[at.under]
        return Gaps(columns, rows, self.y[p.zoned] - z[at.zone_high] + z[at.zone_low])

    def close_rows(self) -> None:
        """Take what is missing in each capped row into p or s, whichever grows by it."""
        at, missing = self.layout, self.gaps().rows[self.program.capped]
        self._take_up(self.slacks, at.over, missing)
        self._take_up(self.slacks, at.under, -missing)

    def close_columns(self) -> None:
        """Take what is missing in each column into the multiplier of the bound that grows by it, if there is one."""
        at, missing = self.layout, self.gaps().columns
        self._take_up(self.multipliers, at.low, missing)
        self._take_up(self.multipliers, at.high, -missing[self.program.bounded])

    def _take_up(self, side: FloatArray, part: slice, amount: FloatArray) -> None:
        """Add the positive amounts to one side of some pairs, save where their product would grow too far.

        What is left is for the next direction to close.
        """
        other = self.multipliers if side is self.slacks else self.slacks
        most = _LARGEST_GROWTH * self.complementarity / self.slacks.size
        side[part] += np.where((amount > 0) & (amount * other[part] <= most), amount, 0.0)

    def move(self, direction: Move, primal: float, dual: float, columns: ColumnMap) -> None:
        """Take a step, and close the gaps that can be closed."""
        self.slacks += primal * direction.slacks
        self.multipliers += dual * direction.multipliers
        self.zone += primal * direction.slacks[self.layout.zone_low]
        self.y += dual * direction.y
        capped, cap = self.program.capped, self.program.cap
        self.y[capped] = np.clip(self.y[capped], -cap[capped], cap[capped])
        self.product = columns.matvec(self.ratios)
        self.gradient = columns.rmatvec(self.y)
        self.close_rows()
        self.close_columns()


class Newton:
    """The linear system at one state: factored once, solved for several right-hand sides."""

    def __init__(self, state: State, factor: BlockFactor, columns: ColumnMap) -> None:
        p, at, x, z = state.program, state.layout, state.slacks, state.multipliers
        self._state, self._factor, self._columns = state, factor, columns
        held = _HOLD * state.complementarity / x.size
        stiffness = p.spread + np.maximum(z[at.low], held / x[at.low]) / x[at.low]
        stiffness[p.bounded] += z[at.high] / x[at.high]
        self._give = 1.0 / stiffness
        diagonal = p.curvature.copy()
        diagonal[p.capped] += x[at.over] / z[at.over] + x[at.under] / z[at.under]
        self._zone_give = 1.0 / (z[at.zone_high] / x[at.zone_high] + z[at.zone_low] / x[at.zone_low])
        diagonal[p.zoned] += self._zone_give
        factor.factor(self._give, diagonal)

    def direction(self, wanted: FloatArray, gaps: Gaps | None) -> Move:
        """The move with ``X dZ + Z dX = wanted`` that closes the gaps (None: there are none to close)."""
        state = self._state
        p, at, x, z = state.program, state.layout, state.slacks, state.multipliers
        pull = wanted[at.low] / x[at.low]
        pull[p.bounded] -= wanted[at.high] / x[at.high]
        zone_pull = wanted[at.zone_low] / x[at.zone_low] - wanted[at.zone_high] / x[at.zone_high]
        if gaps is not None:
            pull -= gaps.columns
            zone_pull += gaps.zones
        rhs = self._columns.matvec(self._give * pull)
        if gaps is not None:
            rhs += gaps.rows
        rhs[p.capped] += wanted[at.under] / z[at.under] - wanted[at.over] / z[at.over]
        rhs[p.zoned] -= self._zone_give * zone_pull
        y = self._factor.solve(rhs)
        du = self._give * (pull - self._columns.rmatvec(y))
        dx, dz = np.empty_like(x), np.empty_like(z)
        dx[at.low], dx[at.high] = du, -du[p.bounded]
        zone = self._zone_give * (y[p.zoned] + zone_pull)
        dx[at.zone_high], dx[at.zone_low] = -zone, zone
        dz[at.over], dz[at.under] = -y[p.capped], y[p.capped]
        for part in (at.low, at.high, at.zone_high, at.zone_low):
            dz[part] = (wanted[part] - z[part] * dx[part]) / x[part]
        for part in (at.over, at.under):
            dx[part] = (wanted[part] - x[part] * dz[part]) / z[part]
        return Move(dx, dz, y)
