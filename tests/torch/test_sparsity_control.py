from __future__ import annotations

import pytest
import torch
from torch import nn

from l0_core import InputError
from l0_core.sparsity_control import ControlSettings
from l0_torch import HardConcrete, L0Linear, SparsityControl, keep_exactly


@pytest.mark.parametrize("keep", [5, 50, 150])
def test_the_expected_count_comes_to_the_number_asked_for(device, keep):
    generator = torch.Generator().manual_seed(0)
    worth = torch.randn(200, generator=generator).to(device)
    gates = HardConcrete(200, init_mean=0.9, seed=0).to(device)
    control = SparsityControl(gates, keep, ControlSettings(warmup=200))
    optimiser = torch.optim.Adam(gates.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        # Each gate has a worth of its own: closing the gates of little worth costs least.
        loss = (worth.square() * (1 - gates())).mean() + control.penalty()
        loss.backward()
        optimiser.step()
    assert float(control.expected_open().detach()) == pytest.approx(keep, rel=0.1)
    assert control.price > 0 or keep > 100
    keep_exactly(gates, keep)
    kept = gates.opens()
    assert int(kept.sum()) == keep
    # Noise swaps a few near the limit: nine in ten are among the most worthy.
    best = torch.zeros_like(kept).scatter_(0, worth.abs().topk(keep).indices, True)
    assert int((kept & best).sum()) >= 0.9 * keep


@pytest.mark.parametrize("keep", [1, 7, 44])
def test_exactly_the_count_is_open_over_all_layers(keep):
    model = nn.Sequential(
        L0Linear(5, 4),
        HardConcrete(4, temperature=0.1),
        L0Linear(4, 5),
    )
    model.eval()
    keep_exactly(model, keep, seed=1)
    opened = [layer.gates.opens() if isinstance(layer, L0Linear) else layer.opens() for layer in model]
    assert sum(int(o.sum()) for o in opened) == keep
    again = nn.Sequential(L0Linear(5, 4), HardConcrete(4, temperature=0.1), L0Linear(4, 5))
    keep_exactly(again, keep, seed=1)
    assert all(
        torch.equal(first.opens(), second.opens())
        for first, second in zip(
            (m for m in model.modules() if isinstance(m, HardConcrete)),
            (m for m in again.modules() if isinstance(m, HardConcrete)),
            strict=True,
        )
    )


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="from 1 to"):
        SparsityControl(HardConcrete(5), 6)
    with pytest.raises(InputError, match="no gates"):
        SparsityControl(nn.Linear(2, 2), 1)
    with pytest.raises(InputError, match="no gates"):
        keep_exactly(nn.Linear(2, 2), 1)


@pytest.mark.parametrize("rule", ["median", "paper"])
@pytest.mark.parametrize("temperature", [0.1, 0.66, 3.0])
def test_exactly_the_count_is_open_by_either_rule_at_any_temperature(rule, temperature):
    gates = HardConcrete(30, temperature=temperature, rule=rule, seed=0)
    with torch.no_grad():
        gates.logits.copy_(torch.linspace(-8, 8, 30))
    gates.eval()
    for keep in (29, 7, 1):
        keep_exactly(gates, keep)
        assert int((gates() > 0).sum()) == gates.get_num_active() == keep
