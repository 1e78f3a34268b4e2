"""Losses that are broken in one way each, under the contract that should see it."""

import attrs
import numpy as np
import pytest

from l0_calibrate.losses import Loss, RowPrice
from l0_calibrate.losses.absolute import AbsoluteLoss
from l0_calibrate.losses.capped import CappedLoss
from l0_calibrate.losses.huber import HuberLoss
from l0_calibrate.testing import LossContract


class Broken(LossContract):
    @pytest.fixture
    def loss(self):
        return self.Mine()


def priced(kind, price):
    return kind(price.cap, price.dead_zone, price.curvature)


class TestWrongConjugate(Broken):
    class Mine(HuberLoss):
        class Price(RowPrice):
            def conjugate(self, y):
                return 1.1 * super().conjugate(y)

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestValuesOfAnotherPrice(Broken):
    class Mine(AbsoluteLoss):
        class Price(RowPrice):
            def values(self, residuals):
                return self.cap * residuals**2

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestNotConvex(Broken):
    class Mine(AbsoluteLoss):
        class Price(RowPrice):
            def values(self, residuals):
                return np.minimum(super().values(residuals), self.cap)

        def price(self, problem):
            return priced(self.Price, super().price(problem))


class TestWeightsAreIgnored(Broken):
    class Mine(Loss):
        def price(self, problem):
            return RowPrice(np.ones(problem.n_targets), problem.tolerances, np.zeros(problem.n_targets))


class TestTolerancesAreIgnored(Broken):
    class Mine(Loss):
        def price(self, problem):
            return RowPrice.absolute(problem.loss_weights)


class TestNoNumber(Broken):
    class Mine(AbsoluteLoss):
        def price(self, problem):
            return attrs.evolve(super().price(problem), curvature=0.0 / np.zeros(problem.n_targets))

    pytestmark = pytest.mark.filterwarnings("ignore")


class TestNotConvexOnTheQuiet(Broken):
    class Mine(CappedLoss):
        def reprice(self, price, residuals):
            return super().reprice(price, residuals) if np.isfinite(residuals).all() else None


class TestNeverSettles(Broken):
    class Mine(AbsoluteLoss):
        count = 0

        def reprice(self, price, residuals):
            type(self).count += 1
            return attrs.evolve(price, cap=price.cap * (1.0 + 1.0 / self.count))


class TestAbandonedStillPay(Broken):
    class Mine(CappedLoss):
        def reprice(self, price, residuals):
            return attrs.evolve(price, cap=0.9 * price.cap)


class TestGlobalNoise(Broken):
    class Mine(AbsoluteLoss):
        def price(self, problem):
            np.random.random()
            return super().price(problem)
