"""The contract of selectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from l0_calibrate.losses.base import RowPrice
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.fits import refit_task
from l0_calibrate.solvers.base import Machine, Start, Stop
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.testing.watching import check_can_be_stopped
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import InputError, Selection
from l0_core.testing.contract import Contract, moved_generators

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MakeSelector = Callable[[Machine], Selector]

TARGETS, RECORDS = 9, 48

GROUPS = np.repeat(np.arange(20), np.resize([1, 2, 4, 3, 2], 20))[:RECORDS]
"""Groups of one to four records, numbered from 0; with single ones, so that every count can be had."""

WITHOUT_WEIGHT = (3, 17)
"""Records whose initial weight is 0."""

PRICES: dict[str, Callable[[int], RowPrice]] = {
    "absolute": lambda m: RowPrice.absolute(np.ones(m)),
    "with weights and tolerances": lambda m: RowPrice(
        np.resize([1.0, 0.0, 3.0], m), np.resize([0.0, 0.05], m), np.zeros(m)
    ),
    "huber": lambda m: RowPrice(np.ones(m), np.zeros(m), np.full(m, 0.05)),
    "squared": lambda m: RowPrice(np.full(m, np.inf), np.zeros(m), np.full(m, 0.5)),
}


def survey(weights: FloatArray | None = None) -> CalibrationProblem:
    """Nine targets of 48 records, in an order of no meaning; one target of no record, one record of no target."""
    rng = np.random.default_rng(8)
    matrix = rng.gamma(1.0, 1.0, (TARGETS, RECORDS)) * (rng.random((TARGETS, RECORDS)) < 0.4)
    matrix[4], matrix[:, 30] = 0.0, 0.0
    initial = rng.uniform(5.0, 15.0, RECORDS)
    targets = (matrix @ initial) * rng.uniform(0.7, 1.4, TARGETS)
    return CalibrationProblem(matrix, targets, initial_weights=initial if weights is None else weights)


def some_without_weight() -> CalibrationProblem:
    """The survey with records that cannot get weight."""
    weights = survey().initial_weights.copy()
    weights[list(WITHOUT_WEIGHT)] = 0.0
    return survey(weights)


def budget(problem: CalibrationProblem, keep: int, price: str = "absolute", **fields: Any) -> Budget:
    """A budget like those of the calibrator; ``fields`` as in `Budget`."""
    fields = {"ratio_bound": 5.0, "spread": 0.003} | fields
    return Budget(problem, problem.system, PRICES[price](problem.n_targets), keep, **fields)


def flags(*records: int) -> BoolArray:
    """Shape (RECORDS,), True at the records."""
    out = np.zeros(RECORDS, dtype=np.bool_)
    out[list(records)] = True
    return out


class SelectorContract(Contract):
    """What every `Selector` must do. Override the fixture ``make_selector``."""

    @pytest.fixture
    def make_selector(self) -> MakeSelector:
        """A function of the `Machine` of a run that makes a new selector, as the calibrator does for each run.

        By name that is ``partial(selector_named, "my_selector", {})`` (`l0_calibrate.selectors.lookup`).
        """
        raise NotImplementedError("override the fixture 'make_selector' with one that returns your class or a lambda")

    @staticmethod
    def _chosen(
        make_selector: MakeSelector, asked: Budget, machine: Machine | None = None, watch: Watch = unwatched
    ) -> Selected:
        """What a new selector chooses: exactly so many of the records that may be kept, and a start that fits."""
        machine = machine or Machine()
        selected = make_selector(machine).select(asked, machine, watch)
        assert isinstance(selected, Selected)
        selection = selected.selection
        assert isinstance(selection, Selection)
        assert selection.total == asked.system.records
        assert len(selection) == asked.keep
        assert (np.diff(selection.indices) > 0).all()
        kept = selection.mask
        assert not (kept & (asked.system.reference == 0.0)).any()
        if asked.must_keep is not None:
            assert kept[asked.must_keep].all()
        if asked.never_keep is not None:
            assert not kept[asked.never_keep].any()
        if asked.groups is not None:
            assert not set(asked.groups[kept]) & set(asked.groups[~kept])
        start = selected.start
        if start is not None and start.u is not None:
            assert start.u.shape == (asked.keep,)
            assert np.isfinite(start.u).all()
        if start is not None and start.y is not None:
            assert start.y.shape == (asked.system.targets,)
            assert np.isfinite(start.y).all()
        assert all(isinstance(note, str) for note in selected.notes)
        return selected

    def _indices(self, make_selector: MakeSelector, asked: Budget, machine: Machine | None = None) -> list[int]:
        return list(map(int, self._chosen(make_selector, asked, machine).selection.indices))

    # ------------------------------------------------------------------ counts

    def test_it_says_what_it_is(self, make_selector: MakeSelector) -> None:
        selector = make_selector(Machine())
        assert isinstance(selector, Selector)
        assert isinstance(selector.takes_groups, bool)

    @pytest.mark.parametrize("keep", [1, 2, 8, RECORDS // 2, RECORDS - 1, RECORDS])
    def test_exactly_the_count_is_kept(self, make_selector: MakeSelector, keep: int) -> None:
        self._chosen(make_selector, budget(survey(), keep))

    @pytest.mark.parametrize("price", PRICES)
    def test_whatever_the_price(self, make_selector: MakeSelector, price: str) -> None:
        self._chosen(make_selector, budget(survey(), 14, price))

    @pytest.mark.parametrize("fields", [
        {"spread": 0.0}, {"ratio_bound": np.inf}, {"ratio_bound": 1.0}, {"lower_ratio": 0.5},
        {"caps": np.full(RECORDS, 4.0)}, {"ess_at_least": 11.0},
    ], ids=lambda fields: ", ".join(fields))  # fmt: skip
    def test_whatever_the_bounds(self, make_selector: MakeSelector, fields: dict[str, Any]) -> None:
        self._chosen(make_selector, budget(survey(), 14, **fields))

    def test_targets_that_are_met_already_or_cannot_be_are_no_matter(self, make_selector: MakeSelector) -> None:
        problem = survey()
        w0 = problem.initial_weights
        for targets in (problem.matrix @ w0, np.full(TARGETS, -50.0), np.zeros(TARGETS)):
            self._chosen(make_selector, budget(CalibrationProblem(problem.matrix, targets, initial_weights=w0), 14))

    # ------------------------------------------------------------------ which may be kept

    def test_flags_and_records_without_weight_are_heeded(self, make_selector: MakeSelector) -> None:
        problem = some_without_weight()
        must, never = flags(0, 30, 47), flags(*range(5, 15))
        for keep in (3, 12, RECORDS - 12):
            self._chosen(make_selector, budget(problem, keep, must_keep=must, never_keep=never))
        self._chosen(make_selector, budget(problem, RECORDS - 2))

    def test_records_whose_bounds_contradict_are_not_kept(self, make_selector: MakeSelector) -> None:
        caps = np.full(RECORDS, np.inf)
        caps[:6] = 1.0  # a weight of 0.5 n / K times the initial one is not to be had below
        kept = self._indices(make_selector, budget(survey(), 12, caps=caps, lower_ratio=0.5))
        assert min(kept) >= 6

    @pytest.mark.parametrize("fields", [
        {"keep": RECORDS + 1}, {"keep": RECORDS, "never_keep": flags(7)}, {"keep": RECORDS - 1, "weightless": True},
        {"keep": 3, "never_keep": flags(7), "must_keep": flags(7)}, {"keep": 3, "must_keep": flags(1, 2, 3, 4)},
        {"keep": 3, "must_keep": flags(WITHOUT_WEIGHT[0]), "weightless": True},
    ], ids=lambda fields: ", ".join(fields))  # fmt: skip
    def test_what_cannot_be_is_refused(self, make_selector: MakeSelector, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        problem = some_without_weight() if fields.pop("weightless", False) else survey()
        with pytest.raises(InputError):
            make_selector(Machine()).select(budget(problem, **fields), Machine())

    # ------------------------------------------------------------------ groups

    def _with_groups(self, make_selector: MakeSelector, groups: IntArray, **fields: Any) -> Selected:
        if not make_selector(Machine()).takes_groups:
            pytest.skip("it takes no groups: the calibrator refuses them before it is asked")
        fields = {"problem": survey()} | fields
        try:
            return self._chosen(make_selector, budget(groups=groups, **fields))
        except InputError as error:
            if "group" not in str(error):
                raise
            pytest.skip(str(error))

    @pytest.mark.parametrize("keep", [1, 7, 24, RECORDS - 1, RECORDS])
    def test_groups_are_kept_whole(self, make_selector: MakeSelector, keep: int) -> None:
        self._with_groups(make_selector, GROUPS, keep=keep)

    def test_flags_hold_for_whole_groups(self, make_selector: MakeSelector) -> None:
        of_group = [np.isin(GROUPS, GROUPS[list(records)]) for records in ((0, 9), (20, 40))]
        self._with_groups(make_selector, GROUPS, keep=20, must_keep=of_group[0], never_keep=of_group[1])
        found = self._with_groups(make_selector, GROUPS, keep=20, problem=some_without_weight())
        assert not found.selection.mask[np.isin(GROUPS, GROUPS[list(WITHOUT_WEIGHT)])].any()

    def test_a_count_that_no_groups_have_is_refused(self, make_selector: MakeSelector) -> None:
        pairs = np.arange(RECORDS) // 2
        self._with_groups(make_selector, pairs, keep=14)
        with pytest.raises(InputError):
            make_selector(Machine()).select(budget(survey(), 13, groups=pairs), Machine())

    # ------------------------------------------------------------------ the fit on them

    @pytest.mark.parametrize("keep", [1, 8, 30])
    @pytest.mark.parametrize("fields", [{}, {"mass": True}, {"lower_ratio": 0.3}], ids=str)
    def test_the_fit_on_them_has_so_many_positive_weights(
        self, make_selector: MakeSelector, keep: int, fields: dict[str, Any]
    ) -> None:
        problem = survey()
        if "mass" in fields:
            fields = {"mass": float(problem.initial_weights.sum())}
        asked = budget(problem, keep, **fields)
        task, start = refit_task(asked, self._chosen(make_selector, asked))
        found = PrimalDualSolver().solve(task, Stop(iterations=2_000), start)
        assert found.status != "infeasible"
        assert (found.u > 0.0).all()
        assert (found.u <= task.upper).all()
        if asked.mass is not None:
            assert found.u @ problem.initial_weights[task.support] == pytest.approx(asked.mass, rel=1e-9)

    @pytest.mark.parametrize("nested", [False, True])
    def test_from_the_fit_of_a_larger_budget(self, make_selector: MakeSelector, nested: bool) -> None:
        larger = budget(survey(), 30)
        selected = self._chosen(make_selector, larger)
        task, start = refit_task(larger, selected)
        fitted = PrimalDualSolver().solve(task, Stop(iterations=2_000), start)
        u = np.zeros(RECORDS)
        u[selected.selection.indices] = fitted.u
        fields: dict[str, Any] = {"never_keep": ~selected.selection.mask, "nested": True} if nested else {}
        for keep in (30, 12, 1):
            self._chosen(make_selector, budget(survey(), keep, warm=Start(u, fitted.y), **fields))

    # ------------------------------------------------------------------ the same again

    def test_the_seed_is_all_the_randomness(self, make_selector: MakeSelector) -> None:
        asked = budget(survey(), 11)
        first = [self._indices(make_selector, asked, Machine(seed=seed)) for seed in (0, 5)]
        with moved_generators():
            again = [self._indices(make_selector, asked, Machine(seed=seed)) for seed in (0, 5)]
        assert again == first

    def test_a_selector_may_be_asked_again(self, make_selector: MakeSelector) -> None:
        machine = Machine(seed=2)
        selector = make_selector(machine)
        first = selector.select(budget(survey(), 11), machine).selection.indices
        selector.select(budget(some_without_weight(), 20), machine)
        np.testing.assert_array_equal(selector.select(budget(survey(), 11), machine).selection.indices, first)

    def test_watching_changes_nothing_and_an_exception_stops_it(self, make_selector: MakeSelector) -> None:
        asked, events = budget(survey(), 11), list[Progress]()
        unseen = self._chosen(make_selector, asked)
        watched = self._chosen(make_selector, asked, watch=events.append)
        np.testing.assert_array_equal(unseen.selection.indices, watched.selection.indices)
        if unseen.start is not None and watched.start is not None:
            np.testing.assert_array_equal(unseen.start.u, watched.start.u)
            np.testing.assert_array_equal(unseen.start.y, watched.start.y)
        for event in events:
            assert isinstance(event, Progress)
            assert 0.0 <= event.fraction <= 1.0
            assert 0 <= event.kept <= RECORDS
        if not events:
            return

        check_can_be_stopped(lambda stop: make_selector(Machine()).select(asked, Machine(), stop))

    def test_without_time_the_count_is_exact(self, make_selector: MakeSelector) -> None:
        for keep in (1, 11, RECORDS):
            self._chosen(make_selector, budget(survey(), keep, seconds=0.0))

    def test_what_is_handed_in_is_left_as_it_is(self, make_selector: MakeSelector) -> None:
        problem = survey()
        must, never = flags(4), flags(5)
        start = Start(np.ones(RECORDS), np.zeros(TARGETS))
        asked = budget(problem, 11, must_keep=must, never_keep=never, warm=start, caps=np.full(RECORDS, 30.0))
        system = problem.system
        arrays: list[Any] = [
            must,
            never,
            start.u,
            start.y,
            asked.caps,
            system.b,
            system.reference,
            system.columns.values,
        ]
        before, digest = [np.copy(array) for array in arrays], problem.digest
        self._chosen(make_selector, asked)
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)
        assert problem.digest == digest

    # ------------------------------------------------------------------ what it tells

    @pytest.mark.parametrize("fields", [{}, {"must_keep": flags(2, 6), "never_keep": flags(1)}], ids=["free", "flags"])
    def test_scores_rank_and_probabilities_are_those_of_the_count(
        self, make_selector: MakeSelector, fields: dict[str, Any]
    ) -> None:
        selection = self._chosen(make_selector, budget(survey(), 11, **fields)).selection
        if selection.scores is not None:
            assert not np.isnan(selection.scores).any()
        chances = selection.inclusion_probabilities
        if chances is None:
            return
        # Rounding, and the tolerance of an iteration for probabilities that have no closed form.
        assert ((chances >= 0.0) & (chances <= 1.0 + 1e-9)).all()
        assert (chances[selection.indices] > 0.0).all()
        assert chances.sum() == pytest.approx(11, rel=1e-8)
        for name, chance in (("must_keep", 1.0), ("never_keep", 0.0)):
            if name in fields:
                np.testing.assert_allclose(chances[fields[name]], chance, atol=1e-9)
