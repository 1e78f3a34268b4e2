"""The largest effective sample size that bounds on weights leave, whatever the targets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from l0_calibrate.constraints import Bounds
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_WORK, _FEWEST, _MOST = 20_000_000, 64, 1024
"""Records times intervals of the level that weights are as near to as their bounds let them, and how few and how many
intervals there are: the more, the less the bound is above the largest sample size."""


def largest_ess(
    lower: FloatArray,
    upper: FloatArray,
    keep: int | None = None,
    must: BoolArray | None = None,
    mass: float | None = None,
) -> float:
    """An upper bound of the effective sample size of weights within bounds, of the best ``keep`` records.

    Parameters
    ----------
    lower, upper
        Bounds of the weights, shape (n,), not negative; no upper bound is ``inf``.
    keep
        How many records may have a weight; all where None.
    must
        Flags of shape (n,): the records that have to be among them.
    mass
        What the weights sum to, where that is held.

    Notes
    -----
    ``(sum w)^2 / sum w^2`` is the largest over t > 0 of ``sum_j 1 - (1 - w_j / t)^2``. For a t each record gives its
    part on its own, the more the nearer to t its bounds let it come, so the best records are known; t itself lies in
    one of the intervals that are gone through, in each of which bounds are as wide as at its better end. The largest
    is at ``t = sum w^2 / sum w``, which is no less than the mean weight: a sum that is held leaves larger t alone.
    """
    positive = upper > 0
    lower, upper = lower[positive], upper[positive]
    must = np.zeros(lower.size, dtype=bool) if must is None else must[positive]
    count = lower.size if keep is None else min(keep, lower.size)
    finite = np.concatenate((lower[lower > 0], upper[np.isfinite(upper)]))
    if not finite.size or not count:
        return float(count)
    # Outside this range every weight is at its bound nearer to t, and moving t towards the range brings all nearer.
    levels = int(np.clip(_WORK // lower.size, _FEWEST, _MOST))
    least = 0.0 if mass is None else mass / count
    first, last = max(finite.min(), least), max(finite.max(), least)
    edges = np.geomspace(first * (1 - 1e-9), last * (1 + 1e-9), levels + 1)
    best = 0.0
    for low, high in pairwise(edges):
        off = np.maximum(np.maximum(lower / high - 1.0, 1.0 - upper / low), 0.0)
        parts = 1.0 - off**2
        free = parts[~must]
        wanted = max(count - int(must.sum()), 0)
        left_out = free.size - wanted
        if left_out > 0:
            free = np.partition(free, left_out - 1)[left_out:]
        best = max(best, float(parts[must].sum() + free.sum()))
    return best


def check_ess(problem: CalibrationProblem, options: Options, bounds: Bounds) -> None:
    """InputError where the bounds leave no such effective sample size as is asked for: told before any fit."""
    wanted = options.ess_at_least
    if wanted is None:
        return
    w0, keep = problem.initial_weights, options.budget(problem.n_records)
    usable = w0 > 0
    if options.never_keep is not None:
        usable &= ~options.never_keep
    lower, upper = bounds.on(np.flatnonzero(usable), 1.0 if keep is None else problem.n_records / keep)
    must = None if options.must_keep is None else np.asarray(options.must_keep)[usable]
    reference = w0[usable]
    mass = float(w0.sum()) if options.conserve_mass else None
    most = largest_ess(lower * reference, upper * reference, keep, must, mass)
    if wanted > most * (1 + 1e-9):
        count = f"keep={keep}" if keep is not None else f"the {reference.size:,} records that have an initial weight"
        raise InputError(
            f"ess_at_least={wanted:g} cannot be had with {count}: the bounds of the weights leave no effective sample "
            f"size above {most:.6g}, whatever the targets; ask for less"
            + (", loosen the bounds" if np.isfinite(upper).any() or lower.any() else "")
            + ("" if keep is None else ", or keep more records")
        )
