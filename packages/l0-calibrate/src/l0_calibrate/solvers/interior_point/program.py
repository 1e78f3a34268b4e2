"""What the interior point method works on: a fit without what is settled beforehand, in the order of its blocks."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.columns import ColumnArrays, Columns
from l0_calibrate.inner import inner
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.structure import find_structure
from l0_calibrate.solvers.kernels import multiply
from l0_calibrate.solvers.sparse_map import threads_for
from l0_gates.jit import jit

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
            empty = _untouched(fit.columns, rows)
        # An untouched ratio costs nothing, or is best at the centre; 1 keeps the reference weight.
        rest = np.where(fit.spread > 0, fit.centre, 1.0)
        settled = np.where(pinched, fit.lower, np.clip(rest, fit.lower, fit.upper))
        return cls(rows, ~(pinched | empty), settled)

    def structure(self, columns: Columns, areas: IntArray | None, threads: int) -> Structure:
        """Blocks of what is in use; ``areas`` of shape (levels, columns) or None."""
        return find_structure(columns, self.rows, self.columns, areas, threads_for(columns, threads))


def _untouched(columns: Columns, rows: BoolArray) -> BoolArray:
    """Columns without an entry in the rows in use."""
    out = np.ones(columns.count, dtype=np.bool_)
    _clear_touched(columns.arrays, rows, out)
    return out


@jit
def _clear_touched(matrix: ColumnArrays, rows: BoolArray, out: BoolArray) -> None:
    for j in range(out.size):
        for p in range(np.int64(matrix.indptr[j]), np.int64(matrix.indptr[j + 1])):
            if rows[np.int64(matrix.indices[p])]:
                out[j] = False
                break


class Terms(NamedTuple):
    """Of the columns of a program, for compiled kernels; ``bounded`` ascending."""

    lower: FloatArray
    spread: FloatArray
    centre: float
    bounded: IntArray


@attrs.frozen(eq=False)
class Mass:
    """``reference @ u = total`` for the columns of a program."""

    reference: FloatArray
    total: float


@attrs.frozen(eq=False)
class Program:
    """The part of a fit in use, in the order of its blocks.

    ``capped`` (so many as ``caps``) and ``zoned`` number the rows with a finite cap and with a dead zone, ``bounded``
    the columns with a finite upper bound; ``cap`` is 1 on the other rows (never used there). Where all rows are capped
    they are a slice, whose places need not be looked up.
    """

    structure: Structure
    bundles: Bundles
    b: FloatArray
    cap: FloatArray
    zone: FloatArray
    curvature: FloatArray
    lower: FloatArray
    width: FloatArray
    spread: FloatArray
    centre: float
    capped: IntArray | slice
    caps: int
    zoned: IntArray
    bounded: IntArray
    mass: Mass | None

    @classmethod
    def of(cls, fit: Fit, use: Use, structure: Structure, bundles: Bundles) -> Program:
        """Take the rows and columns in use, which the bundles have; the settled columns move into ``b``."""
        rows, order = structure.row_order, bundles.order
        b = fit.b
        left_out = ~use.columns
        if (use.settled[left_out] != 0).any():
            moved = np.zeros(fit.columns.rows)
            multiply(0, fit.columns.count, fit.columns.arrays, np.where(left_out, use.settled, 0.0), moved)
            b = b - moved
        mass = None
        if fit.mass is not None:
            mass = Mass(fit.reference[order], fit.mass - inner(fit.reference[left_out], use.settled[left_out]))
        cap = fit.price.cap[rows]
        finite = np.isfinite(cap)
        width = (fit.upper - fit.lower)[order]
        return cls(
            structure=structure,
            bundles=bundles,
            b=b[rows],
            cap=np.where(finite, cap, 1.0),
            zone=fit.price.dead_zone[rows],
            curvature=fit.price.curvature[rows],
            lower=fit.lower[order],
            width=width,
            spread=fit.spread[order],
            centre=fit.centre,
            capped=slice(None) if finite.all() else np.flatnonzero(finite),
            caps=int(np.count_nonzero(finite)),
            zoned=np.flatnonzero(fit.price.dead_zone[rows] > 0),
            bounded=np.flatnonzero(np.isfinite(width)),
            mass=mass,
        )

    @property
    def terms(self) -> Terms:
        """For compiled kernels."""
        return Terms(self.lower, self.spread, self.centre, self.bounded)

    @property
    def curved_rows(self) -> bool:
        """Whether a row's price bends: then primal and dual steps must be equal."""
        return bool(self.curvature.any())
