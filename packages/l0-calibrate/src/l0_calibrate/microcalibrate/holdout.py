"""Hold-outs: whole families of targets are left out of the fit, and the weights are scored on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.microcalibrate.analytical import determined_rows, scaled_gram
from l0_calibrate.microcalibrate.metrics import pct_close
from l0_core import InputError

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
    """How one fit did: mean ``|relative error|``, and the share of targets within 10 %, held out and fitted."""

    loss: float
    accuracy: float
    train_loss: float
    train_accuracy: float
    kept: int
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
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"n_holdout_sets must be a whole number of at least 1, got {count!r}")
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
    gram = None if columns is None else scaled_gram(columns, calibration.named.values)[0]
    rng = np.random.default_rng([calibration.training.seed, stream])
    sets = []
    for _ in range(count):
        held_out, scored = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
        for name in rng.permutation(names)[:-1]:
            held_out = held_out | ((labels == name) & included)
            if held_out.sum() < fraction * included.sum():
                continue
            leaking = np.zeros(total, dtype=bool) if gram is None else determined_rows(gram, included & ~held_out)
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
    trial.calibrate()
    weights = trial.weights if trial.sparse_weights is None else trial.sparse_weights
    estimates = trial.estimates_of(weights)
    if np.isnan(estimates[holdout.scored]).any():
        raise InputError("estimate_function must give the estimates of all targets, held out ones too")
    errors = np.abs(estimates - named.values) / np.maximum(np.abs(named.values), 1.0)
    fitted = trial.named.included

    def close(part: BoolArray) -> float:
        return pct_close(estimates[part], named.values[part])

    return HoldoutScore(
        float(errors[holdout.scored].mean()),
        close(holdout.scored),
        float(errors[fitted].mean()),
        close(fitted),
        int(np.count_nonzero(weights)),
        np.where(holdout.scored, errors, np.nan),
    )


def evaluate_holdout_robustness(
    calibration: Calibration,
    n_holdout_sets: int = 5,
    holdout_fraction: float = 0.2,
    save_results_to: str | os.PathLike[str] | None = None,
    *,
    families: Any | None = None,
) -> dict[str, Any]:
    """How well targets are met that took no part in the fit.

    The sets are other ones than those that `tune_l0_hyperparameters` looks at; the calibration is left as it is.

    Parameters
    ----------
    n_holdout_sets, holdout_fraction
        How many sets, and which share of the targets each holds out at least.
    save_results_to
        A JSON file to write.
    families
        Shape (all targets,): targets of one family are held out together.

    Returns
    -------
    dict
        ``overall_metrics``, ``target_robustness`` (a frame, worst first), ``recommendation``, ``detailed_results``.
    """
    sets = holdout_sets(calibration, n_holdout_sets, holdout_fraction, families, EVALUATION)
    scores = [score(calibration, each) for each in sets]
    overall = _overall(scores)
    names = calibration.named.names.astype(str)
    details = [
        {
            "holdout_set": number,
            "held_out": names[holdout.held_out].tolist(),
            "not_scored": names[holdout.held_out & ~holdout.scored].tolist(),
            "holdout_loss": found.loss,
            "holdout_accuracy": found.accuracy,
            "train_loss": found.train_loss,
            "train_accuracy": found.train_accuracy,
            "kept": found.kept,
        }
        for number, (holdout, found) in enumerate(zip(sets, scores, strict=True))
    ]
    robustness = _by_target(names, scores)
    results = {
        "overall_metrics": overall,
        "target_robustness": robustness,
        "recommendation": _recommend(overall, robustness),
        "detailed_results": details,
    }
    if save_results_to is not None:
        plain = {**results, "target_robustness": robustness.to_dict(orient="records")}
        target = Path(save_results_to)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        partial.write_text(json.dumps(plain, indent=2), encoding="utf-8")
        partial.replace(target)
    return results


def _overall(scores: list[HoldoutScore]) -> dict[str, float]:
    def stats() -> Iterator[tuple[str, float]]:
        for name in ("loss", "accuracy"):
            values = np.array([getattr(found, name) for found in scores])
            yield f"mean_holdout_{name}", float(values.mean())
            yield f"std_holdout_{name}", float(values.std())
            yield f"worst_holdout_{name}", float(values.max() if name == "loss" else values.min())
            yield f"mean_train_{name}", float(np.mean([getattr(found, f"train_{name}") for found in scores]))

    overall = dict(stats())
    overall["generalization_gap"] = overall["mean_holdout_loss"] - overall["mean_train_loss"]
    overall["n_holdout_sets"] = float(len(scores))
    return overall


def _by_target(names: npt.NDArray[Any], scores: list[HoldoutScore]) -> pd.DataFrame:
    errors = np.array([found.errors for found in scores])
    times = (~np.isnan(errors)).sum(axis=0)
    seen = times > 0
    filled = np.nan_to_num(errors[:, seen])
    mean = filled.sum(axis=0) / times[seen]
    spread = np.sqrt(np.where(np.isnan(errors[:, seen]), 0.0, np.square(filled - mean)).sum(axis=0) / times[seen])
    frame = pd.DataFrame(
        {"target_name": names[seen], "times_held_out": times[seen], "mean_error": mean, "std_error": spread}
    )
    return frame.sort_values("mean_error", ascending=False, ignore_index=True)


def _recommend(overall: dict[str, float], robustness: pd.DataFrame) -> str:
    accuracy, gap = overall["mean_holdout_accuracy"], overall["generalization_gap"]
    worst = ", ".join(robustness["target_name"].head(3))
    text = (
        f"{accuracy:.0%} of held-out targets are met to 10 %; they are off by {overall['mean_holdout_loss']:.1%} "
        f"on average, fitted ones by {overall['mean_train_loss']:.1%}. Worst when held out: {worst}."
    )
    if gap > max(0.05, overall["mean_train_loss"]):
        text += " The fit does not carry over: keep more records, or bound or spread the weights."
    return text
