from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from l0_core import InputError
from l0_torch import (
    CompactionError,
    GateRule,
    L0Embedding,
    L0Linear,
    L0MultiheadAttention,
    SparseMLP,
    compact,
    gate_module,
    size_report,
)
from l0_torch.compaction.compact import check_equal
from l0_torch.stochastic_gates import named_gates


def close(model: nn.Module, share: float, seed: int = 0) -> nn.Module:
    """Close the given share of all gates, at random."""
    generator = torch.Generator().manual_seed(seed)
    for _, gates in named_gates(model):
        closed = torch.rand(gates.logits.shape, generator=generator) < share
        with torch.no_grad():
            gates.logits.copy_(torch.where(closed, -9.0, 1.0 + torch.rand(gates.logits.shape, generator=generator)))
    return model


def settle(model: nn.Module, x: torch.Tensor) -> None:
    """Give batch normalisation statistics and affine maps that are not those of the start."""
    model.train()
    for _ in range(3):
        model(x + torch.randn_like(x))
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)


def convnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12),
        nn.BatchNorm2d(12),
        nn.GELU(),
        nn.Conv2d(12, 16, 1),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(16 * 9, 20),
        nn.BatchNorm1d(20),
        nn.Tanh(),
        nn.Linear(20, 5, bias=False),
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.0, 1.0), by=st.sampled_from(["weight", "output"]))
def test_compact_convolutional_networks_give_equal_outputs(seed, share, by):
    model, x = convnet(), torch.randn(4, 3, 8, 8)
    settle(model, x)
    gate_module(model, GateRule(by, where=lambda path, layer: path != "14"))
    close(model, share, seed)
    small = compact(model, x)
    check_equal(model, small, torch.randn(3, 3, 8, 8))
    assert not list(named_gates(small))
    before = sum(p.numel() for n, p in model.named_parameters() if "logits" not in n)
    assert sum(p.numel() for p in small.parameters()) <= before + 5  # at most the bias that the last layer gets


def test_closed_channels_are_gone_from_both_layers_and_what_is_between(device):
    model, x = convnet().to(device), torch.randn(4, 3, 8, 8, device=device)
    settle(model, x)
    gate_module(model, GateRule("output", where=lambda path, layer: path in ("0", "6", "11")))
    with torch.no_grad():
        for name, gates in named_gates(model):
            gates.logits.fill_(2.0)
            gates.logits[: {"0": 5, "6": 7, "11": 8}[name.split(".")[0]]] = -9.0
    small = compact(model, x)
    assert small[7 - 1].weight.shape[0] == 9
    assert small[11].weight.shape == (12, 9 * 9)
    assert small[12].num_features == 12
    assert small[14].weight.shape == (5, 12)
    # The first layer's closed channels become constants behind the normalisation. Those that ReLU lets
    # through must stay: the padded depthwise convolution would show the border.
    constants = model[1].eval()(torch.zeros(1, 12, 1, 1, device=device)).flatten()[:5]
    assert 0 < int((constants > 0).sum()) < 5
    assert small[0].weight.shape[0] == 12 - int((constants <= 0).sum())
    assert not small.training or model.training


def test_a_silent_first_layer_is_taken_out_where_nothing_pads():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    x = torch.randn(4, 3, 8, 8)
    settle(model, x)
    gate_module(model, GateRule("output", where=lambda path, layer: path == "0"))
    close(model, 1.0)
    small = compact(model, x)
    assert small[0].out_channels == small[1].num_features == small[3].in_channels == 1


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_a_constant_before_a_padded_convolution_stays_unless_the_padding_repeats_it(padding_mode):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1, padding_mode=padding_mode))
    with torch.no_grad():
        model[0].weight[:2] = 0.0
        model[0].bias[:2] = torch.tensor([1.5, -1.5])  # behind ReLU one channel is 1.5 everywhere and one is 0
    small = compact(model, torch.randn(2, 3, 6, 6))
    assert small[0].out_channels == (3 if padding_mode == "zeros" else 2)


