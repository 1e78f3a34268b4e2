"""An Optuna study that can be cut off and goes on: where it is kept, whose it is, how its trials are proposed."""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np

from l0_core import InputError, MissingDependencyError
from l0_core.whole_numbers import whole

_log = logging.getLogger(__name__)

Progress = Callable[[int, float, float], None]
"""Called after each trial with its number, its objective and the best so far."""


@attrs.frozen
class StudySettings:
    """How long is searched, and where what was found is kept.

    Parameters
    ----------
    n_trials
        Trials in all, those that ``storage`` has already included.
    seed
        Of the proposals.
    timeout
        Seconds after which no new trial begins; None is no limit.
    study_name, storage
        A file (SQLite) or a URL of Optuna, and the name in it; None keeps the study in memory.
    load_if_exists
        Whether a study of that name in the storage goes on; otherwise it is refused.
    sampler, pruner
        Of Optuna, in place of the seeded TPE sampler and of no pruning.
    """

    n_trials: int = attrs.field(validator=whole(1))
    seed: int
    timeout: float | None = attrs.field(default=None)
    study_name: str = "l0-calibrate"
    storage: str | os.PathLike[str] | None = None
    load_if_exists: bool = True
    sampler: Any | None = None
    pruner: Any | None = None

    @timeout.validator
    def _check_timeout(self, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not value >= 0:
            raise InputError(f"timeout must be a number of seconds of at least 0 (or None), got {value!r}")

    @property
    def url(self) -> str | None:
        """The storage as Optuna names it."""
        if self.storage is None or "://" in str(self.storage):
            return None if self.storage is None else str(self.storage)
        return f"sqlite:///{os.fspath(self.storage)}"


def optuna() -> Any:
    """The library, or MissingDependencyError that says how to get it."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise MissingDependencyError("tuning needs optuna: pip install 'l0-calibrate[tune]'") from error


@contextmanager
def open_study(settings: StudySettings, problem: str) -> Iterator[Any]:
    """The study, new or going on, marked as that of ``problem``; its file is closed at the end of the block.

    Parameters
    ----------
    problem
        A digest of what is tuned and how.

    Raises
    ------
    InputError
        The storage has a study of that name that must not go on, or that belongs to another problem.
    """
    storage = None if settings.url is None else optuna().storages.RDBStorage(settings.url)
    try:
        yield _study(settings, storage, problem)
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _study(settings: StudySettings, storage: Any | None, problem: str) -> Any:
    library = optuna()
    pruner = library.pruners.NopPruner() if settings.pruner is None else settings.pruner
    try:
        study = library.create_study(
            study_name=settings.study_name,
            storage=storage,
            direction="minimize",
            load_if_exists=settings.load_if_exists,
            pruner=pruner,
        )
    except library.exceptions.DuplicatedStudyError as error:
        raise InputError(
            f"the storage has a study {settings.study_name!r} already: give another study_name, or load_if_exists=True "
            "to go on with it"
        ) from error
    there = study.user_attrs.get("problem")
    if there is None:
        study.set_user_attr("problem", problem)
    elif there != problem:
        raise InputError(
            f"the study {study.study_name!r} in this storage is one of another problem or of other settings "
            f"({there} there, {problem} here); give another study_name or storage"
        )
    return study


def run_study(
    study: Any, settings: StudySettings, objective: Callable[[Any], float], progress: Progress | None
) -> None:
    """Do the trials that are still to be done; trial t is proposed from the seed, t and the trials before it.

    A trial that was cut off in an earlier run counts as failed and is done anew.
    """
    library = optuna()
    state = library.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study.tell(trial.number, state=state.FAIL)

    def after(study: Any, trial: Any) -> None:
        if trial.state != state.COMPLETE:
            _log.info("trial %d was pruned", trial.number)
            return
        _log.info("trial %d: objective %.6g, best %.6g", trial.number, trial.value, study.best_value)
        if progress is not None:
            progress(trial.number, float(trial.value), float(study.best_value))

    done = len(study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED)))
    end = math.inf if settings.timeout is None else time.monotonic() + settings.timeout
    for number in range(done, settings.n_trials):
        if time.monotonic() >= end:
            break
        study.sampler = settings.sampler
        if settings.sampler is None:
            # One for each trial: a sampler's state is not in the storage, its seed is a function of the trial.
            trial_seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
            study.sampler = library.samplers.TPESampler(seed=trial_seed)
        study.optimize(objective, n_trials=1, callbacks=[after])
    if not study.get_trials(deepcopy=False, states=(state.COMPLETE,)):
        raise InputError("no trial was completed: give more time, more trials, or a pruner that prunes less")
