"""Feature selection by L0 regression as a scikit-learn transformer (needs scikit-learn; extra ``sklearn``)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from l0_core.errors import InputError
from l0_core.selection import check_seed
from l0_core.whole_numbers import is_whole
from l0_gates.feature import FeatureStrategy
from l0_gates.row_weights import checked_row_weights


class L0FeatureSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Keeps exactly the features with which a linear model explains the response best.

    Rows may have weights (``sample_weight`` of `fit`), such as those of a survey; only their proportions matter.

    Parameters
    ----------
    n_features_to_select
        How many: a whole number, a fraction of the features in (0, 1), or ``None`` for half of them.
    loss
        ``"squared"`` for a number as response, ``"logistic"`` for two classes (of any label).
    method
        ``"descent"`` (L0 coordinate descent with exchanges; no randomness) or ``"hard_concrete"``.
    l2
        Ridge on the standardised coefficients, per row.
    backend
        Name of the array backend on which Hard Concrete gates are trained; checked in `fit` under either method.
    random_state
        Seed of the training of gates and of ties.

    Attributes
    ----------
    support_
        Shape (features,), True for what is kept.
    importances_
        Shape (features,), in [0, 1] (`FeatureStrategy.importances`).
    scores_
        Shape (features,), what the selection ranks by.
    classes_
        The two classes, in the order of their codes 0 and 1 (under the logistic loss).

    Examples
    --------
    >>> import numpy as np
    >>> from l0_gates.sklearn import L0FeatureSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 6))
    >>> L0FeatureSelector(2).fit(X, X[:, 1] - 2 * X[:, 4]).get_support(indices=True).tolist()
    [1, 4]

    Where the population is not the sample, its weights decide what matters:

    >>> y = np.where(np.arange(100) < 60, X[:, 0], X[:, 5])
    >>> design_weights = np.where(np.arange(100) < 60, 100.0, 900.0)
    >>> L0FeatureSelector(1).fit(X, y).get_support(indices=True).tolist()
    [0]
    >>> L0FeatureSelector(1).fit(X, y, sample_weight=design_weights).get_support(indices=True).tolist()
    [5]
    """

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        loss: str = "squared",
        method: str = "descent",
        l2: float = 1e-6,
        backend: str = "numpy",
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.loss = loss
        self.method = method
        self.l2 = l2
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn which features to keep.

        Parameters
        ----------
        X
            Shape (rows, features), ndarray, frame or scipy sparse.
        y
            Shape (rows,), the response.
        sample_weight
            Shape (rows,), or one number for all: what each row counts for in the loss, in the mean and the deviation of
            each feature and in those of the response; not negative, finite. They are divided by their sum, so that
            only their proportions matter (weights in persons, in thousands of them or with mean 1 select the same)
            and whole numbers select what rows repeated as often select. Rows of weight 0 count for nothing, nor does
            a class that only they have. All of this is up to rounding, which the training of gates magnifies: as when
            rows come in another order, features at the margin may change places under ``"hard_concrete"``.
            ``None``: all alike.

        Raises
        ------
        InputError
            A count outside 1..features, a response with other than two classes under the logistic loss, or weights that
            are not one for each row, negative or not finite (the row is named), or all zero.
        UnknownPluginError
            A backend that is not installed.
        """
        features, response = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            dtype=np.float64,
            y_numeric=self.loss != "logistic",
            ensure_min_samples=2,
        )
        count = self._count(features.shape[1])
        weights = None
        if sample_weight is not None:
            weights = checked_row_weights(sample_weight, features.shape[0], "sample_weight")
        if self.loss == "logistic":
            response = self._codes(response, slice(None) if weights is None else weights > 0.0)
        seed = self.random_state
        if isinstance(seed, (int, np.integer)):
            seed = check_seed(seed, "random_state")
        else:
            seed = 0 if seed is None else int(check_random_state(seed).randint(2**31 - 1))
        strategy = FeatureStrategy(
            count,
            method=self.method,
            loss=self.loss,
            l2=self.l2,
            backend=self.backend,
            seed=seed,
            row_weights=weights,
        )
        strategy.fit(sp.csr_array(features), np.asarray(response, dtype=np.float64))
        selection = strategy.select(features.shape[1])
        self.support_ = selection.mask
        self.scores_ = np.array(selection.scores)
        self.importances_ = strategy.importances()
        return self

    def _codes(self, response: Any, counted: Any) -> npt.NDArray[np.float64]:
        """0 and 1 for the two classes of the rows that count; 0 for whatever the other rows have."""
        check_classification_targets(response[counted])
        self.classes_ = np.unique(response[counted])
        if self.classes_.size != 2:
            raise InputError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(response[counted])}, "
                f"with {self.classes_.size} class{'' if self.classes_.size == 1 else 'es'}"
            )
        return np.asarray(response == self.classes_[1], dtype=np.float64)

    def _count(self, features: int) -> int:
        wanted = self.n_features_to_select
        if wanted is None:
            return max(1, features // 2)
        if is_whole(wanted) and 1 <= wanted <= features:
            return int(wanted)
        if isinstance(wanted, (float, np.floating)) and 0.0 < wanted < 1.0:
            return max(1, round(wanted * features))
        raise InputError(
            f"n_features_to_select must be from 1 to the number of features, {features}, a fraction in (0, 1) or None; "
            f"got {wanted!r}"
        )

    def _get_support_mask(self) -> npt.NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        if self.loss == "logistic":
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags
