"""How far estimates are from targets, and how many are close."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.microcalibrate.matrices import record_columns
from l0_core import InputError
from l0_core.real_numbers import real_array

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]


def vector(values: Any, name: str, length: int | None = None) -> FloatArray:
    """The values as finite float64 of shape (length,), or InputError that names the first bad one."""
    array = real_array(values, name).astype(np.float64, copy=False)
    if array.ndim != 1 or (length is not None and array.size != length):
        wanted = "one-dimensional" if length is None else f"of shape ({length},)"
        raise InputError(f"{name} must be {wanted}, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(f"{name}[{int(bad[0])}] is {array[bad[0]]}; every value must be finite")
    return array


def evaluate_estimate_distance_to_targets(
    targets: Any,
    estimates: Any,
    tolerances: Any,
    target_names: list[str] | None = None,
    raise_on_error: bool = False,
) -> pd.DataFrame:
    """Distances of estimates from targets against tolerances, all in the unit of the target.

    Parameters
    ----------
    targets, estimates, tolerances
        Shape (targets,).
    target_names
        Names of the rows; numbers by default.
    raise_on_error
        Raise where a target is outside its tolerance, instead of telling it in the frame alone.

    Returns
    -------
    pandas.DataFrame
        ``target_names``, ``distances``, ``tolerances``, ``within_tolerance``.

    Raises
    ------
    ValueError
        With ``raise_on_error``, naming the targets outside; InputError for shapes that do not fit.
    """
    goal = vector(targets, "targets")
    found = vector(estimates, "estimates", goal.size)
    allowed = vector(tolerances, "tolerances", goal.size)
    names = [f"target_{i}" for i in range(goal.size)] if target_names is None else list(target_names)
    if len(names) != goal.size:
        raise InputError(f"there are {goal.size} targets and {len(names)} target_names")
    distances = np.abs(found - goal)
    within = distances <= allowed
    outside = [name for name, ok in zip(names, within, strict=True) if not ok]
    if outside and raise_on_error:
        more = f" and {len(outside) - 5} more" if len(outside) > 5 else ""
        raise ValueError(
            f"{len(outside)} target(s) are outside their tolerance levels: {', '.join(map(str, outside[:5]))}{more}"
        )
    return pd.DataFrame(
        {"target_names": names, "distances": distances, "tolerances": allowed, "within_tolerance": within}
    )


def evaluate_sparse_weights(
    optimised_weights: Any,
    estimate_matrix: Any,
    targets_array: Any,
    label: str = "L0 Sparse Weights",
) -> float:
    """The percentage of targets, 0 to 100, that the weights meet to within 10 %.

    Parameters
    ----------
    optimised_weights
        Shape (records,).
    estimate_matrix
        Shape (records, targets): ndarray, tensor, DataFrame or scipy sparse.
    targets_array
        Shape (targets,).
    label
        What the log calls the weights.
    """
    from l0_calibrate.microcalibrate.metrics import pct_close

    columns = record_columns(estimate_matrix)
    weights = vector(optimised_weights, "optimised_weights", columns.shape[1])
    targets = vector(targets_array, "targets_array", columns.shape[0])
    percentage = 100.0 * pct_close(columns @ weights, targets)
    kept = int(np.count_nonzero(weights))
    _log.info("%s: %d of %d weights are not zero, %.2f%% of targets within 10%%", label, kept, weights.size, percentage)
    return percentage
