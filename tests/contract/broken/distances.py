"""Distances that are broken in one way each, under the contract that should see it."""

import attrs
import numpy as np
import pytest

from l0_calibrate.survey import Distance
from l0_calibrate.testing import DistanceContract


@attrs.frozen
class Sound(Distance):
    """The raking distance."""

    lower: float = 0.0
    upper: float = np.inf
    is_open = True

    def weight(self, x):
        with np.errstate(over="ignore"):
            return np.exp(x)

    def slope(self, x):
        return self.weight(x)


class Broken(DistanceContract):
    @pytest.fixture
    def distance(self):
        return self.Mine()


class TestShifted(Broken):
    class Mine(Sound):
        def weight(self, x):
            return super().weight(x) + 0.5


class TestFallsFarOut(Broken):
    class Mine(Sound):
        def weight(self, x):
            return np.where(x > 30.0, 1.0, super().weight(np.minimum(x, 30.0)))


class TestBeyondItsEnds(Broken):
    @attrs.frozen
    class Mine(Sound):
        upper: float = 3.0


class TestSlopeOfAnother(Broken):
    class Mine(Sound):
        def slope(self, x):
            return super().slope(0.5 * x)


class TestSteepestIsFlat(Broken):
    class Mine(Sound):
        def steepest(self, x):
            return np.minimum(self.slope(x), 1.0)


class TestDoesNotReach(Broken):
    class Mine(Sound):
        def weight(self, x):
            return super().weight(np.clip(x, -0.01, 0.01))

        def slope(self, x):
            return np.where(np.abs(x) < 0.01, super().slope(x), 0.0)
