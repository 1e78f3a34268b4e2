"""The kit sees what it is for: each of these is broken in one way, and the test that should see it does."""

from __future__ import annotations

import pytest

from broken_classes import failures_of
from l0_calibrate.testing import LossContract, SelectorContract, SolverContract
from l0_core import HardConcrete
from l0_core.testing import BackendContract, Contract, DistributionContract, GateContract, PenaltyContract

BROKEN = '''
import numpy as np
import pytest

from l0_core import GateStrategy, HardConcrete, Selection
from l0_core.backends.numpy import NumpyBackend
from l0_core.penalties.l0 import L0
from l0_core.penalties.l2 import L2
from l0_core.testing import BackendContract, DistributionContract, GateContract, PenaltyContract


class TestRareGatesAreLost(DistributionContract):
    class Law(HardConcrete):
        def prob_zero(self, log_alpha):
            return 1.0 - self.open_probability(log_alpha)

        def log_alpha_for(self, open_probability):
            return super().log_alpha_for(open_probability.clip(1e-6, 1.0))

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestMedianIsAnother(DistributionContract):
    class Law(HardConcrete):
        def deterministic(self, log_alpha, rule="median"):
            return super().deterministic(log_alpha, "paper")

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestDerivativeIsAnother(DistributionContract):
    class Law(HardConcrete):
        def sample_derivative(self, log_alpha, uniform):
            return self.temperature * super().sample_derivative(log_alpha, uniform)

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestLawIsAnother(DistributionContract):
    class Law(HardConcrete):
        def cdf(self, z, log_alpha):
            return super().cdf(z, log_alpha) ** 1.2

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestPrecisionIsRaised(DistributionContract):
    class Law(HardConcrete):
        def sample(self, log_alpha, uniform):
            return np.asarray(super().sample(log_alpha, uniform), dtype=np.float64)

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestGlobalNoise(DistributionContract):
    class Law(HardConcrete):
        def sample(self, log_alpha, uniform):
            np.random.random()
            return super().sample(log_alpha, uniform)

    @pytest.fixture
    def distribution(self):
        return self.Law()


class TestPriceWithoutGradient(PenaltyContract):
    class Price(L0):
        def gradient(self, weights, log_alpha, distribution):
            return np.zeros_like(weights), np.zeros_like(log_alpha)

    @pytest.fixture
    def penalty(self):
        return self.Price()


class TestPriceThatBroadcasts(PenaltyContract):
    class Price(L2):
        def value(self, weights, log_alpha, distribution):
            return 0.5 * self.weight * np.sum(weights * weights * distribution.open_probability(log_alpha))

    @pytest.fixture
    def penalty(self):
        return self.Price()


class TestAboutTheCount(GateContract):
    class Strategy(GateStrategy):
        """Keeps what a coin says, from the generator of the process."""

        items = None

        def fit(self, matrix, totals, *, reference=None):
            self.items = matrix.shape[1]
            return self

        def select(self, data, *, keep=None, seed=None):
            total = data if isinstance(data, int) else len(data)
            return Selection(np.flatnonzero(np.random.random(total) < keep / total), total)

        @property
        def is_fitted(self):
            return self.items is not None

    @pytest.fixture
    def make_strategy(self):
        return self.Strategy


class TestStaleMatrix(BackendContract):
    class Broken(NumpyBackend):
        known = {}

        def linear_map(self, matrix, dtype=None):
            return self.known.setdefault((id(matrix), dtype), super().linear_map(matrix, dtype))

    @pytest.fixture
    def backend(self):
        return self.Broken()


class TestDrawsOfZero(BackendContract):
    class Broken(NumpyBackend):
        def uniform(self, generator, shape, dtype="float64"):
            return np.floor(super().uniform(generator, shape, dtype) * 2**15) / 2**15

    @pytest.fixture
    def backend(self):
        return self.Broken()


class TestNoFixture(BackendContract):
    pass
'''

SEEN = {
    "TestRareGatesAreLost": "test_the_parameter_for_an_open_probability_is_found_in_both_tails",
    "TestMedianIsAnother": "test_the_median_rule_is_the_median",
    "TestDerivativeIsAnother": "test_derivatives_are_those_of_finite_differences",
    "TestLawIsAnother": "test_quantile_inverts_the_cdf",
    "TestPrecisionIsRaised": "test_shape_dtype_and_library_are_kept",
    "TestGlobalNoise": "test_samples_follow_the_cdf",
    "TestPriceWithoutGradient": "test_gradients_are_those_of_finite_differences",
    "TestPriceThatBroadcasts": "test_arrays_of_different_shapes_are_refused",
    "TestAboutTheCount": "test_exactly_the_count_is_kept",
    "TestStaleMatrix": "test_a_matrix_changed_in_place_is_another_matrix",
    "TestDrawsOfZero": "test_draws_are_strictly_inside_and_uniform",
    "TestNoFixture": "test_it_says_what_it_is",
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> set[tuple[str, str]]:
    return failures_of(BROKEN, tmp_path_factory.mktemp("kit"))


@pytest.mark.parametrize("broken", SEEN)
def test_each_fault_is_seen(failures, broken):
    assert (broken, SEEN[broken]) in failures


@pytest.mark.parametrize("broken", sorted(set(SEEN) - {"TestNoFixture", "TestGlobalNoise", "TestAboutTheCount"}))
def test_what_is_sound_of_it_passes(failures, broken):
    assert len({test for name, test in failures if name == broken}) <= 5


# ---------------------------------------------------------------------- contracts are kept whole


CONTRACTS = [
    BackendContract, DistributionContract, GateContract, PenaltyContract, LossContract, SelectorContract, SolverContract
]  # fmt: skip


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_cannot_be_thinned_out(contract):
    names = [name for name in dir(contract) if name.startswith("test_")]
    assert len(names) >= 9
    for replacement in (None, lambda self: None):
        with pytest.raises(TypeError, match=f"replaces {names[0]} of"):
            type("TestMine", (contract,), {names[0]: replacement})
    middle = type("Middle", (contract,), {"test_more": lambda self: None})
    with pytest.raises(TypeError, match="replaces test_more of Middle"):
        type("TestMine", (middle,), {"test_more": lambda self: None})

    class Mixin:
        pass

    setattr(Mixin, names[-1], lambda self: None)
    with pytest.raises(TypeError, match=names[-1]):
        type("TestMine", (Mixin, contract), {})


def test_fixtures_and_further_tests_are_free():
    class TestMine(DistributionContract):
        @pytest.fixture
        def distribution(self):
            return HardConcrete()

        def test_more(self):
            pass

    assert issubclass(TestMine, Contract)
