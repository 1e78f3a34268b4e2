"""Columns of the records that steer a calibration: domains, groups, caps, records to keep or to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.labels import naming, near, shown
from l0_calibrate.problem.number_text import writing
from l0_core import InputError
from l0_core.real_numbers import is_number

if TYPE_CHECKING:
    from l0_calibrate.problem.problem import CalibrationProblem


def record_column(problem: CalibrationProblem, column: str) -> pd.Series:
    """A column of ``record_info``, one value a record; InputError where it is missing or a value is."""
    info = problem.record_info
    if info is None or column not in info.columns:
        raise InputError(f"the records have no column {column!r}; {near(column, () if info is None else info)}")
    values = info[column]
    missing = np.flatnonzero(values.isna())
    if missing.size:
        raise InputError(
            f"column {column!r} has no value for {missing.size:,} of the records: {naming(problem.record_ids[missing])}"
        )
    return values


def record_columns(problem: CalibrationProblem, columns: Sequence[str]) -> pd.DataFrame:
    """Several columns of ``record_info``, as `record_column` has each; blanks around a name do not count."""
    return pd.concat([record_column(problem, column.strip()) for column in columns], axis=1)


def record_flags(problem: CalibrationProblem, column: str) -> npt.NDArray[np.bool_]:
    """A column of yes and no: booleans, or 0 and 1.

    Raises
    ------
    InputError
        Where a value is anything else (text is not guessed at); it names the record.
    """
    values = record_column(problem, column)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero((numbers != 0) & (numbers != 1))
    if wrong.size:
        j = int(wrong[0])
        raise InputError(
            f"column {column!r} must hold true/false or 1/0; record {problem.record_ids[j]} has {shown(values.iloc[j])}"
            + (f" (and {wrong.size - 1:,} more have something else)" if wrong.size > 1 else "")
        )
    flags: npt.NDArray[np.bool_] = numbers == 1
    return flags


def record_numbers(problem: CalibrationProblem, column: str) -> npt.NDArray[np.float64]:
    """A column of numbers, infinite ones too, as float64 of shape (records,).

    Raises
    ------
    InputError
        Where a value is anything else (true and false, text, dates); it names the record.
    """
    values = record_column(problem, column)
    wrong = np.flatnonzero([not (is_number(value) or isinstance(value, Decimal)) for value in values])
    if wrong.size:
        j = int(wrong[0])
        raise InputError(
            f"column {column!r} must hold numbers; record {problem.record_ids[j]} has {shown(values.iloc[j])}"
            + (f" (and {wrong.size - 1:,} more have something else)" if wrong.size > 1 else "")
            + writing(values.iloc[j])
        )
    return np.asarray(values, dtype=np.float64)
