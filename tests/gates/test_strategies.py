"""The strategies that learn: exact counts, what they find, and how they treat input."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls

from l0_core import InputError, UntrainedWarning, get_gate, plugins
from l0_gates import FeatureStrategy, HybridStrategy, SampleStrategy
from l0_gates.designs import horvitz_thompson_weights
from l0_gates.hard_concrete import TrainingSettings


def records(seed=0, rows=10, items=120):
    """Totals that a dozen records carry: the others are small beside them."""
    rng = np.random.default_rng(seed)
    matrix = rng.exponential(size=(rows, items)) * (rng.random((rows, items)) < 0.3)
    matrix[:, :12] *= 30.0
    return sp.csr_array(matrix), matrix.sum(axis=1), rng.uniform(0.5, 2.0, size=items)


def relative_error(matrix, totals, kept):
    weights, _ = nnls(matrix.toarray()[:, kept] / totals[:, None], np.ones(totals.size), maxiter=10_000)
    return np.abs(matrix.toarray()[:, kept] @ weights / totals - 1.0).mean()


@pytest.mark.parametrize("method", ["hard_concrete", "descent"])
def test_sample_finds_better_records_than_chance(method):
    matrix, totals, reference = records()
    strategy = SampleStrategy(8, method=method).fit(matrix, totals, reference=reference)
    selection = strategy.select(matrix.T)
    assert len(selection) == 8
    assert set(selection.kinds) == {"learned"}
    learned = relative_error(matrix, totals, selection.indices)
    rng = np.random.default_rng(1)
    chance = [relative_error(matrix, totals, rng.permutation(120)[:8]) for _ in range(60)]
    assert learned < np.quantile(chance, 0.1)


@pytest.mark.parametrize("name", ["sample", "feature", "hybrid"])
def test_before_fit_they_warn_and_still_keep_exactly(name):
    strategy = get_gate(name)
    assert not strategy.is_fitted
    for keep in (1, 7, 20):
        if name == "hybrid" and keep == 1:
            continue  # the one item is of the random part, which needs no learning
        with pytest.warns(UntrainedWarning, match="has learnt nothing"):
            selection = strategy.select(20, keep=keep, seed=3)
        assert len(selection) == keep


@pytest.mark.parametrize("name", ["sample", "feature", "hybrid"])
def test_any_count_after_fit_and_the_same_again(name):
    matrix, totals, reference = records(items=40)
    settings = {} if name == "hybrid" else {"seed": 2}
    if name == "sample":
        settings["settings"] = TrainingSettings(steps=80)
    strategy = get_gate(name, **settings).fit(matrix, totals, reference=reference)
    again = get_gate(name, **settings).fit(matrix, totals, reference=reference)
    for keep in (1, 5, 39, 40):
        first, second = strategy.select(40, keep=keep), again.select(40, keep=keep)
        assert len(first) == keep
        np.testing.assert_array_equal(first.indices, second.indices)


def test_records_without_weight_come_last():
    matrix, totals, reference = records(items=40)
    reference[:10] = 0.0
    for method in ("hard_concrete", "descent"):
        strategy = SampleStrategy(method=method, settings=TrainingSettings(steps=60))
        selection = strategy.fit(matrix, totals, reference=reference).select(40, keep=30)
        assert selection.indices.min() >= 10


@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_features_recover_the_truth(method, loss, form):
    rng = np.random.default_rng(6)
    matrix = rng.normal(size=(400, 30)) * rng.uniform(0.1, 20.0, size=30) + 3.0
    standard = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    score = standard[:, [2, 11, 25]] @ np.array([2.0, -1.5, 1.8])
    response = score + 0.5 * rng.normal(size=400) if loss == "squared" else (score + rng.logistic(size=400) > 0) * 1.0
    given_matrix = matrix if form == "dense" else sp.csr_array(matrix)
    strategy = FeatureStrategy(3, method=method, loss=loss).fit(given_matrix, response)
    np.testing.assert_array_equal(strategy.select(30).indices, [2, 11, 25])
    importances = strategy.importances()
    assert ((importances >= 0) & (importances <= 1)).all()
    assert set(np.argsort(-importances)[:3]) == {2, 11, 25}


def test_hybrid_totals_kinds_and_unbiasedness():
    matrix, totals, reference = records(items=60)
    strategy = HybridStrategy(20, l0_fraction=0.25, learner=SampleStrategy(settings=TrainingSettings(steps=60)))
    strategy.fit(matrix, totals, reference=reference)
    values = np.arange(60.0)
    estimates = []
    for seed in range(1_500):
        selection = strategy.select(60, seed=seed)
        assert len(selection) == 20
        assert (selection.kinds == "l0").sum() == 5
        estimates.append(horvitz_thompson_weights(selection, reference) @ values)
    assert selection.inclusion_probabilities.sum() == pytest.approx(20)
    assert abs(np.mean(estimates) - reference @ values) < 4.5 * np.std(estimates) / np.sqrt(1_500)
    for total, fraction in itertools.product((1, 7, 33, 60), (0.0, 0.3, 1.0)):
        parts = HybridStrategy(total, fraction).parts(total)
        assert sum(parts) == total


def test_the_random_part_of_a_hybrid_is_balanced_where_its_design_balances():
    rng = np.random.default_rng(0)
    matrix = rng.random((2, 300))

    def spread(design):
        strategy = HybridStrategy(100, design=design, learner="feature").fit(matrix, matrix.sum(axis=1))
        weights = [horvitz_thompson_weights(strategy.select(300, seed=seed)) for seed in range(20)]
        return np.std([matrix @ each for each in weights], axis=0)

    # The learned part is the same in all, so that only the random part can differ.
    assert (spread("cube") < 0.5 * spread("random")).all()


@pytest.mark.parametrize("design", ["systematic", "sampford", "max_entropy", "poisson", "cube"])
def test_hybrid_with_each_design(design):
    matrix, totals, reference = records(items=60)
    strategy = HybridStrategy(20, design=design, learner="feature").fit(matrix, totals, reference=reference)
    selection = strategy.select(60)
    assert len(selection) == 20
    assert selection.inclusion_probabilities.sum() == pytest.approx(20)


def test_everything_is_announced():
    ours = {p.name for p in plugins() if p.package == "l0-gates" and p.kind == "gate"}
    designs = {"random", "poisson", "systematic", "sampford", "max_entropy", "cube"}
    assert ours == {"sample", "feature", "hybrid"} | designs
    assert all(str(p.state) == "ok" for p in plugins() if p.package == "l0-gates")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SampleStrategy(3, method="magic"), "unknown method"),
        (lambda: SampleStrategy(3, settings=TrainingSettings(loss="logistic")), "logistic"),
        (lambda: FeatureStrategy(3, loss="hinge"), "unknown loss"),
        (lambda: FeatureStrategy(3, settings=TrainingSettings()), "DescentSettings"),
        (lambda: HybridStrategy(3, 0.3, 0.3), "add up to 1"),
        (lambda: SampleStrategy(9).fit(np.eye(3), np.ones(3)), "from 1 to"),
        (lambda: SampleStrategy().fit(np.eye(3), np.ones(2)), "totals must have shape"),
        (lambda: SampleStrategy().fit(np.eye(3), np.array([1.0, np.nan, 1.0])), "row 1"),
        (lambda: SampleStrategy().fit(np.eye(3), np.ones(3), reference=[1, -1, 1]), "item 1"),
        (lambda: SampleStrategy().fit(np.eye(3), np.ones(3)).select(4, keep=1), "fitted to 3"),
        (lambda: SampleStrategy().select(4), "no count"),
        (lambda: HybridStrategy().select(4), "no count"),
        (lambda: HybridStrategy(learner="feature").fit(np.eye(3), np.ones(3)).select(4, keep=2), "fitted to 3"),
        (lambda: get_gate("random").fit(np.eye(3), np.ones(3)).select(4, keep=2), "fitted to 3 items, 4 are"),
        (lambda: SampleStrategy().learnt(2), "nothing has been learnt"),
        (lambda: FeatureStrategy().fit(np.eye(3), np.ones(3)).importances(), "importances are for a count"),
        (lambda: FeatureStrategy(3, method="magic"), "unknown method 'magic'"),
        (lambda: FeatureStrategy(loss="logistic").fit(np.eye(3), [0.0, 1.0, 3.0]), "row 2"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("method", ["descent", "hard_concrete"])
@pytest.mark.parametrize("offset", [0.0, 1e4, 1e9])
def test_features_far_from_zero_are_features_like_others(method, offset):
    """A year, a time stamp: where a feature lies says nothing about what it is worth."""
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(300, 12))
    response = 2.0 * matrix[:, 3] - matrix[:, 8] + 0.1 * rng.normal(size=300)
    near = FeatureStrategy(2, method=method).fit(matrix, response)
    far = FeatureStrategy(2, method=method).fit(matrix + offset * (np.arange(12) % 4 == 3), response)
    np.testing.assert_array_equal(far.select(12).indices, [3, 8])
    # The offset leaves seven digits of the feature, which training in single precision stretches.
    np.testing.assert_allclose(far.importances(), near.importances(), atol=1e-3)


def test_importances_do_not_depend_on_where_a_sparse_feature_lies():
    rng = np.random.default_rng(8)
    matrix = rng.normal(size=(400, 10)) * (rng.random((400, 10)) < 0.2)
    response = matrix[:, 2] + matrix[:, 5]
    there = np.where(matrix != 0.0, matrix + 5.0, 0.0)  # means away from zero, still sparse
    of_there = there[:, 2] + there[:, 5]
    for features, y in ((matrix, response), (there, of_there)):
        found = FeatureStrategy(2).fit(sp.csr_array(features), y).importances()
        centred = features - features.mean(axis=0)
        total = ((y - y.mean()) ** 2).sum()
        # Leaving one of two features with known coefficients out leaves its own share of the variance.
        np.testing.assert_allclose(found[[2, 5]], (centred[:, [2, 5]] ** 2).sum(axis=0) / total, rtol=1e-4)


def test_entries_given_twice_are_added_and_the_matrix_is_left_alone():
    twice = sp.csr_array((np.ones(4), np.array([0, 0, 1, 2]), np.array([0, 3, 4])), shape=(2, 3))
    once = sp.csr_array(twice.toarray())
    picks = [SampleStrategy(1, method="descent").fit(m, [2.0, 0.5]).select(3).scores for m in (twice, once)]
    np.testing.assert_array_equal(*picks)
    assert twice.nnz == 4
