"""The small file: the records kept, with all that is known of them and their new weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem import CalibrationProblem
from l0_core import InputError

OWN = ("record_id", "initial_weight", "weight")
"""Columns of the small file that are not the records' own."""


def small_name(member: str | None = None) -> str:
    """The file of the records, or of a table of members."""
    return "small.parquet" if member is None else f"small_{member}.parquet"


def refuse_clashes(problem: CalibrationProblem, members: Mapping[str, pd.DataFrame]) -> None:
    """InputError where a column is called as one of the small file is; asked before the fit.

    A name of members that is none of a file is refused too.
    """
    info = problem.record_info
    _refuse("the records", () if info is None else info.columns, OWN)
    for name, table in members.items():
        _refuse(f"members {name!r}", table.columns, ("weight",))
        if not name.isidentifier():
            raise InputError(f"members {name!r} need a name of letters, digits and _ to be written as a file")


def _refuse(what: str, columns: Iterable[object], taken: tuple[str, ...]) -> None:
    clash = next((column for column in columns if column in taken), None)
    if clash is not None:
        raise InputError(f"{what} have the column {clash!r}, which the small file needs for its own; rename it")


def small_file(problem: CalibrationProblem, weights: npt.NDArray[np.float64]) -> pd.DataFrame:
    """One row for each record with a weight, in the problem's order.

    Returns
    -------
    Columns ``record_id``, ``initial_weight``, ``weight`` and those that the problem has of its records.

    Raises
    ------
    InputError
        One of these is called as one of those three.
    """
    refuse_clashes(problem, {})
    kept = np.flatnonzero(weights)
    parts = (problem.record_ids[kept], problem.initial_weights[kept], weights[kept])
    frame = pd.DataFrame(dict(zip(OWN, parts, strict=True)))
    if problem.record_info is None:
        return frame
    return pd.concat([frame, problem.record_info.iloc[kept].reset_index(drop=True)], axis=1)


def small_members(small: pd.DataFrame, members: pd.DataFrame, record_id: str) -> pd.DataFrame:
    """The rows of a table of members whose records are kept, in its order, with the ``weight`` of their record."""
    _refuse("members", members.columns, ("weight",))
    place = pd.Index(small["record_id"]).get_indexer(pd.Index(members[record_id]))
    kept = place >= 0
    return members[kept].assign(weight=small["weight"].to_numpy()[place[kept]]).reset_index(drop=True)
