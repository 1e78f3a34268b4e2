"""The contract of gate strategies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from l0_core.errors import InputError, UntrainedWarning
from l0_core.gates import GateStrategy
from l0_core.selection import Selection
from l0_core.testing.contract import Contract, FloatArray, moved_generators

ITEMS = 24


@attrs.frozen(eq=False)
class System:
    """What a strategy is fitted to: ``matrix`` (rows, items), ``totals`` (rows,), ``reference`` (items,)."""

    matrix: FloatArray
    totals: FloatArray
    reference: FloatArray


def system(seed: int = 0, rows: int = 6, items: int = ITEMS) -> System:
    """Totals that all items meet together with weights near their reference weights."""
    rng = np.random.default_rng(seed)
    matrix = rng.exponential(size=(rows, items)) * (rng.random((rows, items)) < 0.6)
    reference = rng.uniform(0.5, 2.0, size=items)
    return System(matrix, matrix @ (reference * rng.uniform(0.8, 1.2, size=items)), reference)


def select(strategy: GateStrategy, data: Any = ITEMS, **settings: Any) -> Selection:
    """The selection, without the warning of a strategy that has learnt nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return strategy.select(data, **settings)


def kept(selection: Selection) -> list[int]:
    """The positions, as a list."""
    return list(map(int, selection.indices))


