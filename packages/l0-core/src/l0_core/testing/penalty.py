"""The contract of penalties."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from l0_core.backends.base import Backend
from l0_core.distributions.base import GateDistribution
from l0_core.distributions.hard_concrete import HardConcrete
from l0_core.errors import InputError
from l0_core.penalties.base import Penalty
from l0_core.testing.contract import Array, Contract, epsilon, on_host

WEIGHTS = np.array([[-2.0, -0.3, 0.7], [0.05, 1.3, 4.0]])
"""None is 0, where a penalty may have a kink."""

LOG_ALPHA = np.array([[-3.0, 0.4, 0.8], [-0.5, 1.9, 4.0]])


class PenaltyContract(Contract):
    """What every `Penalty` must do. Override the fixture ``penalty`` (and ``distribution``, ``backend``)."""

    @pytest.fixture
    def penalty(self) -> Penalty:
        """The penalty under test, with a price above 0."""
        raise NotImplementedError("override the fixture 'penalty' with one that returns your penalty")

    @pytest.fixture
    def distribution(self) -> GateDistribution:
        """The gates that are priced."""
        return HardConcrete()

    @pytest.fixture
    def arrays(self, backend: Backend, dtype: str) -> tuple[Array, Array]:
        """(weights, log_alpha) on the backend."""
        return backend.asarray(WEIGHTS, dtype), backend.asarray(LOG_ALPHA, dtype)

    def test_value_is_a_scalar_price(
        self, penalty: Penalty, distribution: GateDistribution, backend: Backend, arrays: tuple[Array, Array]
    ) -> None:
        assert isinstance(penalty, Penalty)
        value = penalty.value(*arrays, distribution)
        assert tuple(value.shape) == ()
        assert value.dtype == arrays[0].dtype
        price = float(on_host(backend, value))
        assert np.isfinite(price)
        assert price > 0.0

    def test_values_agree_with_numpy_in_double_precision(
        self,
        penalty: Penalty,
        distribution: GateDistribution,
        backend: Backend,
        dtype: str,
        arrays: tuple[Array, Array],
    ) -> None:
        weights, log_alpha = WEIGHTS.astype(dtype).astype(np.float64), LOG_ALPHA.astype(dtype).astype(np.float64)
        # Rounding of a handful of operations.
        tolerance = 200.0 * epsilon(dtype)
        np.testing.assert_allclose(
            on_host(backend, penalty.value(*arrays, distribution)),
            penalty.value(weights, log_alpha, distribution),
            rtol=tolerance,
        )
        expected = penalty.gradient(weights, log_alpha, distribution)
        for found, reference in zip(penalty.gradient(*arrays, distribution), expected, strict=True):
            np.testing.assert_allclose(on_host(backend, found), reference, rtol=tolerance, atol=tolerance)

    def test_gradients_have_the_form_of_their_arguments(
        self, penalty: Penalty, distribution: GateDistribution, arrays: tuple[Array, Array]
    ) -> None:
        for gradient, argument in zip(penalty.gradient(*arrays, distribution), arrays, strict=True):
            assert type(gradient) is type(argument)
            assert tuple(gradient.shape) == tuple(argument.shape)
            assert gradient.dtype == argument.dtype

    def test_gradients_are_those_of_finite_differences(self, penalty: Penalty, distribution: GateDistribution) -> None:
        by_weights, by_log_alpha = penalty.gradient(WEIGHTS, LOG_ALPHA, distribution)
        step = 1e-6
        for position in np.ndindex(WEIGHTS.shape):
            nudge = np.zeros(WEIGHTS.shape)
            nudge[position] = step
            differences = (
                penalty.value(WEIGHTS + nudge, LOG_ALPHA, distribution)
                - penalty.value(WEIGHTS - nudge, LOG_ALPHA, distribution),
                penalty.value(WEIGHTS, LOG_ALPHA + nudge, distribution)
                - penalty.value(WEIGHTS, LOG_ALPHA - nudge, distribution),
            )
            for gradient, difference in zip((by_weights, by_log_alpha), differences, strict=True):
                # Truncation 1e-12, rounding 1e-16 / 1e-6 of a value of some tens.
                assert float(difference) / (2.0 * step) == pytest.approx(float(gradient[position]), rel=1e-6, abs=1e-7)

    def test_gradients_of_the_library_are_the_gradients(
        self,
        penalty: Penalty,
        distribution: GateDistribution,
        backend: Backend,
        dtype: str,
        arrays: tuple[Array, Array],
    ) -> None:
        weights, log_alpha = arrays
        expected = penalty.gradient(weights, log_alpha, distribution)
        found = self.gradient_of(lambda a: penalty.value(weights, a, distribution), log_alpha)
        if found is None:
            pytest.skip("the library has no gradients of its own (or gradient_of does not know them)")
        tolerance = 200.0 * epsilon(dtype)
        np.testing.assert_allclose(
            on_host(backend, found), on_host(backend, expected[1]), rtol=tolerance, atol=tolerance
        )
        value = self.gradient_of(
            # Zero times the weights: a price that ignores them has a gradient too.
            lambda w: penalty.value(w, log_alpha, distribution) + 0.0 * w.sum(),
            weights,
        )
        np.testing.assert_allclose(
            on_host(backend, value), on_host(backend, expected[0]), rtol=tolerance, atol=tolerance
        )

    def test_arrays_of_different_shapes_are_refused(self, penalty: Penalty, distribution: GateDistribution) -> None:
        for weights in (WEIGHTS[:, :1], WEIGHTS[0], WEIGHTS.T):
            with pytest.raises(InputError):
                penalty.value(weights, LOG_ALPHA, distribution)
            with pytest.raises(InputError):
                penalty.gradient(weights, LOG_ALPHA, distribution)

    def test_scaled_prices_are_in_proportion(self, penalty: Penalty, distribution: GateDistribution) -> None:
        value = penalty.value(WEIGHTS, LOG_ALPHA, distribution)
        assert penalty.scaled(2.5).value(WEIGHTS, LOG_ALPHA, distribution) == pytest.approx(2.5 * value, rel=1e-12)
        assert penalty.scaled(0.0).value(WEIGHTS, LOG_ALPHA, distribution) == 0.0
        assert penalty.value(WEIGHTS, LOG_ALPHA, distribution) == value
        for bad in (-1.0, float("nan"), float("inf")):
            with pytest.raises(InputError):
                penalty.scaled(bad)

    def test_penalties_add_up(self, penalty: Penalty, distribution: GateDistribution) -> None:
        both = penalty + penalty.scaled(2.0)
        value = penalty.value(WEIGHTS, LOG_ALPHA, distribution)
        assert both.value(WEIGHTS, LOG_ALPHA, distribution) == pytest.approx(3.0 * value, rel=1e-12)
        single = penalty.gradient(WEIGHTS, LOG_ALPHA, distribution)
        for found, one in zip(both.gradient(WEIGHTS, LOG_ALPHA, distribution), single, strict=True):
            np.testing.assert_allclose(found, 3.0 * one, rtol=1e-12)
        with pytest.raises(TypeError):
            penalty + 1.0  # type: ignore[operator]

    def test_arguments_are_not_written_to(self, penalty: Penalty, distribution: GateDistribution) -> None:
        weights, log_alpha = WEIGHTS.copy(), LOG_ALPHA.copy()
        weights.setflags(write=False)
        log_alpha.setflags(write=False)
        penalty.value(weights, log_alpha, distribution)
        penalty.gradient(weights, log_alpha, distribution)

    def test_a_pickled_copy_prices_alike(self, penalty: Penalty, distribution: GateDistribution) -> None:
        copy = pickle.loads(pickle.dumps(penalty))
        value = penalty.value(WEIGHTS, LOG_ALPHA, distribution)
        assert copy.value(WEIGHTS, LOG_ALPHA, distribution) == value
