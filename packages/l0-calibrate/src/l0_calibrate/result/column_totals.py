"""What new weights do to columns that no target is about: their weighted totals before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.inner import inner
from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.problem import CalibrationProblem
    from l0_calibrate.result.replicates import Replicates

FloatArray = npt.NDArray[np.float64]

MOST_VALUES = 60
"""Values that a text column may have to be counted one by one: a state is a category, a name is not."""


def column_totals(
    problem: CalibrationProblem,
    weights: FloatArray,
    columns: pd.DataFrame | None = None,
    replicates: Replicates | None = None,
) -> pd.DataFrame:
    """Weighted totals of columns of the records under the initial weights and under others.

    Parameters
    ----------
    weights
        Shape (records,), in the problem's order.
    columns
        One row a record in the problem's order, or with a column ``record_id`` in any; ``problem.record_info`` where
        None.
    replicates
        Those of ``weights``, for standard errors.

    Returns
    -------
    One row for each column of numbers or truth values (``value`` is missing: its sum), and for each value of a column
    of texts that has at most 60 of them, and at most half as many as there are records (the records with it).
    ``column``, ``value``, ``before``, ``after``, ``change``, relative to ``before``, and ``missing``, the records whose
    field is empty: they count for nothing on either side; with replicates the ``standard_error`` of ``after``. Other
    columns have no row.

    Raises
    ------
    InputError
        Records that are missing, unknown or there twice; a field that is infinite; a problem without columns where none
        are given.
    """
    from l0_calibrate.problem.labels import shown

    frame = problem.record_info if columns is None else _in_order(columns, problem)
    if frame is None:
        raise InputError("the problem has no columns of its records; give some")
    again = None if replicates is None else replicates.checked(problem)
    rows: list[tuple[Any, ...]] = []
    errors: list[float] = []
    for name in frame.columns:
        values = frame[name]
        is_there = values.notna().to_numpy()
        for value, counted in _summed(values, is_there):
            endless = np.flatnonzero(is_there)[~np.isfinite(counted)]
            if endless.size:
                raise InputError(
                    f"column {str(name)!r} of record {shown(problem.record_ids[endless[0]])} is not finite and has no "
                    "total; leave the field empty, or leave the column out"
                )
            before, after = (inner(counted, w[is_there]) for w in (problem.initial_weights, weights))
            rows.append((name, value, before, after, int((~is_there).sum())))
            if again is not None:
                of_replicates, scales = again
                each = np.array([inner(counted, of_replicates[is_there, r]) for r in range(scales.size)])
                errors.append(float(np.sqrt((scales * np.square(each - after)).sum())))
    table = pd.DataFrame(rows, columns=["column", "value", "before", "after", "missing"])
    change = np.full(len(table), np.nan)
    base = table["before"].to_numpy(dtype=np.float64)
    np.divide(table["after"].to_numpy(dtype=np.float64) - base, np.abs(base), out=change, where=base != 0)
    table.insert(4, "change", change)
    if again is not None:
        table.insert(5, "standard_error", errors)
    return table


def _summed(values: pd.Series, is_there: npt.NDArray[np.bool_]) -> list[tuple[str | None, FloatArray]]:
    """What a column is counted by: (value or None, what each record that has one counts)."""
    there = values[is_there]
    if pd.api.types.is_numeric_dtype(values):  # truth values too
        if pd.api.types.is_complex_dtype(values):
            return []
        return [(None, there.to_numpy(dtype=np.float64))]
    found = pd.unique(there)
    # Truth values with empty fields among them are read as objects; a column of no others is one of no value.
    if all(isinstance(value, bool | np.bool_) for value in found):
        return [(None, there.to_numpy(dtype=np.float64))]
    if not all(isinstance(value, str) for value in found):
        return []
    codes, names = pd.factorize(there, sort=True)
    if len(names) > min(MOST_VALUES, len(values) // 2):
        return []
    return [(str(name), (codes == code).astype(np.float64)) for code, name in enumerate(names)]


def _in_order(columns: pd.DataFrame, problem: CalibrationProblem) -> pd.DataFrame:
    from l0_calibrate.problem.labels import frozen_labels, places_of

    if "record_id" not in columns.columns:
        if len(columns) != problem.n_records:
            raise InputError(
                f"the columns have {len(columns):,} rows, the problem {problem.n_records:,} records; give them a "
                "column 'record_id', or one row for each record in the problem's order"
            )
        return columns
    ids = frozen_labels(columns["record_id"], len(columns), "record id")
    places = places_of(problem.record_ids, ids, "the table of columns", "row")
    return columns.drop(columns="record_id").iloc[places].reset_index(drop=True)
