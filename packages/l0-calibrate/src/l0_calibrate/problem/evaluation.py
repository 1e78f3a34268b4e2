"""Conditions evaluated on the columns of a table, each part once."""

from __future__ import annotations

import operator
from collections import OrderedDict
from typing import Any as Value

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.conditions import All, Any, Column, Comparison, Condition, Constant, Membership, Node, Not
from l0_calibrate.problem.labels import likely, near
from l0_core import InputError

Mask = npt.NDArray[np.bool_]

_SIGNS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_REMEMBERED = 1 << 28
"""Bytes of results of single tests that are kept: tables of targets repeat the same few ("state == 'CA'")."""


@attrs.frozen(eq=False)
class _Values:
    """A column as an array of one kind: number, truth value, or text as positions in ``texts``."""

    kind: str
    array: npt.NDArray[Value]
    texts: dict[str, int]


class Evaluator:
    """Evaluates conditions on one table.

    Missing values are not guessed at: a condition that reads a column with one is refused, whatever
    the record, because a comparison with nothing is neither true nor false.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._columns: dict[str, _Values] = {}
        self._masks: OrderedDict[Node, Mask] = OrderedDict()

    def mask(self, condition: Condition) -> Mask:
        """Shape (rows,), True where the condition holds.

        Raises
        ------
        InputError
            An unknown column, a column with missing values, a comparison of text with numbers.
        """
        return self._evaluate(condition.root, condition)

    def _evaluate(self, node: Node, condition: Condition) -> Mask:
        if isinstance(node, Not):
            return ~self._evaluate(node.inner, condition)
        if isinstance(node, All | Any):
            combine = np.logical_and if isinstance(node, All) else np.logical_or
            out = self._evaluate(node.parts[0], condition).copy()
            for part in node.parts[1:]:
                combine(out, self._evaluate(part, condition), out=out)
            return out
        if node in self._masks:
            self._masks.move_to_end(node)
            return self._masks[node]
        mask = self._test(node, condition)
        self._masks[node] = mask
        if len(self._masks) * len(self._frame) > _REMEMBERED:
            self._masks.popitem(last=False)
        return mask

    def _test(self, node: Column | Comparison | Membership, condition: Condition) -> Mask:
        if isinstance(node, Column):
            values = self._column(node, condition)
            if values.kind != "truth value":
                condition.fail(
                    f"column {node.name!r} holds {_plural(values.kind)}; compare it with something", node.position
                )
            return values.array
        if isinstance(node, Membership):
            values = self._column(node.column, condition)
            wanted = [self._constant(values, constant, node.column.name, condition) for constant in node.values]
            return np.isin(values.array, wanted)
        return self._compare(node, condition)

    def _compare(self, node: Comparison, condition: Condition) -> Mask:
        left, right = node.left, node.right
        sides: list[Value] = []
        kinds = set()
        for side, other in ((left, right), (right, left)):
            if isinstance(side, Column):
                values = self._column(side, condition)
                kinds.add(values.kind)
                sides.append(values.array)
            else:
                assert isinstance(other, Column)  # the grammar has a column on one side
                sides.append(self._constant(self._column(other, condition), side, other.name, condition))
        if len(kinds) > 1:
            condition.fail(f"columns of {' and '.join(_plural(kind) for kind in sorted(kinds))} differ", node.position)
        if kinds != {"number"} and node.sign not in ("==", "!="):
            condition.fail(f"there is no order of {_plural(kinds.pop())} here; use ==, != or in", node.position)
        if kinds == {"text"} and isinstance(left, Column) and isinstance(right, Column):
            sides = [self._frame[side.name].astype(object).to_numpy() for side in (left, right)]
        return np.asarray(_SIGNS[node.sign](*sides), dtype=bool)

    def _constant(self, values: _Values, constant: Constant, name: str, condition: Condition) -> Value:
        """A constant in the terms of the column that it is compared with; -1 for a text that is not there."""
        value = constant.value
        kind = "truth value" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        if kind != values.kind:
            condition.fail(f"column {name!r} holds {_plural(values.kind)}, {value!r} is a {kind}", constant.position)
        return values.texts.get(value, -1) if isinstance(value, str) else value

    def _column(self, column: Column, condition: Condition) -> _Values:
        if column.name not in self._columns:
            if column.name not in self._frame.columns:
                names = [str(known) for known in self._frame.columns]
                is_slip = bool(likely(column.name, names))
                quotes = "" if is_slip else f"; if a text is meant, write it in quotes: '{column.name}'"
                condition.fail(
                    f"there is no column {column.name!r}; {near(column.name, names)}{quotes}", column.position
                )
            series = self._frame[column.name]
            missing = np.flatnonzero(series.isna().to_numpy())
            if missing.size:
                condition.fail(
                    f"column {column.name!r} has {missing.size:,} missing values (the first in row {int(missing[0])}); "
                    "fill them before they are compared",
                    column.position,
                )
            self._columns[column.name] = _values(series, column.name)
        return self._columns[column.name]


def _plural(kind: str) -> str:
    return kind if kind == "text" else f"{kind}s"


def _values(series: pd.Series, name: str) -> _Values:
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return _Values("truth value", series.to_numpy(dtype=bool), {})
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_float_dtype(dtype):
        return _Values("number", series.to_numpy(dtype=getattr(dtype, "numpy_dtype", dtype)), {})
    codes, texts = pd.factorize(series.astype(object))
    odd = next((text for text in texts if not isinstance(text, str)), None)
    if odd is not None:
        if all(isinstance(text, bool | np.bool_) for text in texts):
            return _Values("truth value", series.to_numpy(dtype=bool), {})
        raise InputError(
            f"column {name!r} of dtype {dtype} cannot be compared: it holds {odd!r}; "
            "conditions know numbers, text and truth values; make a column of one of them (of a date its year, or text)"
        )
    return _Values("text", codes, {text: code for code, text in enumerate(texts)})
