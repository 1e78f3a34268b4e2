"""The contract of distances over the built-in ones, with bounds and without, and over one that a user brings."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from l0_calibrate.survey import Distance
from l0_calibrate.survey.distances import distance_of
from l0_calibrate.testing import DistanceContract


@attrs.frozen
class HyperbolicSine(Distance):
    lower: float = 0.0
    upper: float = np.inf
    a: float = 1.0
    is_open = True

    def weight(self, x):
        half = np.arcsinh(2 * self.a * x) / (2 * self.a)
        return half + np.sqrt(half**2 + 1)

    def slope(self, x):
        half = np.arcsinh(2 * self.a * x) / (2 * self.a)
        return self.weight(x) / np.sqrt((half**2 + 1) * (1 + (2 * self.a * x) ** 2))


class TestBuiltInDistances(DistanceContract):
    @pytest.fixture(
        params=[
            ("linear", None),
            ("linear", (0.4, 2.5)),
            ("raking", None),
            ("raking", (0.4, 2.5)),
            ("raking", (0.0, 3.0)),
            ("logit", (0.4, 2.5)),
            ("logit", (0.0, 30.0)),
        ],
        ids=str,
    )
    def distance(self, request):
        return distance_of(*request.param)


class TestOneOfAUser(DistanceContract):
    @pytest.fixture(params=[0.5, 1.0, 2.0])
    def distance(self, request):
        return HyperbolicSine(a=request.param)
