"""The contract of gate strategies over every registered one."""

from __future__ import annotations

from functools import partial

import pytest

from l0_core import get_gate
from l0_core.plugins import registry
from l0_core.testing import GateContract


class TestRegisteredGates(GateContract):
    @pytest.fixture(params=registry().names("gate"))
    def make_strategy(self, request):
        return partial(get_gate, request.param)
