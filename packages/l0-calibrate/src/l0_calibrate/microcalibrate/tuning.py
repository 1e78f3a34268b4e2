"""Tuning of the gates' settings by Optuna, on hold-outs, in a study that can be resumed."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd

from l0_calibrate.microcalibrate.holdout import TUNING, HoldoutScore, HoldoutSet, holdout_sets, score
from l0_calibrate.microcalibrate.study import Progress, StudySettings, open_study, optuna, run_study
from l0_calibrate.options import made_from
from l0_core import InputError
from l0_core.real_numbers import is_number, number

if TYPE_CHECKING:
    from l0_calibrate.microcalibrate.calibration import Calibration

_AGGREGATIONS: dict[str, Callable[[list[float]], Any]] = {"mean": np.mean, "median": np.median, "worst": np.max}


def _between(low: float, what: str, high: float = math.inf) -> Any:
    """A validator: from one number to another that is not less, both strictly between ``low`` and ``high``."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        pair: Any = value if isinstance(value, (tuple, list)) and len(value) == 2 else (None, None)
        if not (all(is_number(end) and low < end < high for end in pair) and pair[0] <= pair[1]):
            raise InputError(f"{attribute.name} must be (from, to), two {what} in ascending order, got {value!r}")

    return check


@attrs.frozen
class SearchRanges:
    """Where settings are looked for, each from and to.

    Parameters
    ----------
    l0_lambda
        Price of an open gate, on a logarithmic scale.
    init_mean, temperature
        See `GateOptions`.
    """

    l0_lambda: tuple[float, float] = attrs.field(default=(1e-8, 1e-4), validator=_between(0.0, "positive numbers"))
    init_mean: tuple[float, float] = attrs.field(
        default=(0.5, 0.999), validator=_between(0.0, "numbers strictly between 0 and 1", 1.0)
    )
    temperature: tuple[float, float] = attrs.field(default=(0.2, 1.0), validator=_between(0.0, "positive numbers"))

    def propose(self, trial: Any) -> dict[str, float]:
        """Settings for an Optuna trial."""
        return {
            "l0_lambda": trial.suggest_float("l0_lambda", *self.l0_lambda, log=True),
            "init_mean": trial.suggest_float("init_mean", *self.init_mean),
            "temperature": trial.suggest_float("temperature", *self.temperature),
        }


@attrs.frozen
class ObjectiveBalance:
    """What is minimised: a weighted sum over the hold-out sets.

    Parameters
    ----------
    loss
        Of the mean ``|relative error|`` of held-out targets.
    accuracy
        Of the share of held-out targets that are off by more than 10 %.
    sparsity
        Of the share of records that are kept.
    """

    loss: float = attrs.field(default=1.0, validator=number(0.0, "a number of at least 0"))
    accuracy: float = attrs.field(default=1.0, validator=number(0.0, "a number of at least 0"))
    sparsity: float = attrs.field(default=0.1, validator=number(0.0, "a number of at least 0"))

    def value(self, found: HoldoutScore, records: int) -> float:
        """The objective of one fit."""
        return self.loss * found.loss + self.accuracy * (1.0 - found.accuracy) + self.sparsity * found.kept / records


