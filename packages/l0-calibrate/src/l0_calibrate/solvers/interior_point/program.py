"""What the interior point method works on: a fit without what is settled beforehand, in the order of its blocks."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point.ordering import ordered_columns
from l0_calibrate.solvers.interior_point.structure import Structure, find_structure
from l0_calibrate.system import Columns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class Use:
    """Which rows and columns of a fit there is something to decide about.

    A row that costs nothing is left out, and so is a column that no row in use touches, or whose bounds
    leave it one value (``settled``, shape (k,), holds the ratios of all columns left out).
    """

    rows: BoolArray
    columns: BoolArray
    settled: FloatArray

    @classmethod
    def of(cls, fit: Fit) -> Use:
        """Look through a fit."""
        rows = fit.price.cap > 0
        pinched = ~(fit.upper - fit.lower > 1e-9 * np.maximum(1.0, np.abs(fit.lower)))
        empty = fit.column_sums <= 0
        if not rows.all():
            free = fit.columns.indices[~rows[fit.columns.indices]]
            if free.size:
                empty = _untouched(fit.columns, rows)
        # An untouched ratio costs nothing, or is best at the centre; 1 keeps the reference weight.
        rest = np.where(fit.spread > 0, fit.centre, 1.0)
        settled = np.where(pinched, fit.lower, np.clip(rest, fit.lower, fit.upper))
        return cls(rows, ~(pinched | empty), settled)

    def structure(self, columns: Columns) -> Structure:
        """Blocks of what is in use."""
        return find_structure(columns, self.rows, self.columns)


def _untouched(columns: Columns, rows: BoolArray) -> BoolArray:
    """Columns without an entry in the rows in use."""
    touched = np.concatenate(([0], np.cumsum(rows[columns.indices])))
    indptr = columns.indptr.astype(np.int64)
    return np.asarray(touched[indptr[1:]] == touched[indptr[:-1]])


@attrs.frozen(eq=False)
class Mass:
    """``reference @ u = total`` for the columns of a program."""

    reference: FloatArray
    total: float


@attrs.frozen(eq=False)
class Program:
    """The part of a fit in use, in the order of its blocks.

    ``capped`` and ``zoned`` number the rows with a finite cap and with a dead zone, ``bounded`` the
    columns with a finite upper bound; ``cap`` is 1 on the other rows (never used there).
    """

    structure: Structure
    columns: Columns
    b: FloatArray
    cap: FloatArray
    zone: FloatArray
    curvature: FloatArray
    lower: FloatArray
    width: FloatArray
    spread: FloatArray
    centre: float
    capped: IntArray
    zoned: IntArray
    bounded: IntArray
    mass: Mass | None

    @classmethod
    def of(cls, fit: Fit, use: Use, structure: Structure) -> Program:
        """Take the rows and columns in use; the settled columns move into ``b``."""
        rows, order = structure.row_order, structure.column_order
        b = fit.b
        if (use.settled[~use.columns] != 0).any():
            rest = np.where(use.columns, 0.0, use.settled)
            c = fit.columns
            per_entry = np.repeat(rest, np.diff(c.indptr.astype(np.int64)).astype(np.int64))
            b = b - np.bincount(c.indices, weights=per_entry * c.values, minlength=c.rows)
        mass = None
        if fit.mass is not None:
            left_out = ~use.columns
            mass = Mass(fit.reference[order], fit.mass - float(fit.reference[left_out] @ use.settled[left_out]))
        cap = fit.price.cap[rows]
        width = (fit.upper - fit.lower)[order]
        return cls(
            structure=structure,
            columns=ordered_columns(fit.columns, structure),
            b=b[rows],
            cap=np.where(np.isfinite(cap), cap, 1.0),
            zone=fit.price.dead_zone[rows],
            curvature=fit.price.curvature[rows],
            lower=fit.lower[order],
            width=width,
            spread=fit.spread[order],
            centre=fit.centre,
            capped=np.flatnonzero(np.isfinite(cap)),
            zoned=np.flatnonzero(fit.price.dead_zone[rows] > 0),
            bounded=np.flatnonzero(np.isfinite(width)),
            mass=mass,
        )

    @property
    def curved_rows(self) -> bool:
        """Whether a row's price bends: then primal and dual steps must be equal."""
        return bool(self.curvature.any())
