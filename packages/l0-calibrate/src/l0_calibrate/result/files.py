"""The files of a run, and weight files, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from l0_core import InputError

if TYPE_CHECKING:
    import pandas as pd

    from l0_calibrate.problem import CalibrationProblem
    from l0_calibrate.problem.labels import Labels


WEIGHTS, TARGETS, SUMMARY, REPLICATES = "weights.parquet", "targets.parquet", "result.json", "replicates.parquet"
WRITTEN = (WEIGHTS, TARGETS, SUMMARY, REPLICATES)
"""The files of a run."""


def csv_name(name: str) -> str:
    """The file in which a table stands as text."""
    return f"{name.removesuffix('.parquet')}.csv"


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path, csv: bool) -> list[str]:
    """Write each table by the name of its file (.parquet), as text too with ``csv``; returns the names written."""
    names = []
    for name, table in tables.items():
        table.to_parquet(folder / name, index=False)
        names.append(name)
        if csv:
            table.to_csv(folder / csv_name(name), index=False)
            names.append(csv_name(name))
    return names


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


def read_weights(path: str | Path, problem: CalibrationProblem, *, small: bool = False) -> npt.NDArray[np.float64]:
    """The weights of a file with ``record_id`` and ``weight``, in the problem's order, shape (records,).

    With ``small`` it is a small file: records that it does not have were dropped, and have a weight of 0.

    Raises
    ------
    InputError
        The file cannot be read, a record is missing (unless ``small``), there twice or unknown, or a weight is not a
        finite number.
    """
    from l0_calibrate.problem.labels import places_of

    path = Path(path)
    ids, weights = weights_by_id(path)
    remedy = "; give records that were dropped a weight of 0, or say that it is a small file (--small)"
    places = places_of(problem.record_ids, ids, f"{path}", "weight", remedy, some=small)
    return np.where(places >= 0, weights[places], 0.0)
