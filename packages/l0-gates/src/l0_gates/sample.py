"""The strategy that learns which records matter for given totals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.errors import InputError
from l0_core.plugins import get_backend, registry
from l0_core.relative_errors import error_scale
from l0_gates.descent import DescentSettings, Regression, descend
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.hard_concrete.settings import Observer
from l0_gates.learning import LearningStrategy, Learnt
from l0_gates.system import LinearSystem

FloatArray = npt.NDArray[np.float64]

METHODS = ("hard_concrete", "descent")


def scaled_by_target(system: LinearSystem) -> tuple[sp.csr_array, FloatArray]:
    """The system in relative errors: row i divided by ``max(|total_i|, 1)``, column j times its reference weight."""
    scale = error_scale(system.totals)
    rows = np.repeat(1.0 / scale, np.diff(system.columns.indptr))
    data = system.columns.data * rows * system.reference[system.columns.indices]
    scaled = sp.csr_array((data, system.columns.indices, system.columns.indptr), shape=system.columns.shape)
    return scaled, system.totals / scale


class SampleStrategy(LearningStrategy):
    """Keeps the records whose weights can best reproduce the totals.

    Parameters
    ----------
    target_samples
        How many records; ``None`` leaves it to each `select`.
    method
        ``"hard_concrete"``: log-weights and gates are trained together on the mean relative error, the price of a gate
        following the count. ``"descent"``: non-negative least squares by coordinate descent, the records that
        contribute least taken out by and by.
    backend
        Name of the backend on which gates are trained.
    seed
        Of the training noise and of ties.
    settings
        Of the training of gates.
    observer
        Sees each step of the training of gates.

    Raises
    ------
    InputError
        An unknown method, or settings with the logistic loss.
    UnknownPluginError
        A backend that is not installed, whether the method needs it or not.
    """

    def __init__(
        self,
        target_samples: int | None = None,
        method: str = "hard_concrete",
        backend: str = "numpy",
        seed: int = 0,
        settings: TrainingSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(target_samples, seed)
        if method not in METHODS:
            raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
        if settings is not None and settings.loss == "logistic":
            raise InputError("records are chosen by the absolute or the squared loss, not by the logistic one")
        self.target_samples = target_samples
        self.method = method
        registry().check_name("backend", backend)
        self.backend = backend
        self.settings = settings or TrainingSettings()
        self.observer = observer

    def _learn(self, system: LinearSystem, keep: int) -> Learnt:
        matrix, targets = scaled_by_target(system)
        if self.method == "descent":
            return Learnt(_pruning_scores(matrix, targets, system.reference > 0.0, keep))
        trained = train_gates(
            GateProblem(matrix, targets, np.ones(system.items)),
            keep,
            backend=get_backend(self.backend),
            seed=self.seed,
            settings=self.settings,
            observer=self.observer,
        )
        # A record without a weight before cannot serve: it comes last, whatever its gate has learnt.
        return Learnt(np.where(system.reference > 0.0, trained.log_alpha, trained.log_alpha.min() - 1.0), trained)


def _pruning_scores(matrix: sp.csr_array, targets: FloatArray, usable: npt.NDArray[np.bool_], keep: int) -> FloatArray:
    """How late each record leaves when those that contribute least are taken out, a tenth at a time.

    The contribution is the weight times the column's absolute sum. The score is the round that a record has
    survived plus its share of the largest contribution of its last round; of records that contribute nothing
    the larger come first, and those that are not usable last of all.
    """
    columns = matrix.tocsc()
    size = np.asarray(abs(columns).sum(axis=0)).ravel()
    scores = np.full(size.size, -1.0)
    inside = np.flatnonzero(usable)
    # A millionth: it orders those that contribute nothing and cannot outweigh a contribution that matters.
    promise = 1e-6 * size / max(size.max(), 1e-300)
    weights = np.ones(size.size)
    # Loose: the ranking is wanted, not the weights; a handful of sweeps settles it.
    settings = DescentSettings(tolerance=1e-5, max_passes=30)
    rounds = 0
    while True:
        problem = Regression(columns[:, inside], targets, lower=0.0, l2=1e-6)
        weights[inside] = descend(problem, start=weights[inside], settings=settings).coefficients
        contribution = weights[inside] * size[inside]
        top = contribution.max()
        worth = (contribution / top if top > 0.0 else contribution) + promise[inside]
        scores[inside] = rounds + worth
        if inside.size <= keep:
            return scores
        rounds += 1
        stay = max(keep, int(0.9 * inside.size))
        inside = np.sort(inside[np.argsort(-worth, kind="stable")[:stay]])
