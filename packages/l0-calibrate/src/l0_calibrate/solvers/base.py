"""The interface of solvers: which weights, given the records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.areas import Areas
from l0_calibrate.inner import inner
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.system import ScaledSystem
from l0_calibrate.watch import Watch, unwatched
from l0_core.selection import check_seed

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


MET = 1e-7
"""Mean price below which all targets are met to the digits that their entries may be stored with."""

STATUS = frozenset({"optimal", "converged", "stalled", "budget_spent", "infeasible"})
"""How a fit may end (`Solution.status`)."""


@attrs.frozen(eq=False)
class Task:
    r"""A convex fit of ratios to the columns of a system.

    .. math:: \min_{lo \le u \le hi} \; \sum_i h_i((A u - b)_i) + \tfrac{1}{2} \sum_j \kappa_j (u_j - e)^2

    Parameters
    ----------
    system
        The scaled system with all n columns.
    price
        The price of each target, ``h``.
    support
        The columns that may be non-zero, ascending, shape (k,); None is all of them. Every array
        below, and the solution, has one entry for each of these.
    lower, upper
        Bounds of the ratios; ``upper`` may be ``inf``.
    spread
        ``kappa``, the price on unequal weights, >= 0.
    centre
        ``e``.
    mass
        The value that ``sum_j w0_j u_j`` must have exactly, or None.
    areas
        Areas of all n records, or None: advice to a solver that works block by block; never felt in the result
        but by rounding.
    frame
        Columns of which ``support`` is a part, ascending, or None: what can be made of the matrix once for several
        tasks is made of these. Advice too, and never felt but by rounding.
    """

    system: ScaledSystem
    price: RowPrice
    support: IntArray | None
    lower: FloatArray
    upper: FloatArray
    spread: FloatArray
    centre: float
    mass: float | None = None
    areas: Areas | None = None
    frame: IntArray | None = None

    @property
    def areas_of_columns(self) -> IntArray | None:
        """Areas of the columns of the support, shape (levels, k), or None."""
        if self.areas is None or self.support is None:
            return None if self.areas is None else self.areas.numbers
        chosen: IntArray = self.areas.numbers[:, self.support]
        return chosen

    @property
    def count(self) -> int:
        """k, the number of unknowns."""
        return int(self.lower.size)

    def spread_cost(self, u: FloatArray) -> float:
        """The second term of the objective."""
        return 0.5 * inner(self.spread, (u - self.centre) ** 2)


@attrs.frozen
class Stop:
    """When a solver stops: whichever comes first.

    Parameters
    ----------
    tolerance
        Relative certified gap ``(P - D) / P`` that is good enough; 0 never stops on it.
    iterations
        Most iterations.
    seconds
        Most wall-clock seconds, ``inf`` for no limit. Where it binds, results depend on the clock.
    certify
        Whether a certificate is wanted at all (inner fits of a selector do without).
    """

    tolerance: float = 1e-2
    iterations: int = 100_000
    seconds: float = float("inf")
    certify: bool = True


@attrs.frozen(eq=False)
class Start:
    """Where to begin: ratios u (k,) and duals y (m,), None for the solver's own cold start; the dual of the mass."""

    u: FloatArray | None = None
    y: FloatArray | None = None
    mass_dual: float = 0.0


@attrs.frozen(eq=False)
class Solution:
    """What a solver found.

    Parameters
    ----------
    u
        Ratios, shape (k,), inside the bounds exactly, and with the task's mass exactly where that can be had.
    y
        Duals of the targets, shape (m,), within the caps: the price that one unit of relative error fetches.
    residuals
        ``A u - b`` at ``u``, shape (m,).
    objective
        P, the objective at ``u``, sum form.
    bound
        D, a valid lower bound of the optimum, ``-inf`` where none was found.
    status
        ``"optimal"`` (the gap is within the tolerance), ``"converged"`` (no further progress, without a
        certificate that denies it), ``"stalled"`` (no further progress, though the certificate leaves room for
        some), ``"budget_spent"`` (iterations or seconds) or ``"infeasible"``.
    mass_dual
        Dual of the mass constraint, 0 without one.
    """

    u: FloatArray
    y: FloatArray
    residuals: FloatArray
    objective: float
    bound: float
    status: str
    iterations: int
    seconds: float
    mass_dual: float = 0.0

    def start(self) -> Start:
        """A warm start from here."""
        return Start(self.u, self.y, self.mass_dual)

    @property
    def gap(self) -> float | None:
        """``(P - D) / P``, or None without a bound; 0 when the objective is 0."""
        return relative_gap(self.objective, self.bound)


def relative_gap(objective: float, bound: float) -> float | None:
    """``(P - D) / P``, at least 0; None where either is not finite, 0 when P is 0."""
    if not np.isfinite(bound) or not np.isfinite(objective):
        return None
    return 0.0 if objective <= 0.0 else max(0.0, (objective - bound) / objective)


@attrs.frozen(eq=False)
class Machine:
    """What a run may use: threads, the backend's name, the seed."""

    threads: int = 1
    backend: str = "numpy"
    seed: int = attrs.field(default=0, converter=check_seed)


class Solver(ABC):
    """Finds ratios for a task. Pure: the same task, start and machine give the same bits (unless seconds bind).

    What was solved before changes nothing, and nothing that is handed in is written to.
    `l0_calibrate.testing.SolverContract` holds a solver to what is said here, on the tasks that it does not refuse.
    """

    runs_on_backends: ClassVar[bool] = False
    """Whether it runs on any array backend that the machine names (False: on NumPy alone)."""

    @abstractmethod
    def solve(
        self,
        task: Task,
        stop: Stop,
        start: Start | None = None,
        machine: Machine | None = None,
        watch: Watch = unwatched,
    ) -> Solution:
        """Solve the task.

        Wherever it stops, the solution is within the bounds and has the mass, its objective is that of its ratios,
        and its bound is not above the optimum: ``-inf`` where there is none to be had. Any start will do, with ratios
        and duals out of all bounds too; from the end of an earlier fit it gets no worse. The status is
        ``"infeasible"`` where the bounds do not let the ratios have the mass. What the watch does changes nothing but
        that its exceptions stop the solver.
        """

    def on(self, machine: Machine) -> Solver:
        """This solver as it answers for a run on such a machine: what it is asked before it solves may use threads."""
        return self

    def refusal(self, task: Task) -> str | None:
        """Why this solver cannot take such a task (with the remedy), or None when it can. Asked before any work."""
        return None

    def use_of_areas(self, task: Task) -> str | None:
        """What this solver makes of the areas of a task, a note for the result; None where it has no use for them."""
        return None
