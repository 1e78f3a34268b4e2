"""Areas of the records, coarse to fine (states, districts): they say how the targets fall into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.options import Options
    from l0_calibrate.problem import CalibrationProblem

IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Areas:
    """``numbers`` of shape (levels, records): from 0, coarse to fine, each area within one of the level above it."""

    numbers: IntArray


def area_numbers(problem: CalibrationProblem, options: Options) -> Areas | None:
    """The areas of ``options.areas``, numbered in order of appearance.

    An area is what its labels on its level and all above say together: districts may be numbered anew in each state,
    and one label in two states is two areas.

    Raises
    ------
    InputError
        Not one label for each record on each level, or a record without one.
    """
    if options.areas is None:
        return None
    if options.areas.ndim != 2 or options.areas.shape[0] != problem.n_records or not options.areas.shape[1]:
        raise InputError(
            f"areas must have one label for each of the {problem.n_records} records, shape ({problem.n_records},), or "
            f"one for each level, coarse to fine, shape ({problem.n_records}, levels); got shape {options.areas.shape}"
        )
    missing = pd.isna(options.areas) | (options.areas.astype(object) == "")
    if missing.any():
        record, level = (int(k) for k in np.argwhere(missing)[0])
        where = f" on level {level + 1}" if options.areas.shape[1] > 1 else ""
        raise InputError(f"record {problem.record_ids[record]} has no area{where}; give every record one")
    numbers = np.zeros((options.areas.shape[1] + 1, problem.n_records), dtype=np.int64)
    for level, labels in enumerate(options.areas.T):
        codes, found = pd.factorize(labels)
        numbers[level + 1] = pd.factorize(numbers[level] * len(found) + codes)[0]
    return Areas(numbers[1:])
