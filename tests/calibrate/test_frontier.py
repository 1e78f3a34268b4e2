"""A path of budgets: nested, exact, as good as each budget alone, for little more than its largest; any selector."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest

from l0_calibrate import CalibrationProblem, CalibrationResult, Options, calibrate
from l0_calibrate.demo import load_demo
from l0_calibrate.frontier import calibrate_path, path_frame
from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.solvers.base import Machine, Task
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.watch import Watch, unwatched
from l0_core import InputError, Selection

COUNTS = (1_000, 500, 250)


@pytest.fixture(scope="module")
def problem() -> CalibrationProblem:
    return load_demo()


def check_nested(results: list[CalibrationResult], counts: tuple[int, ...] = COUNTS) -> None:
    assert [result.kept for result in results] == list(counts)
    for wide, narrow in itertools.pairwise(results):
        assert set(narrow.selection.indices) <= set(wide.selection.indices)


def test_the_frontier_is_nested_exact_and_in_order(problem: CalibrationProblem) -> None:
    results = calibrate_path(problem, [250, 500, 1_000], Options(max_weight_ratio=5))
    check_nested(results)
    frame = path_frame(results)
    assert list(frame["keep"]) == [250, 500, 1_000]
    assert (frame["ess"].diff().dropna() > 0).all()
    assert all(result.options.keep == result.kept and result.options.never_keep is None for result in results)
    assert all(result.history and result.timings["total"] > 0 for result in results)
    again = calibrate_path(problem, COUNTS, Options(max_weight_ratio=5))
    assert [a.fingerprint for a in again] == [r.fingerprint for r in results]
    with pytest.raises(InputError, match="twice"):
        calibrate_path(problem, [250, 250], Options())
    with pytest.raises(InputError, match="at least one"):
        calibrate_path(problem, [], Options())


@pytest.mark.parametrize("bound", [5.0, 25.0])
def test_budgets_are_about_as_good_as_alone(problem: CalibrationProblem, bound: float) -> None:
    """By chance a single one may have 10 % more or less of its sample size."""
    results = calibrate_path(problem, (2_000, 1_200, 700, 400, 250), Options(max_weight_ratio=bound))
    alone = [calibrate(problem, keep=result.kept, max_weight_ratio=bound) for result in results]
    for result, single in zip(results, alone, strict=True):
        assert result.objective <= 1.03 * single.objective
        assert result.gap is not None
        assert result.gap <= 0.001
    assert np.mean([result.ess / single.ess for result, single in zip(results, alone, strict=True)]) >= 0.93


def test_the_first_is_the_budget_alone_and_each_further_one_a_little_work(
    problem: CalibrationProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work: iterations times unknowns of the fits inside selections."""
    work: list[float] = []
    solve = PrimalDualSolver.solve

    def counted(self: PrimalDualSolver, task: Task, *arguments: Any) -> Any:
        found = solve(self, task, *arguments)
        work[-1] += found.iterations * task.count
        return found

    def watch(event: Any) -> None:
        if event.stage == "select" and event.fraction == 0.0:
            work.append(0.0)

    monkeypatch.setattr(PrimalDualSolver, "solve", counted)
    first, *_ = calibrate_path(problem, (1_500, 1_200, 900, 700, 500, 400), Options(max_weight_ratio=5), watch=watch)
    assert len(work) == 6
    assert sum(work[1:]) < 0.3 * work[0]
    assert first.fingerprint == calibrate(problem, keep=1_500, max_weight_ratio=5).fingerprint


