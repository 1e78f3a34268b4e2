"""A budget whose weights must have the sum of all, where the bounds let only some records have it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import attrs
import numpy as np
import pytest

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.losses.absolute import AbsoluteLoss
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.holding_sum import holding_sum
from l0_calibrate.solvers.base import Start
from l0_core import Selection

N, KEEP = 60, 20


def survey() -> CalibrationProblem:
    """Records of very unequal weights; the totals are of the light ones, which selectors therefore like."""
    random = np.random.default_rng(3)
    weights = np.exp(random.normal(3.0, 1.0, N))
    light = weights < np.median(weights)
    matrix = random.gamma(2.0, 1.0, (5, N)) * light
    return CalibrationProblem(matrix, matrix @ weights * 1.1, initial_weights=weights)


def caps_of(asked: CalibrationProblem) -> np.ndarray:
    """The twenty largest of these can hold the sum with a little to spare."""
    spare = np.sort(asked.initial_weights)[-KEEP:].sum() * 0.99
    caps: np.ndarray = asked.initial_weights * asked.initial_weights.sum() / spare
    return caps


TIGHT: dict[str, Any] = {
    "a bound next to 1": {"max_weight_ratio": 1.02},
    "caps": {"max_weight": "caps"},
    "both bounds": {"min_weight_ratio": 0.97, "max_weight_ratio": 1.03},
}


@pytest.mark.parametrize("selector", ["prune", "hard_concrete"])
@pytest.mark.parametrize("how", TIGHT)
def test_records_are_chosen_that_can_hold_the_sum(how: str, selector: str) -> None:
    asked = survey()
    fields = {name: caps_of(asked) if value == "caps" else value for name, value in TIGHT[how].items()}
    result = calibrate(asked, keep=KEEP, conserve_mass=True, selector=selector, threads=1, **fields)
    assert result.kept == KEEP
    assert result.weights.sum() == pytest.approx(asked.initial_weights.sum(), rel=1e-9)
    assert any("were exchanged for others" in note for note in result.notes)


def budget_of(asked: CalibrationProblem, keep: int, flags: np.ndarray, **bounds: Any) -> Budget:
    system = asked.system
    price = AbsoluteLoss().price(asked)
    mass = float(asked.initial_weights.sum())
    return Budget(asked, system, price, keep, mass=mass, must_keep=flags == 0, never_keep=flags == 1, **bounds)


def holds(budget: Budget, chosen: np.ndarray) -> bool:
    w0 = budget.problem.initial_weights[chosen]
    most, least = budget.upper(chosen) @ w0, budget.lower_ratio * budget.scale_up * w0.sum()
    return bool(least * (1 - 1e-12) <= budget.mass <= most * (1 + 1e-12))


@pytest.mark.parametrize("side", ["above", "caps", "below", "both"])
def test_they_are_found_wherever_there_are_any(side: str) -> None:
    """Against all subsets; with bounds on both sides it is a search, and may miss a few."""
    found = there = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        n, keep = 9, 4
        asked = CalibrationProblem(np.eye(n), np.ones(n), initial_weights=np.exp(random.normal(0.0, 1.0, n)))
        tight = float(random.uniform(0.7, 1.2))
        bounds = {
            "above": {"ratio_bound": 1.0 / tight},
            "caps": {"caps": np.where(random.random(n) < 0.2, np.inf, 3.0 * random.random(n) / tight)},
            "below": {"lower_ratio": tight},
            "both": {"lower_ratio": 0.9 * tight, "ratio_bound": 1.1 * tight},
        }[side]
        flags = random.integers(0, 12, n)
        budget = budget_of(asked, keep, flags, **bounds)
        free, must = np.flatnonzero(flags > 1), np.flatnonzero(flags == 0)
        if must.size > keep or must.size + free.size < keep:
            continue
        sets = [np.sort(np.append(must, rest)).astype(int) for rest in combinations(free, keep - must.size)]
        start = sets[int(random.integers(len(sets)))]
        chosen = Selected(Selection(start, n), Start(np.arange(keep) + 1.0))
        got = holding_sum(budget, chosen, "mine")
        ok = [holds(budget, of) for of in sets]
        there += any(ok)
        found += holds(budget, got.selection.indices)
        assert any(np.array_equal(got.selection.indices, of) for of in sets)
        stays = np.isin(got.selection.indices, start)
        assert got.start is not None
        assert (got.start.u[stays] == np.searchsorted(start, got.selection.indices[stays]) + 1.0).all()
        if holds(budget, start):
            assert got is chosen
    assert 10 < there < 40
    assert found == there if side != "both" else there - 1 <= found <= there


def test_what_no_exchange_may_touch_stays() -> None:
    """Groups are whole, and a sample of a design has inclusion probabilities."""
    asked = survey()
    budget = budget_of(asked, KEEP, np.full(N, 9), ratio_bound=1.02)
    light = np.argsort(asked.initial_weights)[:KEEP]
    chosen = Selected(Selection(np.sort(light), N, kinds=["learned"] * KEEP))
    exchanged = holding_sum(budget, chosen, "mine").selection
    assert sorted(set(exchanged.kinds)) == ["learned", "must"]
    grouped = attrs.evolve(budget, groups=np.arange(N) // 2)
    assert holding_sum(grouped, chosen, "mine") is chosen
    drawn = Selected(Selection(np.sort(light), N, inclusion_probabilities=np.full(N, KEEP / N)))
    assert holding_sum(budget, drawn, "mine") is drawn
