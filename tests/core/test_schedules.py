"""Temperature schedules."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0_core import InputError
from l0_core.schedules import CosineSchedule, ExponentialSchedule, LinearSchedule, schedule

NAMES = ("linear", "exponential", "cosine")
temperatures = st.floats(1e-6, 1e3)


@given(name=st.sampled_from(NAMES), start=temperatures, end=temperatures, epochs=st.integers(1, 500))
def test_both_ends_are_exact_and_the_way_is_monotone(name, start, end, epochs):
    plan = schedule(name, start, end)
    way = [plan.at_epoch(epoch, epochs) for epoch in range(epochs)]
    assert way[-1] == end
    assert epochs == 1 or way[0] == start
    assert plan.at(-0.5) == start
    assert plan.at(7.0) == end
    ordered = way if start <= end else way[::-1]
    # Two neighbours may differ by rounding where start and end are close.
    assert all(b >= a * (1.0 - 1e-14) for a, b in itertools.pairwise(ordered))
    assert min(start, end) * (1.0 - 1e-14) <= min(way)
    assert max(way) <= max(start, end) * (1.0 + 1e-14)


@given(start=temperatures, end=temperatures, p=st.floats(0.001, 0.999))
def test_between_they_are_what_they_say(start, end, p):
    assert LinearSchedule(start, end).at(p) == pytest.approx((1 - p) * start + p * end, rel=1e-9)
    logs = (1 - p) * math.log(start) + p * math.log(end)
    assert math.log(ExponentialSchedule(start, end).at(p)) == pytest.approx(logs, abs=1e-9)
    # cos^2(pi p / 2) = (1 + cos(pi p)) / 2
    share = math.cos(math.pi * p / 2) ** 2
    assert CosineSchedule(start, end).at(p) == pytest.approx(share * start + (1 - share) * end, rel=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_cannot_be_are_refused(bad):
    for ends in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(InputError, match="start" if ends[0] == bad or ends[0] != 1.0 else "end"):
            schedule("linear", *ends)


def test_an_unknown_schedule_lists_those_there_are():
    with pytest.raises(InputError, match="cosine, exponential, linear"):
        schedule("quadratic", 1.0, 0.1)


def test_progress_and_epochs_are_checked():
    plan = schedule("cosine", 1.0, 0.1)
    with pytest.raises(InputError, match="NaN"):
        plan.at(math.nan)
    with pytest.raises(InputError, match="epochs"):
        plan.at_epoch(0, 0)
