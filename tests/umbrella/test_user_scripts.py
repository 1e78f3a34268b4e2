"""What scripts written for l0-python 0.6.2 do besides its documented calls, each compared with that release."""

from __future__ import annotations

import copy

import matplotlib as mpl
import numpy as np
import pytest
import torch

import l0
from l0_core import InputError

pytestmark = pytest.mark.filterwarnings("ignore::l0_core.UntrainedWarning")

RNG = np.random.default_rng(0)
M = RNG.random((5, 40)) * (RNG.random((5, 40)) < 0.6)
Y = M @ RNG.uniform(1.0, 9.0, 40)


def calibrated(**options):
    return l0.SparseCalibrationWeights(40, init_keep_prob=0.9, init_weights=4.0, **{"seed": 0, **options})


@pytest.mark.parametrize("module", ["gates", "layers"])
def test_the_gates_are_found_where_gates_and_layers_are(module):
    namespace: dict[str, object] = {}
    exec(f"from l0.{module} import HardConcrete", namespace)
    assert namespace["HardConcrete"] is l0.HardConcrete


def test_the_temperature_of_calibration_weights_is_annealed_by_beta():
    by_beta, by_call = calibrated(), calibrated()
    for beta in (0.6, 0.3):
        by_beta.beta = beta
        l0.update_temperatures(by_call, beta)
        for model in (by_beta, by_call):
            model.fit(M, Y, epochs=5, loss_type="relative")
    assert by_beta.beta == by_beta.temperature == 0.3
    assert torch.equal(by_beta.log_alpha, by_call.log_alpha)
    linear = l0.SparseL0Linear(3)
    linear.beta = 0.2
    assert linear.temperature == linear.beta == 0.2
    with pytest.raises(InputError):
        linear.beta = 0.0


def test_the_temperature_of_a_gate_reaches_its_gates():
    for gate in (l0.L0Gate(5), l0.SampleGate(5, 2), l0.FeatureGate(5, 2)):
        gate.temperature = 0.2
        assert gate.temperature == gate.gates.temperature == 0.2


@pytest.mark.parametrize("kind", [np.int64, np.uint32])
def test_a_seed_of_numpy_is_that_seed(kind):
    assert torch.equal(calibrated(seed=kind(3)).log_alpha, calibrated(seed=3).log_alpha)
    assert torch.equal(l0.SparseL0Linear(4, seed=kind(3)).log_alpha, l0.SparseL0Linear(4, seed=3).log_alpha)


def test_records_to_keep_or_leave_for_certain_start_at_the_ends():
    chances = np.full(40, 0.5)
    chances[:2] = 1.0, 0.0
    model = l0.SparseCalibrationWeights(40, init_keep_prob=chances, log_alpha_jitter_sd=0.0)
    np.testing.assert_allclose(model.log_alpha[:3].detach(), [13.8155, -13.8155, 0.0], atol=1e-2)
    for ends in (0.0, 1.0):
        model = l0.SparseCalibrationWeights(40, init_keep_prob=ends)
        assert torch.isfinite(model.fit(M, Y, epochs=3, loss_type="relative").log_alpha).all()
    with pytest.raises(InputError, match="weight 3"):
        l0.SparseCalibrationWeights(40, init_keep_prob=np.where(np.arange(40) == 3, 1.01, 0.5))


def test_a_slice_of_no_epochs_changes_nothing():
    model, other = calibrated(), calibrated()
    assert model.fit(M, Y, epochs=0, loss_type="relative") is model
    assert torch.equal(model.log_weight, other.log_weight)
    for each in (model, other):
        each.fit(M, Y, epochs=7, loss_type="relative")
    assert torch.equal(model.log_weight, other.log_weight)
    assert torch.equal(model.log_alpha, other.log_alpha)
    with pytest.raises(InputError, match="epochs"):
        model.fit(M, Y, epochs=-1)


