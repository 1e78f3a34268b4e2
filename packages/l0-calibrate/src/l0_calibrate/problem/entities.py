"""Tables that targets add up: the records themselves, and what they consist of, such as the persons of households."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.labels import naming
from l0_calibrate.problem.tables import as_frame
from l0_core import InputError

IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Table:
    """Rows with columns, and the position of the record that each belongs to (None: the rows are the records)."""

    frame: pd.DataFrame
    record: IntArray | None = None
    what: str = "the microdata"

    def collected(self, rows: IntArray, values: npt.NDArray[Any]) -> tuple[IntArray, npt.NDArray[Any]]:
        """Records ascending, and the sum of the values of some rows (ascending) of each."""
        if self.record is None:
            return rows, values
        records, place = np.unique(self.record[rows], return_inverse=True)
        return records, np.bincount(place, values, minlength=records.size)


def member_table(
    name: str, members: pd.DataFrame, records: pd.DataFrame, record_id: str | None, columns: Iterable[str]
) -> Table:
    """The rows of ``members`` by the record whose id they bear.

    Parameters
    ----------
    columns
        Those that targets read: of these a row has its record's where the members have none of that name.

    Raises
    ------
    InputError
        The ids are missing or belong to no record; the message names the table, the row and the id.
    """
    what = f"members {name!r}"
    members = as_frame(members)
    if not isinstance(members, pd.DataFrame):
        raise InputError(f"{what} must be a DataFrame, got {type(members).__name__}")
    if record_id is None:
        raise InputError(
            f"{what} belong to records by their ids: the microdata need a column record_id, or record_id= to name it"
        )
    if members.columns.has_duplicates:
        raise InputError(f"{what} have the column {members.columns[members.columns.duplicated()][0]!r} twice")
    if record_id not in members.columns:
        have = naming(members.columns)
        raise InputError(f"{what} have no column {record_id!r} that says whose they are; they have {have}")
    ids = pd.Index(records[record_id])
    if ids.has_duplicates:
        raise InputError(f"the id {ids[ids.duplicated()][0]!r} is that of several records: members could belong to any")
    record = ids.get_indexer(pd.Index(members[record_id])).astype(np.int64)
    lost = np.flatnonzero(record < 0)
    if lost.size:
        first = members[record_id].iloc[int(lost[0])]
        raise InputError(
            f"{lost.size:,} of the {len(members):,} rows of {what} belong to no record of the microdata "
            f"(the first is row {int(lost[0])}, {record_id} {first!r}); leave them out, or write ids alike in both"
        )
    lent = [column for column in dict.fromkeys(columns) if column in records and column not in members]
    return Table(members.assign(**{column: records[column].array.take(record) for column in lent}), record, what)


def members_of(members: Mapping[str, pd.DataFrame] | None) -> dict[str, pd.DataFrame]:
    """Tables by name; InputError where a name is none."""
    odd = next((name for name in members or {} if not isinstance(name, str) or not name.strip()), None)
    if odd is not None:
        raise InputError(f"members need a name, such as 'person', got {odd!r}")
    return dict(members or {})
