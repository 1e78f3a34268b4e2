"""Totals that should add up and do not: states against the nation, classes against all classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.finding import Finding, grouped
from l0_calibrate.problem.problem import CalibrationProblem

DISAGREE = 1e-3
"""Relative difference above which two totals disagree; published totals are rounded to much less."""

_WHOLE = ("national", "nation", "country")
_ALL = ("all", "total")
_REMEDY = "no weights meet both: rescale the parts, give a tolerance, or leave one side out"


def disagreeing_totals(problem: CalibrationProblem) -> Iterator[Finding]:
    """Findings where parts are all there and do not add up to their whole.

    National against the sum of the states needs ``geography_level`` and ``geography`` in
    ``target_info``; what else describes a target there must be equal. Classes against all classes
    needs names such as ``soi/wages/usd/CA/all`` beside ``soi/wages/usd/CA/agi1``.
    """
    info = problem.target_info
    if info is not None and {"geography_level", "geography"} <= set(info.columns):
        described = [column for column in info.columns if column not in ("geography_level", "geography")]
        if described:
            key = info[described].astype(str).agg("\x00".join, axis=1)
            whole = info["geography_level"].isin(_WHOLE).to_numpy()
            for level in dict.fromkeys(info["geography_level"][~whole]):
                part = (info["geography_level"] == level).to_numpy()
                text = f"the {level} totals do not add up to the national one for " + "{these}"
                yield from _compare(problem, key.to_numpy(), whole, part, "geographies_disagree", text)
    names = pd.Series(problem.target_names, dtype=object).astype(str)
    split = names.str.rsplit("/", n=1)
    stem = split.str[0].where(split.str.len() == 2, "").to_numpy()
    whole = split.str[-1].str.lower().isin(_ALL).to_numpy() & (stem != "")
    part = ~whole & (stem != "")
    text = "the classes do not add up to the total of {these}"
    yield from _compare(problem, stem, whole, part, "classes_disagree", text)


def _compare(
    problem: CalibrationProblem,
    key: npt.NDArray[Any],
    whole: npt.NDArray[np.bool_],
    part: npt.NDArray[np.bool_],
    code: str,
    text: str,
) -> Iterator[Finding]:
    """Within each key, one whole against its parts; sets with fewer parts than the fullest are passed over.

    A set that lacks parts says something only where its parts, none of them negative, exceed the whole.
    """
    frame = pd.DataFrame({"key": key, "value": problem.targets})
    parts = frame[part].groupby("key")["value"].agg(["sum", "size", "min"])
    wholes = frame[whole].groupby("key")["value"].agg(first="first", wholes="size")
    position = pd.Series(np.flatnonzero(whole), index=key[whole])
    both = wholes[wholes["wholes"] == 1].join(parts, how="inner")
    both = both[both["size"] > 1]
    if both.empty:
        return
    full = both["size"] == both["size"].max()
    excess = (both["sum"] - both["first"]) / both["first"].abs().clip(lower=1.0)
    bad = both[np.where(full, excess.abs() > DISAGREE, (excess > DISAGREE) & (both["min"] >= 0))]
    names = [problem.target_names[position[k]] for k in bad.index]
    notes = [
        f"{whole_value:.6g}, its {int(size)} parts {total:.6g}"
        for whole_value, size, total in zip(bad["first"], bad["size"], bad["sum"], strict=True)
    ]
    yield from grouped(code, "warning", names, text, _REMEDY, notes)
