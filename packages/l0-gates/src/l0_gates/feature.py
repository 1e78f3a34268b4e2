"""The strategy that learns which features explain a response."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.column_moments import column_moments
from l0_core.errors import InputError
from l0_core.penalties.base import price
from l0_core.plugins import get_backend, registry
from l0_core.real_numbers import real_array
from l0_gates.descent import DescentResult, DescentSettings, Regression, best_subset, descend
from l0_gates.descent.losses import descent_loss
from l0_gates.hard_concrete import GateProblem, TrainingResult, TrainingSettings, train_gates
from l0_gates.learning import LearningStrategy, Learnt
from l0_gates.row_weights import checked_row_weights, row_shares
from l0_gates.system import LinearSystem

FloatArray = npt.NDArray[np.float64]

METHODS = ("descent", "hard_concrete")

_RAREST = 1e-6
"""Share of a class down to which gates are trained at its odds: a response that is all 0 or all 1 has finite ones."""


def standardised(columns: sp.csr_array, weights: FloatArray | None = None) -> tuple[Any, bool]:
    """(the columns in units of their deviations, whether their means are taken off them); moments of weighted rows.

    A matrix that is mostly full comes back dense and centred, which is quicker, and exact for features that lie far
    from zero; a sparse one stays sparse and keeps its means.
    """
    means, deviations = column_moments(columns, weights)
    scales = np.where(deviations > 0.0, deviations, 1.0)
    if columns.nnz > 0.5 * columns.shape[0] * columns.shape[1]:
        dense = columns.toarray().astype(np.float64)
        return (dense - means) / scales, True
    return sp.csr_array(columns @ sp.diags_array(1.0 / scales)), False


class FeatureStrategy(LearningStrategy):
    """Keeps the features (columns) with which a linear model explains the response best.

    The ``totals`` of `fit` are the response, one for each row. Features are standardised, an intercept is always in.
    A feature whose ``reference`` is 0 is never chosen before one that has a positive one.

    Parameters
    ----------
    max_features
        How many features; ``None`` leaves it to each `select`.
    method
        ``"descent"``: L0 coordinate descent with exchanges (`best_subset`); ``"hard_concrete"``: gates and coefficients
        trained together, then ranked by open probability.
    loss
        ``"squared"`` or ``"logistic"`` (responses 0 and 1).
    l2
        Ridge on the standardised coefficients, per row.
    backend
        Name of the backend on which gates are trained.
    seed
        Of the training noise and of ties.
    settings
        Of the descent, or of the training of gates.
    row_weights
        Shape (rows,), what each row of the system counts for: not negative, finite. Only their proportions matter,
        so whole numbers select what rows repeated as often select, and rows of weight 0 count for nothing.
        ``None``: all alike.

    Raises
    ------
    InputError
        An unknown method or loss, settings of the other method, a ridge below 0; in `fit`, row weights that are not
        one for each row, negative, not finite or all zero.
    UnknownPluginError
        A backend that is not installed, whether the method needs it or not.
    """

    def __init__(
        self,
        max_features: int | None = None,
        method: str = "descent",
        loss: str = "squared",
        l2: float = 1e-6,
        backend: str = "numpy",
        seed: int = 0,
        settings: DescentSettings | TrainingSettings | None = None,
        row_weights: Any = None,
    ) -> None:
        super().__init__(max_features, seed)
        if method not in METHODS:
            raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
        descent_loss(loss)
        kind = DescentSettings if method == "descent" else TrainingSettings
        if settings is not None and not isinstance(settings, kind):
            raise InputError(f"settings of method {method!r} must be {kind.__name__}, got {type(settings).__name__}")
        self.max_features = max_features
        self.method = method
        self.loss = loss
        self.l2 = price(l2, "l2")
        registry().check_name("backend", backend)
        self.backend = backend
        self.settings = settings
        # A copy: counts that are learnt later must be learnt from the same weights.
        self.row_weights = None if row_weights is None else real_array(row_weights, "row_weights").astype(np.float64)

    def _check_system(self, system: LinearSystem) -> None:
        descent_loss(self.loss).check(system.totals)
        if self.row_weights is not None:
            checked_row_weights(self.row_weights, system.totals.size)

    def importances(self, keep: int | None = None) -> FloatArray:
        """How much of the loss of the model without features comes back when one is left out: (features,), in [0, 1].

        Features outside of the model have 0. The same for the same data, whatever the seed, under ``"descent"``.
        """
        count = keep if keep is not None else self.max_features
        if count is None:
            raise InputError("importances are for a count: give keep here or max_features at construction")
        return np.asarray(self.learnt(count).detail.importances)

    def _counted(self, system: LinearSystem) -> tuple[LinearSystem, FloatArray | None]:
        """(the system without rows of weight 0, the shares of its rows in the sum of the weights)."""
        if self.row_weights is None:
            return system, None
        weights = checked_row_weights(self.row_weights, system.totals.size)
        counted = weights > 0.0
        if not counted.all():
            system = LinearSystem(system.columns[counted], system.totals[counted], system.reference)
        return system, row_shares(weights[counted])

    def _learn(self, system: LinearSystem, keep: int) -> Learnt:
        system, weights = self._counted(system)
        scaled, centred = standardised(system.columns, weights)
        if self.method == "descent":
            usable = np.flatnonzero(system.reference > 0.0)
            first = usable if usable.size >= keep else np.arange(system.items)
            problem = self._regression(scaled[:, first], system, weights)
            settings = self.settings if isinstance(self.settings, DescentSettings) else None
            fit = best_subset(problem, keep, settings=settings)
            chosen = first[fit.support]
            worth = np.zeros(system.items)
            worth[first] = leave_one_out(problem, fit)
            # The model first, then the rest alike: scores above 1 mark its members.
            scores = worth.copy()
            scores[chosen] += 1.0
            return Learnt(scores, FeatureDetail(worth, fit))
        trained = self._train(scaled, centred, system, weights, keep)
        usable_gate = np.where(system.reference > 0.0, trained.log_alpha, trained.log_alpha.min() - 1.0)
        return Learnt(usable_gate, FeatureDetail(trained.open_probabilities, trained))

    def _regression(self, columns: Any, system: LinearSystem, weights: FloatArray | None) -> Regression:
        return Regression(
            columns, system.totals, loss=self.loss, l2=self.l2, row_weights=weights, mean=True, intercept=True
        )

    def _train(
        self, scaled: Any, centred: bool, system: LinearSystem, weights: FloatArray | None, keep: int
    ) -> TrainingResult:
        settings = self.settings if isinstance(self.settings, TrainingSettings) else TrainingSettings()
        if settings.loss != self.loss:
            settings = attrs.evolve(settings, loss=self.loss)
        totals, offset = system.totals, 0.0
        means, deviations = column_moments(totals[:, None], weights)
        if self.loss == "squared":
            # In units of the response's spread, so that step sizes mean the same for every response.
            totals = (totals - means[0]) / (deviations[0] or 1.0)
        else:
            share = min(max(float(means[0]), _RAREST), 1.0 - _RAREST)
            offset = math.log(share / (1.0 - share))
        matrix, start = sp.csr_array(scaled), np.zeros(system.items)
        problem = GateProblem(
            matrix, totals, start, positive=False, centred=not centred, offset=offset, row_weights=weights
        )
        return train_gates(problem, keep, backend=get_backend(self.backend), seed=self.seed, settings=settings)


@attrs.frozen(eq=False)
class FeatureDetail:
    """What was learnt about features: importances in [0, 1] and the fit behind them."""

    importances: FloatArray
    fit: DescentResult | TrainingResult


def leave_one_out(problem: Regression, fit: DescentResult) -> FloatArray:
    """For each member of the model, the rise of the objective when it is set to zero, over that of the empty model.

    The others are held, which bounds the refitted rise from above; in [0, 1]. The intercept takes over the mean
    of what goes, so that it does not matter how far from zero a feature lies.
    """
    empty = best_constant(problem)
    result = np.zeros(problem.shape[1])
    means = problem.quadratic(problem.row_weights).means + problem.offsets
    for j in fit.support:
        without = fit.coefficients.copy()
        without[j] = 0.0
        rise = problem.objective(without, fit.intercept + fit.coefficients[j] * means[j]) - fit.objective
        result[j] = min(max(rise / empty, 0.0), 1.0) if empty > 0.0 else 0.0
    return result


def best_constant(problem: Regression) -> float:
    """The objective of the best model without features."""
    nothing = sp.csc_array((problem.shape[0], 1))
    name = "squared" if problem.loss.exact else "logistic"
    only = Regression(
        nothing, problem.response, loss=name, row_weights=problem.row_weights, intercept=problem.intercept
    )
    return descend(only).objective
