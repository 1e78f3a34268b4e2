"""Rows that count for more or less than one: as often as they would have been repeated, in whatever unit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import InputError, get_backend
from l0_gates import FeatureStrategy
from l0_gates.descent import Regression
from l0_gates.hard_concrete import GateProblem, TrainingSettings, train_gates
from l0_gates.row_weights import checked_row_weights

WAYS = [
    pytest.param(method, loss, form, id=f"{method}-{loss}-{form.__name__}")
    for method in ("descent", "hard_concrete")
    for loss in ("squared", "logistic")
    for form in (np.asarray, sp.csr_array)
]


def rows(loss, seed=0):
    """(features, response, whole weights from 0 on) of two populations in which different features matter."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(90, 7)) * (rng.random((90, 7)) < 0.6)
    first = np.arange(90) < 60
    eta = 3.0 * features[:, 2] + np.where(first, 4.0 * features[:, 1], 4.0 * features[:, 4]) + rng.normal(size=90)
    response = eta if loss == "squared" else (eta > 0.3).astype(float)
    return features, response, np.where(first, rng.integers(0, 3, 90), rng.integers(4, 9, 90)).astype(float)


def strategy(method, loss, **settings):
    if method == "hard_concrete":
        settings["settings"] = TrainingSettings(steps=150, loss=loss, dtype="float64")
    return FeatureStrategy(2, method=method, loss=loss, **settings)


def scores(fitted):
    return fitted.select(7).scores


@pytest.mark.parametrize(("method", "loss", "form"), WAYS)
def test_whole_numbers_are_rows_repeated_as_often(method, loss, form):
    features, response, weights = rows(loss)
    often = weights.astype(int)
    weighted = strategy(method, loss, row_weights=weights).fit(form(features), response)
    repeated = strategy(method, loss).fit(form(features.repeat(often, axis=0)), response.repeat(often))
    np.testing.assert_allclose(scores(weighted), scores(repeated), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.importances(), repeated.importances(), rtol=1e-6, atol=1e-9)
    alike = strategy(method, loss).fit(form(features), response)
    assert list(alike.select(7).indices) != list(weighted.select(7).indices)


@pytest.mark.parametrize("scale", [3e-7, 1e5, 1e307])
@pytest.mark.parametrize(("method", "loss", "form"), WAYS)
def test_the_unit_of_the_weights_does_not_matter(method, loss, form, scale):
    features, response, weights = rows(loss, seed=1)
    plain = strategy(method, loss, row_weights=weights).fit(form(features), response)
    scaled = strategy(method, loss, row_weights=scale * weights).fit(form(features), response)
    np.testing.assert_array_equal(scaled.select(7).indices, plain.select(7).indices)
    np.testing.assert_allclose(scores(scaled), scores(plain), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("method", "loss", "form"), WAYS)
def test_rows_of_weight_zero_count_for_nothing(method, loss, form):
    features, response, weights = rows(loss, seed=2)
    gone = weights == 0.0
    assert gone.any()
    without = strategy(method, loss, row_weights=weights[~gone]).fit(form(features[~gone]), response[~gone])
    features[gone], response[gone] = 1e9, 1.0  # full rows: they would also decide how the matrix is stored
    beside = strategy(method, loss, row_weights=weights).fit(form(features), response)
    np.testing.assert_array_equal(scores(beside), scores(without))


def test_weights_are_those_of_the_moment_of_construction():
    features, response, weights = rows("squared")
    fitted = FeatureStrategy(row_weights=weights).fit(features, response)
    expected = FeatureStrategy(row_weights=weights.copy()).fit(features, response).select(7, keep=2)
    weights[:] = 1.0
    np.testing.assert_array_equal(fitted.select(7, keep=2).scores, expected.scores)


@pytest.mark.parametrize("loss", ["absolute", "squared", "logistic"])
def test_gates_are_trained_on_the_weighted_mean(loss):
    features, response, weights = rows("logistic", seed=3)
    often, settings = weights.astype(int), TrainingSettings(steps=40, loss=loss, dtype="float64")

    def trained(matrix, targets, row_weights=None):
        problem = GateProblem(
            sp.csr_array(matrix),
            targets,
            np.zeros(7),
            positive=False,
            centred=True,
            offset=0.2,
            row_weights=row_weights,
        )
        return train_gates(problem, 2, backend=get_backend("numpy"), settings=settings)

    weighted, repeated = (
        trained(features, response, weights),
        trained(features.repeat(often, axis=0), response.repeat(often)),
    )
    np.testing.assert_allclose([s.loss for s in weighted.history], [s.loss for s in repeated.history], rtol=1e-9)
    np.testing.assert_allclose(weighted.log_alpha, repeated.log_alpha, rtol=1e-9)


def test_a_response_of_one_class_has_odds_to_train_at():
    features = rows("logistic")[0]
    for response in (np.zeros(90), np.ones(90)):
        fitted = strategy("hard_concrete", "logistic").fit(features, response)
        assert np.isfinite(scores(fitted)).all()


BAD = [
    (np.ones(3), r"shape \(4,\), one for each row, got \(3,\)"),
    (np.ones((4, 1)), r"shape \(4,\), one for each row, got \(4, 1\)"),
    ([1.0, 2.0, -3.0, 1.0], r"of row 2 is -3.0; it must be finite and not negative"),
    ([1.0, np.nan, 3.0, 1.0], r"of row 1 is nan"),
    ([1.0, 1.0, 3.0, np.inf], r"of row 3 is inf"),
    (np.zeros(4), "positive for at least one row; all are zero"),
    (["a", "b", "c", "d"], "must be real numbers"),
    ([1.0, 1.0j, 1.0, 1.0], "must be real numbers"),
]


@pytest.mark.parametrize(("weights", "words"), BAD)
def test_bad_weights_are_refused_at_every_door(weights, words):
    table, response = np.eye(4), np.arange(4.0)
    doors = [
        lambda: Regression(table, response, row_weights=weights),
        lambda: GateProblem(sp.csr_array(table), response, np.ones(4), row_weights=weights),
        *(
            lambda m=m: FeatureStrategy(method=m, row_weights=weights).fit(table, response)
            for m in ("descent", "hard_concrete")
        ),
    ]
    for door in doors:
        with pytest.raises(InputError, match=f"^row_weights.*{words}"):
            door()


def test_one_number_stands_for_all_and_nothing_of_the_caller_is_kept():
    np.testing.assert_array_equal(checked_row_weights(2, 3), [2.0, 2.0, 2.0])
    mine = np.ones(3)
    checked_row_weights(mine, 3)[0] = 5.0
    assert mine[0] == 1.0


def test_a_loss_of_the_problems_own_weighs_its_rows_itself():
    with pytest.raises(InputError, match="weighs its rows"):
        GateProblem(
            sp.csr_array(np.eye(2)), np.ones(2), np.ones(2), loss=lambda xp, e, t: (0, e), row_weights=np.ones(2)
        )
