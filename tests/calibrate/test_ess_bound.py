"""The effective sample size that bounds of weights leave: an upper bound, close, told before any fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate import CalibrationProblem, Options, calibrate
from l0_calibrate.ess_bound import largest_ess
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.result.diagnostics import effective_sample_size
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]


def attained(lower: FloatArray, upper: FloatArray, keep: int, must: npt.NDArray[np.bool_]) -> float:
    """The largest sample size over a fine grid of levels: weights as near to each as their bounds let them."""
    levels = np.geomspace(1e-4, 1e5, 1_500)[:, None]
    weights = np.clip(levels, lower, upper)
    off = np.where(must, -1.0, (1 - weights / levels) ** 2)
    best = np.take_along_axis(weights, np.argsort(off, axis=1, kind="stable")[:, :keep], axis=1)
    return max(map(effective_sample_size, best))


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([0.0, 0.2, 0.9]), st.sampled_from([1.5, 5.0, np.inf]))
def test_the_bound_is_above_what_weights_have_and_not_far(seed: int, keep: int, low: float, high: float) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.lognormal(0.0, 2.0, 30)
    must = np.zeros(30, dtype=bool)
    must[rng.choice(30, rng.integers(0, keep + 1), replace=False)] = True
    lower, upper = low * reference, high * reference
    best = attained(lower, upper, keep, must)
    bound = largest_ess(lower, upper, keep, must)
    assert best * (1 - 1e-9) <= bound <= best * 1.02
    for t in np.geomspace(reference.min(), reference.max(), 3):
        weights = np.clip(t, lower, upper)
        held = largest_ess(lower, upper, mass=weights.sum())
        assert effective_sample_size(weights) * (1 - 1e-9) <= held <= largest_ess(lower, upper) * (1 + 1e-9)
    everything = largest_ess(lower, upper)
    assert everything == pytest.approx(attained(lower, upper, 30, must), rel=0.02)


def test_one_record_that_is_left_out_or_has_no_upper_bound_counts_as_itself() -> None:
    pinned = np.array([1.0, 1.0, 100.0])
    assert largest_ess(pinned, pinned, keep=2) == pytest.approx(2.0, rel=0.02)
    bound = largest_ess(np.array([0.0, 0.5]), np.array([0.05, np.inf]))
    assert bound == pytest.approx(effective_sample_size(np.array([0.05, 0.5])), rel=0.02)


HELD = {"conserve_mass": True}


def survey(**fields: Any) -> CalibrationProblem:
    rng = np.random.default_rng(2)
    weights = rng.lognormal(0.0, 1.5, 200)
    weights[:20] = 0.0
    matrix = rng.random((4, 200))
    return CalibrationProblem(matrix, matrix @ weights, initial_weights=weights, **fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"ess_at_least": 181},
            "with the 180 records that have an initial weight: .* above 180, whatever the targets; ask for less$",
        ),
        (
            {"ess_at_least": 150, "max_weight_ratio": 1.2, "min_weight_ratio": 0.8},
            "whatever the targets; ask for less, loosen the bounds$",
        ),
        ({"ess_at_least": 99, "keep": 100, "max_weight_ratio": 0.5, "min_weight_ratio": 0.5}, "or keep more records$"),
        (
            {"ess_at_least": 99, "keep": 100, "must_keep": np.arange(200) >= 100, "max_weight_ratio": 3.0, **HELD},
            "with keep=100",
        ),
        (
            {"ess_at_least": 99, "keep": 100, "never_keep": np.arange(200) >= 125, "max_weight_ratio": 3.0, **HELD},
            "with keep=100",
        ),
    ],
)
def test_a_sample_size_that_the_bounds_rule_out_is_refused_before_any_fit(fields: dict[str, Any], says: str) -> None:
    events: list[Any] = []
    with pytest.raises(InputError, match=rf"^ess_at_least={fields['ess_at_least']} cannot be had .*{says}"):
        calibrate(survey(), watch=events.append, **fields)
    assert not events


def test_every_count_of_a_path_is_looked_at_before_the_first_fit() -> None:
    events: list[Any] = []
    options = Options(ess_at_least=38.0, max_weight_ratio=0.3, min_weight_ratio=0.3)
    with pytest.raises(InputError, match=r"^keep=40: ess_at_least=38 cannot be had with keep=40"):
        calibrate_path(survey(), [150, 40], options, watch=events.append)
    assert not events
