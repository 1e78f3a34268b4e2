"""Text where numbers should be: which value it is, and what is wrong with how it is written."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

_MARKED = re.compile(r"\D{0,3}\d[\d., '_\u00a0\u202f]*\D{0,3}")
"""Digits with marks between them, perhaps a unit before or behind."""


def first_text(values: Any) -> str | None:
    """The first value that is no number, with its position and how to write it; None where no text is to blame."""
    series = pd.Series(values).reset_index(drop=True)
    odd = series[pd.to_numeric(series, errors="coerce").isna() & series.notna()]
    if odd.empty:
        return "it holds numbers as text; convert it to numbers" if _is_text(series) else None
    more = f" (and {len(odd) - 1:,} more)" if len(odd) > 1 else ""
    return f"row {odd.index[0]} is {odd.iloc[0]!r}{more}{writing(odd.iloc[0])}"


def _is_text(series: pd.Series) -> bool:
    return bool(series.map(lambda value: isinstance(value, str)).any())


def writing(value: Any) -> str:
    """What to say to text that is a number in another form of writing; nothing to other text."""
    if isinstance(value, str) and _MARKED.fullmatch(value.strip()) and re.search(r"[^\d.+-]", value.strip()):
        return ": write numbers with a decimal point, without separators of thousands and units"
    return ""
