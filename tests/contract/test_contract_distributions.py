"""The contract of distributions over every registered one, on the arrays of every backend of this machine."""

from __future__ import annotations

import pytest

from l0_core import HardConcrete, get_distribution
from l0_core.distributions.gaussian import GaussianGate
from l0_core.plugins import registry
from l0_core.testing import DistributionContract


class TestRegisteredDistributions(DistributionContract):
    @pytest.fixture(params=registry().names("distribution"))
    def distribution(self, request):
        return get_distribution(request.param)

    @pytest.fixture
    def backend(self, any_backend):
        return any_backend


class TestDistributionsWithOtherSettings(DistributionContract):
    SETTINGS = (
        HardConcrete(temperature=0.1),
        HardConcrete(temperature=2.5),
        HardConcrete(temperature=0.4, gamma=-0.01, zeta=1.5),
        GaussianGate(sigma=0.1),
        GaussianGate(sigma=3.0),
    )

    @pytest.fixture(params=SETTINGS, ids=str)
    def distribution(self, request):
        return request.param
