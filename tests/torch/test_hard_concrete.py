from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from l0_core import HardConcrete as Law
from l0_core import InputError
from l0_torch import HardConcrete, load_noise_state, noise_state, seed_gates, update_temperatures


def test_the_probability_asked_for_is_the_one_at_first(device):
    for opened in (0.001, 0.1, 0.5, 0.999):
        gates = HardConcrete(7, temperature=0.25, init_mean=opened).to(device)
        np.testing.assert_allclose(gates.get_active_prob().detach().cpu(), opened, rtol=2e-4)  # float32 logits
        assert float(gates.get_penalty().detach()) == pytest.approx(7 * opened, rel=2e-4)
        assert gates.get_sparsity() == pytest.approx(1 - opened, abs=1e-6)


def test_names_and_shapes_are_those_of_the_contract():
    gates = HardConcrete(5, 3, 0.5, 0.1, 0.7)
    assert list(gates.state_dict()) == ["qz_logits"]
    assert (gates.gate_size, gates.gamma, gates.zeta, gates.temperature) == ((5, 3), -0.1, 1.1, 0.5)
    assert HardConcrete(n_items=4).gate_size == (4,)
    assert gates().shape == (5, 3)
    assert gates((5, 3, 2, 2)).shape == (5, 3, 1, 1)
    assert gates((8, 5, 3)).shape == (5, 3)
    with pytest.raises(InputError, match="match neither"):
        gates((3, 5))


def test_draws_follow_the_closed_form_and_evaluation_is_the_median(device):
    gates = HardConcrete(20_000, temperature=0.6, init_mean=0.6, seed=1).double().to(device)
    draws = gates().detach().cpu().numpy()
    law, logit = Law(0.6, -0.1, 1.1), gates.qz_logits.detach()[0].item()
    inside = draws[(draws > 0) & (draws < 1)]
    low, high = law.cdf(0.0, logit), law.cdf(1.0 - 1e-12, logit)
    found = stats.kstest(inside, lambda z: (np.asarray(law.cdf(np.asarray(z), logit)) - low) / (high - low))
    assert found.pvalue > 1e-4
    # three standard deviations of a mean of 20,000 coin flips
    assert (draws > 0).mean() == pytest.approx(0.6, abs=3 * 0.49 / np.sqrt(20_000))
    gates.eval()
    assert float(gates()[0].detach()) == pytest.approx(float(law.quantile(0.5, logit)), abs=1e-12)
    assert torch.equal(gates(), gates())


def test_a_gate_is_active_exactly_when_it_is_open_with_more_than_even_odds():
    gates = HardConcrete(101).eval()
    with torch.no_grad():
        gates.qz_logits.copy_(torch.linspace(-4, 4, 101))
    assert torch.equal(gates() > 0, gates.get_active_prob() > 0.5)
    assert gates.get_num_active() == int((gates.get_active_prob() > 0.5).sum())


def test_gradients_are_those_of_the_law(device):
    gates = HardConcrete(50, init_mean=0.4, seed=0).double().to(device)
    with torch.no_grad():
        gates.qz_logits.copy_(torch.linspace(-3, 3, 50))
    gates.get_penalty().backward()
    expected = gates.distribution.open_probability_derivative(gates.qz_logits.detach())
    torch.testing.assert_close(gates.qz_logits.grad, expected)
    gates.zero_grad()
    noise = copy.deepcopy(gates.noise).uniform((50,), torch.float64, gates.qz_logits.device)
    gates().sum().backward()
    expected = gates.distribution.sample_derivative(gates.qz_logits.detach(), noise)
    torch.testing.assert_close(gates.qz_logits.grad, expected)


@pytest.mark.usefixtures("untouched_generators")
def test_a_seed_gives_the_same_noise_and_touches_nothing_else():
    first, second = HardConcrete(9, seed=3), HardConcrete(9, seed=3)
    assert torch.equal(first(), second())
    assert not torch.equal(first(), HardConcrete(9, seed=4)())


def test_without_a_seed_noise_follows_torch():
    gates = HardConcrete(9)
    torch.manual_seed(5)
    first = gates()
    torch.manual_seed(5)
    assert torch.equal(first, gates())


def test_copies_and_pickles_go_on_where_the_original_stood():
    gates = HardConcrete(9, seed=3)
    gates()
    twin, thawed = copy.deepcopy(gates), pickle.loads(pickle.dumps(gates))
    expected = gates()
    assert torch.equal(twin(), expected)
    assert torch.equal(thawed(), expected)
    file = io.BytesIO()
    torch.save(gates.state_dict(), file)
    file.seek(0)
    other = HardConcrete(9, init_mean=0.9)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other.qz_logits, gates.qz_logits)