@pytest.mark.parametrize("frozen", ["log_weight", "log_alpha"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_frozen_parameter_stays(frozen, fused, monkeypatch):
    if not fused:  # the way of other devices
        from l0_calibrate.torch_faces import weight_training

        monkeypatch.setattr(weight_training, "_train_fused", weight_training._train_on_backend)
    model = calibrated()
    model.get_parameter(frozen).requires_grad_(False)
    before = copy.deepcopy(dict(model.named_parameters()))
    model.fit(M, Y, epochs=5, loss_type="relative")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name == frozen)


@pytest.mark.parametrize(("l0_fraction", "random_fraction", "counts"), [(0.25, 0.5, (25, 50)), (0.5, 0.0, (50, 0))])
def test_fractions_below_one_are_shares_of_the_target(l0_fraction, random_fraction, counts):
    gate = l0.HybridGate(1_000, l0_fraction, random_fraction, target_items=100)
    selected, indices, kinds = gate.select(torch.randn(1_000, 2))
    assert (gate.n_l0, gate.n_random) == ((kinds == "l0").sum(), (kinds == "random").sum()) == counts
    assert len(selected) == len(indices) == sum(counts)


@pytest.mark.parametrize("fractions", [(0.6, 0.6), (-0.1, 0.5), (0.0, 0.0), (float("nan"), 0.5)])
def test_fractions_that_cannot_be(fractions):
    with pytest.raises(InputError, match="fraction"):
        l0.HybridGate(1_000, *fractions, target_items=100)


@pytest.mark.parametrize("whole", [torch.int32, torch.int64, torch.bool])
def test_whole_numbers_behind_gates_are_not_cut_off(whole):
    gate = l0.SampleGate(20, 5)
    numbers = torch.arange(1, 21).to(whole)
    _, weights, indices = gate.select_weighted_samples(numbers, numbers)
    _, expected, _ = gate.select_weighted_samples(numbers, numbers.float())
    assert weights.dtype == torch.float32
    assert torch.equal(weights, expected)
    assert (weights < numbers[indices]).all()
    trained = l0.L0Gate(20, init_mean=0.6).eval()
    assert torch.equal(trained.apply_gates(numbers), trained.apply_gates(numbers.float()))
    assert trained.apply_gates(numbers.double()).dtype == torch.float64


@pytest.mark.parametrize("shape", [(20,), (4, 20), (2, 3, 20)])
@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_features_are_the_last_dimension(shape, kind):
    data = kind(np.arange(float(np.prod(shape))).reshape(shape))
    gate = l0.FeatureGate(20, 5)
    selected, indices = gate.select_features(data)
    assert tuple(selected.shape) == (*shape[:-1], 5)
    np.testing.assert_array_equal(selected, data[..., indices])
    named, names = gate.select_features_with_names(data, [f"f{i}" for i in range(20)])
    np.testing.assert_array_equal(named, selected)
    assert names == [f"f{i}" for i in indices]
    with pytest.raises(InputError, match="20 columns"):
        gate.select_features(kind(np.ones((20, 3))))


@pytest.mark.parametrize("stride", [2, (2, 1)])
def test_sizes_of_convolutions_are_as_they_were_given(stride):
    for layer in (
        l0.L0Conv2d(4, 4, 3, stride=stride, padding=1),
        l0.L0DepthwiseConv2d(4, (3, 3), stride=stride, padding=1),
    ):
        assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), stride, 1)
        output = layer(torch.randn(2, 4, 16, 16))
        if stride == 2:
            height = (16 + 2 * layer.padding - layer.kernel_size[0]) // layer.stride + 1
            assert output.shape[-2:] == (height, height)


def test_a_pruned_model_gives_its_own_answer():
    model = torch.nn.Sequential(l0.L0Linear(8, 4), torch.nn.Dropout(0.5))
    pruned = l0.prune_model(model, threshold=0.3)
    assert pruned is model
    assert not any(module.training for module in pruned.modules())
    x = torch.randn(3, 8)
    assert torch.equal(pruned(x), pruned(x))


def test_series_may_be_written_beside_the_log():
    tracker = l0.PenaltyTracker()
    tracker.history["mine"].append(1.0)
    assert tracker.get_history("mine") == [1.0]
    assert tracker.get_history("never") == []
    assert tracker.names == ["mine"]
    tracker.clear()
    assert tracker.names == []


def test_a_plot_without_a_path_is_shown(monkeypatch, tmp_path):
    mpl.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: shown.append(pyplot.gcf()))
    tracker = l0.PenaltyTracker()
    tracker.log("loss", 1.0)
    try:
        figure = tracker.plot_history()
        assert shown == [figure]
        before = pyplot.get_fignums()
        tracker.plot_history(save_path=tmp_path / "history.png")
        assert (tmp_path / "history.png").stat().st_size > 0
        assert len(shown) == 1
        assert pyplot.get_fignums() == before
    finally:
        pyplot.close("all")
