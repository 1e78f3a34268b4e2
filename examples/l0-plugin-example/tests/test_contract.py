"""The contracts of L0 over what this package announces, taken by name as users take it."""

from functools import partial

import pytest

from l0_core import get_distribution, get_gate, get_penalty
from l0_core.testing import DistributionContract, GateContract, PenaltyContract


class TestLogisticGate(DistributionContract):
    @pytest.fixture(params=[0.25, 2.0])
    def distribution(self, request):
        return get_distribution("logistic", scale=request.param)


class TestUndecided(PenaltyContract):
    @pytest.fixture
    def penalty(self):
        return get_penalty("undecided", weight=0.3)


class TestContribution(GateContract):
    @pytest.fixture
    def make_strategy(self):
        return partial(get_gate, "contribution")
