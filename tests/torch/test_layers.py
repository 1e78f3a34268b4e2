from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn

from l0_core import InputError
from l0_torch import (
    L0Conv1d,
    L0Conv2d,
    L0DepthwiseConv2d,
    L0Embedding,
    L0Linear,
    L0MultiheadAttention,
    SparseMLP,
    compact,
    prune_model,
    seed_gates,
)
from l0_torch.stochastic_gates import named_gates

LAYERS = {
    "linear": (lambda: L0Linear(6, 5, use_l2=True), (4, 6)),
    "linear units": (lambda: L0Linear(6, 5, structured=True, use_l2=True), (4, 6)),
    "linear without bias": (lambda: L0Linear(6, 5, bias=False, structured=True), (4, 6)),
    "conv1d": (lambda: L0Conv1d(4, 6, 3, padding=1, groups=2, dilation=2), (2, 4, 9)),
    "conv2d": (lambda: L0Conv2d(4, 6, 3, 2, 1, use_l2=True), (2, 4, 7, 7)),
    "conv2d channels": (lambda: L0Conv2d(4, 6, (3, 1), structured=True, groups=2, use_l2=True), (2, 4, 7, 7)),
    "depthwise": (lambda: L0DepthwiseConv2d(4, 3, padding=1, use_l2=True), (2, 4, 7, 7)),
    "attention": (lambda: L0MultiheadAttention(12, 4, use_l2=True), (2, 5, 12)),
}


