"""The contract of losses over every registered one."""

from __future__ import annotations

import pytest

from l0_calibrate.losses.capped import CappedLoss
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.testing import LossContract
from l0_core.plugins import registry


class TestRegisteredLosses(LossContract):
    @pytest.fixture(params=registry().names("loss"))
    def loss(self, request):
        return registry().get("loss", request.param)


class TestLossesWithOtherSettings(LossContract):
    @pytest.fixture(params=[HuberLoss(delta=1.5), CappedLoss(level=0.1)], ids=str)
    def loss(self, request):
        return request.param
