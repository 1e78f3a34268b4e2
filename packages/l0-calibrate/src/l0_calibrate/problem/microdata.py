"""The matrix of declared targets, built from the columns of microdata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate.problem.entities import Table, member_table, members_of
from l0_calibrate.problem.evaluation import Evaluator
from l0_calibrate.problem.labels import near
from l0_calibrate.problem.number_text import first_text
from l0_calibrate.problem.problem import CalibrationProblem
from l0_calibrate.problem.tables import as_frame
from l0_calibrate.problem.targets import Target, targets_of
from l0_core import InputError


@attrs.frozen(eq=False)
class _Entries:
    """What each row of a table adds to a target, shape (rows,), and whether float32 holds it exactly."""

    values: npt.NDArray[Any]
    narrow: bool


class _Sums:
    """The columns that targets sum or count, each made once."""

    def __init__(self, table: Table) -> None:
        self._frame, self._what = table.frame, table.what
        self._made: dict[tuple[str, ...], _Entries] = {}

    def of(self, target: Target) -> _Entries:
        """The column of a target before its condition."""
        if target.count_of is not None:
            key: tuple[str, ...] = ("count", target.count_of)
        else:
            key = ("sum", *self._summed(target))
        if key not in self._made:
            self._made[key] = self._counted(key[1]) if key[0] == "count" else self._added(key[1:])
        return self._made[key]

    def _summed(self, target: Target) -> tuple[str, ...]:
        """The columns of ``sum_of``; a ``+`` separates them unless a column bears the whole name."""
        parts = target.sum_of or ()
        if len(parts) == 1 and parts[0] not in self._frame.columns and "+" in parts[0]:
            parts = tuple(part.strip() for part in parts[0].split("+"))
        return parts

    def _column(self, name: str) -> npt.NDArray[Any]:
        if name not in self._frame.columns:
            raise InputError(f"{self._what} have no column {name!r}; {near(name, self._frame.columns)}")
        series = self._frame[name]
        if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_complex_dtype(series.dtype):
            raise InputError(
                f"column {name!r} of dtype {series.dtype} cannot be summed or counted: "
                + (first_text(series) or "it holds no numbers")
            )
        if isinstance(series.dtype, np.dtype):
            return np.asarray(series.to_numpy())
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))

    def _counted(self, name: str) -> _Entries:
        if name == "*":
            return _Entries(np.ones(len(self._frame), dtype=np.float32), True)
        values = self._column(name)
        return _Entries(np.where(np.isnan(values), np.nan, values != 0).astype(np.float32), True)

    def _added(self, names: tuple[str, ...]) -> _Entries:
        columns = [self._column(name) for name in names]
        narrow = all(np.can_cast(column.dtype, np.float32) for column in columns)
        if len(columns) == 1:
            return _Entries(columns[0], narrow)
        total = np.zeros(len(self._frame))
        for column in columns:
            total += column
        return _Entries(total, narrow)


def _matrix(tables: Mapping[str | None, Table], count: int, targets: Sequence[Target]) -> sp.csr_array:
    """Shape (targets, records); float32 where that holds every entry exactly, else float64."""
    chosen: dict[str | None, dict[str | None, list[int]]] = {}
    for i, target in enumerate(targets):  # targets of the same rows together: their mask is made once
        chosen.setdefault(target.entity, {}).setdefault(target.where, []).append(i)
    index = np.int32 if count < 2**31 else np.int64
    indices: list[npt.NDArray[Any]] = [np.zeros(0, dtype=index)] * len(targets)
    values: list[npt.NDArray[Any]] = [np.zeros(0)] * len(targets)
    for entity, conditions in chosen.items():
        table = tables[entity]
        sums, evaluator, everyone = _Sums(table), Evaluator(table.frame), np.arange(len(table.frame))
        for group in conditions.values():
            where = targets[group[0]].condition
            try:
                rows = everyone if where is None else np.flatnonzero(evaluator.mask(where))
            except InputError as fault:
                raise InputError(f"target {targets[group[0]].name!r}: {fault}") from None
            for i in group:
                records, entries = _entries(sums, table, rows, targets[i])
                indices[i], values[i] = records.astype(index), entries
    indptr = np.concatenate(([0], np.cumsum([row.size for row in indices])))
    narrow = all(row.dtype == np.float32 for row in values)
    data = np.concatenate(values).astype(np.float32 if narrow else np.float64, copy=False)
    return sp.csr_array((data, np.concatenate(indices), indptr), shape=(len(targets), count))


def _entries(
    sums: _Sums, table: Table, rows: npt.NDArray[np.int64], target: Target
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """The records that enter a target, ascending, and what each adds to it."""
    try:
        entries = sums.of(target)
    except InputError as fault:
        raise InputError(f"target {target.name!r}: {fault}") from None
    found = entries.values[rows]
    _refuse_missing(found, rows, target, table.what)
    some = np.flatnonzero(found)
    records, added = table.collected(rows[some], found[some])
    narrow = entries.narrow
    if table.record is not None:
        narrow = np.array_equal(added.astype(np.float32), added)
    return records, added.astype(np.float32 if narrow else np.float64, copy=False)


def _refuse_missing(found: npt.NDArray[Any], rows: npt.NDArray[Any], target: Target, whose: str) -> None:
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        lost = rows[np.flatnonzero(~np.isfinite(found))]
        more = f" (and {lost.size - 1:,} more)" if lost.size > 1 else ""
        what = target.count_of or " + ".join(target.sum_of or ())
        raise InputError(
            f"target {target.name!r}: {what} is missing or infinite in row {int(lost[0])}{more} of {whose}; "
            "fill it, or leave such rows out with where"
        )


def _ids_of_index(frame: pd.DataFrame, record_id: str | None) -> tuple[pd.DataFrame, str | None]:
    """The frame with its ids in a column, where no column has them and the index is of that name or of text."""
    wanted = record_id or "record_id"
    named = frame.index.name == wanted or (record_id is None and pd.api.types.infer_dtype(frame.index) == "string")
    if wanted in frame.columns or not named:
        return frame, record_id
    return frame.rename_axis(wanted).reset_index(), wanted


def _tables(
    frame: pd.DataFrame, members: dict[str, pd.DataFrame], targets: Sequence[Target], record_id: str | None
) -> dict[str | None, Table]:
    """The tables that targets add up, by entity; the records have no name."""
    tables: dict[str | None, Table] = {None: Table(frame)}
    for target in targets:
        if target.entity is not None and target.entity not in members:
            have = f"there are {', '.join(map(repr, members))}" if members else "no members are given"
            raise InputError(f"target {target.name!r} adds up {target.entity!r}, but {have}")
    for name, rows in members.items():
        columns = [column for target in targets if target.entity == name for column in target.columns]
        tables[name] = member_table(name, rows, frame, record_id, columns)
    return tables


def microdata_frame(frame: Any, record_id: str | None) -> tuple[pd.DataFrame, str | None]:
    """Microdata with their ids, if they have any, in a column, and its name."""
    frame = as_frame(frame)
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"microdata must be a DataFrame, got {type(frame).__name__}")
    if frame.empty:
        raise InputError(f"the microdata have {len(frame)} rows and {len(frame.columns)} columns: there are no records")
    frame, record_id = _ids_of_index(frame, record_id)
    if frame.columns.has_duplicates:
        raise InputError(f"the microdata have the column {frame.columns[frame.columns.duplicated()][0]!r} twice")
    return frame, "record_id" if record_id is None and "record_id" in frame.columns else record_id


def problem_from_microdata(
    frame: pd.DataFrame,
    targets: Sequence[Target] | pd.DataFrame,
    weight: str | None,
    record_id: str | None,
    members: Mapping[str, pd.DataFrame] | None,
) -> CalibrationProblem:
    """See `CalibrationProblem.from_microdata`."""
    frame, record_id = microdata_frame(frame, record_id)
    declared = targets_of(targets)
    for column, option in ((weight, "weight"), (record_id, "record_id")):
        if column is not None and column not in frame.columns:
            hint = near(column, frame.columns)
            raise InputError(f"the microdata have no column {column!r}; give the right one as {option} ({hint})")
    taken = [column for column in (weight, record_id) if column is not None]
    info = pd.DataFrame([dict(target.info) for target in declared])
    rest = frame.drop(columns=taken)
    return CalibrationProblem(
        _matrix(_tables(frame, members_of(members), declared, record_id), len(frame), declared),
        np.array([target.value for target in declared], dtype=np.float64),
        initial_weights=None if weight is None else frame[weight].to_numpy(),
        target_names=[target.name for target in declared],
        record_ids=None if record_id is None else frame[record_id],
        target_info=info if len(info.columns) else None,
        record_info=rest if len(rest.columns) else None,
        loss_weights=[target.weight for target in declared],
        tolerances=[target.tolerance for target in declared],
    )
