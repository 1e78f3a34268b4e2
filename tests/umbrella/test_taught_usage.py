"""What users of l0-python were taught to write, for tensors, arrays and frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from l0 import (
    FeatureGate,
    HardConcrete,
    HybridGate,
    PenaltyTracker,
    SampleGate,
    SparseMLP,
    TemperatureScheduler,
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    get_active_parameter_count,
    get_sparsity_stats,
    prune_model,
    update_temperatures,
)
from l0_calibrate import Calibration

pytestmark = pytest.mark.filterwarnings("ignore::l0_core.UntrainedWarning")

KINDS = [torch.from_numpy, np.asarray, pd.DataFrame]


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_of_ten_thousand_households(kind):
    households = kind(np.random.default_rng(0).normal(size=(10_000, 5)))
    gate = SampleGate(n_samples=10_000, target_samples=1_000)
    selected, indices = gate.select_samples(households)
    assert len(selected) == len(indices) == 1_000


@pytest.mark.parametrize("kind", KINDS)
def test_hybrid_selection(kind):
    data = kind(np.random.default_rng(0).normal(size=(10_000, 3)))
    gate = HybridGate(n_items=10_000, l0_fraction=0.25, random_fraction=0.75, target_items=1_000)
    selected, indices, types = gate.select(data)
    assert len(selected) == len(indices) == 1_000
    assert (types == "l0").sum() == 250
    assert (types == "random").sum() == 750


@pytest.mark.parametrize("kind", KINDS)
def test_feature_selection(kind):
    data = kind(np.random.default_rng(0).normal(size=(20, 1_000)))
    gate = FeatureGate(n_features=1_000, max_features=50)
    selected, indices = gate.select_features(data)
    assert selected.shape == (20, 50)
    importance = gate.get_feature_importance()
    assert importance.shape == (1_000,)
    assert len(indices) == 50


def test_gates_times_household_weights():
    households = list(range(300))
    weights = torch.ones(300)
    gates = HardConcrete(n_items=len(households), temperature=0.25, init_mean=0.999)
    weighted = gates() * weights
    assert weighted.shape == (300,)
    beside = HardConcrete(len(weights), temperature=0.25, init_mean=0.999)
    assert beside.get_active_prob().mean().item() == pytest.approx(0.999, rel=1e-4)


@pytest.mark.parametrize("kind", [torch.tensor, np.asarray, pd.Series])
def test_gates_beside_a_calibration(kind):
    rng = np.random.default_rng(0)
    table = torch.tensor(rng.random((3, 200)), dtype=torch.float32)
    household_weights = kind(rng.uniform(1.0, 5.0, 200))
    gates = HardConcrete(len(household_weights), temperature=0.25, init_mean=0.999)
    totals = np.asarray(table.numpy() @ np.asarray(household_weights) * 1.2)
    calibration = Calibration(
        weights=household_weights,
        targets=kind(totals),
        target_names=["a", "b", "c"],
        estimate_function=lambda weights: table @ (weights * gates()),
        epochs=200,
        learning_rate=0.02,
        noise_level=0.0,
    )
    calibration.calibrate()
    gates.eval()
    np.testing.assert_allclose(calibration.estimate(), totals, rtol=0.03)  # each epoch saw another draw of the gates


@pytest.mark.parametrize("schedule", ["exponential", "linear", "cosine"])
def test_the_temperature_loop_ends_at_final_temp(schedule):
    model = SparseMLP(8, 6, 2)
    scheduler = TemperatureScheduler(initial_temp=2.0, final_temp=0.1, total_epochs=100, schedule=schedule)
    temperatures = []
    for epoch in range(100):
        temperature = scheduler.get_temperature(epoch)
        update_temperatures(model, temperature)
        temperatures.append(model.fc1.weight_gates.temperature)
    assert temperatures[0] == pytest.approx(2.0)
    assert temperatures[-1] == 0.1
    assert (np.diff(temperatures) <= 0).all()
    with pytest.raises(ValueError, match="schedule"):
        TemperatureScheduler(schedule="exponental")


def test_the_penalty_is_added_to_a_task_loss():
    torch.manual_seed(0)
    model = SparseMLP(input_dim=8, hidden_dim=6, output_dim=2, use_l2=True)
    x, y = torch.randn(32, 8), torch.randint(0, 2, (32,))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    tracker = PenaltyTracker()
    for _ in range(5):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        penalty = compute_l0l2_penalty(model, l0_lambda=1e-3, l2_lambda=1e-4)
        (loss + penalty).backward()
        optimiser.step()
        tracker.log("penalty", penalty.item())
    expected = 1e-3 * compute_l0_penalty(model) + 1e-4 * compute_l2_penalty(model)
    assert compute_l0l2_penalty(model).item() == pytest.approx(expected.item())
    assert len(tracker.get_history("penalty")) == 5
    assert tracker.get_stats("penalty")["last"] == tracker.get_history("penalty")[-1]
    assert set(get_sparsity_stats(model)) == {"fc1", "fc2", "fc3"}
    assert 0 <= get_active_parameter_count(model) <= 8 * 6 + 6 * 6 + 6 * 2
    pruned = prune_model(model, threshold=0.05)
    assert type(pruned) is SparseMLP
