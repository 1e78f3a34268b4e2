"""The performance frame: what each target's estimate was at each logged epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l0_core import InputError
from l0_core.real_numbers import real_array


def log_performance_over_epochs(
    tracked: dict[str, list[Any]],
    targets: Any,
    target_names: Any,
    excluded_targets: list[str] | None = None,
    excluded_target_data: dict[str, dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """One row for each logged epoch and target.

    Parameters
    ----------
    tracked
        ``epochs``, ``loss`` and ``estimates``, lists of one length; an entry of ``estimates`` has shape (targets,).
    targets, target_names
        Shape (targets,).
    excluded_targets
        Names of targets that were left out of the fit; they get rows too.
    excluded_target_data
        Their ``target`` and ``initial_estimate`` by name; the estimate of a left-out target is that one
        throughout.

    Returns
    -------
    pandas.DataFrame
        ``epoch``, ``loss``, ``target_name``, ``target``, ``estimate``, ``error``, ``abs_error``,
        ``rel_abs_error`` (against the size of the target; NaN where it is 0).

    Raises
    ------
    InputError
        Lists of different lengths, or an excluded target without data.
    """
    lengths = {len(tracked[key]) for key in ("epochs", "loss", "estimates")}
    if len(lengths) != 1:
        raise InputError("tracked must have as many epochs as losses and estimates")
    goal = real_array(targets, "targets").astype(np.float64, copy=False)
    names = list(target_names)
    if len(names) != goal.size:
        raise InputError(f"there are {goal.size} targets and {len(names)} target_names")
    extra = []
    for name in excluded_targets or []:
        data = (excluded_target_data or {}).get(name)
        if data is None:
            raise InputError(f"excluded_target_data has nothing for the excluded target {name!r}")
        extra.append((name, float(data["target"]), float(data["initial_estimate"])))
    estimates = [real_array(each, "estimates").reshape(goal.size) for each in tracked["estimates"]]
    fixed = np.array([estimate for _, _, estimate in extra])
    return performance_frame(
        tracked["epochs"],
        tracked["loss"],
        np.array([np.concatenate([each, fixed]) for each in estimates]).reshape(len(estimates), -1),
        np.concatenate([goal, [target for _, target, _ in extra]]),
        names + [name for name, _, _ in extra],
    )


def performance_frame(epochs: Any, losses: Any, estimates: Any, targets: Any, names: list[Any]) -> pd.DataFrame:
    """The frame from arrays: ``estimates`` of shape (logged epochs, targets)."""
    logged, count = len(epochs), len(names)
    error = np.asarray(estimates, dtype=np.float64).reshape(logged, count) - targets
    size = np.abs(np.asarray(targets, dtype=np.float64))
    relative = np.divide(np.abs(error), size, out=np.full_like(error, np.nan), where=size > 0)
    return pd.DataFrame(
        {
            "epoch": np.repeat(np.asarray(epochs, dtype=np.int64), count),
            "loss": np.repeat(np.asarray(losses, dtype=np.float64), count),
            "target_name": list(names) * logged,
            "target": np.tile(targets, logged),
            "estimate": np.asarray(estimates, dtype=np.float64).ravel(),
            "error": error.ravel(),
            "abs_error": np.abs(error).ravel(),
            "rel_abs_error": relative.ravel(),
        }
    )


def summary_frame(names: Any, targets: Any, estimates: Any) -> pd.DataFrame:
    """One row for each target; the relative error is signed, against the target's size, NaN where that is 0."""
    size = np.abs(targets)
    relative = np.divide(estimates - targets, size, out=np.full(size.shape, np.nan), where=size > 0)
    return pd.DataFrame(
        {"Metric": names, "Official target": targets, "Final estimate": estimates, "Relative error": relative}
    )


def beside(path: str | os.PathLike[str], ending: str) -> Path:
    """The path of a file that belongs to another one: ``log.csv`` and ``"_sparse"`` give ``log_sparse.csv``."""
    target = Path(path)
    return target.with_name(f"{target.stem}{ending}{target.suffix}")


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A place to write to that becomes the file at the end, whole or not at all; a missing folder is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """The performance frame as CSV, with its row numbers."""
    with written_whole(path) as partial:
        frame.to_csv(partial)
