"""The contract of penalties over every registered one, on the arrays of every backend of this machine."""

from __future__ import annotations

import pytest

from l0_core import get_distribution, get_penalty
from l0_core.plugins import registry
from l0_core.testing import PenaltyContract


class TestRegisteredPenalties(PenaltyContract):
    @pytest.fixture(params=registry().names("penalty"))
    def penalty(self, request):
        return get_penalty(request.param)

    @pytest.fixture
    def backend(self, any_backend):
        return any_backend


class TestPenaltiesOfOtherGates(PenaltyContract):
    @pytest.fixture(params=registry().names("penalty"))
    def penalty(self, request):
        return get_penalty(request.param).scaled(0.3)

    @pytest.fixture(params=sorted({*registry().names("distribution")} - {"hard_concrete"}))
    def distribution(self, request):
        return get_distribution(request.param)
