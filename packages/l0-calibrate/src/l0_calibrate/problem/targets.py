"""`Target`: a total that says what it sums or counts, and over which records."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import pandas as pd

from l0_calibrate.problem.conditions import Condition, parse_condition
from l0_calibrate.problem.labels import near
from l0_calibrate.problem.number_text import writing
from l0_calibrate.problem.tables import as_frame
from l0_core import InputError

FIELDS = ("name", "value", "sum_of", "count_of", "where", "entity", "tolerance", "weight")
"""Columns of a table of targets that are fields of `Target`; every other column is info."""

_MISSPELT = 0.86
"""Names so much alike are taken for one: ``were``, ``weights``, ``Where``, but not ``height``."""


@attrs.frozen(init=False, eq=False)
class Target:
    """A total to meet, in the words of the microdata.

    Parameters
    ----------
    name
        Unique among the targets of a problem.
    value
        The total, in the units of what is summed; zero and negative ones are ordinary.
    sum_of
        Column whose amounts are added up, or several that are added to each other first
        (``("people", "elderly")`` or ``"people + elderly"``).
    count_of
        ``"*"`` counts records, a column counts those where it is not zero.
    where
        Which records enter (`l0_calibrate.problem.conditions` has the grammar); all of them where None.
    entity
        The name of a table of members (``members={"person": ...}``) whose rows it adds up instead of the records:
        columns and conditions are those of a row, or of its record where the row has none of that name.
    tolerance
        Relative error that costs nothing.
    weight
        How much the target counts beside others.
    info
        What else describes it, such as ``geography="CA"``: columns of ``target_info``.

    Raises
    ------
    InputError
        Neither or both of ``sum_of`` and ``count_of``, a value that is not finite, a condition outside
        the grammar, info that is named almost as a field is (``were=``); the message starts with the target's name.
    """

    name: str
    value: float
    sum_of: tuple[str, ...] | None
    count_of: str | None
    where: str | None
    entity: str | None
    tolerance: float
    weight: float
    info: Mapping[str, Any]
    condition: Condition | None

    def __init__(
        self,
        /,
        name: str,
        value: float,
        *,
        sum_of: str | Sequence[str] | None = None,
        count_of: str | None = None,
        where: str | None = None,
        entity: str | None = None,
        tolerance: float = 0.0,
        weight: float = 1.0,
        **info: Any,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"a target needs a name of its own, got {name!r}")
        try:
            if (sum_of is None) == (count_of is None):
                have = "neither" if sum_of is None else "both"
                raise InputError(f"give one of sum_of and count_of, it has {have}")
            _refuse_misspelt(info)
            if entity is not None and (not isinstance(entity, str) or not entity.strip()):
                raise InputError(f"entity must be the name of a table of members, got {entity!r}")
            self.__attrs_init__(
                name, _number("value", value), _summed(sum_of), _counted(count_of), where, entity,
                _not_negative("tolerance", tolerance), _not_negative("weight", weight),
                dict(info), None if where is None else parse_condition(where),
            )  # fmt: skip
        except InputError as fault:
            raise InputError(f"target {name!r}: {fault}") from None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it may read, those of ``sum_of`` whole and in parts."""
        summed = [part.strip() for column in self.sum_of or () for part in (column, *column.split("+"))]
        counted = () if self.count_of in (None, "*") else (self.count_of,)
        return (*summed, *counted, *(() if self.condition is None else self.condition.columns))


def _refuse_misspelt(info: Mapping[str, Any]) -> None:
    for name in info:
        meant = _almost(name)
        if meant is not None:
            raise InputError(f"{name!r} is no field: did you mean {meant!r}? Rename it if it only describes the target")


@lru_cache
def _almost(name: str) -> str | None:
    """The field that a name is almost that of; all targets of a table have the same names."""
    return next(iter(difflib.get_close_matches(name.lower(), FIELDS, n=1, cutoff=_MISSPELT)), None)


def _summed(sum_of: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if sum_of is None:
        return None
    columns = (sum_of,) if isinstance(sum_of, str) else tuple(sum_of)
    if not columns or not all(isinstance(column, str) and column.strip() for column in columns):
        raise InputError(f"sum_of must be a column or several, got {sum_of!r}")
    if "*" in columns:
        raise InputError("sum_of='*' adds nothing up; count_of='*' counts the records")
    return columns


def _counted(count_of: str | None) -> str | None:
    if count_of is not None and (not isinstance(count_of, str) or not count_of.strip()):
        raise InputError(f"count_of must be '*' or a column, got {count_of!r}")
    return count_of


def _number(what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a number, got {value!r}{writing(value)}") from None
    if not math.isfinite(number):
        raise InputError(f"{what} must be finite, got {number}")
    return number


def _not_negative(what: str, value: Any) -> float:
    number = _number(what, value)
    if number < 0:
        raise InputError(f"{what} must not be negative, got {number}")
    return number


def targets_of(declared: Sequence[Target] | pd.DataFrame) -> list[Target]:
    """Targets as a list, from `Target` objects or a table with their fields as columns (an empty cell is not given).

    Raises
    ------
    InputError
        There are none, a column is missing, or a row is no target; the message names it.
    """
    declared = as_frame(declared)
    if isinstance(declared, pd.DataFrame):
        targets = _from_table(declared)
    else:
        targets = list(declared)
        odd = next((target for target in targets if not isinstance(target, Target)), None)
        if odd is not None:
            raise InputError(f"targets must be Target objects or a table with their fields as columns, got {odd!r}")
    if not targets:
        raise InputError("there are no targets")
    return targets


def _from_table(table: pd.DataFrame) -> list[Target]:
    for column in ("name", "value"):
        if column not in table.columns:
            raise InputError(f"the table of targets has no column {column!r}; {near(column, table.columns)}")
    if "sum_of" not in table.columns and "count_of" not in table.columns:
        raise InputError("the table of targets has neither a column sum_of nor count_of: nothing says what they add up")
    odd = next((column for column in table.columns if not isinstance(column, str)), None)
    if odd is not None:
        raise InputError(f"the table of targets has the column {odd!r}; columns are named by text")
    columns = [table[column].tolist() for column in table.columns]
    rows = zip(*columns, strict=True)
    return [_from_row(i, dict(zip(table.columns, row, strict=True))) for i, row in enumerate(rows)]


def _from_row(i: int, row: dict[str, Any]) -> Target:
    given = {column: value for column, value in row.items() if column not in FIELDS or not _empty(value)}
    name = given.pop("name", None)
    if name is None:
        raise InputError(f"row {i} of the table of targets has no name")
    if "value" not in given:
        raise InputError(f"target {name!r} (row {i} of the table) has no value; fill it in, or take the row out")
    return Target(str(name), **given)


def _empty(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value) or value == "")
