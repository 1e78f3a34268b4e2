"""Weights of a problem: what they do, as numbers, tables and files, however they were found."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.diagnostics import Diagnostics, diagnose, fingerprint, weight_ratios
from l0_core import InputError

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


def plain(value: float | None) -> float | None:
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


class Weighted(ABC):
    """A problem and its weights; every number is computed from the weights handed out."""

    problem: CalibrationProblem
    weights: FloatArray
    status: str
    timings: dict[str, float]
    replicates: FloatArray | None
    replicate_names: tuple[str, ...]
    notes: tuple[str, ...]
    command: tuple[str, ...]

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
    def kept(self) -> int:
        """Number of records with a weight other than 0."""
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
    @abstractmethod
    def scale_up(self) -> float:
        """What reference weights are multiplied by in ratios (see `weight_ratios`)."""

    @property
    @abstractmethod
    def gap(self) -> float | None:
        """Certified relative distance of the objective from its optimum, or None."""

    @property
    @abstractmethod
    def method_line(self) -> str:
        """The method in a line for people; empty for none."""

    @property
    @abstractmethod
    def how(self) -> dict[str, Any]:
        """What was asked of the method, as ``result.json`` tells it under ``options``."""

    @property
    @abstractmethod
    def of_the_method(self) -> dict[str, Any]:
        """What this method alone has to tell in ``result.json``."""

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
        return targets_frame(self.problem, self.weights)

    def to_frame(self) -> pd.DataFrame:
        """One row a record, in the problem's order: record_id, initial_weight, weight, kept, ratio."""
        return pd.DataFrame(
            {
                "record_id": self.problem.record_ids,
                "initial_weight": self.problem.initial_weights,
                "weight": self.weights,
                "kept": self.weights != 0,
                "ratio": weight_ratios(self.weights, self.problem.initial_weights, self.scale_up),
            }
        )

    def small_file(self) -> pd.DataFrame:
        """The records kept: ``record_id``, ``initial_weight``, ``weight`` and the columns of ``record_info``.

        InputError where one of the latter is called as one of the former.
        """
        from l0_calibrate.result.small import small_file

        return small_file(self.problem, self.weights)

    def column_totals(self, columns: pd.DataFrame | None = None, replicate_scale: Any = None) -> pd.DataFrame:
        """Weighted totals of columns that no target need be about, before and after.

        Parameters
        ----------
        columns
            One row a record, in the problem's order or with a column ``record_id``; ``record_info`` where None.
        replicate_scale
            What the squared differences of the replicates' totals are multiplied by to make a variance: a number, or
            one a replicate, by their names where it is a Series (see `l0_calibrate.result.replicates.Replicates`).
            Gives standard errors of the totals, by ``replicates``.

        Returns
        -------
        One row for each column of numbers and each value of a column of few texts: column, value, before, after,
        change, standard_error where it is asked for, missing.

        Raises
        ------
        InputError
            Records that are missing or unknown; a result without replicates.
        """
        from l0_calibrate.result.column_totals import column_totals
        from l0_calibrate.result.replicates import Replicates

        replicates = None
        if replicate_scale is not None:
            if self.replicates is None:
                raise InputError("the result has no replicate weights; fit it with replicates")
            named = pd.DataFrame(self.replicates, columns=self.replicate_names, copy=False)
            replicates = Replicates(named, replicate_scale)
        return column_totals(self.problem, self.weights, columns, replicates)

    def summary(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        d = self.diagnostics
        return {
            "status": self.status,
            "loss": plain(d.loss),
            "loss_capped": plain(d.loss_capped),
            "gap": plain(self.gap),
            "kept": d.kept,
            "ess": plain(d.ess),
            "design_effect": plain(d.design_effect),
            "max_ratio": plain(d.max_ratio),
            "within_10_percent": plain(d.within_10_percent),
            "worst_error": plain(d.worst_error),
            "top_share": plain(d.top_share),
            "total_weight": plain(d.total_weight),
            **self.of_the_method,
            "records": self.problem.n_records,
            "targets": self.problem.n_targets,
            "options": json.loads(json.dumps(self.how, default=str)),
            "versions": versions(),
            "inputs": dict(self.problem.digests),
            "fingerprint": self.fingerprint,
            "timings": {stage: round(seconds, 4) for stage, seconds in self.timings.items()},
            "replicates": list(self.replicate_names),
            "command": list(self.command),
            "notes": list(self.notes),
        }

    # ------------------------------------------------------------------ files

    def save(
        self, folder: str | Path, beside: Mapping[str, pd.DataFrame] | None = None, *, csv: bool = False
    ) -> list[Path]:
        """Write weights.parquet, targets.parquet and result.json into a folder, whole or not at all.

        Parameters
        ----------
        beside
            Tables to write with them, by the names of their files (``{"small.parquet": result.small_file()}``).
        csv
            Write each table as text too (weights.csv), for programs that do not read Parquet; an empty field is a
            missing value, and numbers are read back to the last bit.

        Returns
        -------
        The paths written.

        Raises
        ------
        InputError
            When the folder cannot be written, or holds a problem.
        """
        from l0_calibrate.folders import folder_transaction
        from l0_calibrate.result.files import (
            REPLICATES,
            SUMMARY,
            TARGETS,
            WEIGHTS,
            refuse_folder_of_problem,
            write_tables,
        )  # fmt: skip

        folder = Path(folder)
        refuse_folder_of_problem(folder)
        own, others = {WEIGHTS: self.to_frame(), TARGETS: self.targets}, {}
        if self.replicates is not None:
            others[REPLICATES] = pd.DataFrame(self.replicates, columns=list(self.replicate_names))
            others[REPLICATES].insert(0, "record_id", self.problem.record_ids)
        for name, frame in (beside or {}).items():
            if name in (*own, *others) or Path(name).name != name or Path(name).suffix != ".parquet":
                raise InputError(f"{name!r} cannot stand beside a run: give the name of a .parquet file of its own")
            others[name] = frame
        with folder_transaction(folder) as scratch:
            names = [*write_tables(own, scratch, csv), SUMMARY, *write_tables(others, scratch, csv)]
            (scratch / SUMMARY).write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
        return [folder / name for name in names]

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that needs nothing else (extra ``[report]``)."""
        from l0_calibrate.result.report import write_report

        return write_report(self, Path(path))
