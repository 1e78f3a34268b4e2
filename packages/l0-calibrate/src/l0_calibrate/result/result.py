"""What came out of a calibration: weights, diagnostics, and where they came from."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.diagnostics import scale_up_of
from l0_calibrate.result.weighted import Weighted, plain, targets_frame
from l0_calibrate.solvers.base import relative_gap
from l0_calibrate.watch import Progress
from l0_core import Selection

FloatArray = npt.NDArray[np.float64]


@attrs.frozen(eq=False, repr=False)
class CalibrationResult(Weighted):
    """Weights and what they do; every number is computed from the weights handed out.

    Parameters
    ----------
    problem, options
        What was asked.
    weights
        Shape (records,), zero where a record was dropped.
    selection
        Which records were kept (all of them in a dense fit).
    status
        ``"optimal"`` | ``"converged"`` | ``"stalled"`` | ``"budget_spent"`` | ``"infeasible"`` of the convex
        fit on the kept records.
    objective, bound
        Mean price of the targets plus the price on unequal weights, and its certified lower bound
        (None where there is none), both for the kept records. With a budget the bound is one of weights above the
        floors that keep them positive (`l0_calibrate.selectors.fits.floors`).
    dual
        Shape (targets,), or None.
    spread
        mu, as it was used.
    timings
        Seconds by stage.
    dense_bound
        Certified lower bound of the loss of any selection at the same budget and bounds, in the units of the price
        of the targets; None where it was not asked for, or the time limit left none for it.
    abandoned
        Shape (targets,), the targets that the loss has given up; None for a loss that gives up none.
    solver, solver_reason
        The solver of the convex fit by name, and why it was taken.
    history
        The events of the run.
    by
        The column of the records whose values were calibrated each on its own, or None.
    replicate_names
        Of the columns of ``replicates``.
    command
        What the command line was told, where the run comes from there.
    """

    problem: CalibrationProblem
    options: Options
    weights: FloatArray
    selection: Selection
    status: str
    objective: float
    bound: float | None
    dual: FloatArray | None
    spread: float
    timings: dict[str, float]
    history: tuple[Progress, ...] = ()
    replicates: FloatArray | None = None
    notes: tuple[str, ...] = ()
    dense_bound: float | None = None
    abandoned: npt.NDArray[np.bool_] | None = None
    solver: str = ""
    solver_reason: str = ""
    by: str | None = None
    replicate_names: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        self.weights.setflags(write=False)

    def __repr__(self) -> str:
        d, gap = self.diagnostics, "none" if self.gap is None else f"{100 * self.gap:.3g} %"
        return (
            f"CalibrationResult({self.status}: {d.kept:,} of {self.problem.n_records:,} records, "
            f"{self.problem.n_targets:,} targets, loss {d.loss:.4g}, gap {gap}, ESS {d.ess:,.0f}, "
            f"largest ratio {d.max_ratio:.3g})"
        )

    # ------------------------------------------------------------------ numbers

    @property
    def gap(self) -> float | None:
        """Certified relative distance of the objective from the optimum of the convex fit, or None."""
        return None if self.bound is None else relative_gap(self.objective, self.bound)

    @property
    def scale_up(self) -> float:
        """What reference weights are multiplied by in ratios: records / kept with a budget, 1 in a dense fit."""
        return 1.0 if self.options.budget(self.problem.n_records) is None else scale_up_of(self.weights)

    @property
    def targets(self) -> pd.DataFrame:
        """One row a target (see `targets_frame`)."""
        frame = targets_frame(self.problem, self.weights, self.dual)
        if self.abandoned is not None:
            frame["abandoned"] = self.abandoned
        return frame

    def to_frame(self) -> pd.DataFrame:
        """As `Weighted.to_frame`, with ``inclusion_probability`` where a sampling design chose the records."""
        frame, chances = super().to_frame(), self.selection.inclusion_probabilities
        return frame if chances is None else frame.assign(inclusion_probability=chances)

    @property
    def method_line(self) -> str:
        """The solver and why it was taken."""
        return f"solver: {self.solver} ({self.solver_reason})" if self.solver else ""

    @property
    def how(self) -> dict[str, Any]:
        """The options, as ``result.json`` tells them."""
        return self.options.as_dict()

    @property
    def of_the_method(self) -> dict[str, Any]:
        """Certificate, spread, solver and seed."""
        return {
            "objective": plain(self.objective),
            "bound": plain(self.bound),
            "dense_bound": plain(self.dense_bound),
            "abandoned": None if self.abandoned is None else int(self.abandoned.sum()),
            "spread": self.spread,
            "seed": self.options.seed,
            "solver": self.solver,
            "solver_reason": self.solver_reason,
            "by": self.by,
        }
