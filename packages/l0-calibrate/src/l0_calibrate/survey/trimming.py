"""Trimming: weights cut off at bounds, and what is cut off spread over the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_calibrate.problem.labels import refuse_other_order
from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.survey.sample import finite, labels_of
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-12
"""Relative: sums of bounds that miss the sum of the weights by less meet it."""
_HALVINGS = 60


def trim_weights(
    weights: Any, lower: Any = 0.0, upper: Any = np.inf, *, max_design_effect: float | None = None
) -> FloatArray:
    """Weights cut off at bounds, with the same sum: what is cut off goes to the weights in between, in proportion.

    ``clip(c w, lower, upper)`` with the c that keeps the sum, so that no weight that was spread on goes beyond a bound
    in turn (the strict trimming of Potter 1990, "A study of procedures to identify and trim extreme sampling weights").
    Trimmed weights no longer meet the totals that they were calibrated to: `survey_calibrate` with bounds, or
    `calibrate` with ``max_weight``, trims and calibrates in one.

    Parameters
    ----------
    weights
        Shape (records,), not negative. A weight of 0 stays 0.
    lower, upper
        Of the weights themselves, a number or shape (records,); a Series has the records in the order of the weights.
    max_design_effect
        Kish's ``n sum w^2 / (sum w)^2`` over the n positive weights is brought down to this, at least 1, by the largest
        common upper bound that does.

    Returns
    -------
    Shape (records,).

    Raises
    ------
    InputError
        On input that cannot be meant, and on bounds that allow no weights with that sum or design effect.

    Examples
    --------
    >>> trim_weights([1.0, 2.0, 9.0], upper=6.0).tolist()
    [2.0, 4.0, 6.0]
    """
    given = finite(weights, np.size(weights), "weights", "record")
    if (given < 0).any():
        raise InputError(f"weights must not be negative: record {int(np.flatnonzero(given < 0)[0])} has one")
    used = given > 0
    if not used.any():
        raise InputError("all weights are 0: there is nothing to trim")
    labels = labels_of(weights)
    for bound, name in ((lower, "lower"), (upper, "upper")):
        if labels is not None:
            refuse_other_order(bound, labels, name, "weights")
    low, high = (_bound(bound, given.size, name)[used] for bound, name in ((lower, "lower"), (upper, "upper")))
    positions, w = np.flatnonzero(used), given[used]
    crossed = np.flatnonzero(low > high)
    if crossed.size:
        k = int(crossed[0])
        raise InputError(f"lower must not be above upper: record {positions[k]} has {low[k]:g} and {high[k]:g}")
    out = np.zeros(given.size)
    out[used] = (
        _with_sum(float(w.sum()), w, low, high) if max_design_effect is None else _even(w, low, high, max_design_effect)
    )
    return out


def _bound(values: Any, size: int, name: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"{name} must be a number or shape ({size},), got {values!r}") from fault
    if array.shape not in ((), (size,)):
        raise InputError(f"{name} must be a number or shape ({size},), one for each record, got {array.shape}")
    bad = np.flatnonzero(np.isnan(array) | (array < 0))
    if bad.size:
        raise InputError(f"{name} must not be negative or missing, got {array.flat[bad[0]]:g} (record {bad[0]})")
    return np.broadcast_to(array, (size,))


def _with_sum(total: float, w: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """``clip(c w, low, high)`` with that sum, which rises in straight pieces with c: sorting finds the piece."""
    least, most = float(low.sum()), float(high.sum())
    if least > total * (1 + _ROUNDING) or most < total * (1 - _ROUNDING):
        which, bounds = ("lower", least) if least > total else ("upper", most)
        raise InputError(f"the {which} bounds of the positive weights sum to {bounds:g}, the weights to {total:g}")
    with np.errstate(over="ignore"):
        enters, leaves = low / w, high / w
    corners = np.unique(np.concatenate((enters, leaves)))
    corners = corners[np.isfinite(corners)]
    first, last = 0, corners.size  # the sum at corners[first - 1] is below the total, at corners[last] not
    while first < last:
        middle = (first + last) // 2
        with np.errstate(over="ignore"):  # what is cut off may be of any size
            reached = float(np.clip(corners[middle] * w, low, high).sum())
        if reached < total:
            first = middle + 1
        else:
            last = middle
    before = float(corners[first - 1]) if first else 0.0
    after = float(corners[first]) if first < corners.size else np.inf
    is_low = (enters >= after) & (enters > before)
    is_free = ~is_low & (enters <= before) & (leaves >= after) & (leaves > before)
    fixed = float(np.where(is_low, low, np.where(is_free, 0.0, high)).sum())
    free = float(w[is_free].sum())
    factor = (total - fixed) / free if free > 0 else after
    with np.errstate(over="ignore"):
        return np.clip(factor * w, low, high)


def _even(w: FloatArray, low: FloatArray, high: FloatArray, most: float) -> FloatArray:
    """Under the largest common upper bound with which the design effect is at most ``most``."""
    if not most >= 1.0:
        raise InputError(f"max_design_effect must be at least 1 (that of equal weights), got {most!r}")
    total = float(w.sum())

    def is_even(trial: FloatArray) -> bool:
        return w.size <= most * effective_sample_size(trial) * (1 + _ROUNDING)

    widest = _with_sum(total, w, low, high)
    if is_even(widest):
        return widest
    best = _with_sum(total, np.ones(w.size), low, high)  # the most even there are: none beyond the smallest bound
    if not is_even(best):
        effect = w.size / effective_sample_size(best)
        raise InputError(f"within the bounds the design effect is at least {effect:.6g}, not {most:g}: widen them")
    short, far = 0.0, float(widest.max())
    for _ in range(_HALVINGS):
        cap = 0.5 * (short + far)
        top = np.maximum(np.minimum(high, cap), low)
        if float(top.sum()) < total:
            short = cap
            continue
        trial = _with_sum(total, w, low, top)
        if is_even(trial):
            short, best = cap, trial
        else:
            far = cap
    return best
