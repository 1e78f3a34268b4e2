"""A table of totals to fill in: one for each cell of the margins that a survey is to meet.

As ReGenesees' ``pop.template`` and svy's ``control_aux_template`` do; `CalibrationProblem.from_microdata` takes the
table when its values are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.problem.conditions import KEYWORDS
from l0_calibrate.problem.entities import member_table, members_of
from l0_calibrate.problem.labels import near
from l0_calibrate.problem.microdata import microdata_frame, problem_from_microdata
from l0_calibrate.problem.targets import FIELDS, Target
from l0_core import InputError

NOW, ROWS = "microdata_total", "microdata_records"
_OWN = (*FIELDS, NOW, ROWS)

_FEW = 100
"""Cells of a margin; more than these, and more than half of the rows, are those of an amount or of ids."""
_PLAIN = re.compile(r"[^\W\d]\w*")


@attrs.frozen
class _Measure:
    """What totals add up: a sum of a column, or a count."""

    column: str
    is_sum: bool

    @property
    def name(self) -> str:
        """What the names of its totals begin with."""
        if self.is_sum:
            return self.column
        return "count" if self.column == "*" else f"count of {self.column}"

    @property
    def fields(self) -> dict[str, Any]:
        """Of a `Target`."""
        return {"sum_of" if self.is_sum else "count_of": self.column}


def target_template(
    frame: pd.DataFrame,
    margins: Iterable[Sequence[str] | str] = (),
    *,
    sums: Sequence[str] = (),
    counts: Sequence[str] = (),
    overall: bool = False,
    entity: str | None = None,
    weight: str | None = "initial_weight",
    record_id: str | None = None,
    members: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """A table of declared targets without values, one for each cell of each margin.

    Parameters
    ----------
    frame
        Microdata, one row a record.
    margins
        A column or several that are crossed; a total is wanted for each of their values that there is. None of them:
        one total over all records.
    sums, counts
        Columns to add up, and to count where they are not zero (``"*"``: records). With neither, records are counted.
    overall
        The totals over all records as well.
    entity
        The table of ``members`` whose rows are added up.
    weight, record_id, members
        As in `CalibrationProblem.from_microdata`.

    Returns
    -------
    Columns ``name``, ``value`` (to be filled in), ``sum_of``, ``count_of``, ``where``, ``entity`` where it is given,
    the columns of the margins, and for comparison ``microdata_total``, what the initial weights come to now, and
    ``microdata_records``, how many records enter.

    Raises
    ------
    InputError
        A column is missing, has missing values, is called as a column of the table is, or has too many values for a
        margin; a margin is given twice.
    """
    frame, record_id = microdata_frame(frame, record_id)
    wanted = [(margin,) if isinstance(margin, str) else tuple(margin) for margin in margins]
    for k, margin in enumerate(wanted):
        if not margin or len(set(margin)) < len(margin):
            raise InputError(f"a margin is a column or several different ones, got {margin}")
        if set(margin) in [set(other) for other in wanted[:k]]:
            raise InputError(f"the margin {','.join(margin)} is given twice")
    columns = list(dict.fromkeys(column for margin in wanted for column in margin))
    taken = next((column for column in columns if column in _OWN), None)
    if taken is not None:
        raise InputError(f"a margin of {taken!r} would stand for a column of the table of targets; rename it")
    measures = [_Measure(column, True) for column in sums] + [_Measure(column, False) for column in counts]
    rows = _rows(frame, entity, members_of(members), record_id, columns)
    targets = [
        Target(
            f"{measure.name}/{_said(cell)}" if cell else measure.name, 0.0, where=_condition(cell), entity=entity,
            **measure.fields, **cell,
        )
        for margin in [()] * (overall or not wanted) + wanted
        for measure in measures or [_Measure("*", False)]
        for cell in _cells(rows, margin)
    ]  # fmt: skip
    problem = problem_from_microdata(frame, targets, weight, record_id, members)
    table = pd.DataFrame(
        {
            "name": [target.name for target in targets],
            "value": np.nan,
            "sum_of": [None if target.sum_of is None else target.sum_of[0] for target in targets],
            "count_of": [target.count_of for target in targets],
            "where": [target.where for target in targets],
        }
    )
    if entity is not None:
        table["entity"] = entity
    for column in columns:
        table[column] = pd.Series([target.info.get(column) for target in targets], dtype=object)
    table[NOW] = problem.estimates(problem.initial_weights)
    table[ROWS] = np.diff(problem.matrix.indptr)
    return table


def _rows(
    frame: pd.DataFrame,
    entity: str | None,
    members: Mapping[str, pd.DataFrame],
    record_id: str | None,
    columns: Sequence[str],
) -> pd.DataFrame:
    """What is added up, with the columns of the margins."""
    what = "the microdata"
    if entity is not None:
        if entity not in members:
            have = f"there are {', '.join(map(repr, members))}" if members else "no members are given"
            raise InputError(f"the totals add up {entity!r}, but {have}")
        table = member_table(entity, members[entity], frame, record_id, columns)
        frame, what = table.frame, table.what
    for column in columns:
        if column not in frame.columns:
            raise InputError(f"{what} have no column {column!r}; {near(column, frame.columns)}")
        lost = np.flatnonzero(frame[column].isna())
        if lost.size:
            raise InputError(
                f"column {column!r} is missing in row {int(lost[0])} (and {lost.size - 1:,} more) of {what}: such rows "
                "would enter no total; fill it, with a code of its own, say"
            )
    return frame


def _cells(rows: pd.DataFrame, margin: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The values that there are of some columns together, ascending."""
    if not margin:
        yield {}
        return
    values = rows[list(margin)].drop_duplicates()
    if len(values) > max(_FEW, len(rows) // 2):
        raise InputError(
            f"{' x '.join(margin)} has {len(values):,} cells of {len(rows):,} rows: totals of one row each; "
            "put amounts into classes first"
        )
    try:
        ordered = values.astype(object).sort_values(list(margin))
    except TypeError:
        raise InputError(f"{' x '.join(margin)} has values of several kinds; write them alike") from None
    for row in ordered.itertuples(index=False, name=None):
        yield {column: _plain(column, value) for column, value in zip(margin, row, strict=True)}


def _plain(column: str, value: Any) -> Any:
    """A value as a condition can be written of it."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool | int | str):
        return plain
    if isinstance(plain, float):
        return int(plain) if plain.is_integer() else plain
    raise InputError(f"column {column!r} has {plain!r}: margins are of text, numbers, or true and false")


def _said(cell: Mapping[str, Any]) -> str:
    return ",".join(f"{column}={value}" for column, value in cell.items())


def _condition(cell: Mapping[str, Any]) -> str | None:
    """The condition that is true in a cell."""
    return " and ".join(_test(column, value) for column, value in cell.items()) or None


def _test(column: str, value: Any) -> str:
    if "`" in column:
        raise InputError(f"column {column!r} cannot stand in a condition; rename it")
    name = column if _PLAIN.fullmatch(column) and column not in KEYWORDS else f"`{column}`"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name} == '{escaped}'"
    return f"{name} == {value!r}"
