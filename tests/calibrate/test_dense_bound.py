"""What stands beside a budget: the bound that no selection can beat, and the targets that a loss has given up."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from l0_calibrate import CalibrationProblem, calibrate, run
from l0_calibrate.demo import load_demo
from l0_calibrate.frontier import calibrate_path
from l0_calibrate.options import Options
from l0_core import InputError


def problem(seed: int, m: int, n: int, density: float) -> CalibrationProblem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (m, n)) * (random.random((m, n)) < density)
    w0 = random.uniform(0.5, 2.0, n)
    return CalibrationProblem(sp.csr_array(a), (a @ w0) * random.uniform(0.5, 1.5, m), initial_weights=w0)


def optimum(asked: CalibrationProblem, records: np.ndarray, ratio: float, mass: float | None = None) -> float:
    """The least mean |relative error| on some records with ratios up to ``ratio`` (and that sum), by HiGHS."""
    size = np.maximum(np.abs(asked.targets), 1)
    a, b = asked.matrix.toarray()[:, records] / size[:, None], asked.targets / size
    m, k = a.shape
    cost = np.concatenate((np.zeros(k), np.full(m, 1 / m)))
    rows = np.vstack((np.hstack((a, -np.eye(m))), np.hstack((-a, -np.eye(m)))))
    limits = [*((0, ratio * w) for w in asked.initial_weights[records]), *[(0, None)] * m]
    held = None if mass is None else np.concatenate((np.ones(k), np.zeros(m)))[None, :]
    return float(so.linprog(cost, rows, np.concatenate((b, -b)), held, mass, bounds=limits).fun)


@pytest.mark.parametrize("seed", range(6))
def test_no_selection_beats_the_dense_bound_and_it_is_the_optimum_of_all_records(seed: int) -> None:
    asked, keep, bound = problem(seed, 8, 10, 0.6), 4, 3.0
    result = calibrate(asked, keep=keep, max_weight_ratio=bound, dense_bound=True, tol=1e-4, selector="exchange")
    ratio = bound * asked.n_records / keep
    every = [optimum(asked, np.array(s), ratio) for s in combinations(range(10), keep)]
    dense = optimum(asked, np.arange(10), ratio)
    assert result.dense_bound is not None
    assert result.dense_bound <= dense * (1 + 1e-9) <= min(every) * (1 + 1e-9)
    assert result.dense_bound >= dense * (1 - 2e-4) - 1e-9
    assert result.summary()["dense_bound"] == result.dense_bound
    assert any("no 4 records" in note for note in result.notes)


def test_the_bound_counts_records_that_are_ruled_out_as_gone() -> None:
    asked = problem(1, 8, 12, 0.6)
    never = np.arange(12) < 6
    result = calibrate(asked, keep=3, max_weight_ratio=2, dense_bound=True, tol=1e-4, never_keep=never)
    assert result.dense_bound == pytest.approx(optimum(asked, np.arange(6, 12), 2 * 12 / 3), rel=2e-4)


def test_the_bound_is_that_of_weights_with_the_sum_to_be_held() -> None:
    asked = problem(3, 8, 12, 0.6)
    mass = float(asked.initial_weights.sum())
    asked = CalibrationProblem(asked.matrix, asked.targets * 1.6, initial_weights=asked.initial_weights)
    held = calibrate(asked, keep=4, max_weight_ratio=3, dense_bound=True, tol=1e-5, conserve_mass=True)
    best = optimum(asked, np.arange(12), 3 * 12 / 4, mass)
    assert best > 1.1 * optimum(asked, np.arange(12), 3 * 12 / 4)
    assert held.dense_bound == pytest.approx(best, rel=1e-4)


def test_a_bound_is_refused_where_there_is_none() -> None:
    asked = problem(2, 8, 12, 0.6)
    with pytest.raises(InputError, match="dense_bound needs a convex loss"):
        calibrate(asked, keep=3, dense_bound=True, loss="capped")
    with pytest.raises(InputError, match="dense_bound needs a budget"):
        calibrate(asked, dense_bound=True)
    assert calibrate(asked, keep=3, loss="capped").dense_bound is None


def test_the_bound_stands_by_itself_below_the_number_of_targets() -> None:
    asked = problem(2, 8, 12, 0.6)
    assert calibrate(asked, keep=8).dense_bound is None
    assert calibrate(asked, keep=7, dense_bound=False).dense_bound is None
    stages: list[str] = []
    result = calibrate(asked, keep=7, max_weight_ratio=2, watch=lambda event: stages.append(event.stage))
    assert result.dense_bound is not None
    assert list(dict.fromkeys(stages)) == ["select", "refit", "bound"]
    assert 0 <= result.dense_bound <= result.loss
    assert all(r.dense_bound is None for r in calibrate_path(asked, [7, 5], Options(max_weight_ratio=2)))


def test_the_bound_of_a_count_on_a_path_is_that_of_all_records() -> None:
    """A count on a path chooses among the records of the one before, but its bound speaks of any selection."""
    asked = problem(4, 12, 60, 0.4)
    asked = CalibrationProblem(asked.matrix, asked.targets * 1.4, initial_weights=asked.initial_weights)
    never = np.arange(60) < 5
    options = Options(keep=1, max_weight_ratio=3, dense_bound=True, tol=1e-6, never_keep=never)
    for result in calibrate_path(asked, [20, 10, 6], options):
        best = optimum(asked, np.flatnonzero(~never), 3 * 60 / result.kept)
        assert result.dense_bound == pytest.approx(best, rel=1e-5, abs=1e-9), result.kept


def test_targets_that_the_capped_loss_gives_up_are_counted_and_marked() -> None:
    asked = problem(3, 12, 60, 0.4)
    targets = asked.targets.copy()
    targets[[2, 7]] *= 40.0  # nothing but a ruin of the other targets could reach them
    asked = CalibrationProblem(asked.matrix, targets, initial_weights=asked.initial_weights)
    result = calibrate(asked, keep=20, max_weight_ratio=2, loss="capped", loss_settings={"level": 0.5})
    assert result.abandoned is not None
    np.testing.assert_array_equal(result.abandoned, np.abs(asked.relative_errors(result.weights)) > 0.5)
    assert result.abandoned[[2, 7]].all()
    np.testing.assert_array_equal(result.targets["abandoned"], result.abandoned)
    assert json.loads(json.dumps(result.summary()))["abandoned"] == result.abandoned.sum()
    assert f"{result.abandoned.sum()} of 12 targets" in result.notes[-1]
    assert calibrate(asked, keep=20).abandoned is None


@pytest.mark.parametrize("wanted", [None, True])
def test_a_run_whose_time_is_up_makes_no_bound(wanted: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.Clock, "is_spent", lambda _: True)
    result = calibrate(load_demo(), keep=100, max_weight_ratio=5, dense_bound=wanted)
    assert result.dense_bound is None
    assert "bound" not in {event.stage for event in result.history}
    assert any("no time was left for the dense bound" in note for note in result.notes) == bool(wanted)


def test_a_bound_on_a_price_is_not_called_one_on_the_loss() -> None:
    """With loss weights the price of the targets is not the loss that is reported beside it."""
    a = np.random.default_rng(0).gamma(1.0, 1.0, (8, 10))
    totals = a.sum(axis=1) * np.r_[1, 1, 1, 1, 1, 1, 100, 1]
    weighted = CalibrationProblem(a, totals, loss_weights=[0.01] * 6 + [1, 0.01])
    for asked, word in ((weighted, "a price (the loss by its weights"), (CalibrationProblem(a, totals), "a loss")):
        (note,) = [n for n in calibrate(asked, keep=5, max_weight_ratio=3).notes if "no 5 records" in n]
        assert f"within these bounds have {word}" in note
