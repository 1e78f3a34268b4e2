"""Reading weight files, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem
    from l0_calibrate.problem.labels import Labels


WEIGHTS, TARGETS, SUMMARY, REPLICATES = "weights.parquet", "targets.parquet", "result.json", "replicates.parquet"
WRITTEN = (WEIGHTS, TARGETS, SUMMARY, REPLICATES)
"""The files of a run."""


def refuse_folder_of_problem(folder: Path) -> None:
    """InputError where a problem lies in the folder: the targets of a run would stand beside or for its own."""
    if (folder / "matrix.npz").exists():
        raise InputError(
            f"{folder} holds a problem (matrix.npz), whose targets those of the run would be taken for; choose another "
            "output folder"
        )


def weights_by_id(path: Path) -> tuple[Labels, npt.NDArray[np.float64]]:
    """The columns ``record_id`` and ``weight`` of a file (.parquet or .csv), in its order.

    Raises
    ------
    InputError
        The file cannot be read, a record is there twice, or a weight is not a finite number.
    """
    from l0_calibrate.problem.checks import refuse_not_finite, vector
    from l0_calibrate.problem.files import read_table
    from l0_calibrate.problem.labels import frozen_labels, near

    frame = read_table(path)
    for column in ("record_id", "weight"):
        if column not in frame.columns:
            raise InputError(f"{path} has no column {column!r}; {near(column, frame.columns)}")
    try:
        ids = frozen_labels(frame["record_id"], len(frame), "record id")
        weights = vector(frame["weight"], len(frame), "weight", "row")
        refuse_not_finite(weights, ids, "the weight", "record")
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault
    return ids, weights


def read_weights(path: str | Path, problem: CalibrationProblem) -> npt.NDArray[np.float64]:
    """The weights of a file with ``record_id`` and ``weight``, in the problem's order, shape (records,).

    Raises
    ------
    InputError
        The file cannot be read, a record is missing, there twice or unknown, or a weight is not a finite number.
    """
    from l0_calibrate.problem.labels import naming

    path = Path(path)
    ids, weights = weights_by_id(path)
    if ids.dtype != problem.record_ids.dtype:
        kinds = ["whole numbers" if labels.dtype.kind == "i" else "text" for labels in (ids, problem.record_ids)]
        raise InputError(f"{path}: record ids are {kinds[0]}, those of the problem {kinds[1]}; write them alike")
    places = pd.Index(ids).get_indexer(pd.Index(problem.record_ids))
    absent = problem.record_ids[places < 0]
    if absent.size:
        raise InputError(
            f"{path} has no weight for {absent.size:,} records of the problem: {naming(absent)}; "
            "give records that were dropped a weight of 0"
        )
    if ids.size > places.size:
        unknown = ids[pd.Index(problem.record_ids).get_indexer(pd.Index(ids)) < 0]
        raise InputError(f"{path} has {unknown.size:,} records that the problem does not have: {naming(unknown)}")
    ordered: npt.NDArray[np.float64] = weights[places]
    return ordered
