"""What came out of a calibration: weights, diagnostics, and where they came from."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.diagnostics import Diagnostics, diagnose, fingerprint, scale_up_of, weight_ratios
from l0_calibrate.solvers.base import relative_gap
from l0_calibrate.watch import Progress
from l0_core import InputError, Selection

FloatArray = npt.NDArray[np.float64]

_DISTRIBUTIONS = ("l0-calibrate", "l0-gates", "l0-core", "l0-torch", "numpy", "scipy", "numba")


def versions() -> dict[str, str]:
    """Versions of Python and of the distributions that shape the numbers (those that are installed)."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _plain(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for both."""
    return None if value is None or not math.isfinite(value) else float(value)


def targets_frame(problem: CalibrationProblem, weights: FloatArray, dual: FloatArray | None = None) -> pd.DataFrame:
    """One row a target, in the problem's order: name, target, estimate, relative_error, initial_estimate, groups, dual.

    ``initial_estimate`` is that of the initial weights; ``relative_error`` is signed,
    ``(estimate - target) / max(|target|, 1)``; ``dual`` is the change of the objective
    (mean form) for one unit of relative error more in the target.
    """
    frame = pd.DataFrame(
        {
            "name": problem.target_names,
            "target": problem.targets,
            "estimate": problem.estimates(weights),
            "relative_error": problem.relative_errors(weights),
            "initial_estimate": problem.estimates(problem.initial_weights),
        }
    )
    info = problem.target_info
    if info is not None:
        for column in info.columns:
            if column not in frame.columns and column != "value":
                frame[column] = info[column].to_numpy()
    if dual is not None:
        frame["dual"] = dual
    return frame


