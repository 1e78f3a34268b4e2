"""Tuning of the gates' settings by Optuna, on hold-outs, in a study that can be resumed."""

from __future__ import annotations

import hashlib
import importlib
import logging
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from l0_calibrate.microcalibrate.holdout import TUNING, HoldoutScore, HoldoutSet, holdout_sets, score
from l0_core import InputError, MissingDependencyError

if TYPE_CHECKING:
    from l0_calibrate.microcalibrate.calibration import Calibration

_log = logging.getLogger(__name__)


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

    l0_lambda: tuple[float, float] = (1e-8, 1e-4)
    init_mean: tuple[float, float] = (0.5, 0.999)
    temperature: tuple[float, float] = (0.2, 1.0)


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

    loss: float = 1.0
    accuracy: float = 1.0
    sparsity: float = 0.1

    def value(self, found: HoldoutScore, records: int) -> float:
        """The objective of one fit."""
        return self.loss * found.loss + self.accuracy * (1.0 - found.accuracy) + self.sparsity * found.kept / records


def tune_l0_hyperparameters(
    calibration: Calibration,
    n_trials: int = 30,
    objectives_balance: dict[str, float] | None = None,
    epochs_per_trial: int | None = None,
    n_holdout_sets: int = 3,
    holdout_fraction: float = 0.2,
    timeout: float | None = None,
    study_name: str = "l0-calibrate",
    storage: str | os.PathLike[str] | None = None,
    *,
    families: Any | None = None,
    ranges: SearchRanges | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> dict[str, Any]:
    """Find ``l0_lambda``, ``init_mean`` and ``temperature`` that do well on targets left out of the fit.

    The calibration is left as it is. Proposals of trial t depend on the seed, t and the trials before it, so that
    a study that was cut off and goes on finds what one without a break would.

    Parameters
    ----------
    n_trials
        Trials in all, those that ``storage`` has already included.
    objectives_balance
        Fields of `ObjectiveBalance`.
    epochs_per_trial
        Epochs of each fit; those of the calibration by default.
    n_holdout_sets, holdout_fraction, families
        See `evaluate_holdout_robustness`; the sets are other ones than there.
    timeout
        Seconds after which no new trial begins.
    study_name, storage
        A file (SQLite) or a URL of Optuna to keep the study in, under that name; it is resumed where it exists.
    ranges
        Where to look.
    progress
        Called after each trial with its number, its objective and the best so far.

    Returns
    -------
    dict
        ``l0_lambda``, ``init_mean``, ``temperature``, ``objective``, ``holdout_loss``, ``holdout_accuracy``,
        ``sparsity``, ``n_trials``.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed.
    InputError
        The calibration takes no gates, or the study in ``storage`` is one of another problem.
    """
    if calibration.is_convex:
        raise InputError("there is nothing to tune: keep and the convex solvers take no price; say keep=")
    optuna = _optuna()
    balance = ObjectiveBalance(**(objectives_balance or {}))
    where = ranges or SearchRanges()
    sets = holdout_sets(calibration, n_holdout_sets, holdout_fraction, families, TUNING)
    epochs = calibration.training.epochs if epochs_per_trial is None else epochs_per_trial
    study = optuna.create_study(study_name=study_name, storage=_url(storage), direction="minimize", load_if_exists=True)
    _claim(study, calibration, sets, repr((balance, where, epochs)))
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # cut off in an earlier run
    done = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))

    def objective(trial: Any) -> float:
        settings = {
            "l0_lambda": trial.suggest_float("l0_lambda", *where.l0_lambda, log=True),
            "init_mean": trial.suggest_float("init_mean", *where.init_mean),
            "temperature": trial.suggest_float("temperature", *where.temperature),
        }
        found = [score(calibration, each, regularize_with_l0=True, epochs=epochs, **settings) for each in sets]
        records = calibration.weights.size
        trial.set_user_attr("holdout_loss", float(np.mean([each.loss for each in found])))
        trial.set_user_attr("holdout_accuracy", float(np.mean([each.accuracy for each in found])))
        trial.set_user_attr("sparsity", float(np.mean([1.0 - each.kept / records for each in found])))
        return float(np.mean([balance.value(each, records) for each in found]))

    def after(study: Any, trial: Any) -> None:
        _log.info("trial %d: objective %.6g, best %.6g", trial.number, trial.value, study.best_value)
        if progress is not None:
            progress(trial.number, float(trial.value), float(study.best_value))

    _run(optuna, study, objective, after, (n_trials - done, timeout, calibration.training.seed, done))
    best = study.best_trial
    return {**best.params, "objective": best.value, **best.user_attrs, "n_trials": len(study.trials)}


def _run(
    optuna: Any,
    study: Any,
    objective: Callable[[Any], float],
    after: Callable[[Any, Any], None],
    plan: tuple[int, float | None, int, int],
) -> None:
    """The trials that are still to be done; ``plan`` is their number, the time limit, the seed, those done."""
    import time

    count, timeout, seed, done = plan
    end = math.inf if timeout is None else time.monotonic() + timeout
    for number in range(done, done + count):
        if time.monotonic() >= end:
            break
        # A sampler of its own for each trial: its state is not in the storage, its seed is a function of the trial.
        trial_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=trial_seed)
        study.optimize(objective, n_trials=1, callbacks=[after])


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise MissingDependencyError("tuning needs optuna: pip install 'l0-calibrate[tune]'") from error
    return optuna


def _url(storage: str | os.PathLike[str] | None) -> str | None:
    if storage is None or "://" in str(storage):
        return None if storage is None else str(storage)
    return f"sqlite:///{os.fspath(storage)}"


def _claim(study: Any, calibration: Calibration, sets: list[HoldoutSet], settings: str) -> None:
    """Write into the study whose it is, or refuse one of another problem."""
    digest = hashlib.blake2b(digest_size=16)
    for values in (calibration.named.values, calibration.original_weights, *(each.held_out for each in sets)):
        digest.update(np.ascontiguousarray(values).tobytes())
    if calibration.columns is not None:
        digest.update(calibration.columns.data.tobytes() + calibration.columns.indices.tobytes())
    digest.update(f"{calibration.training}{settings}".encode())
    mark = digest.hexdigest()
    there = study.user_attrs.get("problem")
    if there is None:
        study.set_user_attr("problem", mark)
    elif there != mark:
        raise InputError(
            f"the study {study.study_name!r} in this storage is one of another problem or of other settings "
            f"({there} there, {mark} here); give another study_name or storage"
        )