@attrs.frozen(eq=False)
class HoldoutObjective:
    """The objective of a trial: gated fits without the targets of each set, scored on them.

    Parameters
    ----------
    calibration
        Whose problem it is; it is left as it is.
    sets
        What is held out.
    epochs
        Of each fit.
    aggregation
        Over the sets: ``"mean"``, ``"median"`` or ``"worst"``.
    """

    calibration: Calibration = attrs.field(repr=False)
    sets: list[HoldoutSet] = attrs.field(repr=False)
    epochs: int
    balance: ObjectiveBalance
    ranges: SearchRanges
    aggregation: str = attrs.field(default="mean")

    @aggregation.validator
    def _check_aggregation(self, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in _AGGREGATIONS:
            raise InputError(f"unknown aggregation {value!r}; known: {', '.join(_AGGREGATIONS)}")

    def __call__(self, trial: Any) -> float:
        """Fit, keep what each set showed beside the trial, and tell the pruner after each set."""
        settings = self.ranges.propose(trial)
        records = self.calibration.weights.size
        names = self.calibration.named.names.astype(str)
        seen: list[dict[str, Any]] = []
        for done, each in enumerate(self.sets):
            found = score(self.calibration, each, regularize_with_l0=True, epochs=self.epochs, **settings)
            seen.append(
                {
                    "objective": self.balance.value(found, records),
                    "val_loss": found.loss,
                    "val_accuracy": found.accuracy,
                    "train_loss": found.train_loss,
                    "train_accuracy": found.train_accuracy,
                    "sparsity": 1.0 - found.kept / records,
                    "n_nonzero_weights": found.kept,
                    "holdout_targets": ", ".join(names[each.held_out]),
                }
            )
            trial.set_user_attr("sets", seen)
            so_far = float(_AGGREGATIONS[self.aggregation]([one["objective"] for one in seen]))
            trial.report(so_far, done)
            if done + 1 < len(self.sets) and trial.should_prune():
                raise optuna().TrialPruned
        return so_far

    def digest(self) -> str:
        """Of the problem and of everything that an objective depends on."""
        digest = hashlib.blake2b(digest_size=16)
        problem = self.calibration
        arrays = (problem.named.values, problem.named.factor, problem.named.included, problem.original_weights)
        for values in (*arrays, *(each.held_out for each in self.sets)):
            digest.update(np.ascontiguousarray(values).tobytes())
        if problem.columns is not None:
            for part in (problem.columns.data, problem.columns.indices, problem.columns.indptr):
                digest.update(part.tobytes())
        rate = problem.gates.sparse_learning_rate
        settings = (problem.training, rate, self.epochs, self.balance, self.ranges, self.aggregation)
        digest.update(repr(settings).encode())
        return digest.hexdigest()


def tune_l0_hyperparameters(
    calibration: Calibration,
    n_trials: int = 30,
    objectives_balance: dict[str, float] | None = None,
    epochs_per_trial: int | None = None,
    n_holdout_sets: int = 3,
    holdout_fraction: float = 0.2,
    aggregation: str = "mean",
    timeout: float | None = None,
    n_jobs: int = 1,
    study_name: str | None = None,
    storage: str | os.PathLike[str] | None = None,
    load_if_exists: bool = True,
    direction: str = "minimize",
    sampler: Any | None = None,
    pruner: Any | None = None,
    *,
    families: Any | None = None,
    ranges: SearchRanges | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find ``l0_lambda``, ``init_mean`` and ``temperature`` that do well on targets left out of the fit.

    The calibration is left as it is. Proposals of trial t depend on the seed, t and the trials before it, so that
    a study that was cut off and goes on finds what one without a break would.

    Parameters
    ----------
    n_trials, timeout, study_name, storage, load_if_exists, sampler, pruner
        See `StudySettings`.
    objectives_balance
        Fields of `ObjectiveBalance`.
    epochs_per_trial
        Epochs of each fit; those of the calibration by default, because a price belongs to a number of epochs.
    n_holdout_sets, holdout_fraction, families
        See `evaluate_holdout_robustness`; the sets are other ones than there.
    aggregation
        Of the sets' objectives: ``"mean"``, ``"median"`` or ``"worst"``.
    n_jobs
        Trials run one after the other, so that the seed fixes them; another number is told in a warning.
    direction
        Only ``"minimize"``: smaller objectives are better.
    ranges
        Where to look.
    progress
        Called after each trial with its number, its objective and the best so far.

    Returns
    -------
    dict
        ``l0_lambda``, ``init_mean``, ``temperature``, ``objective``; over the sets of the best trial
        ``mean_val_loss``, ``std_val_loss``, ``mean_val_accuracy``, ``std_val_accuracy``, ``holdout_objectives``,
        ``sparsity``; ``n_holdout_sets``, ``aggregation``, ``n_trials``; and ``evaluation_history``, a frame with a
        row for each trial and set. The best of many trials looks better on these sets than it is:
        `evaluate_holdout_robustness` scores it on others.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed.
    InputError
        The calibration takes no gates, or the study in ``storage`` is one of another problem.
    """
    if calibration.is_convex:
        raise InputError("there is nothing to tune: keep and the convex solvers take no price; say keep=")
    if direction != "minimize":
        raise InputError(f"direction must be 'minimize' (the objective is an error), got {direction!r}")
    if n_jobs != 1:
        warnings.warn(f"n_jobs={n_jobs}: trials run one after the other, so that the seed fixes them", stacklevel=2)
    settings = StudySettings(
        n_trials,
        calibration.training.seed,
        timeout,
        "l0-calibrate" if study_name is None else study_name,
        storage,
        load_if_exists,
        sampler,
        pruner,
    )
    objective = HoldoutObjective(
        calibration,
        holdout_sets(calibration, n_holdout_sets, holdout_fraction, families, TUNING),
        calibration.training.epochs if epochs_per_trial is None else epochs_per_trial,
        made_from(ObjectiveBalance, objectives_balance or {}, "part of objectives_balance"),
        ranges or SearchRanges(),
        aggregation,
    )
    with open_study(settings, objective.digest()) as study:
        run_study(study, settings, objective, progress)
        return {**_found(study.best_trial), "aggregation": aggregation, **_history(study)}


def _found(best: Any) -> dict[str, Any]:
    """Settings and scores of the best trial."""
    sets = pd.DataFrame(best.user_attrs["sets"])
    return {
        **best.params,
        "objective": float(best.value),
        "mean_val_loss": float(sets["val_loss"].mean()),
        "std_val_loss": float(sets["val_loss"].std(ddof=0)),
        "mean_val_accuracy": float(sets["val_accuracy"].mean()),
        "std_val_accuracy": float(sets["val_accuracy"].std(ddof=0)),
        "holdout_objectives": [float(value) for value in sets["objective"]],
        "sparsity": float(sets["sparsity"].mean()),
        "n_holdout_sets": len(sets),
    }


def _history(study: Any) -> dict[str, Any]:
    """The number of trials, and a row for each completed one and set."""
    trials = study.get_trials(deepcopy=False)
    rows = [
        {**seen, "hyperparameters": dict(trial.params), "trial_number": trial.number, "holdout_set_idx": number}
        for trial in trials
        if trial.value is not None
        for number, seen in enumerate(trial.user_attrs["sets"])
    ]
    return {"n_trials": len(trials), "evaluation_history": pd.DataFrame(rows)}
