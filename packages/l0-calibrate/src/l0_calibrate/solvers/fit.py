"""A task gathered for an iterative solver: its own columns, its rows with that of the mass, its sums."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.columns import Columns, sums_in_rows, take_columns
from l0_calibrate.inner import inner
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.base import MET, Task
from l0_calibrate.solvers.mass import with_mass_row

FloatArray = npt.NDArray[np.float64]


SMALL = 100_000
"""Entries below which bundles save little, and a first fit need not wait until passes over them are compiled."""


EVEN = 1e-6
"""Mean square of how far ratios are from their centre below which they are as even as anybody asks."""


@attrs.frozen(eq=False)
class Fit:
    """A task on the columns of its support.

    Parameters
    ----------
    columns
        The matrix, with the row of the mass constraint last where there is one; ``b`` and ``price``
        have an entry for each of its rows.
    lower, upper, spread, centre
        As in `Task`.
    column_sums, row_sums
        Sums of absolute entries of ``columns`` in rows that cost something: no other has a dual, whatever its entries.
    reference
        Reference weights of the columns.
    mass
        The sum that the weights must have, or None.
    rounding
        As in `ScaledSystem`: the bound holds for the entries before they were stored.
    mass_rounding
        What storage took from the row of the mass, shape (k,), or None: the bound is that of the exact row.
    bundles
        The columns in bundles, without the row of the mass, or None. ``rounding`` then counts what they lose too.
    """

    columns: Columns
    b: FloatArray
    price: RowPrice
    lower: FloatArray
    upper: FloatArray
    spread: FloatArray
    centre: float
    column_sums: FloatArray
    row_sums: FloatArray
    reference: FloatArray
    rounding: FloatArray
    mass: float | None = None
    mass_rounding: FloatArray | None = None
    bundles: Bundles | None = None

    @classmethod
    def of(cls, task: Task) -> Fit:
        """Gather a task."""
        system, price, b = task.system, task.price, task.system.b
        if task.support is None:
            columns, row_sums, column_sums = system.columns, system.row_sums, system.column_sums
            reference, stored = system.reference, system.rounding
        else:
            columns, row_sums = take_columns(system.columns, task.support)
            column_sums, reference = system.column_sums[task.support], system.reference[task.support]
            stored = system.rounding[task.support]
        costs = price.cap > 0
        if not costs.all():
            column_sums, row_sums = sums_in_rows(columns, costs), np.where(costs, row_sums, 0.0)
        rounding = None
        if task.mass is not None:
            row = reference / task.mass
            rounding = row - row.astype(columns.values.dtype)
            columns = with_mass_row(columns, row)
            column_sums, row_sums = column_sums + row, np.append(row_sums, row.sum())
            b = np.append(b, 1.0)
            price = RowPrice(
                np.append(price.cap, np.inf), np.append(price.dead_zone, 0.0), np.append(price.curvature, 0.0)
            )
        return cls(
            columns, b, price, task.lower, task.upper, task.spread, task.centre, column_sums, row_sums, reference,
            stored, task.mass, rounding,
        )  # fmt: skip

    def packed(self, task: Task, threads: int) -> Fit:
        """The fit, of this task, with its columns in bundles too, where passing over these is less work."""
        if self.columns.nnz < SMALL:
            return self
        packed = task.system.packed(threads)
        if packed is None or not packed.pays_for(self.columns.nnz):
            return self
        taken = packed.rounding if task.support is None else packed.rounding[task.support]
        return attrs.evolve(self, bundles=packed.on(task.support, threads), rounding=self.rounding + taken)

    @property
    def targets(self) -> int:
        """m, the rows without that of the mass."""
        return self.b.size if self.mass is None else self.b.size - 1

    @property
    def negligible(self) -> float:
        """An objective (sum form) below which nothing that matters is left to be gained.

        All targets are met then, and ratios, where it is priced how uneven they are, are where they would be without
        targets, to a thousandth of 1 (root mean square).
        """
        price = self.price
        costs = price.values(price.dead_zone + MET)[: self.targets]
        met = float(np.where(np.isfinite(costs), costs, MET).sum())
        uneven = 0.5 * float(self.spread.sum())
        return min(met, EVEN * uneven) if uneven > 0.0 else met

    def objective(self, u: FloatArray, product: FloatArray) -> float:
        """P at u, with ``product = A u``; the row of the mass counts nothing (u must have the mass)."""
        costs = self.price.values(product - self.b)[: self.targets]
        return float(costs.sum()) + 0.5 * inner(self.spread, (u - self.centre) ** 2)

    @property
    def stored_mass_row(self) -> FloatArray:
        """The row of the mass as it is stored, shape (k,); (0,) without one."""
        if self.mass is None or self.mass_rounding is None:
            return np.zeros(0)
        return self.reference / self.mass - self.mass_rounding

    def exact_gradient(self, y: FloatArray, g: FloatArray) -> FloatArray:
        """``A'y`` with the exact row of the mass, from ``g`` with the stored one."""
        return g if self.mass_rounding is None else g + y[-1] * self.mass_rounding
