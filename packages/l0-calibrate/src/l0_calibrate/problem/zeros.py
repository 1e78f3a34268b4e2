"""Targets of 0: often a total that is not known, and met by nobody but records without weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.problem.problem import CalibrationProblem


def emptying(problem: CalibrationProblem) -> npt.NDArray[np.int64]:
    """Positions of the targets of 0 that count and that only records without weight meet.

    They have no tolerance, and their entries have one sign where records have an initial weight.
    """
    zero = np.flatnonzero((problem.targets == 0) & (problem.loss_weights > 0) & (problem.tolerances == 0))
    if not zero.size:
        return zero
    rows = problem.matrix[zero]
    weighed = rows.data.astype(np.float64) * problem.initial_weights[rows.indices]
    row = np.repeat(np.arange(zero.size), np.diff(rows.indptr))
    above, below = (np.bincount(row[of], minlength=zero.size) > 0 for of in (weighed > 0, weighed < 0))
    emptied: npt.NDArray[np.int64] = zero[above != below]
    return emptied