def with_random_gates(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for _, gates in named_gates(model):
        with torch.no_grad():
            gates.logits.copy_(4 * torch.randn(gates.logits.shape, generator=generator))
    return model


@pytest.fixture(params=LAYERS)
def layer(request, device):
    make, shape = LAYERS[request.param]
    return with_random_gates(make()).to(device), torch.randn(shape, device=device)


def test_the_plain_twin_gives_the_output_of_evaluation(layer):
    gated, x = layer
    plain = gated.eval().plain()
    assert not list(named_gates(plain))
    torch.testing.assert_close(plain(x), gated(x))


def test_gradients_reach_weights_and_logits(layer):
    gated, x = layer
    gated.train()
    with torch.no_grad():
        gated.gates.logits.fill_(0.0)  # so that few of the gates are clipped
    gated(x).square().sum().backward()
    for name, parameter in gated.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert gated.gates.logits.grad.abs().sum() > 0


def test_penalty_and_sparsity_are_expected_counts(layer):
    gated, _ = layer
    expected = gated.gates.get_active_prob().detach()
    assert float(gated.get_l0_penalty().detach()) == pytest.approx(float(expected.sum()), rel=1e-6)
    assert gated.get_sparsity() == pytest.approx(1 - float(expected.mean()), abs=1e-6)


def test_the_l2_penalty_is_that_of_the_whole_model(layer):
    gated, _ = layer
    if not gated.use_l2:
        assert float(gated.get_l2_penalty()) == 0.0
        return
    weights = [p for name, p in gated.named_parameters() if name.endswith("weight")]
    expected = sum(float(weight.detach().double().square().sum()) for weight in weights)
    assert float(gated.get_l2_penalty().detach()) == pytest.approx(expected, rel=1e-5)
    gated.get_l2_penalty().backward()
    assert gated.gates.logits.grad is None


def test_closed_gates_switch_the_numbers_behind_them_off(layer):
    gated, x = layer
    expected = gated.eval()(x).detach()
    closed = ~gated.gates.opens()
    gated.prune(closed)  # what is behind closed gates has no part in the output
    torch.testing.assert_close(gated(x), expected)
    assert bool((gated.gated_parameters()[closed.reshape(-1)] == 0).all())


def test_state_copies_and_pickles_are_exact(layer):
    gated, x = layer
    twin = copy.deepcopy(gated)
    twin.load_state_dict(gated.state_dict())
    for other in (twin, pickle.loads(pickle.dumps(gated))):
        assert torch.equal(other.eval()(x), gated.eval()(x))


def test_names_in_the_state_dict_are_those_of_the_contract():
    assert {k: tuple(v.shape) for k, v in L0Linear(5, 3).state_dict().items()} == {
        "weight": (3, 5),
        "bias": (3,),
        "weight_gates.qz_logits": (3, 5),
    }
    assert L0Conv2d(4, 6, 3).state_dict()["weight_gates.qz_logits"].shape == (6, 36)
    assert L0Conv2d(4, 6, 3, structured=True).state_dict()["channel_gates.qz_logits"].shape == (6,)
    assert list(L0DepthwiseConv2d(4, 3).state_dict()) == [
        "depthwise_conv.weight",
        "depthwise_conv.bias",
        "channel_gates.qz_logits",
    ]


def test_a_closed_channel_is_silent():
    conv = L0Conv2d(3, 2, 3, padding=1, structured=True).eval()
    with torch.no_grad():
        conv.channel_gates.qz_logits.copy_(torch.tensor([-9.0, 9.0]))
    output = conv(torch.randn(2, 3, 5, 5))
    assert bool((output[:, 0] == 0).all())
    assert not bool((output[:, 1] == 0).any())


def test_embeddings_are_gated_by_dimension_and_by_row(device):
    for by, count in (("dimension", 6), ("row", 11)):
        table = with_random_gates(L0Embedding(11, 6, padding_idx=0, by=by)).to(device).eval()
        words = torch.randint(0, 11, (3, 4), device=device)
        assert table.gates.gate_size == (count,)
        torch.testing.assert_close(table.plain()(words), table(words))
        assert table.gated_parameters().shape == (count, 66 // count)
    with pytest.raises(InputError, match="by must be"):
        L0Embedding(3, 3, by="word")


def test_attention_leaves_closed_heads_out():
    attention = L0MultiheadAttention(12, 4).eval()
    with torch.no_grad():
        attention.head_gates.qz_logits.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0]))
    x, key = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    small = compact(attention, x)
    assert small.num_heads == 2
    assert small.out_proj.weight.shape == (12, 6)
    torch.testing.assert_close(small(x, key), attention(x, key))
    torch.testing.assert_close(small(x, is_causal=True), attention(x, is_causal=True))
    with torch.no_grad():
        attention.head_gates.qz_logits.fill_(-9.0)
    torch.testing.assert_close(compact(attention)(x), attention.attention.out_proj.bias.expand(2, 5, 12))