def test_weights_that_nobody_reads_are_followed_back_through_the_network():
    model = SparseMLP(10, 6, 3)
    with torch.no_grad():
        for _, gates in named_gates(model):
            gates.logits.fill_(9.0)
        model.fc3.weight_gates.qz_logits[:, :4] = -9.0  # the output reads two units of the second layer,
        model.fc2.weight_gates.qz_logits[4:, :3] = -9.0  # and these read three of the first
    small = compact(model, torch.randn(5, 10))
    assert small.fc1.weight.shape == (3, 10)
    assert small.fc2.weight.shape == (2, 3)
    assert small.fc3.weight.shape == (3, 2)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = L0Embedding(9, 8)
        self.first = L0Linear(8, 16, structured=True)
        self.second = nn.Linear(16, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.embed(words)
        x = x + self.second(functional.relu(self.first(x)))
        return self.head(x)


def test_shapes_stay_across_sums_and_shrink_inside_them():
    model = close(Residual(), 0.5)
    words = torch.randint(0, 9, (4, 3))
    small = compact(model, words)
    assert small.embed.embedding_dim == 8
    assert small.first.out_features < 16
    assert small.second.in_features == small.first.out_features


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(L0Linear(6, 8, structured=True), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) if bool(x.sum() > 0) else -self.body(x)


def test_parts_of_a_model_that_cannot_be_traced_are_made_smaller():
    model = close(DataDependent(), 0.5)
    small = compact(model, torch.randn(4, 6))
    assert small.body[0].out_features < 8


def test_shared_layers_and_weights_are_left_alone():
    shared = nn.Linear(6, 6)
    with torch.no_grad():
        shared.weight[0] = 0.0
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert compact(model, torch.randn(3, 6))[0].weight.shape == (6, 6)
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    tied[2].weight = tied[0].weight
    with torch.no_grad():
        tied[0].weight[0] = 0.0
    small = compact(tied, torch.randn(3, 6))
    assert small[0].weight is small[2].weight


def test_the_model_is_not_changed_and_modes_are_kept():
    model = close(SparseMLP(10, 6, 3), 0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = compact(model, torch.randn(5, 10))
    assert model.training
    assert small.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_compact_models_are_exported():
    model = close(SparseMLP(10, 6, 3, structured=True), 0.5).eval()
    x = torch.randn(5, 10)
    exported = torch.export.export(compact(model, x).eval(), (x,))
    torch.testing.assert_close(exported.module()(x), model(x))


def test_unequal_outputs_are_an_error():
    model = SparseMLP(10, 6, 3)
    other = compact(model)
    with torch.no_grad():
        other.fc3.bias += 1.0
    with pytest.raises(CompactionError, match="differs"):
        check_equal(model, other, torch.randn(2, 10))


def test_the_report_counts_bytes_and_milliseconds():
    model = close(SparseMLP(100, 200, 10, structured=True), 0.9)
    x = torch.randn(5, 100)
    small = compact(model, x)
    report = size_report(model, small, x, repeats=3)
    assert report.bytes[1] == 4 * report.parameters[1] == 4 * sum(p.numel() for p in small.parameters())
    assert report.bytes[1] < report.bytes[0] / 4
    assert min(report.milliseconds) > 0
    assert f"{report.bytes[1]:,}" in str(report)
    assert "milliseconds" in str(report)


class Tied(nn.Module):
    """Reads the table of its embedding a second time, in its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.body = nn.Linear(6, 6)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.body(self.embed(words)), self.embed.weight)


def test_a_weight_that_the_models_code_reads_stays_whole():
    model = Tied()
    with torch.no_grad():
        model.embed.weight[:, 2] = 0.0
    assert compact(model, torch.arange(4)).embed.embedding_dim == 6


def test_layers_with_hooks_stay_whole():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[:3], model[0].bias[:3] = 0.0, 0.0
    assert compact(model, torch.randn(3, 6))[0].out_features == 3
    model[0].register_forward_hook(lambda module, arguments, output: output + 1.0)
    assert compact(model, torch.randn(3, 6))[0].out_features == 6


def test_a_constant_that_is_not_finite_stays_where_it_is():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, float("inf")
    assert compact(model)[0].out_features == 3


def gated_pair() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    return close(gate_module(model, GateRule("output", where=lambda path, layer: path == "0")), 0.5)


def test_hooks_of_a_gated_layer_go_over_to_its_plain_twin():
    model, x = gated_pair(), torch.randn(3, 6)
    seen = []
    model[0].register_forward_pre_hook(lambda module, arguments: (arguments[0] * 2,))
    model[0].register_forward_pre_hook(lambda module, arguments, named: (arguments, named), with_kwargs=True)
    model[0].register_forward_hook(lambda module, arguments, output: output + torch.arange(8.0))
    model[0].register_forward_hook(lambda module, arguments, named, output: seen.append(named), with_kwargs=True)
    model[0].register_full_backward_hook(lambda module, inward, outward: (inward[0] * 3,))
    model[0].register_full_backward_pre_hook(lambda module, outward: (outward[0] * 5,))
    small = compact(model, x)  # raises where the outputs differ
    assert type(small[0]) is nn.Linear
    assert small[0].out_features == 8  # its output is looked at
    gradients = []
    for each in (model, small):
        seen.clear()
        entry = x.clone().requires_grad_()
        each(entry).sum().backward()
        gradients.append(entry.grad)
        assert seen == [{}]
    torch.testing.assert_close(*gradients)
    assert len(model[0]._forward_hooks) == 2  # the model is as it was


@pytest.mark.parametrize("place", ["0.channel_gates", "0.attention.q_proj"])
def test_hooks_that_a_plain_layer_has_no_place_for_are_refused(place):
    gated = gated_pair()[0] if "gates" in place else L0MultiheadAttention(8, 2)
    model = nn.Sequential(gated)
    model.get_submodule(place).register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match=f"module '{place}' has hooks"):
        compact(model)


@pytest.mark.filterwarnings("ignore")  # the old weight normalisation is deprecated
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.spectral_norm, lambda m: prune.l1_unstructured(m, "weight", 2)]
)
def test_hooks_that_make_a_weight_anew_are_refused(norm):
    model = gated_pair()
    norm(model[0])
    with pytest.raises(InputError, match="layer '0' has a hook that makes a parameter anew at each call"):
        compact(model)


def test_a_layer_in_between_that_has_hooks_is_not_passed_by():
    """What it does to a constant channel would not be known, nor the number of channels that it counts on."""
    model, x = gated_pair(), torch.randn(3, 6)
    assert compact(model, x)[0].out_features < 8
    model[1].register_forward_hook(lambda module, arguments, output: output * torch.arange(8.0))
    assert compact(model, x)[0].out_features == 8


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2), nn.AvgPool2d(3, padding=1)])
def test_constants_behind_every_kind_of_mean(pool):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), pool, nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[0].weight[:2] = 0.0
    compact(model, torch.randn(1, 3, 6, 6))  # raises where the outputs differ


@pytest.mark.parametrize("activation", ["relu", "gelu", functional.silu, nn.ReLU()])
@pytest.mark.parametrize("grad", [True, False])
def test_transformer_layers_see_their_gates_and_become_smaller(activation, grad):
    """Without gradients torch evaluates these layers by a kernel of its own, from the weights alone."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, activation=activation, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x, padding = torch.randn(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    fused = [part.activation_relu_or_gelu for part in model.layers]
    gate_module(model, GateRule("output", where=lambda path, layer: path.endswith("linear1")))
    with torch.no_grad():
        for _, gates in named_gates(model):
            gates.logits.copy_(torch.where(torch.arange(32) < 20, -9.0, 9.0))
    small = compact(model, x)
    with torch.set_grad_enabled(grad):
        found, expected = small(x, src_key_padding_mask=padding), model(x, src_key_padding_mask=padding)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        with torch.random.fork_rng(devices=[]):
            undropped = model.train()  # the road of training, which no kernel replaces
            for part in undropped.modules():
                if isinstance(part, nn.Dropout):
                    part.p = 0.0
                if isinstance(part, nn.MultiheadAttention):
                    part.dropout = 0.0
            torch.testing.assert_close(undropped(x, src_key_padding_mask=padding), expected, rtol=1e-4, atol=1e-5)
    assert [part.linear1.out_features for part in small.layers] == [12, 12]
    assert [part.linear2.in_features for part in small.layers] == [12, 12]
    assert [part.activation_relu_or_gelu for part in small.layers] == fused


@pytest.mark.usefixtures("untouched_generators")
def test_compaction_draws_no_random_numbers():
    """A look at the compact model between two epochs must not change the dropout masks of those that follow."""
    with torch.random.fork_rng(devices=[]):
        images = gate_module(convnet(), "output").double()
        sequences = nn.Sequential(L0Embedding(7, 6), L0MultiheadAttention(6, 2), L0Linear(6, 3))
    for model, dtype in ((images, torch.float64), (sequences, torch.float32)):
        small = compact(model)
        assert {(p.dtype, p.device.type) for p in small.parameters()} == {(dtype, "cpu")}


@pytest.mark.parametrize(
    ("gated", "plain"),
    [
        ("0.weight", "0.weight"),
        ("1.attention.q_proj.weight", "1.q_proj.weight"),
        ("1.attention.out_proj.bias", "1.out_proj.bias"),
        ("2.weight", "2.weight"),
        ("4.bias", "4.bias"),
    ],
)
def test_what_is_frozen_stays_frozen(gated, plain):
    """Weights that were held while gates were trained must not move when the compact model is trained on."""
    model = nn.Sequential(
        L0Embedding(7, 6), L0MultiheadAttention(6, 2), L0Linear(6, 8, structured=True), nn.ReLU(), L0Linear(8, 3)
    )
    close(model, 0.5).get_parameter(gated).requires_grad_(False)
    small = compact(model.eval(), torch.arange(7)[None])
    assert [name for name, values in small.named_parameters() if not values.requires_grad] == [plain]
