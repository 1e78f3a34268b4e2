"""`SparseCalibrationWeights` against autograd with torch's own Adam, and against itself in pieces."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate.torch_faces import SparseCalibrationWeights
from l0_calibrate.torch_faces.squared_error import group_weights, target_scales
from l0_calibrate.torch_faces.weight_training import GatedWeights, TrainingPrices, WeightProblem, train_weights
from l0_core import InputError
from l0_torch import compute_l0_penalty, update_temperatures

GROUPS = np.array([4, 4, 4, 7, 7, 9])


def problem(seed=0, targets=6, records=30):
    rng = np.random.default_rng(seed)
    matrix = sp.csr_matrix(rng.random((targets, records)) * (rng.random((targets, records)) < 0.6))
    return matrix, matrix @ rng.uniform(0.5, 4.0, records) + 1.0


def reference(matrix, y, model, epochs, lr, *, l0=0.0, l2=0.0, scales=None, weights=None, draws=None):
    """Autograd and torch.optim.Adam, in float64, on the whole objective; draws are the noise of each epoch."""
    law = model.distribution
    table = torch.tensor(matrix.toarray())
    goal = torch.tensor(y)
    scale = torch.ones_like(goal) if scales is None else torch.tensor(scales)
    price = torch.ones_like(goal) if weights is None else torch.tensor(weights)
    log_weight = model.log_weight.detach().double().clone().requires_grad_()
    log_alpha = model.log_alpha.detach().double().clone().requires_grad_()
    optimiser = torch.optim.Adam([log_weight, log_alpha], lr=lr)
    for epoch in range(epochs):
        optimiser.zero_grad()
        gates = 1.0 if draws is None else law.sample(log_alpha, torch.tensor(draws[epoch], dtype=torch.float64))
        error = (table @ (log_weight.exp() * gates) - goal) / scale
        objective = (price * error.square()).sum() + l2 * log_weight.exp().square().sum()
        (objective + l0 * law.open_probability(log_alpha).sum()).backward()
        optimiser.step()
    return log_weight.detach().numpy(), log_alpha.detach().numpy()


def twin(model):
    return copy.deepcopy(model)


def noise_of(model, epochs):
    memory = copy.deepcopy(model)._memory
    draws = []
    for _ in range(epochs):
        draws.append(memory.uniform(model.n_features, model._dtype))
        memory.advance()
    return draws


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("loss_type", ["mse", "relative"])
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_without_gates_the_trajectory_is_that_of_autograd_and_adam(double, loss_type, groups):
    matrix, y = problem()
    multipliers = None if groups is None else {4: 3.0, 9: 0.5}
    model = SparseCalibrationWeights(30, use_gates=False, init_weights=2.0, seed=5)
    if double:
        model.double()
    weights = None
    if groups is not None:
        weights = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])  # 3/3, 1/2, 0.5/1
    scales = None if loss_type == "mse" else y + 1.0
    expected, _ = reference(matrix, y, model, 60, 0.05, l2=1e-3, scales=scales, weights=weights)
    model.fit(
        matrix,
        y,
        0.0,
        1e-3,
        lr=0.05,
        epochs=60,
        loss_type=loss_type,
        target_groups=groups,
        group_multipliers=multipliers,
    )
    # Adam divides by the root of the squared gradient, so float32 rounding moves a step by some 1e-6 of it.
    np.testing.assert_allclose(model.log_weight.detach().numpy(), expected, atol=1e-10 if double else 2e-4)


@pytest.mark.parametrize("fused", [True, False])
def test_with_gates_each_step_is_the_gradient_of_the_sampled_objective(fused):
    matrix, y = problem(1)
    model = SparseCalibrationWeights(30, init_keep_prob=0.7, seed=3).double()
    before = twin(model)
    draws = noise_of(model, 40)
    expected = reference(matrix, y, before, 40, 0.03, l0=0.02, l2=1e-3, scales=y + 1.0, draws=draws)
    state = GatedWeights(model.log_weight.detach(), model.log_alpha.detach(), model.distribution, model._memory)
    goal = WeightProblem(matrix, y, y + 1.0, np.ones(6))
    train_weights(state, goal, TrainingPrices(0.02, 1e-3, 0.03), 40, lambda _: None, fused=fused)
    np.testing.assert_allclose(model.log_weight.detach().numpy(), expected[0], atol=1e-9)
    np.testing.assert_allclose(model.log_alpha.detach().numpy(), expected[1], atol=1e-9)


def test_the_general_road_without_gates_is_the_fused_one():
    matrix, y = problem(2)
    results = []
    for fused in (True, False):
        model = SparseCalibrationWeights(30, use_gates=False).double()
        state = GatedWeights(model.log_weight.detach(), None, model.distribution, model._memory)
        goal = WeightProblem(matrix, y, y + 1.0, np.ones(6))
        train_weights(state, goal, TrainingPrices(0.0, 1e-3, 0.03), 30, lambda _: None, fused=fused)
        results.append(model.log_weight.detach().numpy())
        assert not model._memory.moments[2:].any()
    np.testing.assert_allclose(results[0], results[1], atol=1e-11)


def fitted(epochs_list, *, verbose=False, look=False, capsys=None, **kwargs):
    matrix, y = problem(3)
    model = SparseCalibrationWeights(30, seed=11, log_weight_jitter_sd=0.05, **kwargs)
    for epochs in epochs_list:
        model.fit(
            matrix, y, lambda_l0=0.05, lr=0.05, epochs=epochs, loss_type="relative", verbose=verbose, verbose_freq=7
        )
        if look:
            model.get_weights()
            model.forward(matrix)
            model.predict(matrix)
            model.state_dict()
    return model.log_weight.detach().numpy(), model.log_alpha.detach().numpy()


@pytest.mark.parametrize("pieces", [[10] * 6, [1] * 60, [59, 1]])
def test_slices_of_epochs_are_one_run(pieces):
    whole, sliced = fitted([60]), fitted(pieces)
    assert np.array_equal(whole[0], sliced[0])
    assert np.array_equal(whole[1], sliced[1])


def test_printing_and_looking_change_nothing(capsys):
    whole, watched = fitted([60]), fitted([20] * 3, verbose=True, look=True)
    assert np.array_equal(whole[0], watched[0])
    assert np.array_equal(whole[1], watched[1])
    text = capsys.readouterr().out
    assert text.count("epoch") == 6  # at 7 and 14 of each slice
    assert "of 30" in text


def test_the_optimiser_is_forgotten_only_when_asked():
    matrix, y = problem()
    kept, reset = (SparseCalibrationWeights(30, use_gates=False) for _ in range(2))
    for model in (kept, reset):
        model.fit(matrix, y, lr=0.1, epochs=10)
    reset.reset_optimizer()
    for model in (kept, reset):
        model.fit(matrix, y, lr=0.1, epochs=1)
    assert not torch.equal(kept.log_weight, reset.log_weight)
    # A first step of Adam has the length of its rate, whatever the gradient.
    fresh = SparseCalibrationWeights(30, use_gates=False)
    fresh.fit(matrix, y, lr=0.1, epochs=10)
    step = (reset.log_weight - fresh.log_weight).abs().detach().numpy()
    np.testing.assert_allclose(step[np.asarray((matrix != 0).sum(0)).ravel() > 0], 0.1, rtol=1e-4)


def test_a_saved_state_dict_goes_on_exactly():
    matrix, y = problem(3)
    options = {"lambda_l0": 0.05, "lr": 0.05, "loss_type": "relative"}
    model = SparseCalibrationWeights(30, seed=11, log_weight_jitter_sd=0.05)
    model.fit(matrix, y, epochs=25, **options)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "epoch": 25}, file)
    file.seek(0)
    model.fit(matrix, y, epochs=35, **options)
    again = SparseCalibrationWeights(30, seed=99, log_weight_jitter_sd=0.05)
    stored = torch.load(file, weights_only=True)["model"]
    assert list(stored) == ["log_weight", "log_alpha"]
    again.load_state_dict(stored)
    again.fit(matrix, y, epochs=35, **options)
    assert torch.equal(model.log_weight, again.log_weight)
    assert torch.equal(model.log_alpha, again.log_alpha)


def test_a_state_dict_is_a_snapshot_that_loads_inside_other_modules():
    matrix, y = problem(3)
    holder = torch.nn.ModuleDict({"w": SparseCalibrationWeights(30, seed=1)})
    holder["w"].fit(matrix, y, epochs=5)
    snapshot = copy.deepcopy(holder.state_dict())
    moments = holder["w"].training_state()["moments"]
    holder["w"].fit(matrix, y, epochs=5)
    first = holder["w"].log_weight.detach().clone()
    holder.load_state_dict(snapshot)
    assert torch.equal(holder["w"].training_state()["moments"], moments)
    holder["w"].fit(matrix, y, epochs=5)
    assert torch.equal(holder["w"].log_weight, first)


def test_tensors_alone_load_as_weights_and_their_training_begins_anew():
    matrix, y = problem()
    model = SparseCalibrationWeights(30, seed=1)
    model.fit(matrix, y, epochs=5)
    bare = {name: value.clone() for name, value in model.state_dict().items()}
    other = SparseCalibrationWeights(30, seed=2, log_weight_jitter_sd=1.0)
    other.fit(matrix, y, epochs=3)
    other.load_state_dict(bare)
    assert torch.equal(other.get_weights(deterministic=True), model.get_weights(deterministic=True))
    assert other.training_state()["steps"] == 0
    other.load_training_state(model.training_state())
    other.fit(matrix, y, epochs=4)
    model.fit(matrix, y, epochs=4)
    assert torch.equal(other.log_weight, model.log_weight)
    with pytest.raises(InputError, match="lacks seed"):
        other.load_training_state({k: v for k, v in model.training_state().items() if k != "seed"})
    with pytest.raises(InputError, match="30 items, the model has 31"):
        SparseCalibrationWeights(31).load_training_state(model.training_state())


def test_copies_and_pickles_go_on_alike():
    matrix, y = problem()
    model = SparseCalibrationWeights(30, seed=4)
    model.fit(matrix, y, epochs=5)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.fit(matrix, y, epochs=5)
    for other in others:
        other.fit(matrix, y, epochs=5)
        assert torch.equal(other.log_alpha, model.log_alpha)


def test_the_seed_fixes_everything_and_no_global_generator_moves():
    matrix, y = problem()
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    found = []
    for seed in (7, 7, 8):
        model = SparseCalibrationWeights(30, seed=seed, log_weight_jitter_sd=0.1).fit(matrix, y, epochs=10)
        found.append((model.get_weights().detach().numpy(), model.log_alpha.detach().numpy()))
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not np.array_equal(found[0][1], found[2][1])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_the_answer_is_that_of_the_matrix_at_hand():
    matrix, _ = problem()
    model = SparseCalibrationWeights(30)
    first = model.predict(matrix).numpy()
    np.testing.assert_allclose(model.predict(10.0 * matrix).numpy(), 10.0 * first, rtol=1e-5)
    matrix.data *= 2.0  # changed in place
    np.testing.assert_allclose(model.predict(matrix).numpy(), 2.0 * first, rtol=1e-5)


FORMS = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "lil_matrix": sp.lil_matrix,
    "ndarray": lambda m: m.toarray(),
    "frame": lambda m: pd.DataFrame(m.toarray()),
    "sparse_frame": pd.DataFrame.sparse.from_spmatrix,
    "tensor": lambda m: torch.tensor(m.toarray()),
    "sparse_tensor": lambda m: torch.tensor(m.toarray()).to_sparse(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_matrix_gives_the_same_fit(form):
    matrix, y = problem()
    expected = SparseCalibrationWeights(30).fit(matrix, y, epochs=15, lr=0.05)
    given_matrix = FORMS[form](matrix)
    model = SparseCalibrationWeights(30).fit(given_matrix, pd.Series(y), epochs=15, lr=0.05)
    # Dense and sparse products add in another order.
    np.testing.assert_allclose(model.log_weight.detach(), expected.log_weight.detach(), atol=1e-4)
    np.testing.assert_allclose(
        model.forward(given_matrix, deterministic=True).detach(), model.predict(given_matrix), rtol=1e-5
    )


def test_float64_is_kept():
    matrix, y = problem()
    model = SparseCalibrationWeights(30).double().fit(matrix, y, epochs=3)
    assert model.log_weight.dtype == model.predict(matrix).dtype == model.get_weights().dtype == torch.float64
    exact = matrix @ model.get_weights(deterministic=True).detach().numpy()
    np.testing.assert_allclose(model.predict(matrix).numpy(), exact, rtol=1e-14)
    assert SparseCalibrationWeights(30).predict(matrix).dtype == torch.float32


@given(
    targets=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6),
    factor=st.sampled_from([-1.0, 1.0]),
)
@settings(max_examples=50, deadline=None)
def test_the_relative_scale_is_safe_for_any_sign(targets, factor):
    scales = target_scales(factor * np.array(targets), "relative")
    assert (scales >= 1.0).all()
    np.testing.assert_array_equal(scales, target_scales(-factor * np.array(targets), "relative"))
    assert target_scales(np.array([3.0]), "relative") == 4.0  # target + 1, as ever, for those that are not negative


def test_negative_and_zero_targets_are_met():
    matrix = sp.csr_matrix(np.array([[-1.0, -2.0, 0.0], [0.0, 1.0, -1.0], [1.0, 1.0, 1.0]]))
    y = np.array([-8.0, 0.0, 8.0])  # weights 2, 3, 3
    model = SparseCalibrationWeights(3, use_gates=False).double()
    model.fit(matrix, y, lr=0.05, epochs=2000, loss_type="relative")
    np.testing.assert_allclose(model.predict(matrix).numpy(), y, atol=0.01)  # Adam creeps in a narrow valley


def test_group_weights():
    np.testing.assert_allclose(group_weights(6, GROUPS, True, None), [1 / 3] * 3 + [1 / 2] * 2 + [1])
    np.testing.assert_allclose(group_weights(6, GROUPS, False, {7: 2.0}), [1, 1, 1, 2, 2, 1])
    np.testing.assert_allclose(group_weights(2, None, True, None), 1.0)
    np.testing.assert_allclose(group_weights(2, ["nation", "state"], True, {"nation": 4.0}), [4, 1])
    with pytest.raises(InputError, match="group 3, which no target has"):
        group_weights(6, GROUPS, True, {3: 1.0})
    np.testing.assert_allclose(group_weights(6, GROUPS, False, {7: 0.0}), [1, 1, 1, 0, 0, 1])
    with pytest.raises(InputError, match="not negative"):
        group_weights(6, GROUPS, True, {7: -1.0})
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        group_weights(5, GROUPS, True, None)
    with pytest.raises(InputError, match="need target_groups"):
        group_weights(6, None, True, {7: 2.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss_type": "mae"}, "unknown loss_type 'mae'; known: mse, relative"),
        ({"y": np.ones(1)}, r"y must have shape \(6,\)"),
        ({"y": np.array([1, 2, np.nan, 4, 5, 6])}, r"y\[2\] is not finite"),
        ({"M": sp.csr_matrix(np.ones((6, 29)))}, "30 columns"),
        ({"M": np.ones(30)}, "two dimensions"),
        ({"M": np.full((6, 30), np.inf)}, "must be finite"),
        ({"lambda_l0": -1.0}, "lambda_l0 must be finite and not negative"),
        ({"lambda_l2": float("nan")}, "lambda_l2 must be finite"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"epochs": -1}, "epochs must be"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"verbose": True, "verbose_freq": 0}, "verbose_freq must be"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(change, message):
    matrix, y = problem()
    model = SparseCalibrationWeights(30)
    before = model.log_weight.detach().clone()
    with pytest.raises(ValueError, match=message):
        model.fit(**{"M": matrix, "y": y, "epochs": 3, **change})
    assert torch.equal(model.log_weight, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features"),
        ({"init_keep_prob": 1.5}, "init_keep_prob must lie"),
        ({"init_keep_prob": np.array([0.5, -0.1, 0.5])}, "for weight 1"),
        ({"init_weights": np.array([1.0, -1.0, 1.0])}, "for weight 1"),
        ({"init_weights": np.ones(2)}, r"shape \(3,\)"),
        ({"init_weights": 0.0}, "init_weights are all 0"),
        ({"init_weights": np.zeros(3)}, "init_weights are all 0"),
        ({"beta": 0.0}, "temperature"),
        ({"log_alpha_jitter_sd": -0.1}, "log_alpha_jitter_sd must be finite and not negative"),
    ],
)
def test_a_model_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SparseCalibrationWeights(**{"n_features": 3, **arguments})


def test_the_start():
    model = SparseCalibrationWeights(
        3, init_keep_prob=np.array([0.2, 0.5, 0.9]), init_weights=np.array([0.0, 1.0, 5.0]), log_alpha_jitter_sd=0.0
    )
    np.testing.assert_allclose(torch.sigmoid(model.log_alpha).detach(), [0.2, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(model.log_weight.exp().detach(), [1e-8, 1.0, 5.0], rtol=1e-6)
    assert model.beta == pytest.approx(2 / 3)
    assert (model.gamma, model.zeta, model.n_features) == (-0.1, 1.1, 3)


def test_what_the_model_reports_is_consistent():
    matrix, y = problem()
    model = SparseCalibrationWeights(30, seed=2).fit(matrix, y, lambda_l0=0.3, lr=0.1, epochs=150, loss_type="relative")
    weights = model.get_weights(deterministic=True).detach()
    active = model.get_active_weights()
    assert set(active) == {"indices", "values", "count"}
    assert 0 < active["count"] < 30
    assert torch.equal(active["indices"], torch.nonzero(weights).flatten())
    assert torch.equal(active["values"], weights[active["indices"]])
    assert model.get_sparsity() == pytest.approx(1 - active["count"] / 30)
    assert torch.equal(weights, (model.log_weight.exp() * model.get_deterministic_gates()).detach())
    assert model.get_l0_penalty().item() == pytest.approx(compute_l0_penalty(model).item())
    assert model.get_l2_penalty().item() == pytest.approx((model.log_weight.exp() ** 2).sum().item())
    np.testing.assert_allclose(model.predict(matrix), matrix @ weights.double().numpy(), rtol=1e-5)
    update_temperatures(model, 0.3)
    assert model.beta == 0.3


def test_sampled_weights_are_draws_of_the_law():
    model = SparseCalibrationWeights(4000, init_keep_prob=0.3, log_alpha_jitter_sd=0.0, seed=1)
    with torch.no_grad():
        open_share = float((model.get_weights() > 0).double().mean())
    expected = float(model.distribution.open_probability(model.log_alpha.detach())[0])
    assert abs(open_share - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)
    assert not torch.equal(model.get_weights(), model.get_weights())


def test_gradients_flow_through_forward():
    matrix, _ = problem()
    model = SparseCalibrationWeights(30, seed=1).double()
    model.forward(matrix, deterministic=True).sum().backward()
    weights = model.get_weights(deterministic=True).detach().numpy()
    np.testing.assert_allclose(model.log_weight.grad, np.asarray(matrix.sum(0)).ravel() * weights)


def test_without_gates_every_weight_counts():
    matrix, y = problem()
    model = SparseCalibrationWeights(30, use_gates=False)
    logits = model.log_alpha.detach().clone()
    model.fit(matrix, y, lambda_l0=5.0, epochs=10)
    assert torch.equal(model.log_alpha, logits)
    assert model.get_sparsity() == 0.0
    assert torch.equal(model.get_weights(), model.get_weights(deterministic=True))
    assert torch.equal(model.get_deterministic_gates(), torch.ones(30))
    assert model.get_l0_penalty().item() == 30.0


def test_each_epoch_has_noise_of_its_own():
    draws = np.array(noise_of(SparseCalibrationWeights(2000, seed=3).double(), 5))
    # Five independent uniform samples: correlations of some 1/sqrt(2000), means within 4 standard errors.
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 4 / np.sqrt(2000)
    assert np.abs(draws.mean(axis=1) - 0.5).max() < 4 / np.sqrt(12 * 2000)
    memory = SparseCalibrationWeights(2000, seed=3)._memory
    hidden = memory.shown(2000, 0.25, "float64")
    assert memory.shown(2000, 0.0, "float64") is None
    assert set(np.unique(hidden)) == {0.0, 1 / 0.75}
    assert abs((hidden == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    assert abs(np.corrcoef(hidden, memory.uniform(2000, "float64"))[0, 1]) < 4 / np.sqrt(2000)


def test_group_multipliers_are_a_mapping():
    model = SparseCalibrationWeights(3, seed=0)
    with pytest.raises(InputError, match="must be a mapping of groups to numbers, got list"):
        model.fit(np.eye(3), np.ones(3), epochs=1, target_groups=np.arange(3), group_multipliers=[1.0, 2.0, 3.0])
