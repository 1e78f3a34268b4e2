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


class L0FeatureSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Keeps exactly the features with which a linear model explains the response best.

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

    def fit(self, X: Any, y: Any) -> Self:
        """Learn which features to keep.

        Raises
        ------
        InputError
            A count outside 1..features, or a response with other than two classes under the logistic loss.
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
        if self.loss == "logistic":
            response = self._codes(response)
        seed = self.random_state
        if isinstance(seed, (int, np.integer)):
            seed = check_seed(seed, "random_state")
        else:
            seed = 0 if seed is None else int(check_random_state(seed).randint(2**31 - 1))
        strategy = FeatureStrategy(
            count, method=self.method, loss=self.loss, l2=self.l2, backend=self.backend, seed=seed
        )
        strategy.fit(sp.csr_array(features), np.asarray(response, dtype=np.float64))
        selection = strategy.select(features.shape[1])
        self.support_ = selection.mask
        self.scores_ = np.array(selection.scores)
        self.importances_ = strategy.importances()
        return self

    def _codes(self, response: Any) -> npt.NDArray[np.float64]:
        check_classification_targets(response)
        self.classes_, codes = np.unique(response, return_inverse=True)
        if self.classes_.size != 2:
            raise InputError(
                f"Only binary classification is supported. The type of the target is {type_of_target(response)}, "
                f"with {self.classes_.size} class{'' if self.classes_.size == 1 else 'es'}"
            )
        return codes.astype(np.float64)

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
