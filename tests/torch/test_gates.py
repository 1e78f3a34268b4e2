from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from l0_core import InputError, UntrainedWarning
from l0_torch import FeatureGate, HybridGate, L0Gate, SampleGate, SparseL0Linear

KINDS = {
    "tensor": torch.from_numpy,
    "ndarray": lambda a: a,
    "frame": lambda a: pd.DataFrame(a, index=np.arange(len(a)) + 100, columns=[f"c{i}" for i in range(a.shape[1])]),
    "csr": sp.csr_array,
    "csc": sp.csc_matrix,
    "coo": sp.coo_array,
}


def values_of(data) -> np.ndarray:
    if isinstance(data, torch.Tensor):
        return data.numpy()
    return data.toarray() if sp.issparse(data) else np.asarray(data)


def trained(gate, seed: int = 0):
    with torch.no_grad():
        gate.gates.logits.copy_(torch.randn(gate.size, generator=torch.Generator().manual_seed(seed)))
    return gate


@pytest.fixture(params=KINDS)
def table(request):
    array = np.random.default_rng(0).normal(size=(30, 8))
    return array, KINDS[request.param](array)


def test_the_same_kind_comes_back_with_the_chosen_rows(table):
    array, data = table
    gate = trained(SampleGate(30, 7))
    selected, indices = gate.select_samples(data)
    assert type(selected) is type(data)
    assert getattr(selected, "format", None) == getattr(data, "format", None)
    np.testing.assert_array_equal(values_of(selected), array[indices.numpy()])
    best = np.sort(np.argsort(gate.gates.logits.detach().numpy())[-7:])
    np.testing.assert_array_equal(indices, best)


def test_the_same_kind_comes_back_with_the_chosen_columns(table):
    array, data = table
    selected, indices = trained(FeatureGate(8, 3)).select_features(data)
    assert type(selected) is type(data)
    np.testing.assert_array_equal(values_of(selected), array[:, indices.numpy()])


def test_a_temperature_that_is_set_is_that_of_the_gates():
    gate, cooler = trained(SampleGate(30, 7)), trained(SampleGate(30, 7, temperature=0.1))
    gate.temperature = 0.1
    assert gate.temperature == 0.1
    torch.testing.assert_close(gate.get_penalty(), cooler.get_penalty())
    torch.testing.assert_close(gate.eval().get_gates(), cooler.eval().get_gates())


@pytest.mark.usefixtures("untouched_generators")
@pytest.mark.parametrize("keep", [1, 10, 99, 100])
def test_the_count_is_exact_in_every_mode_and_the_same(keep):
    gate, data = trained(SampleGate(100, keep)), np.arange(100.0)
    first = gate.train().select_samples(data)[1]
    assert len(first) == keep
    assert torch.equal(gate.eval().select_samples(data)[1], first)
    assert torch.equal(gate.select_samples(data)[1], first)


def test_before_training_it_warns_and_the_seed_decides():
    with pytest.warns(UntrainedWarning, match="SampleGate"):
        first = SampleGate(100, 10).select_samples(np.arange(100))[1]
    with pytest.warns(UntrainedWarning):
        second = SampleGate(100, 10, seed=1).select_samples(np.arange(100))[1]
    assert len(first) == len(second) == 10
    assert not torch.equal(first, second)
    assert SampleGate(5, 5).select_samples(np.arange(5))[1].tolist() == [0, 1, 2, 3, 4]
    with pytest.warns(UntrainedWarning, match="HybridGate has learnt nothing"):  # not the gate inside it
        HybridGate(100).select(np.arange(100))


@pytest.mark.parametrize(("size", "keep"), [(10_000, 1_000), (1_000, 100), (10, 10), (10, 1)])
def test_the_expected_count_at_first_is_the_one_asked_for(size, keep):
    for temperature in (0.25, 1.0):
        gate = SampleGate(size, keep, temperature)
        # a gate cannot be open with probability 1: where all are asked for, half a gate is missing
        assert float(gate.get_penalty().detach()) == pytest.approx(min(keep, size - 0.5), rel=1e-4)


def test_weights_are_scaled_by_what_an_open_gate_is_on_average():
    gate = trained(SampleGate(50, 20)).train()
    weights = torch.rand(50, requires_grad=True)
    _, scaled, indices = gate.select_weighted_samples(np.arange(50), weights)
    gates = copy.deepcopy(gate.gates).double()
    with torch.no_grad():
        draws = torch.stack([gates() for _ in range(4000)])
    expected = draws.sum(dim=0) / (draws > 0).sum(dim=0)
    # some thousand open draws with a standard deviation below 0.35
    torch.testing.assert_close((scaled / weights[indices]).double(), expected[indices], rtol=0.0, atol=0.03)
    scaled.sum().backward()
    assert (gate.gates.logits.grad[indices] > 0).all()
    frame_scaled = gate.eval().select_weighted_samples(np.arange(50), weights.detach().numpy())[1]
    np.testing.assert_allclose(frame_scaled, scaled.detach(), rtol=1e-6)


