"""The primal-dual iteration on compiled kernels: one pass an iteration over the columns that are in play.

Most ratios of a fit end at a bound and stay there. A column that sits at its bound (so do its average and its
anchor) and is pushed against it takes no part in the next iterations: what it adds to the rows is kept, and the
others are swept, close together in memory. Every few iterations a sweep of all columns says anew which are held.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.bundled_columns import BundledColumns
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.iteration import CHECK_EVERY, Iteration, Opening
from l0_calibrate.solvers.kernels import Dual, Primal, Products, Rows, Terms
from l0_calibrate.solvers.restarts import RestartRule
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.solvers.stretch import Pace, Sides
from l0_calibrate.threads import Threads

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WORTH = 0.8
"""Part of the entries that the columns in play may have at most to be swept apart: gathering them costs some sweeps."""


_ENTRIES_AT_ONCE = 40_000_000
"""Entries of the columns in play that are passed over before the clock, or an interrupt, is looked at again: some tens
of milliseconds."""


@attrs.frozen(eq=False)
class _Play:
    """Columns that are swept together: their entries, their state, and what the other columns add to the rows."""

    map: ColumnMap | BundledColumns
    primal: Primal
    terms: Terms
    others: FloatArray = attrs.field(factory=lambda: np.zeros(0))
    others_size: float = 0.0
    ids: IntArray | None = None

    def without_held(self) -> _Play:
        """The columns of this play that are not held, or itself where there are too few of the others."""
        primal, terms = self.primal, self.terms
        ids = np.flatnonzero(~primal.held)
        if self.map.entries(ids) > WORTH:
            return self
        held = np.where(primal.held, primal.u1, 0.0)
        mine = Primal(primal.u[ids], primal.anchor[ids], primal.u1[ids], primal.held[ids])
        return _Play(
            self.map.restricted(ids, mine.u1 != 0.0),
            mine,
            Terms(terms.lower[ids], terms.upper[ids], terms.kappa[ids], terms.centre, terms.step[ids]),
            self.map.matvec(held) if held.any() else np.zeros(0),
            float((held**2 / terms.step).sum()),
            ids,
        )

    def give_back(self, whole: _Play) -> None:
        """Write the state of these columns into that of all."""
        if self.ids is not None:
            for mine, theirs in zip(self.primal, whole.primal, strict=True):
                theirs[self.ids] = mine


class FusedIteration(Iteration):
    """One pass over the columns in play an iteration, on one or more threads.

    Without ``hold`` all columns are in play throughout.
    """

    def __init__(self, fit: Fit, opening: Opening, threads: int, hold: bool = True) -> None:
        self.rule = RestartRule(opening.omega)
        self._order = None if fit.bundles is None else fit.bundles.order
        at = slice(None) if self._order is None else self._order
        u, y = opening.u[at], opening.y
        self.workers = Threads(threads)
        columns: ColumnMap | BundledColumns
        if fit.bundles is None:
            columns = ColumnMap(fit.columns, self.workers)
        else:
            row = fit.stored_mass_row
            columns = BundledColumns(fit.bundles, fit.columns, row[at] if row.size else row, self.workers)
        self._whole = _Play(
            columns,
            Primal(u.copy(), u.copy(), u.copy(), np.zeros(u.size, dtype=np.bool_)),
            Terms(fit.lower[at], fit.upper[at], fit.spread[at], float(fit.centre), opening.step_u[at]),
        )
        self._now = self._whole
        self._hold = hold
        product = columns.matvec(u)
        self._dual = Dual(y.copy(), y.copy(), y.copy())
        self._products = Products(product, product.copy(), product.copy())
        price = fit.price
        self._rows = Rows(fit.b, price.cap, price.dead_zone, price.curvature, opening.step_y)

    def step(self, most: int = 1, still: float = -1.0) -> float:
        """Up to ``most`` iterations (see `Iteration.step`), up to the next review of all columns."""
        rule = self.rule
        review = self._hold and rule.total % CHECK_EVERY == 0
        if review:
            self._now.give_back(self._whole)
            self._now, most = self._whole, 1
        elif self._hold:
            most = min(most, CHECK_EVERY - rule.total % CHECK_EVERY)
        now = self._now
        self.is_whole = now is self._whole
        most = max(1, min(most, _ENTRIES_AT_ONCE // max(now.map.size, 1)))
        pace = Pace(most, still if self.is_whole else -1.0, *attrs.astuple(rule))
        made, residual, since, omega, first, previous = now.map.stretch(self._sides(), pace)
        rule.go_on(made, since, omega, first, previous)
        if review:
            self._now = now.without_held()
        return residual

    def restart(self) -> None:
        """Go on from (u1, y1): those that are not in play are there."""
        self.rule.since, self.rule.omega = 0, self._now.map.restart(self._sides(), self.rule.omega)

    def _sides(self) -> Sides:
        now = self._now
        return Sides(now.primal, now.terms, now.others, now.others_size, self._dual, self._products, self._rows)

    def point(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(u1, y1, A u1)``."""
        self._now.give_back(self._whole)
        return self._in_place(self._whole.primal.u1), self._dual.y1, self._products.new

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``."""
        return self._whole.map.matvec(u if self._order is None else u[self._order])

    def gradient(self) -> FloatArray:
        """``A'y1``."""
        return self._in_place(self._whole.map.rmatvec(self._dual.y1))

    def _in_place(self, values: FloatArray) -> FloatArray:
        """Values of the columns in the order of the fit."""
        if self._order is None:
            return values
        out = np.empty_like(values)
        out[self._order] = values
        return out

    def close(self) -> None:
        """End the threads."""
        self.workers.close()
