"""What is handed over by mistake is refused with a reason, and what is meant works: sizes, seeds, dtypes, modes."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from l0_core import get_backend
from l0_core.errors import InputError
from l0_torch import (
    FeatureGate,
    GateRule,
    HardConcrete,
    HybridGate,
    L0Conv2d,
    L0DepthwiseConv2d,
    L0Embedding,
    L0Gate,
    L0Linear,
    PenaltyTracker,
    SampleGate,
    SparseL0Linear,
    TemperatureScheduler,
    compute_l0l2_penalty,
    gate_module,
    seed_gates,
)

HALVES = (torch.float16, torch.bfloat16)


def regression(rows=60, features=8):
    X = np.random.default_rng(0).normal(size=(rows, features))
    return X, X[:, 1] - 2 * X[:, 3]


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_sizes_may_be_numpy_integers(kind):
    assert HardConcrete(kind(4), kind(2)).gate_size == (4, 2)
    assert type(HardConcrete(kind(4)).gate_size[0]) is int
    assert SampleGate(kind(8), kind(3)).fit(*regression(), epochs=kind(2)).select_samples(np.arange(8))[0].size == 3
    assert L0Linear(kind(3), kind(2))(torch.zeros(1, 3)).shape == (1, 2)
    assert SparseL0Linear(kind(8)).fit(*regression(), epochs=kind(2)).n_features == 8
    assert TemperatureScheduler(total_epochs=kind(10)).anneal_epochs == 10


@pytest.mark.parametrize("size", [4.0, True, np.bool_(True), "4", None, 0, np.int64(-1)])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match=r"must be a whole number of at least 1|give the number of gates"):
        HardConcrete(size)


def test_probabilities_may_be_numpy_floats():
    assert HardConcrete(4, init_mean=np.float32(0.25)).init_mean == 0.25
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        HardConcrete(4, init_mean=True)


@pytest.mark.parametrize("seed", ["1", 1.5, -1, 2**63, True])
def test_a_seed_that_is_none_is_refused_at_construction(seed):
    for make in (
        lambda: HardConcrete(4, seed=seed),
        lambda: SampleGate(4, 2, seed=seed),
        lambda: SparseL0Linear(4, seed=seed),
        lambda: HybridGate(4, seed=seed),
        lambda: HardConcrete(4).seed_noise(seed),
        lambda: seed_gates(HardConcrete(4), seed),
        lambda: get_backend("torch").generator(seed),
        lambda: HybridGate(8, target_items=4).select(np.zeros(8), random_seed=seed),
    ):
        with pytest.raises(InputError, match="seed must be a whole number"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make()


def test_numpy_seeds_are_seeds():
    assert torch.equal(HardConcrete(9, seed=np.int64(3))(), HardConcrete(9, seed=3)())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_refused_as_an_array_is(bad):
    X, y = regression()
    X[3, 2] = bad
    for table in (X, torch.tensor(X), torch.tensor(X).to_sparse()):
        with pytest.raises(InputError, match=r"row 3, column 2|X\[3, 2\]"):
            SparseL0Linear(8).fit(table, y, epochs=2)


def test_fitting_leaves_no_gradient_in_what_it_is_given():
    X, y = (torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in regression())
    SparseL0Linear(8).fit(X, y, epochs=2)
    assert X.grad is None
    assert y.grad is None
    SparseL0Linear(8).forward(X).sum().backward()  # but a prediction is differentiable in it
    assert X.grad is not None


def test_a_table_of_another_shape_or_of_text_is_refused():
    X, y = regression()
    with pytest.raises(InputError, match="two-dimensional"):
        SparseL0Linear(8).fit(torch.zeros(60, 8, 2), y, epochs=2)
    with pytest.raises(InputError, match="two-dimensional"):
        SparseL0Linear(8).predict(torch.zeros(60, 8, 2))
    with pytest.raises(InputError, match="numbers"):
        SparseL0Linear(2).fit(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), [1, 2], epochs=2)
    with pytest.raises(InputError, match="verbose_freq"):
        SparseL0Linear(8).fit(X, y, epochs=2, verbose=True, verbose_freq=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_learning_in_half_precision_is_refused_and_using_it_works(dtype):
    """Adam in 16 bits ends in gates at infinity."""
    X, y = regression()
    for learn in (
        lambda: SparseL0Linear(8).to(dtype).fit(X, y, epochs=2),
        lambda: SampleGate(8, 2).to(dtype).fit(X, y, epochs=2),
        lambda: FeatureGate(8, 2).to(dtype).fit(X, y, epochs=2),
    ):
        with pytest.raises(InputError, match="float32 or float64"):
            learn()
    fitted = SparseL0Linear(8, init_keep_prob=0.9).fit(X, y, epochs=50, lr=0.1)
    wanted = fitted.predict(X)
    for table in (X, torch.tensor(X)):
        found = fitted.to(dtype).predict(table)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), wanted, atol=0.1, rtol=0.05)


def test_learning_in_double_precision_takes_arrays_too():
    X, y = regression()
    by_array = SparseL0Linear(8, seed=1).double().fit(X, y, epochs=20)
    by_tensor = SparseL0Linear(8, seed=1).double().fit(torch.tensor(X), y, epochs=20)
    torch.testing.assert_close(by_array.weight, by_tensor.weight, rtol=1e-9, atol=1e-12)
    assert by_array.predict(X).dtype == torch.float64


def test_a_fit_goes_on_after_the_precision_has_changed():
    X, y = regression()
    model = SparseL0Linear(8, seed=1).fit(X, y, epochs=20).double()
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(model.state_dict())  # which begins the optimiser anew
    model.fit(X, y, epochs=20)
    fresh.fit(X, y, epochs=20)
    assert torch.equal(model.weight, fresh.weight)


def test_gates_learn_where_gradients_are_switched_off():
    X, y = regression()
    wanted = SampleGate(8, 2).fit(X, y, epochs=5).gates.logits
    for off in (torch.no_grad, torch.inference_mode):
        gate, features, linear = SampleGate(8, 2), FeatureGate(8, 2), SparseL0Linear(8)
        with off():
            gate.fit(X, y, epochs=5)
            features.fit(X, y, epochs=5)
            linear.fit(X, y, epochs=5)
        assert torch.equal(gate.gates.logits, wanted)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor, pd.Series])
def test_weights_that_are_not_finite_are_refused(make):
    with pytest.raises(InputError, match=r"weights\[1\] is not finite"):
        SampleGate(3, 2).select_weighted_samples(np.zeros((3, 1)), make([1.0, np.nan, 2.0]))


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_weights_in_a_table_are_refused(make):
    with pytest.raises(InputError, match="one dimension"):
        SampleGate(3, 2).select_weighted_samples(np.zeros((3, 1)), make((3, 1)))


def test_weights_of_text_are_refused():
    with pytest.raises(InputError, match="weights must be real numbers"):
        SampleGate(3, 2).select_weighted_samples(np.zeros((3, 1)), np.array(["1", "2", "3"]))


def test_tables_of_bfloat16_are_read_and_sparse_tensors_refused_where_they_cannot_be():
    X, y = regression()
    short = torch.from_numpy(X).bfloat16()
    chosen = FeatureGate(8, 2).fit(short, torch.from_numpy(y).bfloat16(), epochs=60).select_features(short)[1]
    assert chosen.tolist() == [1, 3]
    with pytest.raises(InputError, match="sparse tensor"):
        FeatureGate(8, 2).fit(torch.from_numpy(X).to_sparse(), y, epochs=2)


@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_tensors_come_back_in_their_layout(layout):
    table = torch.arange(12.0).reshape(4, 3)
    gate = SampleGate(4, 2).fit(np.eye(4), np.ones(4), epochs=2)
    rows, indices = gate.select_samples(table.to_sparse(layout=layout))
    assert rows.layout == layout
    assert torch.equal(rows.to_dense(), table[indices])


def test_hooks_of_a_layer_are_not_lost_in_silence():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="'2' has hooks"):
        gate_module(model)
    assert isinstance(gate_module(nn.Sequential(nn.Linear(4, 4)))[0], L0Linear)


def test_a_tracker_takes_tensors_that_have_a_gradient():
    tracker = PenaltyTracker()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.log("loss", torch.tensor(2.0, requires_grad=True))
    assert tracker.get_history("loss") == [2.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SampleGate(2, 1).fit(np.ones((1, 2)), np.array([1j])), "totals must be real numbers"),
        (lambda: SampleGate(2, 1).fit(np.ones((1, 2)), ["a"]), "totals must be real numbers"),
        (lambda: SampleGate(2, 1).fit(np.ones((0, 2)), np.ones(0)), "at least one"),
        (lambda: SampleGate(2, 1).fit(np.ones((1, 2)), [1.0], lr="fast"), "lr must be positive and finite, got 'fast'"),
        (lambda: FeatureGate(2, 1).fit(np.ones((0, 2)), np.ones(0)), "at least one"),
        (lambda: SparseL0Linear(2).fit(np.ones((0, 2)), np.ones(0), epochs=2), "at least one row"),
        (lambda: SparseL0Linear(2).fit(np.eye(2), np.ones(2), lambda_reg=-1), "lambda_reg must be finite and not neg"),
        (lambda: SparseL0Linear(2).fit(np.eye(2), np.ones(2), lambda_l0="a"), "lambda_l0 must be a number, got 'a'"),
        (
            lambda: SparseL0Linear(2).fit(np.eye(2), np.ones(2), lambda_reg=0.5, lambda_l0=1e-9),
            "give the price once: lambda_reg, or lambda_l0; got 0.5 and 1e-09",
        ),
        (lambda: compute_l0l2_penalty(SparseL0Linear(2), l2_lambda=-1), "l2_lambda must be finite and not negative"),
        (lambda: L0Gate(3).apply_gates(np.ones(3)), "x must be a tensor, got ndarray"),
        (lambda: L0Embedding(4, 3, padding_idx=4), "padding_idx must be one of the 4 rows"),
        (lambda: L0DepthwiseConv2d(3, 0), "kernel_size must be one whole number of at least 1"),
        (lambda: L0DepthwiseConv2d(3, 3, stride=(1, 0)), "stride must be"),
        (lambda: L0Conv2d(3, 4, 1.5), "kernel_size must be"),
        (lambda: L0Conv2d(3, 4, (3,)), "kernel_size must be"),
        (lambda: HybridGate(10, "a", 0.5), "l0_fraction must be a number, got 'a'"),
        (lambda: HybridGate(10, random_fraction=None), "random_fraction must be a number, got None"),
        (lambda: GateRule(where="fc"), r"where must be a function of \(path, layer\), got 'fc'"),
        (lambda: gate_module(nn.Linear(2, 2), nn.Linear), "rule must be a GateRule, 'weight' or 'output', got <class"),
        (lambda: gate_module("fc"), "model must be a module, got str"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_sizes_of_kernels_may_be_numpys():
    assert L0Conv2d(3, 4, np.int64(3), padding=(np.int64(1), 1)).kernel_size == (3, 3)
    assert L0DepthwiseConv2d(3, np.int64(3)).depthwise_conv.kernel_size == (3, 3)
    assert L0Embedding(4, 3, padding_idx=-1).padding_idx == 3
