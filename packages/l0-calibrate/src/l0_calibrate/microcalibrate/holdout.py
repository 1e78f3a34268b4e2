"""Hold-outs: whole families of targets are left out of the fit, and the weights are scored on them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.microcalibrate.metrics import pct_close
from l0_calibrate.problem.dependence import determined_rows
from l0_core import InputError
from l0_core.relative_errors import error_scale
from l0_core.whole_numbers import check_whole

if TYPE_CHECKING:
    from l0_calibrate.microcalibrate.calibration import Calibration

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

EVALUATION, TUNING = 0, 1
"""Streams of hold-out sets: what is tuned on one is evaluated on the other."""


@attrs.frozen(eq=False)
class HoldoutSet:
    """One set of targets to score on.

    Parameters
    ----------
    held_out
        Shape (all targets,), left out of the fit.
    scored
        Those of them that the rest does not determine: a total whose parts are all kept would be met for nothing.
    """

    held_out: BoolArray
    scored: BoolArray


@attrs.frozen(eq=False)
class HoldoutScore:
    """How one fit did: mean ``|relative error|``, and the share of targets within 10 %, held out and fitted.

    Parameters
    ----------
    kept, seconds
        Records with a positive weight; how long the fit took.
    estimates, errors
        Shape (all targets,): of the fit, and their ``|relative error|``.
    """

    loss: float
    accuracy: float
    train_loss: float
    train_accuracy: float
    kept: int
    seconds: float
    estimates: FloatArray = attrs.field(repr=False)
    errors: FloatArray = attrs.field(repr=False)


def holdout_sets(
    calibration: Calibration, count: int, fraction: float, families: Any | None, stream: int
) -> list[HoldoutSet]:
    """Sets of whole families that hold at least ``fraction`` of the included targets, drawn by the seed.

    A set grows until there is something to score: a target that those which are kept do not determine.

    Parameters
    ----------
    families
        Shape (all targets,), the family of each target; by default each is one of its own.
    stream
        `EVALUATION` or `TUNING`.

    Raises
    ------
    InputError
        Fewer than two families, a fraction outside (0, 1), or a set in which the rest determines every target.
    """
    check_whole(count, 1, "n_holdout_sets")
    if not 0.0 < fraction < 1.0:
        raise InputError(f"holdout_fraction must lie strictly between 0 and 1, got {fraction!r}")
    included = calibration.named.included
    total = included.size
    labels = np.arange(total).astype(str) if families is None else np.asarray(families).astype(str)
    if labels.shape != (total,):
        raise InputError(f"families must have shape ({total},), one for each target; got {labels.shape}")
    names = np.unique(labels[included])
    if names.size < 2:
        raise InputError("hold-outs need targets of at least two families")
    columns = calibration.columns
    rng = np.random.default_rng([calibration.training.seed, stream])
    sets = []
    for _ in range(count):
        held_out, scored = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
        for name in rng.permutation(names)[:-1]:
            held_out = held_out | ((labels == name) & included)
            if held_out.sum() < fraction * included.sum():
                continue
            leaking = np.zeros(total, bool) if columns is None else determined_rows(columns, included & ~held_out)
            scored = held_out & ~leaking
            if scored.any():
                break
        if not scored.any():
            raise InputError(
                "a hold-out set scores nothing: the targets that are kept determine all that are held out; "
                "give families, so that totals are held out together with their parts"
            )
        sets.append(HoldoutSet(held_out, scored))
    return sets


def score(calibration: Calibration, holdout: HoldoutSet, **changes: Any) -> HoldoutScore:
    """Fit without the held-out targets, from the original weights, and score; the calibration is left as it is."""
    named = calibration.named
    excluded = named.names[~named.included | holdout.held_out]
    trial = calibration.fresh([str(name) for name in excluded], **changes)
    begin = time.perf_counter()
    weights = trial.weights_to_score()
    seconds = time.perf_counter() - begin
    estimates = trial.estimates_of(weights)
    if np.isnan(estimates[holdout.scored]).any():
        raise InputError("estimate_function must give the estimates of all targets, held out ones too")
    errors = np.abs(estimates - named.values) / error_scale(named.values)
    fitted = trial.named.included

    def close(part: BoolArray) -> float:
        return pct_close(estimates[part], named.values[part])

    return HoldoutScore(
        float(errors[holdout.scored].mean()),
        close(holdout.scored),
        float(errors[fitted].mean()),
        close(fitted),
        int(np.count_nonzero(weights)),
        seconds,
        estimates,
        errors,
    )
