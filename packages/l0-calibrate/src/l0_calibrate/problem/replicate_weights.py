"""Replicate weights as they are read, named and checked."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.files import read_table, with_record_id
from l0_calibrate.problem.labels import frozen_labels, naming, near, places_of, refuse_other_order
from l0_calibrate.problem.problem import CalibrationProblem
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

FAR_SUM = 2.0
"""How many times the sum of the initial weights that of a replicate may be, or the other way round."""

_OF_WEIGHTS = ("initial_weight", "weight", "kept", "ratio")
"""What columns of weights that are no replicates are called."""


def read_replicates(
    path: Path,
    problem: CalibrationProblem,
    *,
    patterns: Sequence[str] | None = None,
    record_id: str | None = None,
    calibrated: bool = False,
) -> pd.DataFrame:
    """Replicate weights of a file with ``record_id`` and one column a replicate, in the problem's order.

    Parameters
    ----------
    patterns
        Which columns are replicate weights (``repwt*``); all but that of the ids where None, none of which may then be
        called as a column of the records or of their weights is.
    record_id
        What the column of ids is called where there is no ``record_id``.
    calibrated
        Whether they may be negative, as those of the generalised regression estimator may.

    Returns
    -------
    A column for each replicate, with its name.

    Raises
    ------
    InputError
        The file cannot be read, its records are not those of the problem, or a weight cannot be one.
    """
    frame = with_record_id(read_table(path), path, record_id)
    columns = _columns(frame, path, problem, patterns)
    try:
        ids = frozen_labels(frame["record_id"], len(frame), "record id")
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    positions = places_of(problem.record_ids, ids, f"{path}", "replicate weights")
    try:
        values = checked_replicates(
            problem, pd.DataFrame(frame[columns].to_numpy()[positions], columns=columns), calibrated=calibrated
        )
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    return pd.DataFrame(values, columns=[str(column) for column in columns], copy=False)


def _columns(frame: pd.DataFrame, path: Path, problem: CalibrationProblem, patterns: Sequence[str] | None) -> list[Any]:
    """Those that are replicate weights."""
    others = [column for column in frame.columns if column != "record_id"]
    if patterns is None:
        known = set(_OF_WEIGHTS)
        if problem.record_info is not None:
            known.update(map(str, problem.record_info.columns))
        taken = [str(column) for column in others if str(column) in known]
        if taken:
            raise InputError(
                f"{path} has columns that the records have too ({naming(taken)}): say which are replicate weights "
                "(--replicate-columns 'repwt*')"
            )
        if not others:
            raise InputError(f"{path} has no column of replicate weights beside record_id")
        return others
    matching = [{column for column in others if fnmatch.fnmatchcase(str(column), pattern)} for pattern in patterns]
    for pattern, columns in zip(patterns, matching, strict=True):
        if not columns:
            raise InputError(f"{path} has no column {pattern!r}; {near(pattern, others)}")
    return [column for column in others if any(column in columns for columns in matching)]


def unlike_weights(problem: CalibrationProblem, values: FloatArray, names: Sequence[str]) -> list[str]:
    """A note on replicates whose sum is far from that of the initial weights, as of a column that holds none."""
    whole = float(problem.initial_weights.sum())
    parts = values.sum(axis=0) / whole
    odd = [
        f"{name} ({part:.3g} times)"
        for name, part in zip(names, parts, strict=True)
        if not 1.0 / FAR_SUM <= part <= FAR_SUM
    ]
    if not odd:
        return []
    who = "1 replicate adds" if len(odd) == 1 else f"{len(odd):,} replicates add"
    return [f"{who} up to something else than the initial weights do: {naming(odd)}; are these replicate weights?"]


def replicate_names(replicate_weights: FloatArray | pd.DataFrame) -> tuple[str, ...]:
    """The columns of a frame; else ``replicate_1``, ``replicate_2``, ..."""
    if isinstance(replicate_weights, pd.DataFrame):
        return tuple(str(column) for column in replicate_weights.columns)
    return tuple(f"replicate_{r + 1}" for r in range(np.shape(replicate_weights)[1]))


def called(replicate_weights: FloatArray | pd.DataFrame, r: int) -> str:
    """A replicate by its number, and by its name where it has one."""
    name = f" ({replicate_weights.columns[r]!r})" if isinstance(replicate_weights, pd.DataFrame) else ""
    return f"replicate {r + 1}{name}"


def checked_replicates(
    problem: CalibrationProblem, replicate_weights: FloatArray | pd.DataFrame, *, calibrated: bool = False
) -> FloatArray:
    """Replicate weights as read-only float64, shape (records, replicates); InputError that names a bad one.

    Those that are ``calibrated`` may be negative: the generalised regression estimator gives such weights.
    """
    refuse_other_order(replicate_weights, problem.record_ids, "replicate weights", "the problem's records")
    try:
        values = np.array(replicate_weights, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"replicate weights must be numbers: {fault}") from fault
    if values.ndim != 2 or values.shape[0] != problem.n_records:
        raise InputError(f"replicate weights must have shape ({problem.n_records}, replicates), got {values.shape}")
    if values.shape[1] == 0:
        raise InputError("there are no replicate weights: give at least one column of them")
    names = pd.Index(replicate_names(replicate_weights))
    if "record_id" in names or names.has_duplicates:
        wrong = "record_id" if "record_id" in names else names[names.duplicated()][0]
        raise InputError(f"replicates need names of their own, for the file that keeps them; {wrong!r} is none")
    bad = np.argwhere(~(np.isfinite(values) & ((values >= 0) | calibrated)))
    if bad.size:
        j, r = bad[0]
        more = f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""
        raise InputError(
            f"{called(replicate_weights, r)} of record {problem.record_ids[j]} is {values[j, r]}{more}; "
            f"it must be finite{'' if calibrated else ' and not negative'}"
        )
    values = np.asfortranarray(values)
    values.setflags(write=False)
    return values
