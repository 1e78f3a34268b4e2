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
from l0_calibrate.solvers.base import Start
from l0_calibrate.watch import Watch
from l0_core import InputError


def calibrate_path(
    problem: CalibrationProblem, counts: Sequence[int], options: Options, *, watch: Watch | None = None
) -> list[CalibrationResult]:
    """One result for each count, largest first to smallest: each count is pruned from the records of the one before.

    The selections are nested and each fit begins at the weights and duals of the one before, so a further
    count costs a few fits on the records kept, not on all. A count chosen on its
    own may be somewhat better, its records being free. A dense bound is made for each count where the options
    ask for one, not by itself: it would cost a fit of all records each time.

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
    never, warm = options.never_keep, None
    options = attrs.evolve(options, dense_bound=bool(options.dense_bound))
    for keep in sorted(counts, reverse=True):
        result = calibrate(
            problem, attrs.evolve(options, keep=keep, share=None, never_keep=never), watch=watch, warm=warm
        )
        results.append(result)
        never = ~result.selection.mask
        w0 = problem.initial_weights
        ratios = np.divide(result.weights, w0, out=np.zeros(w0.size), where=w0 > 0)
        warm = Start(ratios, None if result.dual is None else result.dual * problem.n_targets)
    return results


def path_frame(results: Sequence[CalibrationResult]) -> pd.DataFrame:
    """One row a count: the three numbers that belong together, and the rest of the diagnostics."""
    frame = pd.DataFrame([attrs.asdict(result.diagnostics) for result in results])
    frame.insert(0, "keep", frame.pop("kept"))
    frame["gap"] = [np.nan if result.gap is None else result.gap for result in results]
    frame["status"] = [result.status for result in results]
    frame["seconds"] = [result.timings.get("total", np.nan) for result in results]
    return frame.sort_values("keep", ignore_index=True)
