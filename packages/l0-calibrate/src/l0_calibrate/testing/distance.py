"""The contract of distances of classical calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from l0_calibrate.survey import Distance, survey_calibrate
from l0_core.testing import Contract

FloatArray = npt.NDArray[np.float64]

FAR = np.geomspace(1e-6, 600.0, 80)
X = np.concatenate((-FAR[::-1], [0.0], FAR))
"""What g-weights are asked for: next to nothing and far out, either way."""

STEP = 1e-6


class DistanceContract(Contract):
    """What every `l0_calibrate.survey.Distance` must do. Override the fixture ``distance``."""

    @pytest.fixture
    def distance(self) -> Distance:
        """The distance under test."""
        raise NotImplementedError("override the fixture 'distance' with one that returns your distance")

    def test_nothing_asked_for_leaves_the_weights_as_they_are(self, distance: Distance) -> None:
        assert isinstance(distance, Distance)
        assert distance.lower < 1.0 < distance.upper
        np.testing.assert_allclose(distance.weight(np.zeros(3)), np.ones(3), rtol=1e-12)
        np.testing.assert_allclose(distance.slope(np.zeros(3)), np.ones(3), rtol=1e-12)

    def test_weights_rise_from_one_end_to_the_other(self, distance: Distance) -> None:
        weights = distance.weight(X)
        assert weights.shape == X.shape
        assert not np.isnan(weights).any()
        assert (np.diff(weights) >= 0.0).all()
        assert (weights >= distance.lower).all()
        assert (weights <= distance.upper).all()

    def test_the_slope_is_that_of_the_weights(self, distance: Distance) -> None:
        x = X[np.abs(X) < 20.0]
        step = STEP * np.maximum(np.abs(x), 1.0)
        here, slope = distance.weight(x), distance.slope(x)
        up = (distance.weight(x + step) - here) / step
        down = (here - distance.weight(x - step)) / step
        room = 1e-3 * (np.abs(slope) + np.abs(up) + np.abs(down)) + 1e-9 * (np.abs(here) + 1.0)
        assert slope.shape == x.shape
        assert (slope >= np.minimum(up, down) - room).all()  # at a corner, where bounds cut off, any in between
        assert (slope <= np.maximum(up, down) + room).all()

    def test_the_steepest_slope_is_none_less_than_at_either_end(self, distance: Distance) -> None:
        x = X[np.abs(X) < 20.0]
        steepest = distance.steepest(x)
        assert (steepest >= distance.slope(x) * (1 - 1e-12)).all()
        assert (steepest >= distance.slope(np.zeros_like(x)) * (1 - 1e-12)).all()

    @pytest.mark.parametrize("seed", range(5))
    def test_totals_are_met(self, distance: Distance, seed: int) -> None:
        rng = np.random.default_rng(seed)
        design = rng.lognormal(3, 0.5, 60)
        x = np.column_stack((np.ones(60), rng.lognormal(0, 0.6, (60, 2))))
        room = 0.5 * min(distance.upper - 1.0, 1.0 - distance.lower, 0.4)
        totals = x.T @ (design * rng.uniform(1.0 - room, 1.0 + room, 60))
        weights = survey_calibrate(design, x, totals, distance)
        np.testing.assert_allclose(x.T @ weights, totals, rtol=1e-9)
        ratios = weights / design
        assert (ratios >= distance.lower - 1e-12).all()
        assert (ratios <= distance.upper + 1e-12).all()
