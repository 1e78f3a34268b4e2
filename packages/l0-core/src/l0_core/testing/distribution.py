"""The contract of gate distributions."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from l0_core.backends.base import Backend
from l0_core.distributions.base import GateDistribution
from l0_core.errors import InputError
from l0_core.testing.contract import Array, Contract, FloatArray, distance_bound, epsilon, on_host

PROBABILITIES = np.array([1e-9, 1e-4, 0.01, 0.1, 0.3, 0.499, 0.501, 0.7, 0.9, 0.99, 1 - 1e-4, 1 - 1e-6])
"""Open probabilities from rare to nearly certain; the parameters of the tests are those that give them."""

UNIFORMS = np.array([0.0013, 0.0517, 0.2031, 0.4443, 0.6127, 0.8839, 0.9971])

TAILS = ("open_probability", "prob_zero", "log_open_probability")
"""Facts that are compared by relative error alone: a rare gate must not round to one that never opens."""


def facts(distribution: GateDistribution, log_alpha: Array, uniform: Array) -> dict[str, Array]:
    """Everything the distribution says about parameters (a column) and draws (a row, also used as z and p)."""
    found = {
        "open_probability": distribution.open_probability(log_alpha),
        "prob_zero": distribution.prob_zero(log_alpha),
        "log_open_probability": distribution.log_open_probability(log_alpha),
        "mean": distribution.mean(log_alpha),
        "variance": distribution.variance(log_alpha),
        "open_probability_derivative": distribution.open_probability_derivative(log_alpha),
        "log_alpha_for": distribution.log_alpha_for(uniform),
        "cdf": distribution.cdf(uniform, log_alpha),
        "survival": distribution.survival(uniform, log_alpha),
        "quantile": distribution.quantile(uniform, log_alpha),
        "sample": distribution.sample(log_alpha, uniform),
        "sample_derivative": distribution.sample_derivative(log_alpha, uniform),
    }
    for rule in distribution.rules:
        found[f"deterministic {rule}"] = distribution.deterministic(log_alpha, rule)
        found[f"deterministic_derivative {rule}"] = distribution.deterministic_derivative(log_alpha, rule)
    return found


class DistributionContract(Contract):
    """What every `GateDistribution` must do. Override the fixture ``distribution`` (and ``backend``)."""

    @pytest.fixture
    def distribution(self) -> GateDistribution:
        """The distribution under test."""
        raise NotImplementedError("override the fixture 'distribution' with one that returns your distribution")

    @pytest.fixture
    def log_alpha(self, distribution: GateDistribution) -> FloatArray:
        """Parameters, ascending, for `PROBABILITIES`: whatever the scale of the distribution."""
        return np.asarray(distribution.log_alpha_for(PROBABILITIES))

    @pytest.fixture
    def grid(self) -> FloatArray:
        """Midpoints of 20000 parts of (0, 1): averages over them are within 1/n of integrals of what is monotone."""
        return (np.arange(20_000) + 0.5) / 20_000

    # ------------------------------------------------------------------ form

    def test_it_says_what_it_is(self, distribution: GateDistribution) -> None:
        assert isinstance(distribution, GateDistribution)
        assert "median" in distribution.rules
        assert isinstance(distribution.pathwise, bool)

    def test_shape_dtype_and_library_are_kept(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        column, row = backend.asarray(log_alpha[:, None], dtype), backend.asarray(UNIFORMS[None, :], dtype)
        for name, value in facts(distribution, column, row).items():
            assert type(value) is type(column), name
            assert value.dtype == column.dtype, name
            both = ["cdf", "survival", "quantile", "sample", "sample_derivative"]
            expected = (len(log_alpha), len(UNIFORMS)) if name in both else (len(log_alpha), 1)
            assert tuple(value.shape) == ((1, len(UNIFORMS)) if name == "log_alpha_for" else expected), name

    def test_values_agree_with_numpy_in_double_precision(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        column, row = log_alpha[:, None].astype(dtype), UNIFORMS[None, :].astype(dtype)
        found = facts(distribution, backend.asarray(column), backend.asarray(row))
        expected = facts(distribution, column.astype(np.float64), row.astype(np.float64))
        eps = epsilon(dtype)
        for name in expected:
            np.testing.assert_allclose(
                on_host(backend, found[name]),
                expected[name],
                # Conditioning of exponentials in the tails: the square of some 10 standard deviations, with room.
                rtol=1000.0 * eps,
                # Gates are differences of numbers of size 1.
                atol=0.0 if name in TAILS else 32.0 * eps,
                err_msg=name,
            )

    def test_python_numbers_are_taken(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        number = float(log_alpha[4])
        of_arrays = facts(distribution, np.asarray(number), np.asarray(0.2031))
        for name, value in facts(distribution, number, 0.2031).items():
            assert float(value) == float(of_arrays[name]), name

    def test_what_is_no_real_number_is_refused(self, distribution: GateDistribution) -> None:
        for bad in (np.array([0, 1]), "half", [0.1, 0.2]):
            for method in ("open_probability", "mean", "deterministic", "open_probability_derivative"):
                with pytest.raises(InputError):
                    getattr(distribution, method)(bad)

    @pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.1, float("nan")])
    def test_probabilities_outside_are_refused(
        self, distribution: GateDistribution, backend: Backend, log_alpha: FloatArray, bad: float
    ) -> None:
        one_of_two = backend.asarray(np.array([0.5, bad]))
        for p in (one_of_two, bad):
            with pytest.raises(InputError):
                distribution.log_alpha_for(p)
            with pytest.raises(InputError):
                distribution.quantile(p, float(log_alpha[3]))

    def test_arguments_are_not_written_to(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        column, row = log_alpha[:, None].copy(), UNIFORMS[None, :].copy()
        column.setflags(write=False)
        row.setflags(write=False)
        facts(distribution, column, row)

    def test_a_pickled_copy_is_the_same_law(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        copy = pickle.loads(pickle.dumps(distribution))
        np.testing.assert_array_equal(copy.open_probability(log_alpha), distribution.open_probability(log_alpha))

    def test_another_temperature_is_another_object(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        before = np.array(distribution.mean(log_alpha))
        warmer = distribution.with_temperature(0.9)
        assert isinstance(warmer, type(distribution))
        np.testing.assert_array_equal(distribution.mean(log_alpha), before)

    # ------------------------------------------------------------------ probabilities

    def test_open_probability_rises_with_the_parameter(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        opened = on_host(backend, distribution.open_probability(backend.asarray(log_alpha, dtype)))
        assert ((opened >= 0.0) & (opened <= 1.0)).all()
        assert (np.diff(opened) > 0.0).all()

    def test_the_parameter_for_an_open_probability_is_found_in_both_tails(
        self, distribution: GateDistribution, backend: Backend, dtype: str
    ) -> None:
        rare = np.array([1e-30, 1e-15, 1e-5, 0.1, 0.5]).astype(dtype)
        found = distribution.open_probability(distribution.log_alpha_for(backend.asarray(rare)))
        # Conditioning: a parameter of size 70 known to rounding.
        tolerance = 1000.0 * epsilon(dtype)
        np.testing.assert_allclose(on_host(backend, found), rare, rtol=tolerance)
        certain = np.array([0.5, 0.9, 1.0 - 2.0**-10, 1.0 - 2.0**-22]).astype(dtype)
        closed = distribution.prob_zero(distribution.log_alpha_for(backend.asarray(certain)))
        np.testing.assert_allclose(on_host(backend, closed), 1.0 - certain.astype(np.float64), rtol=tolerance)

    def test_open_and_zero_add_up_and_logarithms_agree(
        self, distribution: GateDistribution, log_alpha: FloatArray
    ) -> None:
        opened = distribution.open_probability(log_alpha)
        np.testing.assert_allclose(opened + distribution.prob_zero(log_alpha), 1.0, rtol=1e-14)
        np.testing.assert_allclose(np.exp(distribution.log_open_probability(log_alpha)), opened, rtol=1e-12)

    def test_far_parameters_give_numbers(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        far = 1000.0 * float(np.max(np.abs(log_alpha)))
        column = backend.asarray(np.array([[-far], [far]]), dtype)
        row = backend.asarray(UNIFORMS[None, :], dtype)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = facts(distribution, column, row)
        for name, value in found.items():
            assert np.isfinite(on_host(backend, value)).all(), name
        assert on_host(backend, found["sample"]).tolist() == [[0.0] * len(UNIFORMS), [1.0] * len(UNIFORMS)]

    def test_cdf_is_that_of_a_gate(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        z = np.linspace(-0.5, 1.5, 401)
        below = distribution.cdf(z[None, :], log_alpha[:, None])
        assert (below[:, z < 0.0] == 0.0).all()
        assert (below[:, z >= 1.0] == 1.0).all()
        # Rounding of a probability.
        assert (np.diff(below, axis=1) >= -1e-15).all()
        np.testing.assert_allclose(distribution.cdf(0.0, log_alpha), distribution.prob_zero(log_alpha), rtol=1e-12)
        np.testing.assert_allclose(distribution.survival(z[None, :], log_alpha[:, None]), 1.0 - below, atol=1e-15)

    def test_quantile_inverts_the_cdf(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        column, row = log_alpha[:, None], UNIFORMS[None, :]
        z = distribution.quantile(row, column)
        step = 1e-6
        assert (distribution.cdf(z + step, column) >= row).all()
        assert (distribution.cdf(z - step, column) <= row).all()

    # ------------------------------------------------------------------ gates

    def test_samples_follow_the_cdf(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        draws = 4000
        uniform = backend.uniform(backend.generator(11), (1, draws), dtype)
        gates = on_host(backend, distribution.sample(backend.asarray(log_alpha[:, None], dtype), uniform))
        assert ((gates >= 0.0) & (gates <= 1.0)).all()
        z = np.linspace(0.0, 1.0, 101)
        law = distribution.cdf(z[None, :], log_alpha.astype(dtype).astype(np.float64)[:, None])
        for gate, expected in zip(gates, law, strict=True):
            empirical = np.searchsorted(np.sort(gate), z, side="right") / draws
            assert np.max(np.abs(empirical - expected)) < distance_bound(draws)

    def test_samples_rise_with_the_draw_and_the_parameter(
        self, distribution: GateDistribution, log_alpha: FloatArray, grid: FloatArray
    ) -> None:
        gates = distribution.sample(log_alpha[:, None], grid[None, ::50])
        # Rounding of a gate of size 1.
        assert (np.diff(gates, axis=0) >= -1e-14).all()
        assert (np.diff(gates, axis=1) >= -1e-14).all()

    def test_mean_and_variance_are_those_of_the_samples(
        self, distribution: GateDistribution, log_alpha: FloatArray, grid: FloatArray
    ) -> None:
        gates = distribution.sample(log_alpha[:, None], grid[None, :])
        np.testing.assert_allclose(distribution.mean(log_alpha), gates.mean(axis=1), atol=1.0 / grid.size)
        # z^2 and (mean)^2 are off by 1/n and 2/n at most.
        np.testing.assert_allclose(distribution.variance(log_alpha), gates.var(axis=1), atol=3.0 / grid.size)

    def test_the_median_rule_is_the_median(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        median = distribution.deterministic(log_alpha)
        np.testing.assert_array_equal(median > 0.0, distribution.open_probability(log_alpha) > 0.5)
        np.testing.assert_allclose(median, distribution.quantile(0.5, log_alpha), atol=1e-14)

    def test_every_rule_gives_gates_that_rise(self, distribution: GateDistribution, log_alpha: FloatArray) -> None:
        for rule in distribution.rules:
            gate = distribution.deterministic(log_alpha, rule)
            assert ((gate >= 0.0) & (gate <= 1.0)).all()
            assert (np.diff(gate) >= 0.0).all()
        for method in (distribution.deterministic, distribution.deterministic_derivative):
            with pytest.raises(InputError, match="median"):
                method(log_alpha, "no such rule")

    # ------------------------------------------------------------------ derivatives

    def test_derivatives_are_those_of_finite_differences(
        self, distribution: GateDistribution, log_alpha: FloatArray
    ) -> None:
        column, row = log_alpha[:, None], UNIFORMS[None, :]
        check_derivative(distribution.open_probability, distribution.open_probability_derivative, column)
        if not distribution.pathwise:
            return  # the derivatives of the gates are a documented surrogate
        check_derivative(
            lambda a: distribution.sample(a, row), lambda a: distribution.sample_derivative(a, row), column
        )
        for rule in distribution.rules:
            check_derivative(
                partial(distribution.deterministic, rule=rule),
                partial(distribution.deterministic_derivative, rule=rule),
                column,
            )

    def test_pathwise_gradients_are_unbiased(
        self, distribution: GateDistribution, log_alpha: FloatArray, grid: FloatArray
    ) -> None:
        """The mean of ``2 (z - 0.3) dz/dlog_alpha`` over the noise is the derivative of ``E[(z - 0.3)^2]``."""
        if not distribution.pathwise:
            pytest.skip("the derivatives of the gates are a documented surrogate")
        column, row = log_alpha[:, None], grid[None, :]
        paths = 2.0 * (distribution.sample(column, row) - 0.3) * distribution.sample_derivative(column, row)

        def expected(a: FloatArray) -> FloatArray:
            return np.asarray(distribution.variance(a) + (distribution.mean(a) - 0.3) ** 2)

        scale = float(np.ptp(log_alpha))
        step = 1e-5 * scale
        derivative = (expected(log_alpha + step) - expected(log_alpha - step)) / (2.0 * step)
        # The paths rise and fall, once on each side of z = 0.3, and jump where the gate is clipped: their average over
        # the grid is off by their total variation over n at most. Rounding of the difference is 1e-16 / step.
        bound = 8.0 * np.abs(paths).max() / grid.size + 1e-9 / scale
        assert (np.abs(paths.mean(axis=1) - derivative) <= bound).all()

    def test_gradients_of_the_library_are_the_derivatives(
        self, distribution: GateDistribution, backend: Backend, dtype: str, log_alpha: FloatArray
    ) -> None:
        at = backend.asarray(log_alpha, dtype)
        uniform = backend.asarray(np.full(log_alpha.shape, 0.2031), dtype)
        pairs: list[tuple[str, Callable[[Array], Array], Array]] = [
            ("open", distribution.open_probability, distribution.open_probability_derivative(at)),
            ("sample", lambda a: distribution.sample(a, uniform), distribution.sample_derivative(at, uniform)),
            ("median", distribution.deterministic, distribution.deterministic_derivative(at)),
        ]
        for name, function, expected in pairs:
            gradient = self.gradient_of(function, at)
            if gradient is None:
                pytest.skip("the library has no gradients of its own (or gradient_of does not know them)")
            np.testing.assert_allclose(
                on_host(backend, gradient),
                on_host(backend, expected),
                # Two ways to one number: rounding, and what exp loses in the tail.
                rtol=1000.0 * epsilon(dtype),
                atol=16.0 * epsilon(dtype),
                err_msg=name,
            )


def check_derivative(function: Callable[[Any], Any], derivative: Callable[[Any], Any], at: FloatArray) -> None:
    """Assert that the derivative is the central difference wherever no clipping starts or ends nearby."""
    scale = float(np.ptp(at))
    step = 1e-6 * scale
    low, middle, high = function(at - step), function(at), function(at + step)
    smooth = np.ones(np.shape(middle), dtype=bool)
    for edge in (0.0, 1.0):
        smooth &= ((low == edge) == (middle == edge)) & ((high == edge) == (middle == edge))
    found = np.broadcast_to(derivative(at), smooth.shape)
    assert np.isfinite(found).all()
    # Truncation is of the order (step / scale)^2, rounding of eps / step.
    np.testing.assert_allclose(found[smooth], ((high - low) / (2.0 * step))[smooth], rtol=1e-5, atol=1e-8 / scale)