def test_fit_learns_which_records_meet_the_totals():
    rng = np.random.default_rng(0)
    matrix = sp.random_array((15, 200), density=0.3, rng=rng, format="csr")
    matrix = matrix.multiply(np.r_[np.ones(100), np.zeros(100)]).tocsr()  # the second half touches no target
    totals = matrix @ np.full(200, 2.0)
    gate = SampleGate(200, 60)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        gate.fit(matrix, totals)
        assert torch.equal(before, torch.get_rng_state())
    chosen = gate.select_samples(np.arange(200))[1].numpy()
    assert len(chosen) == 60
    assert (chosen < 100).mean() > 0.8  # a random selection has one half there
    assert float(gate.get_penalty().detach()) == pytest.approx(60, rel=0.1)
    again = SampleGate(200, 60).fit(matrix, totals)
    assert torch.equal(again.gates.logits, gate.gates.logits)
    assert gate.training


@pytest.mark.parametrize("kind", ["ndarray", "csr", "frame", "tensor"])
def test_fit_finds_the_features_that_explain_the_response(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 25)) * np.logspace(-2, 2, 25) + 5
    beta = np.zeros(25)
    beta[[2, 11, 20]] = np.array([3.0, -2.0, 2.5]) / np.logspace(-2, 2, 25)[[2, 11, 20]]
    y = X @ beta + 0.2 * rng.normal(size=150)
    gate = FeatureGate(25, 3).fit(KINDS[kind](X), y)
    names = [f"f{i}" for i in range(25)]
    assert gate.select_features_with_names(X, names)[1] == ["f2", "f11", "f20"]
    importance = gate.get_feature_importance()
    assert bool(((importance >= 0) & (importance <= 1)).all())
    assert importance[[2, 11, 20]].min() > importance[[0, 1, 3, 4, 5]].max()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16])
