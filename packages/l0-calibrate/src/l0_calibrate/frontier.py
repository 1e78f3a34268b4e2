"""The frontier: what each number of records costs, along one path of nested selections."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.budgeted import Fitted
from l0_calibrate.calibrate import calibrate_within
from l0_calibrate.constraints import bounds_of
from l0_calibrate.ess_bound import check_ess
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.selectors.records import refuse_fewer_than_must
from l0_calibrate.time_shares import Shares
from l0_calibrate.watch import Watch, unwatched
from l0_core import InputError


def calibrate_path(
    problem: CalibrationProblem, counts: Sequence[int], options: Options, *, watch: Watch | None = None
) -> list[CalibrationResult]:
    """One result for each count, largest first to smallest: each count is pruned from the records of the one before.

    The selections are nested. A further count needs no first fit, as the one before is its fit on all records that
    are left: records are dropped from there in short steps, and the weights fitted again. A count chosen on its own
    may be somewhat better or worse, its records being free. Other selectors than `prune` and `exchange` choose anew,
    among the records that are left. A dense bound is made for each count where the options ask for one, not by
    itself: it would cost a fit of all records each time. ``keep`` and ``share`` of the options are not used; they need
    one where they have flags or groups of records, such as the largest count. Of a time limit each count gets an equal
    part of what is left.

    Raises
    ------
    InputError
        No count, a count twice, or one outside 1..records.
    """
    counts = list(counts)
    if not counts:
        raise InputError("give at least one number of records to keep")
    options = options.on(problem)
    for keep in counts:
        of_count = attrs.evolve(options, keep=keep, share=None)
        if of_count.budget(problem.n_records) is None:
            raise InputError(f"keep must be a whole number of at least 1, got {keep}")
        try:
            check_ess(problem, of_count, bounds_of(problem, of_count))
        except InputError as error:
            raise InputError(f"keep={keep}: {error}") from error
        if options.must_keep is not None:
            refuse_fewer_than_must(keep, options.must_keep)
    if len(set(counts)) != len(counts):
        raise InputError(f"a number of records appears twice in {counts}")
    options = attrs.evolve(options, dense_bound=bool(options.dense_bound))
    results: list[CalibrationResult] = []
    larger: Fitted | None = None
    clock = Shares(options.time_limit, len(counts))
    for keep in sorted(counts, reverse=True):
        how = attrs.evolve(options, time_limit=clock.following())
        try:
            larger = calibrate_within(problem, keep, how, larger, watch or unwatched)
        except InputError as error:
            raise InputError(f"keep={keep}: {error}") from error
        results.append(larger.result)
    return results


def path_frame(results: Sequence[CalibrationResult]) -> pd.DataFrame:
    """One row a count: the three numbers that belong together, and the rest of the diagnostics."""
    frame = pd.DataFrame([attrs.asdict(result.diagnostics) for result in results])
    frame.insert(0, "keep", frame.pop("kept"))
    frame["gap"] = [np.nan if result.gap is None else result.gap for result in results]
    frame["status"] = [result.status for result in results]
    frame["seconds"] = [result.timings.get("total", np.nan) for result in results]
    return frame.sort_values("keep", ignore_index=True)
