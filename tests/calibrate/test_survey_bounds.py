"""The smallest bounds of g-weights, trimming, and distances of a user's own, against independent solutions."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.optimize as so
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_calibrate.survey import (
    ConflictingTotals,
    Distance,
    conflicts,
    survey_calibrate,
    tightest_bounds,
    trim_weights,
)
from l0_core import InputError


def sample(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    d = rng.lognormal(3, 0.5, 30)
    x = np.column_stack((np.ones(30), rng.lognormal(0, 0.6, (30, 2))))
    return d, x, x.T @ (d * rng.uniform(0.5, 1.6, 30))


# ------------------------------------------------------------------ smallest bounds


@pytest.mark.parametrize("seed", range(30))
def test_totals_are_met_a_little_beyond_the_tightest_bounds_and_not_within_narrower_ones(seed: int) -> None:
    d, x, totals = sample(seed)
    lower, upper = tightest_bounds(d, x, totals)
    assert 0 <= lower <= 1 <= upper
    for part in (1e-2, 1e-4, 1e-6):
        room = part * (upper - lower)
        for method in ("linear", "raking", "logit"):
            weights = survey_calibrate(d, x, totals, method, (max(lower - room, 0.0), upper + room))
            np.testing.assert_allclose(x.T @ weights, totals, rtol=1e-8)
    # Whatever the place of a narrower interval around 1, it will not do.
    for low in np.linspace(max(0.0, upper - 2 * (upper - lower)), min(1.0, upper), 7):
        high = low + (upper - lower) * (1 - 1e-3)
        found = so.linprog(np.zeros(30), A_eq=(x * d[:, None]).T, b_eq=totals, bounds=[(low, max(high, low))] * 30)
        assert found.status == 2 or not low <= 1 <= high


def test_one_total_by_hand_and_what_stands_in_the_way_is_named() -> None:
    assert tightest_bounds([1.0, 1.0], [[1.0], [3.0]], [5.0]) == pytest.approx((1.0, 1.25))
    frame = pd.DataFrame({"people": [1.0, 2.0], "income": [0.0, 4.0]})
    with pytest.raises(ConflictingTotals, match=r"g-weights of at least 0 meet 'income' .*-4"):
        tightest_bounds([1.0, 1.0], frame, {"people": 3.0, "income": -4.0})
    assert tightest_bounds([1.0, 1.0], frame, {"people": 3.0, "income": -4.0}, least=-np.inf) == pytest.approx((-1, 5))
    with pytest.raises(InputError, match=r"least must be a g-weight below 1, got 1\.5"):
        tightest_bounds([1.0, 1.0], frame, {"people": 3.0, "income": 4.0}, least=1.5)


# ------------------------------------------------------------------ trimming


@given(st.integers(0, 10**6), st.integers(2, 25), st.booleans())
@settings(max_examples=150, deadline=None)
def test_trimming_is_one_factor_cut_off_at_the_bounds(seed: int, n: int, each: bool) -> None:
    rng = np.random.default_rng(seed)
    w = rng.lognormal(0, 1.5, n) * (rng.random(n) < 0.9)
    w[0] = 1.0
    mean = w[w > 0].mean()
    low: Any = rng.uniform(0, 0.9, n) * mean if each else 0.5 * mean
    high: Any = mean * (1 + rng.exponential(1.0, n)) if each else 1.7 * mean
    trimmed = trim_weights(w, low, high)
    lows, highs = np.broadcast_to(low, n), np.broadcast_to(high, n)
    used = w > 0

    def excess(log_factor: float) -> float:
        return float(np.clip(np.exp(log_factor) * w, lows, highs)[used].sum() - w.sum())

    factor = np.exp(so.brentq(excess, -40, 40, xtol=1e-14, rtol=1e-14))
    np.testing.assert_allclose(trimmed[used], np.clip(factor * w, lows, highs)[used], rtol=1e-9)
    assert trimmed.sum() == pytest.approx(w.sum(), rel=1e-12)
    assert (trimmed[~used] == 0).all()
    assert (trimmed[used] >= lows[used]).all()
    assert (trimmed[used] <= highs[used]).all()


def effect(w: np.ndarray) -> float:
    return float((w > 0).sum() * (w @ w) / w.sum() ** 2)


@given(st.integers(0, 10**6), st.integers(2, 25), st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_the_design_effect_asked_for_is_reached_and_no_weight_cut_off_needlessly(
    seed: int, n: int, part: float
) -> None:
    w = np.random.default_rng(seed).lognormal(0, 1.0, n)
    wanted = 1 + part * (effect(w) - 1)
    trimmed = trim_weights(w, max_design_effect=wanted)
    assert trimmed.sum() == pytest.approx(w.sum(), rel=1e-12)
    assert effect(trimmed) == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(trimmed, trim_weights(w, upper=trimmed.max()), rtol=1e-9)


def test_with_a_design_effect_bounds_hold_as_well() -> None:
    w = np.array([1.0, 1.0, 2.0, 8.0, 20.0])
    trimmed = trim_weights(w, [0.0, 0.0, 0.0, 7.0, 0.0], [9.0, 3.0, 20.0, 20.0, 20.0], max_design_effect=1.5)
    assert effect(trimmed) == pytest.approx(1.5, rel=1e-9)
    assert trimmed[1] <= 3.0
    assert trimmed[3] >= 7.0
    with pytest.raises(
        InputError, match=r"within the bounds the design effect is at least 1\.8\d*, not 1\.5: widen them"
    ):
        trim_weights(w, [0.0, 0.0, 0.0, 0.0, 18.0], max_design_effect=1.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trim_weights([1.0, -1.0]), "must not be negative: record 1"),
        (lambda: trim_weights([0.0, 0.0]), "all weights are 0"),
        (lambda: trim_weights([1.0, np.nan]), "weights must be finite: record 1"),
        (lambda: trim_weights([1.0, 2.0], upper=1.0), "the upper bounds of the positive weights sum to 2, .*to 3"),
        (lambda: trim_weights([1.0, 2.0], lower=2.0), "the lower bounds of the positive weights sum to 4, .*to 3"),
        (lambda: trim_weights([1.0, 2.0], [2.0, 1.0], [1.0, 2.0]), "lower must not be above upper: record 0"),
        (lambda: trim_weights([1.0, 2.0], upper=[1.0, 2.0, 3.0]), r"upper must be a number or shape \(2,\)"),
        (lambda: trim_weights([1.0, 2.0], lower="none"), r"lower must be a number or shape \(2,\), got 'none'"),
        (lambda: trim_weights([1.0, 2.0], upper=np.nan), "upper must not be negative or missing"),
        (lambda: trim_weights([[1.0, 2.0]]), r"weights must have shape \(2,\), one for each record, got \(1, 2\)"),
        (
            lambda: trim_weights(pd.Series([1.0, 2.0], ["a", "b"]), upper=pd.Series([2.0, 2.0], ["b", "a"])),
            "upper is indexed by the same labels as weights in another order",
        ),
        (lambda: trim_weights([1.0, 2.0], max_design_effect=0.9), "max_design_effect must be at least 1"),
    ],
)
def test_what_cannot_be_trimmed_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


# ------------------------------------------------------------------ a distance of one's own


@attrs.frozen
class EmpiricalLikelihood(Distance):
    """``-log g + g - 1``, of which F is ``1 / (1 - x)`` below 1/2 and goes on in a straight line."""

    lower: float = 0.0
    upper: float = np.inf
    is_open = True

    def weight(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0.5, 1.0 / (1.0 - np.minimum(x, 0.5)), 2.0 + 4.0 * (x - 0.5))

    def slope(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0.5, 1.0 / (1.0 - np.minimum(x, 0.5)) ** 2, 4.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_of_a_user_is_minimised(seed: int) -> None:
    d, x, _ = sample(seed)
    totals = x.T @ (d * np.random.default_rng(seed).uniform(0.9, 1.1, d.size))
    ours = survey_calibrate(d, x, totals, EmpiricalLikelihood()) / d
    assert ours.max() < 2.0  # the straight line has no part in it
    found = so.minimize(
        lambda g: float(d @ (g - 1 - np.log(g))), np.ones(d.size), jac=lambda g: d * (1 - 1 / g), method="SLSQP",
        bounds=[(1e-6, None)] * d.size, options={"ftol": 1e-15, "maxiter": 1000},
        constraints={"type": "eq", "fun": lambda g: (x / totals).T @ (d * g) - 1},
    )  # fmt: skip
    np.testing.assert_allclose(ours, found.x, atol=1e-4)


@attrs.frozen
class Shifted(EmpiricalLikelihood):
    def weight(self, x: np.ndarray) -> np.ndarray:
        return super().weight(x) + 0.5


def test_distances_that_are_none_are_refused() -> None:
    d, x, totals = sample(0)
    with pytest.raises(InputError, match=r"weight\(x\) at x = \(0, 0\) must be \(1, 1\), got array\(\[1.5, 1.5\]\)"):
        survey_calibrate(d, x, totals, Shifted())
    with pytest.raises(InputError, match="must have g-weights below and above 1, not from 2 to inf"):
        survey_calibrate(d, x, totals, EmpiricalLikelihood(lower=2.0))
    with pytest.raises(InputError, match="has bounds of its own, lower and upper"):
        survey_calibrate(d, x, totals, EmpiricalLikelihood(), bounds=(0.5, 2.0))
    with pytest.raises(InputError, match=r"known: linear, raking, logit, and every survey\.Distance"):
        survey_calibrate(d, x, totals, EmpiricalLikelihood)


@pytest.mark.parametrize("ask", ["calibrate", "bounds"])
def test_a_conflict_is_looked_for_where_the_dual_has_gone(ask, monkeypatch):
    """Of many totals two fight: small programmes find them, none has all totals."""
    rng = np.random.default_rng(2)
    count, n = 70, 150
    x = rng.gamma(1.0, 1.0, (n, count)) * (rng.random((n, count)) < 0.1)
    x[:, 60] = 2.0 * x[:, 40]
    design = np.full(n, 10.0)
    totals = x.T @ (design * rng.uniform(0.9, 1.1, n))
    totals[60] *= 1.3
    sizes = []

    def counted(rows, target, chosen, *others):
        sizes.append(chosen.size)
        return elastic(rows, target, chosen, *others)

    elastic = conflicts._elastic
    monkeypatch.setattr(conflicts, "_elastic", counted)
    with pytest.raises(ConflictingTotals) as fault:
        if ask == "calibrate":
            survey_calibrate(design, x, totals, "raking")
        else:
            tightest_bounds(design, x, totals)
    assert fault.value.columns == (40, 60)
    assert max(sizes) <= conflicts.AMONG


@pytest.mark.parametrize("least", [0.0, -2.0])
def test_bounds_are_as_tight_where_some_design_weights_are_next_to_nothing(least: float) -> None:
    widths = []
    for seed in range(8):
        g = np.random.default_rng(seed)
        design, x = 10.0 ** g.uniform(-6, 6, 40), g.gamma(1.0, 1.0, (40, 4))
        x[:, 3] = x[:, 0] + x[:, 1]  # a total that says what two others do, but for what a solver takes for nothing
        lower, upper = tightest_bounds(design, x, x.T @ design, least=least)
        widths.append(upper - lower)
    assert max(widths) < 1e-6


def test_trimming_does_not_mind_weights_of_all_sizes_that_there_are() -> None:
    # The first alone asks for a factor of 1e200, which would make 1e400 of the last.
    trimmed = trim_weights([1e-200, 1.0, 1e200], lower=[1.0, 0.0, 0.0], upper=[np.inf, np.inf, 5e199])
    np.testing.assert_allclose(trimmed, [1.0, 5e199, 5e199], rtol=1e-12)


@pytest.mark.parametrize(("method", "bounds"), [("linear", None), ("raking", None), ("logit", (0.2, 5.0))])
def test_margins_of_other_populations_fight_as_a_whole(method, bounds, monkeypatch):
    """The totals of two margins sum to different populations: all groups of both are in it, and no programme is asked.

    Of such a set every total is needed: without one of them, the others are met.
    """
    rng = np.random.default_rng(4)
    ages, places = rng.integers(40, size=500), rng.integers(30, size=500)
    x = np.hstack([np.eye(40)[ages], np.eye(30)[places], rng.gamma(2.0, 1.0, (500, 1))])
    design = rng.lognormal(2.0, 0.4, 500)
    totals = x.T @ design
    totals[40:70] *= 1.05
    sizes = []
    elastic = conflicts._elastic
    monkeypatch.setattr(conflicts, "_elastic", lambda *asked: sizes.append(asked[2].size) or elastic(*asked))
    with pytest.raises(ConflictingTotals, match="and 60 more together") as fault:
        survey_calibrate(design, x, totals, method, bounds)
    assert fault.value.columns == tuple(range(70))
    assert max(sizes) <= conflicts.AMONG
    for left_out in (0, 69):
        others = np.delete(np.arange(71), left_out)
        weights = survey_calibrate(design, x[:, others], totals[others], method="linear")
        np.testing.assert_allclose(x[:, others].T @ weights, totals[others], rtol=1e-9)