@pytest.mark.parametrize("kind", ["ndarray", "csr", "tensor"])
def test_features_in_short_numbers_are_those_in_long_ones(kind, dtype):
    """Pictures come as bytes, whose squares do not fit into bytes."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (200, 12))
    y = 2.0 * X[:, 3] - X[:, 7] + rng.normal(size=200)
    if kind == "csr" and dtype is np.float16:
        pytest.skip("scipy has no sparse matrices of half precision")
    gate = FeatureGate(12, 2).fit(KINDS[kind](X.astype(dtype)), y, epochs=100)
    assert gate.select_features(X)[1].tolist() == [3, 7]


def test_features_far_from_zero_are_those_near_it():
    rng = np.random.default_rng(0)
    X = rng.random((200, 12))
    y = 2.0 * X[:, 3] - X[:, 7] + 0.01 * rng.normal(size=200)
    gate = FeatureGate(12, 2).fit(1e-14 * X, y, epochs=100)
    assert gate.select_features(X)[1].tolist() == [3, 7]
    assert FeatureGate(12, 2).fit(X + 1e8, y, epochs=100).select_features(X)[1].tolist() == [3, 7]


@pytest.mark.parametrize(("items", "target"), [(1000, 100), (1000, 1000), (50, None), (7, 3)])
def test_hybrid_totals_are_exact_and_kinds_are_named(items, target):
    gate = HybridGate(items, 0.25, 0.75, target)
    trained(gate.l0_gate)
    selected, indices, kinds = gate.select(np.arange(items), random_seed=4)
    wanted = items // 5 if target is None else target
    assert len(indices) == len(kinds) == len(selected) == wanted
    assert (kinds == "l0").sum() == gate.n_l0
    assert abs(gate.n_l0 - 0.25 * wanted) <= 0.5
    assert (kinds == "random").sum() == gate.n_random
    assert (np.diff(indices) > 0).all()
    np.testing.assert_array_equal(gate.select(np.arange(items), random_seed=4)[1], indices)
    if wanted < items:
        assert not np.array_equal(gate.select(np.arange(items), random_seed=5)[1], indices)
    assert list(gate.state_dict()) == ["l0_gate.gates.qz_logits"]
    assert float(gate.get_penalty().detach()) > 0


def test_the_random_part_is_a_simple_random_sample_of_the_rest():
    gate = HybridGate(20, 0.5, 0.5, 8)
    trained(gate.l0_gate)
    counts = np.zeros(20)
    for seed in range(2000):
        _, indices, kinds = gate.select(np.arange(20), random_seed=seed)
        counts[indices.numpy()[kinds == "random"]] += 1
    rest = counts[counts > 0]
    assert len(rest) == 16
    # each of 16 is drawn with probability 1/4: four standard deviations of 2000 draws
    assert np.abs(rest / 2000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)


def test_a_gate_multiplies_slices_of_any_dimension():
    gate = trained(L0Gate(4)).eval()
    x = torch.randn(3, 4, 2)
    torch.testing.assert_close(gate.apply_gates(x, dim=1), x * gate.get_gates()[None, :, None])
    torch.testing.assert_close(gate.apply_gates(x, dim=-2), gate.apply_gates(x, dim=1))
    assert torch.equal(gate.get_active_indices(), torch.nonzero(gate.get_gates() > 0).flatten())
    assert list(gate.state_dict()) == ["gates.qz_logits"]
    with pytest.raises(InputError, match="slices"):
        gate.apply_gates(x, dim=0)


def test_counts_and_data_that_cannot_be_are_refused():
    for make in (
        lambda: SampleGate(10, 0),
        lambda: SampleGate(10, 11),
        lambda: FeatureGate(10, 2.5),
        lambda: HybridGate(10, 0.5, 0.6, 5),
        lambda: HybridGate(10, -0.5, 1.5, 5),
    ):
        with pytest.raises(InputError):
            make()
    gate = trained(SampleGate(10, 5))
    for data in (np.ones(9), [1] * 10):
        with pytest.raises(InputError):
            gate.select_samples(data)
    with pytest.raises(InputError, match="names"):
        trained(FeatureGate(4, 2)).select_features_with_names(np.ones((2, 4)), ["a"])
    with pytest.raises(InputError, match="totals"):
        gate.fit(np.ones((3, 10)), np.ones(1))  # one target for three rows is not broadcast
    with pytest.raises(InputError, match=r"totals\[1\] is not finite"):
        gate.fit(np.ones((3, 10)), [1.0, np.nan, 1.0])
    with pytest.raises(InputError, match="reference"):
        gate.fit(np.ones((3, 10)), np.ones(3), reference=np.zeros(10))
    with pytest.raises(InputError, match="constant"):
        FeatureGate(4, 2).fit(np.ones((5, 4)), np.ones(5))
    with pytest.raises(InputError, match="epochs"):
        gate.fit(np.ones((3, 10)), np.ones(3), epochs=0)


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    X = sp.random_array((200, 20), density=0.5, rng=rng, format="csr") * 4
    beta = np.zeros(20)
    beta[[3, 7]] = [2.0, -1.0]
    return X, X @ beta + 1.0 + 0.05 * rng.normal(size=200)


@pytest.mark.usefixtures("untouched_generators")
def test_sparse_regression_finds_support_coefficients_and_intercept(regression):
    X, y = regression
    model = SparseL0Linear(20, seed=1).fit(X, y, lambda_l0=0.02, lr=0.03, epochs=1000)
    assert model.get_selected_features().tolist() == [3, 7]
    coefficients = model.get_coefficients()
    assert coefficients[[3, 7]].tolist() == pytest.approx([2.0, -1.0], abs=0.05)
    assert int((coefficients != 0).sum()) == 2
    assert float(model.bias.detach()) == pytest.approx(1.0, abs=0.1)
    assert float((model.predict(X) - torch.from_numpy(y)).abs().mean()) < 0.1
    torch.testing.assert_close(model.predict(X.toarray()), model.predict(X))
    assert model.get_sparsity() == pytest.approx(0.9)


def test_sparse_regression_in_slices_is_that_in_one(regression):
    X, y = regression
    whole = SparseL0Linear(20, seed=1).fit(X, y, epochs=60)
    sliced = SparseL0Linear(20, seed=1)
    for _ in range(6):
        sliced.fit(X, y, epochs=10)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), sliced.parameters(), strict=True))
    assert list(sliced.state_dict()) == ["weight", "bias", "log_alpha"]


@pytest.mark.parametrize("change", ["lr", "state", "state of a model around it"])
def test_sparse_regression_begins_anew_with_another_rate_and_from_a_loaded_state(regression, change):
    X, y = regression
    model = SparseL0Linear(20, seed=1).fit(X, y - y.mean(), lr=0.01, epochs=40)
    if change == "state":
        model.load_state_dict(model.state_dict())
    if change == "state of a model around it":
        around = torch.nn.Sequential(model)
        around.load_state_dict(around.state_dict())
    before = float(model.bias.detach())
    lr = 0.05 if change == "lr" else 0.01
    model.fit(X, y, lr=lr, epochs=1)
    # The first step of Adam is as long as its rate, whatever the gradient; a later one is not.
    assert float(model.bias.detach()) - before == pytest.approx(lr, rel=1e-4)


def test_sparse_regression_starts_where_its_seed_says():
    first, again, other = (SparseL0Linear(20, seed=seed).log_alpha for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sparse_regression_refuses_what_it_cannot_use(regression):
    X, y = regression
    model = SparseL0Linear(20)
    with pytest.raises(InputError, match="y must have shape"):
        model.fit(X, y[:5])
    with pytest.raises(InputError, match="20 columns"):
        model.predict(X[:, :3])
    with pytest.raises(InputError, match="negative"):
        model.fit(X, y, lambda_reg=-1.0)
