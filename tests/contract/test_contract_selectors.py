"""The contract of selectors over every registered one, and over every gate strategy as a selector."""

from __future__ import annotations

from functools import partial

import pytest

from l0_calibrate.selectors.lookup import selector_named
from l0_calibrate.testing import SelectorContract
from l0_core.plugins import registry

QUICK = {"exchange": {"rounds": 6}, "hard_concrete": {"steps": 60}}
"""Settings that shorten what is long: the contract is about what holds of any choice."""


class TestRegisteredSelectors(SelectorContract):
    @pytest.fixture(params=registry().names("selector"))
    def make_selector(self, request):
        return partial(selector_named, request.param, QUICK.get(request.param, {}))


class TestGateStrategies(SelectorContract):
    @pytest.fixture(params=registry().names("gate"))
    def make_selector(self, request):
        return partial(selector_named, request.param, {})
