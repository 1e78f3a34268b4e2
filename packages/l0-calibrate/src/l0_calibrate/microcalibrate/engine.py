"""The face over the one way through: `l0_calibrate.calibrate` with microcalibrate's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from l0_calibrate.microcalibrate.targets import NamedTargets
from l0_calibrate.microcalibrate.training import History

if TYPE_CHECKING:
    from l0_calibrate.result.result import CalibrationResult

FloatArray = npt.NDArray[np.float64]


def solve_with_engine(
    columns: Any, named: NamedTargets, weights: FloatArray, options: dict[str, Any]
) -> tuple[CalibrationResult, History]:
    """The result for the included targets, and a history of two entries: before and after.

    Parameters
    ----------
    columns
        Shape (all targets, records), sparse.
    weights
        Shape (records,), the weights before.
    options
        Fields of `l0_calibrate.Options`.
    """
    from l0_calibrate.calibrate import calibrate
    from l0_calibrate.problem import CalibrationProblem

    included = named.included
    factor = named.factor[included]
    problem = CalibrationProblem(
        columns[included],
        named.values[included],
        initial_weights=weights,
        target_names=list(map(str, named.names[included])),
        **({"loss_weights": factor} if (factor != 1.0).any() else {}),
    )
    result = calibrate(problem, **options)
    history = History()
    for epoch, each in enumerate((weights, result.weights)):
        loss = float(problem.loss_weights @ np.abs(problem.relative_errors(each))) / factor.size
        history.add(epoch, loss, columns @ each)
    return result, history
