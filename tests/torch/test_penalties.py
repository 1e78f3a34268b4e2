from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from l0_core import InputError
from l0_torch import (
    HardConcrete,
    L0Conv2d,
    L0Linear,
    PenaltyTracker,
    SampleGate,
    SparseL0Linear,
    SparseMLP,
    TemperatureScheduler,
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    expected_flops,
    expected_parameters,
    get_active_parameter_count,
    get_sparsity_stats,
    parameter_groups,
)


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bare = HardConcrete(7, init_mean=0.3)
        self.samples = SampleGate(40, 10)
        self.regression = SparseL0Linear(6, init_keep_prob=0.5)
        self.layer = L0Linear(5, 4, init_sparsity=0.25)
        self.units = L0Linear(4, 3, init_sparsity=0.5, structured=True)
        self.norm = nn.BatchNorm1d(3)


def test_the_penalty_sees_every_gate_once():
    model = Everything()
    expected = 7 * 0.3 + 10 + 6 * 0.5 + 20 * 0.75 + 3 * 0.5
    assert float(compute_l0_penalty(model).detach()) == pytest.approx(expected, rel=2e-3)  # jitter of the regression
    compute_l0_penalty(model).backward()
    logits = [p for n, p in model.named_parameters() if "logits" in n or "log_alpha" in n]
    assert len(logits) == 5
    assert all((p.grad > 0).all() for p in logits)
    assert float(compute_l0_penalty(nn.Linear(2, 2))) == 0.0


def test_the_squares_are_those_of_weights_alone():
    model = Everything()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    weights = 6 + 20 + 12  # of the regression and the two layers: no logit, bias or normalisation
    assert float(compute_l2_penalty(model).detach()) == pytest.approx(4.0 * weights)
    both = compute_l0l2_penalty(model, 0.5, 0.25)
    expected = 0.5 * float(compute_l0_penalty(model).detach()) + 0.25 * 4.0 * weights
    assert float(both.detach()) == pytest.approx(expected)
    with pytest.raises(InputError, match="negative"):
        compute_l0l2_penalty(model, -1.0)


def test_weight_decay_leaves_logits_biases_and_normalisation_alone():
    model = Everything()
    groups = parameter_groups(model, weight_decay=0.1, lr=0.5)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    assert groups[2]["lr"] == 0.5
    assert len(groups[2]["params"]) == 5
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[id(p)] for p in groups[0]["params"]} == {"regression.weight", "layer.weight", "units.weight"}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_counts_of_parameters():
    model = Everything()
    stats = get_sparsity_stats(model)
    assert list(stats) == ["bare", "samples.gates", "regression", "layer", "units"]
    assert stats["units"]["total_params"] == 15  # three units with four weights and a bias each
    assert stats["layer"]["active_params"] == pytest.approx(15, rel=1e-5)
    with torch.no_grad():
        model.layer.gates.logits.fill_(-9.0)
        model.units.gates.logits.copy_(torch.tensor([9.0, 9.0, -9.0]))
        model.bare.logits.fill_(-9.0)
        model.samples.gates.logits.fill_(-9.0)
        model.regression.logits.fill_(-9.0)
    assert get_active_parameter_count(model) == 10
    # the regression (6 + 1), the layer's biases (4), two units (10) and the normalisation (6)
    assert float(expected_parameters(model).detach()) == pytest.approx(7 + 4 + 10 + 6, abs=0.1)


def test_expected_operations_are_those_of_open_weights():
    model = nn.Sequential(L0Conv2d(3, 4, 3, init_sparsity=0.25), nn.Flatten(), nn.Linear(4 * 36, 5)).train()
    operations = expected_flops(model, torch.randn(2, 3, 8, 8))
    assert float(operations.detach()) == pytest.approx(2 * 2 * (36 * 108 * 0.75 + 720), rel=1e-5)
    operations.backward()
    assert (model[0].gates.logits.grad > 0).all()
    assert model.training


@pytest.mark.parametrize("schedule", ["linear", "exponential", "cosine"])
@pytest.mark.parametrize("name", ["anneal_epochs", "total_epochs"])
def test_the_last_epoch_has_the_final_temperature(schedule, name):
    scheduler = TemperatureScheduler(2.0, 0.1, schedule=schedule, **{name: 50})
    values = [scheduler.get_temperature(epoch) for epoch in range(60)]
    assert values[0] == 2.0
    assert all(value == 0.1 for value in values[49:])
    assert all(a > b for a, b in itertools.pairwise(values[:50]))


def test_schedules_that_cannot_work_are_refused_at_once():
    with pytest.raises(InputError, match="unknown schedule"):
        TemperatureScheduler(schedule="quadratic")
    with pytest.raises(InputError, match="temperature"):
        TemperatureScheduler(initial_temp=0.0)
    with pytest.raises(InputError, match="at least 1"):
        TemperatureScheduler(anneal_epochs=0)
    with pytest.raises(InputError, match="once"):
        TemperatureScheduler(anneal_epochs=5, total_epochs=5)


def test_the_tracker_keeps_counts_and_writes(tmp_path):
    tracker = PenaltyTracker()
    for value in (1.0, 2.0, 6.0):
        tracker.log("l0", torch.tensor(value))
    tracker.log("loss", 0.1)
    assert tracker.get_history("l0") == [1.0, 2.0, 6.0]
    stats = tracker.get_stats("l0")
    assert (stats["mean"], stats["min"], stats["max"], stats["last"]) == (3.0, 1.0, 6.0, 6.0)
    assert stats["std"] == pytest.approx(math.sqrt(14 / 3))
    assert (tracker.get_history("no"), tracker.get_stats("no")) == ([], {})
    tracker.save_to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == "l0,loss\n1.0,0.1\n2.0,\n6.0,\n"
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]
    figure = tracker.plot_history(["l0"], tmp_path / "history.png")
    assert len(figure.axes) == 1
    assert (tmp_path / "history.png").stat().st_size > 1000
    with pytest.raises(InputError, match="logged: l0, loss"):
        tracker.plot_history(["no"])
    tracker.clear()
    assert tracker.names == []


def test_a_model_without_gates_has_no_statistics():
    assert get_sparsity_stats(nn.Linear(2, 2)) == {}
    assert len(get_sparsity_stats(SparseMLP(4, 4, 2))) == 3
