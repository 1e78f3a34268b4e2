from __future__ import annotations

import math

import pytest

from l0_core import InputError
from l0_core.sparsity_control import ControlSettings, SparsityController


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


@pytest.mark.parametrize("change", [{"price": math.nan}, {"steps": "3"}, {"start": True}, {"multiplier": None}])
def test_a_state_that_is_none_is_refused_and_changes_nothing(change):
    controller = SparsityController(10, 100)
    controller.update(50.0)
    before = controller.state()
    with pytest.raises(InputError, match="must have a finite number as"):
        controller.restore(before | change)
    with pytest.raises(InputError, match="as 'multiplier', got None"):
        controller.restore({})
    assert controller.state() == before


def test_settings_and_counts_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="target"):
        SparsityController(0, 5)
    with pytest.raises(InputError, match="positive and finite"):
        SparsityController(1, 5).update(float("nan"))
    for settings in ({"warmup": -1}, {"rate": 0.0}, {"stiffness": math.inf}, {"loss_scale": -1.0}):
        with pytest.raises(InputError):
            ControlSettings(**settings)
