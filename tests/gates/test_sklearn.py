"""The scikit-learn face of feature selection."""

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import InputError

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from l0_gates.sklearn import L0FeatureSelector


@parametrize_with_checks([L0FeatureSelector(), L0FeatureSelector(loss="logistic")])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
def test_it_finds_informative_features(method):
    features, response, truth = make_regression(120, 20, n_informative=4, coef=True, noise=1.0, random_state=0)
    selector = L0FeatureSelector(4, method=method, random_state=0).fit(features, response)
    np.testing.assert_array_equal(selector.get_support(indices=True), np.flatnonzero(truth))
    assert ((selector.importances_ >= 0) & (selector.importances_ <= 1)).all()
    again = clone(selector).fit(features, response)
    np.testing.assert_array_equal(again.importances_, selector.importances_)


def test_classes_of_any_label():
    features, codes = make_classification(
        200, 10, n_informative=2, n_redundant=0, n_clusters_per_class=1, shuffle=False, random_state=1
    )
    labels = np.where(codes == 1, "yes", "no")
    selector = L0FeatureSelector(2, loss="logistic").fit(features, labels)
    assert list(selector.classes_) == ["no", "yes"]
    assert 0 in selector.get_support(indices=True) or 1 in selector.get_support(indices=True)
    with pytest.raises(InputError, match="3 classes"):
        selector.fit(features, np.arange(200) % 3)


def test_sparse_stays_sparse_frames_keep_their_names_and_pipelines_search():
    pandas = pytest.importorskip("pandas")
    features, response = make_regression(80, 8, n_informative=3, random_state=0)
    kept = L0FeatureSelector(3).fit(sp.csr_matrix(features), response).transform(sp.csr_matrix(features))
    assert sp.issparse(kept)
    assert kept.shape == (80, 3)
    frame = pandas.DataFrame(features, columns=[f"x{i}" for i in range(8)])
    selector = L0FeatureSelector(3).set_output(transform="pandas").fit(frame, response)
    out = selector.transform(frame)
    assert list(out.columns) == list(selector.get_feature_names_out())
    search = GridSearchCV(
        make_pipeline(L0FeatureSelector(), LinearRegression()),
        {"l0featureselector__n_features_to_select": [1, 3]},
        cv=3,
    )
    search.fit(features, response)
    assert search.best_params_ == {"l0featureselector__n_features_to_select": 3}


def test_before_fit_and_bad_counts():
    with pytest.raises(NotFittedError):
        L0FeatureSelector().transform(np.ones((2, 2)))
    features, response = make_regression(20, 5, random_state=0)
    for share in (0.4, np.float32(0.4)):
        assert L0FeatureSelector(share).fit(features, response).support_.sum() == 2
    for wrong in (0, 6, -1, 1.5, True, "two"):
        with pytest.raises(InputError, match="n_features_to_select"):
            L0FeatureSelector(wrong).fit(features, response)


def test_importances_serve_other_selectors():
    """Models and selectors that ask an estimator for its importances get them."""
    features, response, truth = make_regression(120, 20, n_informative=4, coef=True, noise=1.0, random_state=0)
    learner = L0FeatureSelector(4)
    selector = SelectFromModel(learner, importance_getter="importances_", threshold=1e-3).fit(features, response)
    np.testing.assert_array_equal(selector.get_support(), truth != 0)
    three = SelectFromModel(learner, importance_getter="importances_", threshold=-np.inf, max_features=3)
    kept = three.fit(features, response).get_support(indices=True)
    largest = np.argsort(-learner.fit(features, response).importances_)[:3]
    np.testing.assert_array_equal(kept, np.sort(largest))


def weighted_rows(loss):
    """(features, response, whole weights from 0 on); two features matter, others where the weights are large."""
    rng = np.random.default_rng(8)
    features, heavy = rng.normal(size=(120, 6)), np.arange(120) % 3 == 0
    eta = 3.0 * features[:, 0] + np.where(heavy, 4.0 * features[:, 3], 4.0 * features[:, 5]) + rng.normal(size=120)
    response = eta if loss == "squared" else np.where(eta > 0.0, "yes", "no")
    return features, response, np.where(heavy, 6, rng.integers(0, 3, 120))


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
def test_weights_are_repetitions_in_any_unit(method, loss):
    features, response, weights = weighted_rows(loss)
    selector = L0FeatureSelector(2, loss=loss, method=method)
    repeated = clone(selector).fit(features.repeat(weights, axis=0), response.repeat(weights))
    for unit in (1, 0.01):
        weighted = clone(selector).fit(features, response, sample_weight=unit * weights)
        np.testing.assert_array_equal(weighted.get_support(indices=True), [0, 3])
        if method == "descent":  # a thousand steps of gates magnify what rounding leaves
            np.testing.assert_allclose(weighted.importances_, repeated.importances_, atol=1e-6)
    np.testing.assert_array_equal(repeated.get_support(indices=True), [0, 3])
    np.testing.assert_array_equal(selector.fit(features, response).get_support(indices=True), [0, 5])
    kept = selector.fit_transform(features, response, sample_weight=weights)
    np.testing.assert_array_equal(kept, features[:, [0, 3]])


def test_a_class_that_only_rows_of_weight_zero_have_is_none():
    features, response, weights = weighted_rows("logistic")
    gone = weights == 0
    expected = L0FeatureSelector(2, loss="logistic").fit(features[~gone], response[~gone], weights[~gone])
    response = np.where(gone, "perhaps", response)
    selector = L0FeatureSelector(2, loss="logistic").fit(features, response, weights)
    assert list(selector.classes_) == ["no", "yes"]
    np.testing.assert_array_equal(selector.scores_, expected.scores_)
    with pytest.raises(InputError, match=r"1 class$"):
        selector.fit(features, response, response == "yes")


@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(119), r"shape \(120,\), one for each row, got \(119,\)"),
        (np.arange(120.0) - 1.0, "of row 0 is -1.0"),
        (np.where(np.arange(120) == 7, np.nan, 1.0), "of row 7 is nan"),
        (np.zeros(120), "all are zero"),
    ],
)
def test_bad_weights_are_called_by_their_name(method, weights, words):
    features, response, _ = weighted_rows("squared")
    with pytest.raises(InputError, match=f"^sample_weight .*{words}"):
        L0FeatureSelector(2, method=method).fit(features, response, sample_weight=weights)


def test_weights_are_routed_through_pipelines_and_searches():
    features, response, weights = weighted_rows("squared")
    plain = make_pipeline(L0FeatureSelector(2), LinearRegression())
    plain.fit(features, response, l0featureselector__sample_weight=weights)
    np.testing.assert_array_equal(plain[0].get_support(indices=True), [0, 3])
    with config_context(enable_metadata_routing=True):
        for asked, kept in ((True, [0, 3]), (False, [0, 5])):
            model = make_pipeline(
                L0FeatureSelector(2).set_fit_request(sample_weight=asked),
                LinearRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=True),
            )
            search = GridSearchCV(model, {"l0featureselector__n_features_to_select": [1, 2]}, cv=3)
            search.fit(features, response, sample_weight=weights)
            assert search.best_params_ == {"l0featureselector__n_features_to_select": 2}
            np.testing.assert_array_equal(search.best_estimator_[0].get_support(indices=True), kept)