def test_a_pickle_thaws_on_a_machine_without_the_device_it_was_made_on():
    gates = HardConcrete(9, seed=3)
    gates()
    file = io.BytesIO()
    torch.save(gates, file)
    file.seek(0)
    torch.load(file, weights_only=False, map_location="meta")  # a device that no generator's state may be moved to
    state = gates.noise.__getstate__()
    gates.noise.__setstate__({"seed": 3, "states": {**state["states"], "cuda:7": state["states"]["cpu"]}})
    twin = pickle.loads(pickle.dumps(gates))
    assert torch.equal(twin(), gates())
    assert "cuda:7" in twin.noise.__getstate__()["states"]


def test_layers_of_one_model_get_different_noise():
    model = nn.ModuleList([HardConcrete(50), HardConcrete(50)])
    seed_gates(model, 1)
    first = [gates().detach() for gates in model]
    assert not torch.equal(*first)
    seed_gates(model, 1)
    assert all(torch.equal(gates(), before) for gates, before in zip(model, first, strict=True))


def test_temperature_reaches_every_gate():
    model = nn.ModuleList([HardConcrete(2), nn.Sequential(HardConcrete(3))])
    update_temperatures(model, 0.2)
    assert model[0].temperature == model[1][0].temperature == 0.2
    with pytest.raises(InputError, match="temperature"):
        update_temperatures(model, 0.0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_are_computed_in_single(half):
    gates = HardConcrete(1000, init_mean=0.3, seed=0).to(half)
    assert gates().dtype == half
    assert torch.isfinite(gates()).all()
    assert gates.get_penalty().dtype == torch.float32
    # bfloat16 logits have 8 bits: the probability moves by some thousandths
    assert float(gates.get_penalty().detach()) == pytest.approx(300, rel=0.02)


@pytest.mark.parametrize(
    "settings",
    [
        {"input_dim": 0},
        {"input_dim": 2.5},
        {"input_dim": 3, "n_items": 3},
        {},
        {"input_dim": 3, "temperature": 0.0},
        {"input_dim": 3, "stretch": 0.0},
        {"input_dim": 3, "init_mean": 1.0},
        {"input_dim": 3, "init_mean": float("nan")},
        {"input_dim": 3, "rule": "mean"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(InputError):
        HardConcrete(**settings)


def test_a_state_dict_carries_the_temperature_and_plain_ones_leave_it_alone():
    saved = nn.Sequential(HardConcrete(4, temperature=0.2, init_mean=0.7), HardConcrete(3))
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded = nn.Sequential(HardConcrete(4), HardConcrete(3, temperature=0.9))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert [gates.temperature for gates in loaded] == [0.2, 0.5]
    assert torch.equal(loaded.eval()[0](), saved.eval()[0]())
    other = nn.Sequential(HardConcrete(4, temperature=0.3), HardConcrete(3))
    other.load_state_dict(dict(saved.state_dict().items()))
    assert other[0].temperature == 0.3
    assert list(saved.state_dict()) == ["0.qz_logits", "1.qz_logits"]


def test_a_run_goes_on_from_a_checkpoint_of_its_noise(tmp_path):
    """Beside a state dict, through a file, into a model that has another seed; nothing else is touched."""
    model = torch.nn.Sequential(HardConcrete(5), HardConcrete(5, seed=7))
    seed_gates(model, 1)
    _ = [gates.sample_gates() for gates in model]
    torch.save({"model": model.state_dict(), "noise": noise_state(model)}, tmp_path / "checkpoint.pt")
    expected = [gates.sample_gates() for gates in model]
    twin = torch.nn.Sequential(HardConcrete(5), HardConcrete(5))
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    twin.load_state_dict(kept["model"])
    before = torch.get_rng_state()
    load_noise_state(twin, kept["noise"])
    for gates, drawn in zip(twin, expected, strict=True):
        assert torch.equal(gates.sample_gates(), drawn)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(gates.noise.seed is not None for gates in twin)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: {"1": state["0"]}, r"of the noise of \['1'\], the model has gates at \['0'\]"),
        (lambda state: [1], r"of the noise of \[1\]"),
        (lambda state: {"0": {"seed": 1}}, "the noise of '0' is none that noise_state gives"),
        (lambda state: {"0": {"seed": 1, "states": {"cpu": 3}}}, "the noise of '0' is none that noise_state gives"),
        (lambda state: {"0": state["0"] | {"seed": "1"}}, "the noise of '0' is none that noise_state gives"),
        (lambda state: {"0": state["0"] | {"seed": -1}}, "the noise of '0' is none that noise_state gives"),
        (lambda state: {"0": {"seed": 1, "states": {"cpu": torch.zeros(3)}}}, "none that noise_state gives"),
        (lambda state: {"0": {"seed": 1, "states": {"cpu": torch.zeros(3, dtype=torch.uint8)}}}, "none that"),
        (lambda state: {"0": {"seed": 1, "states": {"nowhere": torch.zeros(3, dtype=torch.uint8)}}}, "none that"),
    ],
)
def test_a_state_of_other_noise_is_refused(spoil, message):
    model = torch.nn.Sequential(HardConcrete(5, seed=1))
    with pytest.raises(InputError, match=message):
        load_noise_state(model, spoil(noise_state(model)))
