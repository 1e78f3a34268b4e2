"""`l0.SampleGate`, `FeatureGate`, `HybridGate`, `L0Gate` as their users know them: counts that are exact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import l0
from l0_core import UntrainedWarning

ROWS, COLUMNS = 40, 7
VALUES = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
KINDS = {
    "tensor": torch.tensor,
    "ndarray": np.asarray,
    "frame": lambda v: pd.DataFrame(v, columns=list("abcdefg"), index=np.arange(100, 100 + len(v))),
    "sparse": sp.csr_matrix,
}

untrained = pytest.mark.filterwarnings("ignore::l0_core.UntrainedWarning")


def dense(data):
    if isinstance(data, pd.DataFrame):
        return data.to_numpy()
    return data.toarray() if sp.issparse(data) else np.asarray(data)


@untrained
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [1, 13, ROWS])
@pytest.mark.parametrize("training", [True, False])
def test_sample_gate_keeps_the_count_in_every_mode_and_gives_the_same_kind_back(kind, target, training):
    data = KINDS[kind](VALUES)
    gate = l0.SampleGate(n_samples=ROWS, target_samples=target)
    gate.train(training)
    selected, indices = gate.select_samples(data)
    assert type(selected) is type(data)
    assert selected.shape == (target, COLUMNS)
    np.testing.assert_array_equal(dense(selected), VALUES[indices.numpy()])
    assert torch.equal(gate.select_samples(data)[1], indices)
    assert torch.equal(gate.train(not training).select_samples(data)[1], indices)


@pytest.mark.parametrize("target", [0, ROWS + 1, 2.5])
def test_counts_that_cannot_be_are_refused(target):
    with pytest.raises(ValueError, match="target_samples"):
        l0.SampleGate(ROWS, target)


def test_the_first_selection_warns_that_nothing_was_learnt():
    with pytest.warns(UntrainedWarning, match="learnt nothing"):
        l0.SampleGate(ROWS, 3).select_samples(VALUES)


def test_a_fitted_sample_gate_keeps_the_records_that_matter():
    # Only the first five records carry anything.
    matrix = np.zeros((5, ROWS))
    matrix[np.arange(5), np.arange(5)] = 1.0
    gate = l0.SampleGate(ROWS, 5).fit(matrix, np.full(5, 8.0), epochs=200)
    assert gate.select_samples(VALUES)[1].tolist() == [0, 1, 2, 3, 4]


@untrained
@pytest.mark.parametrize("kind", ["tensor", "ndarray"])
def test_weighted_selection_scales_by_gates_in_0_1(kind):
    weights = KINDS[kind](np.linspace(1.0, 2.0, ROWS))
    gate = l0.SampleGate(ROWS, 9)
    data, scaled, indices = gate.select_weighted_samples(KINDS[kind](VALUES), weights)
    assert data.shape[0] == scaled.shape[0] == len(indices) == 9
    ratio = dense(scaled.detach() if kind == "tensor" else scaled) / dense(weights)[indices.numpy()]
    assert ((ratio > 0) & (ratio <= 1)).all()


@untrained
@pytest.mark.parametrize("kind", KINDS)
def test_feature_gate(kind):
    data = KINDS[kind](VALUES)
    gate = l0.FeatureGate(n_features=COLUMNS, max_features=3)
    for mode in (True, False):
        gate.train(mode)
        selected, indices = gate.select_features(data)
        assert type(selected) is type(data)
        assert selected.shape == (ROWS, 3)
        np.testing.assert_array_equal(dense(selected), VALUES[:, indices.numpy()])
    _, names = gate.select_features_with_names(data, list("abcdefg"))
    assert names == [list("abcdefg")[i] for i in indices]
    assert gate.get_feature_importance().shape == (COLUMNS,)


def test_a_fitted_feature_gate_finds_the_features():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, COLUMNS))
    gate = l0.FeatureGate(COLUMNS, 2).fit(X, 3 * X[:, 1] - 2 * X[:, 5] + 0.1 * rng.normal(size=200))
    assert gate.select_features(X)[1].tolist() == [1, 5]
    importance = gate.get_feature_importance()
    assert set(importance.topk(2).indices.tolist()) == {1, 5}


@untrained
@pytest.mark.parametrize(("l0_fraction", "target", "learned"), [(0.25, 16, 4), (0.25, 10, 3), (1.0, 8, 8), (0.0, 8, 0)])
def test_hybrid_gate_delivers_exact_totals(l0_fraction, target, learned):
    gate = l0.HybridGate(ROWS, l0_fraction=l0_fraction, random_fraction=1 - l0_fraction, target_items=target)
    selected, indices, types = gate.select(VALUES)
    assert selected.shape[0] == len(indices) == len(types) == target
    assert (types == "l0").sum() == learned
    assert set(types) <= {"l0", "random"}
    assert len(set(indices.tolist())) == target
    again = gate.select(VALUES, random_seed=5)[1]
    assert torch.equal(again, gate.select(VALUES, random_seed=5)[1])


def test_l0_gate():
    gate = l0.L0Gate(size=COLUMNS, init_mean=0.9)
    assert gate.get_gates().shape == (COLUMNS,)
    x = torch.tensor(VALUES)
    gate.eval()
    assert torch.allclose(gate.apply_gates(x, dim=1), x * gate.get_gates())
    assert gate.get_penalty().item() == pytest.approx(0.9 * COLUMNS, rel=1e-5)
    assert gate.get_active_indices().tolist() == list(range(COLUMNS))
    assert gate.get_active_indices(threshold=0.95).tolist() == []
    with pytest.raises(ValueError, match="slices"):
        gate.apply_gates(x, dim=0)


@untrained
def test_model_wide_functions_see_the_gates_of_selection():
    model = torch.nn.ModuleDict({"sample": l0.SampleGate(10, 4), "feature": l0.FeatureGate(6, 2)})
    assert l0.compute_l0_penalty(model).item() == pytest.approx(6.0, rel=1e-5)
    assert l0.compute_l2_penalty(model).item() == 0.0
    l0.update_temperatures(model, 0.05)
    assert model["sample"].temperature == model["feature"].temperature == 0.05


@untrained
def test_no_global_generator_moves():
    torch.manual_seed(3)
    np.random.seed(3)
    state = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    l0.HybridGate(ROWS, target_items=10).select(VALUES)
    l0.SampleGate(ROWS, 5).select_samples(VALUES)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