@attrs.frozen(eq=False, repr=False)
class CalibrationResult:
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

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """All the numbers together."""
        return diagnose(self.problem, self.weights, self.scale_up)

    @property
    def loss(self) -> float:
        """Mean |relative error| over the targets."""
        return self.diagnostics.loss

    @property
    def loss_capped(self) -> float:
        """The same with each error capped at 1."""
        return self.diagnostics.loss_capped

    @property
    def gap(self) -> float | None:
        """Certified relative distance of the objective from the optimum of the convex fit, or None."""
        return None if self.bound is None else relative_gap(self.objective, self.bound)

    @property
    def kept(self) -> int:
        """Number of records with a positive weight."""
        return self.diagnostics.kept

    @property
    def ess(self) -> float:
        """Kish's effective sample size."""
        return self.diagnostics.ess

    @property
    def design_effect(self) -> float:
        """Kept records over effective sample size."""
        return self.diagnostics.design_effect

    @property
    def scale_up(self) -> float:
        """What reference weights are multiplied by in ratios: records / kept with a budget, 1 in a dense fit."""
        return 1.0 if self.options.budget(self.problem.n_records) is None else scale_up_of(self.weights)

    @property
    def max_ratio(self) -> float:
        """Largest ratio of weight to reference weight, scaled up by records / kept where a budget was asked for."""
        return self.diagnostics.max_ratio

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights' bits."""
        return fingerprint(self.weights)

    # ------------------------------------------------------------------ tables

    @property
    def targets(self) -> pd.DataFrame:
        """One row a target (see `targets_frame`)."""
        frame = targets_frame(self.problem, self.weights, self.dual)
        if self.abandoned is not None:
            frame["abandoned"] = self.abandoned
        return frame

    def to_frame(self) -> pd.DataFrame:
        """One row a record, in the problem's order: record_id, initial_weight, weight, kept, ratio."""
        return pd.DataFrame(
            {
                "record_id": self.problem.record_ids,
                "initial_weight": self.problem.initial_weights,
                "weight": self.weights,
                "kept": self.weights > 0,
                "ratio": weight_ratios(self.weights, self.problem.initial_weights, self.scale_up),
            }
        )

    def small_file(self) -> pd.DataFrame:
        """The records kept: ``record_id``, ``initial_weight``, ``weight`` and the columns of ``record_info``.

        InputError where one of the latter is called as one of the former.
        """
        from l0_calibrate.result.small import small_file

        return small_file(self.problem, self.weights)

    def column_totals(self, columns: pd.DataFrame | None = None) -> pd.DataFrame:
        """Weighted totals of columns that no target need be about, before and after.

        Parameters
        ----------
        columns
            One row a record, in the problem's order or with a column ``record_id``; ``record_info`` where None.

        Returns
        -------
        One row for each column of numbers and each value of a column of few texts: column, value, before, after,
        change, missing. InputError on records that are missing or unknown.
        """
        from l0_calibrate.result.column_totals import column_totals

        return column_totals(self.problem, self.weights, columns)

    def summary(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        d = self.diagnostics
        return {
            "status": self.status,
            "loss": _plain(d.loss),
            "loss_capped": _plain(d.loss_capped),
            "gap": _plain(self.gap),
            "kept": d.kept,
            "ess": _plain(d.ess),
            "design_effect": _plain(d.design_effect),
            "max_ratio": _plain(d.max_ratio),
            "within_10_percent": _plain(d.within_10_percent),
            "worst_error": _plain(d.worst_error),
            "top_share": _plain(d.top_share),
            "total_weight": _plain(d.total_weight),
            "objective": _plain(self.objective),
            "bound": _plain(self.bound),
            "dense_bound": _plain(self.dense_bound),
            "abandoned": None if self.abandoned is None else int(self.abandoned.sum()),
            "spread": self.spread,
            "records": self.problem.n_records,
            "targets": self.problem.n_targets,
            "options": json.loads(json.dumps(self.options.as_dict(), default=str)),
            "seed": self.options.seed,
            "versions": versions(),
            "inputs": dict(self.problem.digests),
            "fingerprint": self.fingerprint,
            "timings": {stage: round(seconds, 4) for stage, seconds in self.timings.items()},
            "solver": self.solver,
            "solver_reason": self.solver_reason,
            "by": self.by,
            "replicates": list(self.replicate_names),
            "command": list(self.command),
            "notes": list(self.notes),
        }

    # ------------------------------------------------------------------ files

    def save(self, folder: str | Path, beside: Mapping[str, pd.DataFrame] | None = None) -> list[Path]:
        """Write weights.parquet, targets.parquet and result.json into a folder, whole or not at all.

        Parameters
        ----------
        beside
            Tables to write with them, by the names of their files (``{"small.parquet": result.small_file()}``).

        Returns
        -------
        The paths written.

        Raises
        ------
        InputError
            When the folder cannot be written, or holds a problem.
        """
        from l0_calibrate.folders import folder_transaction
        from l0_calibrate.result.files import REPLICATES, SUMMARY, TARGETS, WEIGHTS, refuse_folder_of_problem

        folder = Path(folder)
        refuse_folder_of_problem(folder)
        with folder_transaction(folder) as scratch:
            self.to_frame().to_parquet(scratch / WEIGHTS, index=False)
            self.targets.to_parquet(scratch / TARGETS, index=False)
            (scratch / SUMMARY).write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
            names = [WEIGHTS, TARGETS, SUMMARY]
            if self.replicates is not None:
                frame = pd.DataFrame(self.replicates, columns=list(self.replicate_names))
                frame.insert(0, "record_id", self.problem.record_ids)
                frame.to_parquet(scratch / REPLICATES, index=False)
                names.append(REPLICATES)
            for name, frame in (beside or {}).items():
                if name in names or Path(name).name != name or Path(name).suffix != ".parquet":
                    raise InputError(f"{name!r} cannot stand beside a run: give the name of a .parquet file of its own")
                frame.to_parquet(scratch / name, index=False)
                names.append(name)
        return [folder / name for name in names]

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that needs nothing else (extra ``[report]``)."""
        from l0_calibrate.result.report import write_report

        return write_report(self, Path(path))
