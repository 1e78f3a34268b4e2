"""Whole numbers at the door: Python's and NumPy's, and nothing that only looks like one."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from l0_core.backends.numpy import NumpyBackend
from l0_core.errors import InputError
from l0_core.sparsity_control import ControlSettings
from l0_core.whole_numbers import check_whole, whole


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_are_taken_as_pythons(value):
    found = check_whole(value, 3, "steps")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [2, -1, 3.0, np.float64(3), "3", None, True, np.bool_(True), [3], np.array([3, 4])])
def test_what_is_none_or_too_small_is_refused_by_name(value):
    with pytest.raises(InputError, match="steps must be a whole number of at least 3, got"):
        check_whole(value, 3, "steps")


def test_a_validator_lets_none_pass_only_where_it_is_said_so():
    @attrs.frozen
    class Settings:
        steps: int = attrs.field(default=1, validator=whole(1))
        most: int | None = attrs.field(default=None, validator=whole(1, optional=True))

    assert Settings(np.int64(2), 4) == Settings(2, 4)
    with pytest.raises(InputError, match="most must be a whole number of at least 1, got 0"):
        Settings(most=0)
    with pytest.raises(InputError, match="steps must be a whole number of at least 1, got None"):
        Settings(None)


def test_settings_and_generators_are_checked_so():
    with pytest.raises(InputError, match="warmup must be a whole number of at least 0"):
        ControlSettings(warmup=1.5)
    assert ControlSettings(warmup=np.int64(5)).warmup == 5
    with pytest.raises(InputError, match="seed must be a whole number"):
        NumpyBackend().generator(-1)
