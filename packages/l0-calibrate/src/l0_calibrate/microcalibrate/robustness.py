"""`evaluate_holdout_robustness`: how well targets are met that took no part in the fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.microcalibrate.holdout import EVALUATION, HoldoutScore, HoldoutSet, holdout_sets, score
from l0_calibrate.microcalibrate.metrics import CLOSE
from l0_calibrate.microcalibrate.performance import beside, written_whole

if TYPE_CHECKING:
    from l0_calibrate.microcalibrate.calibration import Calibration


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
    Every loss is a mean ``|relative error|``.

    Parameters
    ----------
    n_holdout_sets, holdout_fraction
        How many sets, and which share of the targets each holds out at least.
    save_results_to
        ``PATH.json``: everything in one file. Any other path, such as ``PATH.csv``: three CSV files beside it,
        ``PATH_overall.csv``, ``PATH_detailed.csv`` (one row for each target and set), ``PATH_target_robustness.csv``.
    families
        Shape (all targets,): targets of one family are held out together.

    Returns
    -------
    dict
        ``overall_metrics``, ``target_robustness`` (a frame, worst first), ``recommendation``, ``detailed_results``
        (one entry for each set).
    """
    sets = holdout_sets(calibration, n_holdout_sets, holdout_fraction, families, EVALUATION)
    details = [_detail(number, calibration, each, score(calibration, each)) for number, each in enumerate(sets)]
    overall, robustness = _overall(details), _by_target(details)
    results = {
        "overall_metrics": overall,
        "target_robustness": robustness,
        "recommendation": _recommend(overall, robustness),
        "detailed_results": details,
    }
    if save_results_to is not None:
        _save(results, Path(save_results_to))
    return results


def _detail(number: int, calibration: Calibration, holdout: HoldoutSet, found: HoldoutScore) -> dict[str, Any]:
    """What one set showed, as plain numbers and words."""
    named = calibration.named
    names = named.names.astype(str)
    targets = [
        {
            "target_name": str(names[i]),
            "target_value": float(named.values[i]),
            "estimate": float(found.estimates[i]),
            "relative_error": float(found.errors[i] * np.sign(found.estimates[i] - named.values[i])),
            "within_10pct": bool(abs(found.estimates[i] - named.values[i]) <= CLOSE * abs(named.values[i])),
        }
        for i in np.flatnonzero(holdout.scored)
    ]
    return {
        "holdout_set_idx": number,
        "n_holdout_targets": int(holdout.held_out.sum()),
        "n_train_targets": int((named.included & ~holdout.held_out).sum()),
        "holdout_loss": found.loss,
        "train_loss": found.train_loss,
        "generalization_gap": found.loss - found.train_loss,
        "holdout_accuracy": found.accuracy,
        "train_accuracy": found.train_accuracy,
        "accuracy_gap": found.train_accuracy - found.accuracy,
        "calibration_time_seconds": found.seconds,
        "holdout_target_names": names[holdout.held_out].tolist(),
        "not_scored": names[holdout.held_out & ~holdout.scored].tolist(),
        "target_details": targets,
        "weights_sparsity": 1.0 - found.kept / calibration.weights.size,
    }


def _overall(details: list[dict[str, Any]]) -> dict[str, float]:
    def of(name: str) -> npt.NDArray[np.float64]:
        return np.array([detail[name] for detail in details])

    loss, accuracy, gap = of("holdout_loss"), of("holdout_accuracy"), of("generalization_gap")
    return {
        "mean_holdout_loss": float(loss.mean()),
        "std_holdout_loss": float(loss.std()),
        "worst_holdout_loss": float(loss.max()),
        "mean_holdout_accuracy": float(accuracy.mean()),
        "std_holdout_accuracy": float(accuracy.std()),
        "worst_holdout_accuracy": float(accuracy.min()),
        "best_holdout_accuracy": float(accuracy.max()),
        "mean_train_loss": float(of("train_loss").mean()),
        "mean_train_accuracy": float(of("train_accuracy").mean()),
        "mean_generalization_gap": float(gap.mean()),
        "std_generalization_gap": float(gap.std()),
        "n_successful_evaluations": len(details),
        "n_failed_evaluations": 0,  # a fit that fails raises
    }


def _by_target(details: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each target that was scored, worst first."""
    rows = pd.DataFrame([target for detail in details for target in detail["target_details"]])
    rows["size"] = rows["relative_error"].abs()
    groups = rows.groupby("target_name", sort=False)
    frame = pd.DataFrame(
        {
            "times_held_out": groups.size(),
            "mean_holdout_loss": groups["size"].mean(),
            "std_holdout_loss": groups["size"].std(ddof=0),
            "holdout_accuracy_rate": groups["within_10pct"].mean(),
        }
    )
    return frame.reset_index().sort_values("mean_holdout_loss", ascending=False, ignore_index=True)


def _recommend(overall: dict[str, float], robustness: pd.DataFrame) -> str:
    worst = ", ".join(robustness["target_name"].head(3))
    text = (
        f"{overall['mean_holdout_accuracy']:.0%} of held-out targets are met to 10 %; they are off by "
        f"{overall['mean_holdout_loss']:.1%} on average, fitted ones by {overall['mean_train_loss']:.1%}. "
        f"Worst when held out: {worst}."
    )
    if overall["mean_generalization_gap"] > max(0.05, overall["mean_train_loss"]):
        text += " The fit does not carry over: keep more records, or bound or spread the weights."
    return text


def _save(results: dict[str, Any], path: Path) -> None:
    if path.suffix == ".json":
        plain = {**results, "target_robustness": results["target_robustness"].to_dict(orient="records")}
        with written_whole(path) as partial:
            partial.write_text(json.dumps(plain, indent=2), encoding="utf-8")
        return
    common = ("holdout_set_idx", "holdout_loss", "train_loss", "generalization_gap")
    detailed = [
        {**target, **{name: detail[name] for name in common}}
        for detail in results["detailed_results"]
        for target in detail["target_details"]
    ]
    tables = {
        "_overall": pd.DataFrame([results["overall_metrics"]]),
        "_detailed": pd.DataFrame(detailed),
        "_target_robustness": results["target_robustness"],
    }
    for ending, table in tables.items():
        with written_whole(beside(path, ending)) as partial:
            table.to_csv(partial, index=False)