@pytest.mark.parametrize(
    ("selector", "settings"),
    [("prune", {}), ("exchange", {"rounds": 4}), ("hard_concrete", {"steps": 60}), ("random", {}), ("sampford", {})],
)
def test_flags_and_a_held_sum_go_along_whatever_the_selector(
    problem: CalibrationProblem, selector: str, settings: dict[str, object]
) -> None:
    must, never = np.zeros(problem.n_records, dtype=bool), np.zeros(problem.n_records, dtype=bool)
    must[::500], never[1::3] = True, True
    never &= ~must
    options = Options(
        keep=1_000, must_keep=must, never_keep=never, conserve_mass=True, max_weight_ratio=10, selector=selector,
        selector_settings=settings,
    )  # fmt: skip
    results = calibrate_path(problem, COUNTS, options)
    check_nested(results)
    for result in results:
        assert (result.weights[must] > 0).all()
        assert not result.weights[never].any()
        assert result.weights.sum() == pytest.approx(problem.initial_weights.sum(), rel=1e-9)
        assert result.max_ratio <= 10 * (1 + 1e-9)


@pytest.mark.parametrize("selector", ["prune", "exchange"])
def test_groups_stay_whole_on_the_way(problem: CalibrationProblem, selector: str) -> None:
    groups = np.arange(problem.n_records) // 2
    settings = {"rounds": 4} if selector == "exchange" else {}
    options = Options(keep=1_000, groups=groups, max_weight_ratio=5, selector=selector, selector_settings=settings)
    results = calibrate_path(problem, COUNTS, options)
    check_nested(results)
    for result in results:
        kept = result.weights > 0
        assert (kept[0::2] == kept[1::2]).all()


def test_a_wanted_sample_size_is_had_at_each_count(problem: CalibrationProblem) -> None:
    results = calibrate_path(problem, (1_000, 600), Options(max_weight_ratio=5, ess_at_least=450))
    check_nested(results, (1_000, 600))
    assert all(result.ess >= 450 * 0.999 for result in results)


def test_a_selector_of_a_plugin_gets_the_larger_fit(
    problem: CalibrationProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees which records are left, and the ratios and duals of the fit on them."""
    budgets: list[Budget] = []

    class Heaviest(Selector):
        def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
            budgets.append(budget)
            ratios = np.ones(budget.system.records) if budget.warm is None else np.array(budget.warm.u)
            if budget.never_keep is not None:
                ratios[budget.never_keep] = -1.0
            chosen = np.sort(np.argsort(-ratios, kind="stable")[: budget.keep])
            return Selected(Selection(chosen, budget.system.records))

    monkeypatch.setattr(sys.modules["l0_calibrate.budgeted"], "selector_named", lambda *_: Heaviest())
    results = calibrate_path(problem, COUNTS, Options(max_weight_ratio=5))
    check_nested(results)
    assert [budget.nested for budget in budgets] == [False, True, True]
    assert budgets[0].warm is None
    for wide, budget in zip(results, budgets[1:], strict=False):
        assert budget.warm is not None
        assert budget.warm.u is not None
        np.testing.assert_allclose(budget.warm.u * problem.initial_weights, wide.weights)
        assert budget.warm.y is not None
        assert wide.dual is not None
        np.testing.assert_allclose(budget.warm.y, wide.dual * problem.n_targets)
        assert budget.never_keep is not None
        assert (budget.never_keep == (wide.weights == 0)).all()


@pytest.mark.parametrize(
    ("counts", "must", "message"),
    [
        ((400, 300, 0), 0, "keep must be a whole number of at least 1, got 0"),
        ((400, 9_000), 0, "keep=9000 is above the number of records, 5000"),
        ((400, None), 0, "keep must be a whole number of at least 1, got None"),
        (np.array([400, 0]), 0, "keep must be a whole number of at least 1, got 0"),
        (np.array([], int), 0, "give at least one number of records to keep"),
        ((400, 10), 20, "20 records must be kept, more than keep=10"),
    ],
)
def test_a_count_that_cannot_be_is_refused_before_any_is_fitted(
    problem: CalibrationProblem, counts: tuple[int, ...], must: int, message: str
) -> None:
    seen: list[Any] = []
    options = Options(keep=400, must_keep=np.arange(problem.n_records) < must if must else None)
    with pytest.raises(InputError, match=message):
        calibrate_path(problem, counts, options, watch=seen.append)
    assert not seen
