"""The interface of selectors: which records, at an exact count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.areas import Areas
from l0_calibrate.columns import sums_in_rows
from l0_calibrate.inner import inner
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.base import Machine, Start
from l0_calibrate.system import ScaledSystem
from l0_calibrate.watch import Watch, unwatched
from l0_core import Selection

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Budget:
    """What is asked of a selector.

    Parameters
    ----------
    problem
        The problem as the user gave it (matrix in its own units, names, groups).
    system
        The same, scaled.
    price
        The price of each target.
    keep
        K, how many records to keep, exactly.
    ratio_bound
        Largest weight ratio, before the scaling by records/kept (R); ``inf`` for none.
    caps
        Shape (n,), largest ratio of each record by absolute bounds; ``inf`` for none.
    spread
        mu, the price on unequal weights, as the user gives it; where ``ess_at_least`` is given, a first guess.
    ess_at_least
        Effective sample size that the weights should have in the end, or None. The refit finds the spread that
        gives it; a selector may choose its records with that in mind.
    must_keep, never_keep
        Shape (n,) flags, or None; with groups, of whole groups.
    groups
        Shape (n,), the number of each record's group: its records are kept or dropped together. None: each record
        on its own.
    lower_ratio
        Smallest weight ratio of a kept record, before the scaling by records/kept.
    mass
        What the weights of the kept records must sum to exactly, or None.
    areas
        Areas of the records, for the solver (see `l0_calibrate.solvers.base.Task`), or None.
    warm
        Where the fits may begin: ratios of all n records and duals; None for a cold start.
    nested
        Whether ``warm`` is the fit of a larger budget, all of whose other records ``never_keep`` rules out: there is
        then nothing to fit before the first records are dropped.
    seconds
        Wall-clock limit for the selection; ``inf`` for none.
    """

    problem: CalibrationProblem
    system: ScaledSystem
    price: RowPrice
    keep: int
    ratio_bound: float = float("inf")
    caps: FloatArray | None = None
    spread: float = 0.0
    ess_at_least: float | None = None
    must_keep: BoolArray | None = None
    never_keep: BoolArray | None = None
    groups: IntArray | None = None
    lower_ratio: float = 0.0
    mass: float | None = None
    areas: Areas | None = None
    warm: Start | None = None
    nested: bool = False
    seconds: float = float("inf")
    _sums: list[FloatArray] = attrs.field(init=False, factory=list)

    @property
    def column_sums(self) -> FloatArray:
        """Sums of absolute scaled entries of each record, shape (n,), in rows of targets that cost something."""
        if not self._sums:
            costs = self.price.cap > 0
            system = self.system
            self._sums.append(system.column_sums if costs.all() else sums_in_rows(system.columns, costs))
        return self._sums[0]

    @property
    def scale_up(self) -> float:
        """c = n / K: what the reference weights are multiplied by so that K records stand for all n."""
        return self.system.records / self.keep

    def upper(self, support: IntArray) -> FloatArray:
        """Largest ratio of each record of a support: ``R n / K``, and never above its absolute cap."""
        bound = np.full(support.size, self.ratio_bound * self.scale_up)
        return bound if self.caps is None else np.minimum(bound, self.caps[support])

    def spread_on(self, support: IntArray, columns: IntArray | None = None) -> FloatArray:
        """A price on a low effective sample size: ``kappa_j = mu m w0_j^2 / (c_S^2 sum_S w0^2)``, ``c_S = n / |S|``.

        Of the support itself, or of other ``columns`` as if they were to join it.
        """
        w0 = self.system.reference
        c = self.system.records / support.size
        total = inner(w0[support], w0[support])
        wanted = w0[support if columns is None else columns]
        if self.spread == 0.0 or total == 0.0:
            return np.zeros(wanted.size)
        return self.spread * self.system.targets * wanted**2 / (c * c * total)


@attrs.frozen(eq=False)
class Selected:
    """The records of a budget.

    Parameters
    ----------
    selection
        Which records.
    start
        A warm start for the fit on them, where the selector has one: ratios (keep,), in the order of the selection,
        and duals (m,).
    notes
        What the user should read about the selection; they end up in the result's notes.
    """

    selection: Selection
    start: Start | None = None
    notes: tuple[str, ...] = ()


class Selector(ABC):
    """Chooses exactly ``budget.keep`` records; the calibrator refits the weights on them.

    One that sets ``takes_groups`` honours ``budget.groups``; others are never given any. Pure: an equal budget and
    machine give the same records, whatever was selected before (unless seconds bind), from a generator of its own.
    `l0_calibrate.testing.SelectorContract` holds a selector to what is said here.
    """

    takes_groups: ClassVar[bool] = False

    @abstractmethod
    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose.

        The records that must be kept are among those chosen; none is that ``never_keep`` rules out, has no reference
        weight, or can have no weight between its bounds (`l0_calibrate.selectors.records.usable_records` says which
        are left and refuses what cannot be). The count is exact also where the seconds are spent. What the watch
        does changes nothing but that its exceptions stop the selection; the budget is not written to.

        Raises
        ------
        InputError
            When the budget asks for what cannot be, or what the selector cannot do (it says what to change).
        """
