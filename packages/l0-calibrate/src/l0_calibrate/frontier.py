"""The frontier: what each number of records costs, along one path of nested selections."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.calibrate import calibrate
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.watch import Watch
from l0_core import InputError


def calibrate_path(
    problem: CalibrationProblem, counts: Sequence[int], options: Options, *, watch: Watch | None = None
) -> list[CalibrationResult]:
    """One result for each count, largest first to smallest: each count is pruned from the records of the one before.

    The selections are nested, so each step begins with as many records as the one before kept.

    Raises
    ------
    InputError
        No count, a count twice, or one outside 1..records.
    """
    if not counts:
        raise InputError("give at least one number of records to keep")
    if len(set(counts)) != len(counts):
        raise InputError(f"a number of records appears twice in {list(counts)}")
    results: list[CalibrationResult] = []
    never = options.never_keep
    for keep in sorted(counts, reverse=True):
        result = calibrate(problem, attrs.evolve(options, keep=keep, share=None, never_keep=never), watch=watch)
        results.append(result)
        never = ~result.selection.mask
    return results


def path_frame(results: Sequence[CalibrationResult]) -> pd.DataFrame:
    """One row a count: the three numbers that belong together, and the rest of the diagnostics."""
    frame = pd.DataFrame([attrs.asdict(result.diagnostics) for result in results])
    frame.insert(0, "keep", frame.pop("kept"))
    frame["gap"] = [np.nan if result.gap is None else result.gap for result in results]
    frame["status"] = [result.status for result in results]
    frame["seconds"] = [result.timings.get("total", np.nan) for result in results]
    return frame.sort_values("keep", ignore_index=True)
