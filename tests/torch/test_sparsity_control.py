from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from l0_core import InputError
from l0_core.sparsity_control import ControlSettings, SparsityController
from l0_torch import HardConcrete, L0Linear, SparsityControl, keep_exactly


def test_the_price_is_that_of_the_formula():
    controller = SparsityController(10, 100, ControlSettings(warmup=0, rate=0.5, stiffness=2.0, loss_scale=3.0))
    excess = math.log(40 / 10)
    assert controller.update(40.0) == pytest.approx(3.0 / 40 * (0.5 * excess + 2.0 * excess))
    assert controller.update(10.0) == pytest.approx(3.0 / 10 * 0.5 * excess)
    below = controller.update(1.0)
    assert below < 0  # a premium on opening
    assert controller.multiplier == pytest.approx(0.5 * (excess - math.log(10)))


def test_the_target_moves_by_equal_factors_in_the_warm_up():
    controller = SparsityController(10, 100, ControlSettings(warmup=4))
    targets = []
    for _ in range(6):
        controller.update(80.0)
        targets.append(controller.current_target)
    assert targets == pytest.approx([80 / 8**0.25, 80 / 8**0.5, 80 / 8**0.75, 10, 10, 10])


def test_a_restored_controller_goes_on_exactly():
    counts = [90.0, 70.0, 30.0, 12.0, 9.0, 11.0]
    whole, first = SparsityController(10, 100), SparsityController(10, 100)
    expected = [whole.update(count) for count in counts]
    for count in counts[:3]:
        first.update(count)
    second = SparsityController(10, 100)
    second.restore(first.state())
    assert [second.update(count) for count in counts[3:]] == expected[3:]


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
    with pytest.raises(InputError, match="target"):
        SparsityController(0, 5)
    with pytest.raises(InputError, match="positive and finite"):
        SparsityController(1, 5).update(float("nan"))
    for settings in ({"warmup": -1}, {"rate": 0.0}, {"stiffness": math.inf}, {"loss_scale": -1.0}):
        with pytest.raises(InputError):
            ControlSettings(**settings)
