"""`l0.HardConcrete` as its users know it: names, shapes, modes, and the law behind the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import l0
from l0 import HardConcrete


def test_the_old_and_the_taught_way_to_make_one():
    by_place, by_name = HardConcrete(7), HardConcrete(n_items=7)
    for gates in (by_place, by_name):
        assert gates.gate_size == (7,)
        assert (gates.temperature, gates.gamma, gates.zeta) == (0.5, -0.1, 1.1)
        assert list(gates.state_dict()) == ["qz_logits"]
    assert HardConcrete(3, 4).qz_logits.shape == (3, 4)
    assert l0.hard_concrete.HardConcrete is l0.distributions.HardConcrete is HardConcrete
    with pytest.raises(ValueError, match="once"):
        HardConcrete(7, n_items=7)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2 / 3])
@pytest.mark.parametrize("init_mean", [0.01, 0.3, 0.999])
def test_init_mean_is_the_probability_of_being_open(temperature, init_mean):
    gates = HardConcrete(4, temperature=temperature, init_mean=init_mean)
    np.testing.assert_allclose(gates.get_active_prob().detach(), init_mean, rtol=1e-5)
    assert gates.get_penalty().item() == pytest.approx(4 * init_mean, rel=1e-5)
    assert gates.get_sparsity() == pytest.approx(1 - init_mean, rel=1e-4)


def test_penalty_is_equation_12():
    gates = HardConcrete(5, temperature=0.4)
    logits = np.linspace(-3, 3, 5)
    with torch.no_grad():
        gates.qz_logits.copy_(torch.tensor(logits))
    expected = 1 / (1 + np.exp(-(logits - 0.4 * math.log(0.1 / 1.1))))
    assert gates.get_penalty().item() == pytest.approx(expected.sum(), rel=1e-6)


def test_eval_gates_are_the_median_of_train_gates():
    gates = HardConcrete(5, temperature=0.5)
    with torch.no_grad():
        gates.qz_logits.copy_(torch.linspace(-2.0, 2.0, 5))
        gates.train()
        draws = torch.stack([gates() for _ in range(4001)])
        gates.eval()
        assert torch.equal(gates(), gates())
        # The median of 4,001 draws of a gate is within 0.1 of that of the law, with a density of at least 0.2 there.
        np.testing.assert_allclose(draws.median(dim=0).values, gates(), atol=0.1)
    assert gates.get_num_active() == int((gates() > 0).sum())
    assert draws.min() == 0
    assert draws.max() == 1


def test_gates_learn():
    gates = HardConcrete(6, init_mean=0.5)
    optimiser = torch.optim.Adam(gates.parameters(), lr=0.1)
    wanted = torch.tensor([1.0, 0.0] * 3)
    for _ in range(300):
        optimiser.zero_grad()
        ((gates() - wanted).square().sum() + 0.01 * gates.get_penalty()).backward()
        optimiser.step()
    gates.eval()
    assert (gates().detach() > 0).tolist() == [True, False] * 3


def test_shapes_to_multiply_with():
    gates = HardConcrete(3)
    assert gates((3, 5, 2)).shape == (3, 1, 1)
    assert gates((8, 3)).shape == (3,)
    with pytest.raises(ValueError, match="match neither"):
        gates((5, 4))


def test_reset_parameters():
    gates = HardConcrete(3, init_mean=0.8)
    first = gates.qz_logits.detach().clone()
    with torch.no_grad():
        gates.qz_logits.add_(1.0)
    gates.reset_parameters()
    assert torch.equal(gates.qz_logits, first)


@pytest.mark.parametrize("bad", [{"input_dim": 0}, {"temperature": 0.0}, {"init_mean": 1.0}, {"stretch": 0.0}])
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"input_dim|temperature|init_mean|stretch"):
        HardConcrete(**{"input_dim": 3, **bad})


def test_the_probability_of_being_open_is_differentiable():
    gates = HardConcrete(5)
    gates.get_active_prob().sum().backward()
    by_probability = gates.qz_logits.grad.clone()
    gates.zero_grad()
    gates.get_penalty().backward()
    assert torch.equal(by_probability, gates.qz_logits.grad)
    assert by_probability.min() > 0