def test_attention_is_that_of_torch():
    ours, theirs = L0MultiheadAttention(12, 4).eval(), nn.MultiheadAttention(12, 4, batch_first=True)
    with torch.no_grad():
        ours.head_gates.qz_logits.fill_(50.0)
        part = ours.attention
        theirs.in_proj_weight.copy_(torch.cat([part.q_proj.weight, part.k_proj.weight, part.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([part.q_proj.bias, part.k_proj.bias, part.v_proj.bias]))
        theirs.out_proj.load_state_dict(part.out_proj.state_dict())
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-4, atol=1e-5)


def test_sparse_mlp_has_the_calls_of_the_contract():
    model = SparseMLP(20, 8, 3, use_l2=True)
    assert model(torch.randn(4, 4, 5)).shape == (4, 3)
    assert float(model.get_l0_loss().detach()) == pytest.approx(0.5 * (160 + 64 + 24), rel=1e-5)
    assert float(model.get_l2_loss().detach()) > 0
    assert model.get_sparsity_stats()["fc2"]["total_params"] == 64
    assert float(SparseMLP(20, 8, 3).get_l2_loss()) == 0


@pytest.mark.parametrize("name", LAYERS)
def test_pruning_closes_what_is_unlikely_for_good(name):
    make, shape = LAYERS[name]
    model = with_random_gates(make())
    probabilities = model.gates.get_active_prob().detach()
    expected = model.eval()(torch.ones(shape)).detach()
    behind = model.gated_parameters().detach().clone()
    assert prune_model(model, 0.3) is model
    closed = probabilities < 0.3
    kept = ~closed.reshape(-1, 1)
    assert bool(closed.any())
    torch.testing.assert_close(model.gated_parameters().reshape(behind.shape), torch.where(kept, behind, 0.0))
    assert bool((model.gates.get_active_prob()[closed] < 1e-4).all())
    assert torch.equal(model.gates.get_active_prob()[~closed], probabilities[~closed])
    torch.testing.assert_close(model(torch.ones(shape)), expected)
    with pytest.raises(InputError, match="threshold"):
        prune_model(model, 1.5)


@pytest.mark.parametrize("by", ["dimension", "row"])
def test_pruning_empties_a_table(by):
    table = with_random_gates(L0Embedding(11, 6, by=by))
    closed, behind = table.gates.get_active_prob() < 0.3, table.gated_parameters().detach().clone()
    prune_model(table, 0.3)
    assert bool(closed.any())
    torch.testing.assert_close(table.gated_parameters(), torch.where(closed[:, None], 0.0, behind))


@pytest.mark.parametrize("name", ["linear", "linear units", "conv2d channels", "depthwise"])
def test_autocast_trains_in_bfloat16(name):
    make, shape = LAYERS[name]
    model = make()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.randn(shape))
        assert output.dtype == torch.bfloat16
        loss = output.float().square().mean() + 1e-3 * model.get_l0_penalty()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_compiled_layers_have_no_graph_break_and_recompile_once_for_temperatures():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    layer = L0Linear(8, 4)
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    x = torch.randn(3, 8)
    for temperature in np.linspace(1.0, 0.1, 6):
        layer.weight_gates.temperature = float(temperature)
        compiled(x).sum().backward()
    assert counter.frame_count <= 2
    layer.eval()
    torch.testing.assert_close(compiled(x), layer(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_compiles_whole(name):
    torch._dynamo.reset()
    make, shape = LAYERS[name]
    layer = make()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    compiled(torch.randn(shape)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    torch._dynamo.reset()


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute:UserWarning"
)  # torch's compiler looks at it after a graph break
def test_compiled_layers_with_a_seed_draw_the_same_gates():
    torch._dynamo.reset()
    layer, x = L0Linear(8, 4), torch.randn(3, 8)
    seed_gates(layer, 5)
    twin = copy.deepcopy(layer)
    compiled = torch.compile(layer, backend="eager")
    for _ in range(3):
        assert torch.equal(compiled(x), twin(x))
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "make",
    [
        lambda: L0Linear(0, 3),
        lambda: L0Linear(3, 3, init_sparsity=1.0),
        lambda: L0Linear(3, 3, temperature=-1.0),
        lambda: L0Conv2d(4, 6, 3, groups=3),
        lambda: L0Conv2d(4, 6, (3, 3, 3)),
        lambda: L0Conv2d(4, 6, 3, stride=0),
        lambda: L0MultiheadAttention(10, 4),
    ],
)
def test_settings_that_cannot_work_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_torch_func_sees_the_gates():
    layer, x = with_random_gates(L0Linear(6, 4)).eval(), torch.randn(3, 6)
    values = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(values: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, values, (row,)).square().sum()

    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(values, x)
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(rows[name].sum(dim=0), parameter.grad)


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 5, 12)])
def test_attention_is_over_the_last_but_one_dimension(shape):
    layer = with_random_gates(L0MultiheadAttention(12, 4)).eval()
    x = torch.randn(shape)
    one_by_one = torch.stack([layer(part[None])[0] for part in x.reshape(-1, 5, 12)])
    torch.testing.assert_close(layer(x), one_by_one.reshape(shape))
    torch.testing.assert_close(layer.plain()(x), layer(x))