class GateContract(Contract):
    """What every `GateStrategy` must do. Override the fixture ``make_strategy``."""

    @pytest.fixture
    def make_strategy(self) -> Callable[[], GateStrategy]:
        """A function that makes a new, unfitted strategy, the same each time (same seed)."""
        raise NotImplementedError("override the fixture 'make_strategy' with one that returns your class or a lambda")

    @pytest.fixture
    def system(self) -> System:
        """What strategies are fitted to; override it for one that needs a response of a special kind."""
        return system()

    @pytest.fixture
    def fitted(self, make_strategy: Callable[[], GateStrategy], system: System) -> GateStrategy:
        """A strategy fitted to the system."""
        return make_strategy().fit(system.matrix, system.totals, reference=system.reference)

    # ------------------------------------------------------------------ counts

    @pytest.mark.parametrize("keep", [1, 2, ITEMS // 2, ITEMS - 1, ITEMS])
    def test_exactly_the_count_is_kept(
        self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy, keep: int
    ) -> None:
        for strategy in (make_strategy(), fitted):
            assert isinstance(strategy, GateStrategy)
            selection = select(strategy, keep=keep)
            assert isinstance(selection, Selection)
            assert len(selection) == keep
            assert selection.total == ITEMS
            assert len(set(kept(selection))) == keep

    def test_counts_of_numpy_are_counts(self, fitted: GateStrategy) -> None:
        assert kept(select(fitted, np.int64(ITEMS), keep=np.int64(5))) == kept(select(fitted, ITEMS, keep=5))

    @pytest.mark.parametrize("keep", [0, -1, ITEMS + 1, 2.5, True])
    def test_a_count_that_cannot_be_is_refused(
        self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy, keep: Any
    ) -> None:
        for strategy in (make_strategy(), fitted):
            with pytest.raises(InputError):
                select(strategy, keep=keep)

    def test_without_a_count_there_is_an_error_or_one_of_its_own(self, fitted: GateStrategy) -> None:
        try:
            selection = select(fitted)
        except InputError as error:
            assert "keep" in str(error)
        else:
            assert kept(selection) == kept(select(fitted, keep=len(selection)))

    # ------------------------------------------------------------------ what is selected from

    def test_data_stands_for_its_length(self, fitted: GateStrategy) -> None:
        sparse = pytest.importorskip("scipy.sparse")
        data = np.random.default_rng(5).normal(size=(ITEMS, 3))
        before = data.copy()
        expected = kept(select(fitted, ITEMS, keep=7))
        for form in (data, data[:, 0], sparse.csr_array(data), sparse.csc_matrix(data), list(range(ITEMS))):
            assert kept(select(fitted, form, keep=7)) == expected
        np.testing.assert_array_equal(data, before)

    def test_nothing_to_select_from_is_refused(self, make_strategy: Callable[[], GateStrategy]) -> None:
        for data in (0, -3, np.empty((0, 2))):
            with pytest.raises(InputError):
                select(make_strategy(), data, keep=1)

    def test_another_number_of_items_than_at_fit_is_refused(self, fitted: GateStrategy) -> None:
        with pytest.raises(InputError, match=str(ITEMS)):
            select(fitted, ITEMS + 1, keep=3)

    # ------------------------------------------------------------------ randomness

    def test_the_seed_is_all_the_randomness(
        self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy, system: System
    ) -> None:
        first = [kept(select(fitted, keep=9)), kept(select(fitted, keep=9, seed=17))]
        with moved_generators():
            again = make_strategy().fit(system.matrix, system.totals, reference=system.reference)
            assert [kept(select(again, keep=9)), kept(select(again, keep=9, seed=17))] == first

    def test_selecting_changes_nothing(self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy) -> None:
        for strategy in (make_strategy(), fitted):
            first = kept(select(strategy, keep=9))
            for between in (3, ITEMS):
                select(strategy, keep=between, seed=4)
                assert kept(select(strategy, keep=9)) == first

    # ------------------------------------------------------------------ fit

    def test_is_fitted_after_fit_alone(self, make_strategy: Callable[[], GateStrategy], system: System) -> None:
        strategy = make_strategy()
        assert strategy.is_fitted is False
        select(strategy, keep=3)
        assert strategy.is_fitted is False
        assert strategy.fit(system.matrix, system.totals) is strategy
        assert strategy.is_fitted is True

    def test_fit_reads_and_does_not_write(self, make_strategy: Callable[[], GateStrategy], system: System) -> None:
        arrays = [system.matrix.copy(), system.totals.copy(), system.reference.copy()]
        for array in arrays:
            array.setflags(write=False)
        strategy = make_strategy().fit(arrays[0], arrays[1], reference=arrays[2])
        assert len(select(strategy, keep=4)) == 4

    def test_sparse_and_dense_matrices_are_one(
        self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy, system: System
    ) -> None:
        sparse = pytest.importorskip("scipy.sparse")
        expected = kept(select(fitted, keep=8))
        for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
            strategy = make_strategy().fit(form(system.matrix), system.totals, reference=system.reference)
            assert kept(select(strategy, keep=8)) == expected

    def test_a_second_fit_forgets_the_first(
        self, make_strategy: Callable[[], GateStrategy], fitted: GateStrategy, system: System
    ) -> None:
        half = ITEMS // 2
        small = (system.matrix[:, :half], system.totals)
        refitted = fitted.fit(*small, reference=system.reference[:half])
        fresh = make_strategy().fit(*small, reference=system.reference[:half])
        assert kept(select(refitted, half, keep=4)) == kept(select(fresh, half, keep=4))

    def test_a_system_that_cannot_be_is_refused(
        self, make_strategy: Callable[[], GateStrategy], system: System
    ) -> None:
        spoilt, endless = system.matrix.copy(), system.totals.copy()
        spoilt[2, 3], endless[1] = np.nan, np.inf
        negative, short = system.reference.copy(), system.reference[1:]
        negative[5] = -1.0
        for matrix, totals, reference in (
            (spoilt, system.totals, None),
            (system.matrix, endless, None),
            (system.matrix, system.totals[1:], None),
            (system.matrix[0], system.totals, None),
            (system.matrix, system.totals, negative),
            (system.matrix, system.totals, short),
        ):
            with pytest.raises(InputError):
                make_strategy().fit(matrix, totals, reference=reference)

    # ------------------------------------------------------------------ probabilities

    @pytest.mark.parametrize("keep", [1, 9, ITEMS])
    def test_inclusion_probabilities_are_those_of_the_count(self, fitted: GateStrategy, keep: int) -> None:
        selection = select(fitted, keep=keep)
        chances = selection.inclusion_probabilities
        if chances is None:
            pytest.skip("the strategy is no sampling design")
        # Rounding, and the tolerance of an iteration for probabilities that have no closed form.
        assert ((chances >= 0.0) & (chances <= 1.0 + 1e-9)).all()
        assert (chances[selection.indices] > 0.0).all()
        assert chances.sum() == pytest.approx(keep, rel=1e-8)
