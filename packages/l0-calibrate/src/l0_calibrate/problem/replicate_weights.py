"""Replicate weights as they are read, named and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.files import read_table, with_record_id
from l0_calibrate.problem.labels import frozen_labels, places_of, refuse_other_order
from l0_calibrate.problem.problem import CalibrationProblem
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


def read_replicates(
    path: Path, problem: CalibrationProblem, *, record_id: str | None = None, calibrated: bool = False
) -> pd.DataFrame:
    """Replicate weights of a file with ``record_id`` and one column a replicate, in the problem's order.

    Parameters
    ----------
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
    columns = [c for c in frame.columns if c != "record_id"]
    if not columns:
        raise InputError(f"{path} has no column of replicate weights beside record_id")
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
