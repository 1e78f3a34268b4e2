"""Names of targets and ids of records: what they may be, and that each stands for one thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_core import InputError
from l0_core.whole_numbers import is_whole

Labels = npt.NDArray[Any]

_EXACT_WHOLE = 2.0**53
"""Whole numbers up to here are exact in float64."""


def places_of(
    records: Labels, ids: Labels, source: str, what: str, remedy: str = "", *, some: bool = False
) -> npt.NDArray[np.intp]:
    """Where each record of a problem stands among other ids, shape (records,); all are there, and no others.

    With ``some`` it is enough if some are there; the place of the others is -1.

    Raises
    ------
    InputError
        The kinds of ids differ, or some are on one side only; ``source`` has the ids and a ``what`` for each.
    """
    if ids.dtype != records.dtype:
        kinds = ["whole numbers" if labels.dtype.kind == "i" else "text" for labels in (ids, records)]
        raise InputError(f"{source}: record ids are {kinds[0]}, those of the problem {kinds[1]}; write them alike")
    places: npt.NDArray[np.intp] = pd.Index(ids).get_indexer(pd.Index(records))
    absent = records[places < 0]
    if absent.size and not some:
        raise InputError(f"{source} has no {what} for {absent.size:,} records of the problem: {naming(absent)}{remedy}")
    if ids.size > places.size - absent.size:
        unknown = ids[pd.Index(records).get_indexer(pd.Index(ids)) < 0]
        raise InputError(f"{source} has {unknown.size:,} records that the problem does not have: {naming(unknown)}")
    return places


def frozen_labels(values: Any, count: int, what: str) -> Labels:
    """Labels as a read-only array: int64 where they are whole numbers, objects of type str where they are text.

    Parameters
    ----------
    values
        Whole numbers (also as floats, which is how some programs write them) or text, shape (count,).
    what
        What one label is called in messages, such as ``"record id"``.

    Raises
    ------
    InputError
        A missing, duplicate or mixed label, or a wrong number of them.
    """
    refuse_masked(values, f"{what}s")
    if isinstance(values, (list, tuple)) and any(isinstance(value, str) for value in values):
        values = np.array(values, dtype=object)  # without it NumPy turns 1 beside "2" into text
    array = values.to_numpy() if isinstance(values, (pd.Series, pd.Index)) else np.asarray(values)
    if array.ndim != 1 or array.size != count:
        raise InputError(f"there must be one {what} for each of the {count}, got shape {array.shape}")
    missing = np.flatnonzero(pd.isna(array) | _blank(array))
    if missing.size:
        raise InputError(f"{what} at position {int(missing[0])} is missing; every one needs its own")
    array = _whole_or_text(array, what)
    index = pd.Index(array)
    if index.has_duplicates:
        first = array[int(np.flatnonzero(index.duplicated())[0])]
        where = np.flatnonzero(array == first)[:2].tolist()
        raise InputError(
            f"{what} {shown(first)} appears more than once (positions {where[0]} and {where[1]}); make them unique"
        )
    array.setflags(write=False)
    return array


def _blank(array: Labels) -> npt.NDArray[np.bool_]:
    """Which are empty text, shape (count,); a cell may be anything, a list of a nested column too."""
    if array.dtype.kind == "O":
        return np.fromiter((isinstance(value, str) and not value for value in array), bool, array.size)
    return np.asarray(array == "") if array.dtype.kind == "U" else np.zeros(array.size, bool)


def _whole_or_text(array: Labels, what: str) -> Labels:
    if array.dtype.kind in "iu":
        if array.size and array.dtype.kind == "u" and int(array.max()) > np.iinfo(np.int64).max:
            raise InputError(f"{what} {int(array.max())} does not fit 64 bits; hand them in as text")
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        broken = np.flatnonzero((array != np.floor(array)) | (np.abs(array) > _EXACT_WHOLE))
        if broken.size:
            raise InputError(
                f"{what} {float(array[broken[0]])} at position {int(broken[0])} is not a whole number; "
                "use whole numbers or text"
            )
        return array.astype(np.int64)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "O":
        kinds = {_kind(value) for value in array}
        if kinds == {"text"}:
            return np.array([str(value) for value in array], dtype=object)
        if kinds == {"whole"}:
            return np.array([int(value) for value in array], dtype=np.int64)
        if kinds <= {"text", "whole"} and kinds:
            raise InputError(f"{what}s mix whole numbers and text; make them all of one kind")
    raise InputError(f"{what}s must be whole numbers or text, got dtype {array.dtype}")


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    if is_whole(value):
        return "whole"
    return "other"


def own_labels(index: pd.Index) -> pd.Index | None:
    """The index, or None where it only counts 0, 1, 2, ... and so names nothing."""
    counts = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    return None if counts else index


def refuse_other_order(values: Any, labels: Labels, what: str, of: str = "the matrix") -> None:
    """InputError where a Series or DataFrame is labelled by other text, or in another order: rows would be misplaced.

    ``labels`` are those of ``of``. An index of whole numbers that are not the labels is the row numbers of some table,
    and says nothing.
    """
    if not isinstance(values, (pd.Series, pd.DataFrame)) or own_labels(values.index) is None:
        return
    index, own = pd.Index(labels), values.index
    if len(own) != labels.size or own.equals(index):
        return
    if own.isin(index).all() and not own.has_duplicates:
        raise InputError(f"{what} is indexed by the same labels as {of} in another order; reindex it first")
    text = pd.api.types.infer_dtype(own) == "string"
    if text and labels.dtype.kind == "O":
        i = int(np.flatnonzero(own != index)[0])
        raise InputError(
            f"{what} is indexed by other labels than {of} (position {i}: {own[i]!r} and {labels[i]!r}); "
            "reindex it, or reset its index if the order is right"
        )


def refuse_masked(values: Any, what: str) -> None:
    """InputError on a NumPy masked array with something masked: what lies under the mask would count."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{what} has masked entries; fill them first (numpy.ma.filled)")


def shown(label: Any) -> str:
    """A label for a message: text in quotes, numbers as they are (NumPy would say ``np.int64(7)``)."""
    return repr(str(label)) if isinstance(label, str) else str(label)


def naming(labels: Iterable[Any], most: int = 5) -> str:
    """The first few labels for a message, and how many more there are."""
    listed = [str(label) for label in labels]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def likely(name: str, known: Sequence[str]) -> str:
    """The known names that are spelt much like one that is unknown, the likest first; empty where none is."""
    return " or ".join(repr(close) for close in difflib.get_close_matches(name, known, n=3))


def meant(name: str, known: Sequence[str]) -> str:
    """The same as a question in brackets, to stand behind the unknown name."""
    close = likely(name, known)
    return f" (did you mean {close}?)" if close else ""


def near(name: str, known: Iterable[Any]) -> str:
    """Which of the known names may have been meant, for a message; all of them where there are few."""
    names = [str(k) for k in known]
    close = likely(name, names)
    if close:
        return f"did you mean {close}?"
    return f"there are: {naming(names, 20)}" if names else "there are none"
