"""A run as tables, from a result in memory or from the folder that it was saved in."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.result.diagnostics import CLOSE, Diagnostics, diagnostics_of
from l0_core import InputError
from l0_core.relative_errors import error_scale

if TYPE_CHECKING:
    from l0_calibrate.result.weighted import Weighted

FloatArray = npt.NDArray[np.float64]

_OWN = ("name", "target", "estimate", "relative_error", "initial_estimate", "dual")
_NUMBERS = ("dual", "ratio")
_MOST_GROUPS = 60
"""A column with more values than this does not group, it names."""


_NUMBER = (int, float, type(None))
_KEYS: dict[str, type | tuple[type, ...]] = {
    "status": str, "fingerprint": str, "kept": int, "records": int, "targets": int, "notes": list,
    "loss": _NUMBER, "ess": _NUMBER, "max_ratio": _NUMBER, "within_10_percent": _NUMBER, "gap": _NUMBER,
    "options": dict, "timings": dict, "versions": dict, "inputs": dict,
}  # fmt: skip
"""What a report reads of ``result.json``."""


def _check_summary(summary: Any) -> None:
    if not isinstance(summary, dict):
        raise ValueError("result.json holds no object")
    for key, kind in _KEYS.items():
        if not isinstance(summary.get(key, ...), kind):
            raise ValueError(f"result.json has no usable {key!r}")
    if not {"keep", "share"} <= summary["options"].keys():
        raise ValueError("result.json has no usable 'options'")
    if not isinstance(summary["timings"].get("total"), (int, float)):
        raise ValueError("result.json has no usable total of its timings")


def _check_table(file: str, table: pd.DataFrame, rows: int, finite: tuple[str, ...], others: tuple[str, ...]) -> None:
    """As many rows as the run has, numbers that are finite in some columns, and the other columns there."""
    if len(table) != rows:
        raise ValueError(f"{file} has {len(table):,} rows, result.json says {rows:,}: they are not of one run")
    for column in (*finite, *others):
        if column not in table.columns:
            raise ValueError(f"{file} has no column {column!r}")
    for column in (*finite, *(column for column in _NUMBERS if column in table.columns)):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"{file}: the column {column!r} is not one of numbers")
    for column in finite:
        if not np.isfinite(table[column]).all():
            raise ValueError(f"{file}: the column {column!r} has values that are not finite")


@attrs.frozen(eq=False)
class RunTables:
    """What ``result.json``, ``targets.parquet`` and ``weights.parquet`` hold."""

    summary: dict[str, Any]
    targets: pd.DataFrame
    records: pd.DataFrame

    @classmethod
    def of(cls, result: Weighted) -> RunTables:
        """Of a result in memory."""
        return cls(result.summary(), result.targets, result.to_frame())

    @classmethod
    def of_folder(cls, folder: Path) -> RunTables:
        """Of the folder that ``fit`` wrote; InputError where it is not one."""
        try:
            summary = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            targets = pd.read_parquet(folder / "targets.parquet")
            records = pd.read_parquet(folder / "weights.parquet")
            _check_summary(summary)
            estimates = ("target", "estimate", "relative_error", "initial_estimate")
            _check_table("targets.parquet", targets, summary["targets"], estimates, ("name",))
            weights = ("initial_weight", "weight")
            _check_table("weights.parquet", records, summary["records"], weights, ("record_id", "ratio"))
        except (OSError, ValueError) as error:
            fault = str(error)
            if isinstance(error, FileNotFoundError):
                fault = f"there is no {Path(error.filename).name} in it"
            raise InputError(
                f"{folder} is not the folder of a run ({fault}); give what fit wrote with --out"
            ) from error
        return cls(summary, targets, records)

    def _errors(self, estimates: str) -> FloatArray:
        wanted = self.targets["target"].to_numpy(np.float64)
        errors: FloatArray = (self.targets[estimates].to_numpy(np.float64) - wanted) / error_scale(wanted)
        return errors

    @cached_property
    def errors_before(self) -> FloatArray:
        """Relative errors with the initial weights, shape (targets,)."""
        return self._errors("initial_estimate")

    @cached_property
    def errors_after(self) -> FloatArray:
        """Relative errors with the calibrated weights, shape (targets,)."""
        return self._errors("estimate")

    @cached_property
    def diagnostics_before(self) -> Diagnostics:
        """Of the initial weights."""
        initial = self.records["initial_weight"].to_numpy(np.float64)
        return diagnostics_of(self.errors_before, initial, initial)

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Of the calibrated weights."""
        weights = self.records["weight"].to_numpy(np.float64)
        reference = self.records["initial_weight"].to_numpy(np.float64)
        return diagnostics_of(self.errors_after, weights, reference, None if self._has_budget else 1.0)

    @property
    def ratio(self) -> str:
        """What a ratio of this run is, in words (see `weight_ratios`)."""
        return "weight / " + ("(initial weight x records / kept)" if self._has_budget else "initial weight")

    @property
    def _has_budget(self) -> bool:
        options = self.summary["options"]
        return options["keep"] is not None or options["share"] is not None

    def groups(self) -> dict[str, pd.DataFrame]:
        """For each column that groups the targets, by value: ``targets``, ``before``, ``after``, ``within``, ``share``.

        The number of targets, their mean |relative error| before and after, the share within 10 %, and the
        part of the whole loss that is theirs.
        """
        out = {}
        for column in self.targets.columns:
            if column in _OWN or not 2 <= self.targets[column].nunique() <= _MOST_GROUPS:
                continue
            before, after = np.abs(self.errors_before), np.abs(self.errors_after)
            table = pd.DataFrame({"before": before, "after": after, "within": after <= CLOSE})
            grouped = table.groupby(self.targets[column].to_numpy())
            means = grouped.mean()
            means.insert(0, "targets", grouped.size())
            means["share"] = grouped["after"].sum() / max(float(after.sum()), np.finfo(float).tiny)
            out[str(column)] = means.sort_values("after", ascending=False)
        return out

    def worst(self, count: int) -> pd.DataFrame:
        """The targets that are missed by most, the worst first."""
        order = np.argsort(-np.abs(self.errors_after), kind="stable")[:count]
        return self.targets.iloc[order].assign(error_before=self.errors_before[order])

    def heaviest(self, count: int) -> pd.DataFrame:
        """The records of the largest weights, with their share of the total weight."""
        records = self.records.nlargest(count, "weight")
        return records.assign(share=records["weight"] / self.records["weight"].sum())
