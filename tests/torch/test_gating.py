from __future__ import annotations

import pytest
import torch
from torch import nn

from l0_core import InputError
from l0_torch import GateRule, L0Conv2d, L0Embedding, L0Linear, gate_module


def model() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))


@pytest.mark.usefixtures("untouched_generators")
@pytest.mark.parametrize("by", ["weight", "output"])
def test_the_weights_stay_the_same_parameters(by):
    with torch.random.fork_rng(devices=[]):
        plain = model().double()
    kept = dict(plain.named_parameters())
    gated = gate_module(plain, by)
    assert gated is plain
    assert isinstance(gated[1], L0Linear)
    assert isinstance(gated[0], L0Embedding) == (by == "output")
    found = dict(gated.named_parameters())
    assert all(found[name] is parameter for name, parameter in kept.items())
    assert gated[1].gates.logits.dtype == torch.float64


def test_wide_open_gates_change_nothing():
    plain = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, 2, groups=2), nn.Flatten(), nn.Linear(6 * 9, 2))
    x = torch.randn(3, 4, 7, 7)
    expected = plain(x)
    gated = gate_module(plain, "output").eval()
    assert isinstance(gated[0], L0Conv2d)
    with torch.no_grad():
        for layer in (gated[0], gated[2]):
            layer.gates.logits.fill_(50.0)
    torch.testing.assert_close(gated(x), expected)


def test_a_rule_names_the_layers_and_a_single_layer_is_replaced():
    gated = gate_module(model(), GateRule("output", where=lambda path, layer: path == "1"))
    assert type(gated[3]) is nn.Linear
    assert isinstance(gate_module(nn.Linear(3, 3)), L0Linear)


@pytest.mark.parametrize("layer", [nn.Linear(3, 3), nn.Conv2d(3, 3, 3), nn.Embedding(3, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_a_gated_layer_is_in_the_mode_of_the_one_it_replaces(layer, training):
    gated = gate_module(layer.train(training), "output")
    assert {module.training for module in gated.modules()} == {training}


def test_a_shared_layer_gets_one_set_of_gates():
    shared = nn.Linear(4, 4)
    gated = gate_module(nn.Sequential(shared, nn.ReLU(), shared))
    assert gated[0] is gated[2]
    assert isinstance(gated[0], L0Linear)


def test_what_cannot_be_gated_is_named():
    with pytest.raises(InputError, match=r"'0'.*reflect"):
        gate_module(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")))
    with pytest.raises(InputError, match="no layer"):
        gate_module(nn.Sequential(nn.ReLU()))
    with pytest.raises(InputError, match="by must be"):
        GateRule("neuron")
