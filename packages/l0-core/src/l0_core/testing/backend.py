"""The contract of backends."""

from __future__ import annotations

import numpy as np
import pytest

from l0_core.backends.base import Backend
from l0_core.distributions import normal
from l0_core.errors import InputError
from l0_core.testing.contract import distance_bound, epsilon, on_host
from l0_core.testing.linear_map import LinearMapContract

ELEMENTWISE = ("abs", "exp", "log", "log1p", "sqrt", "cos")
"""What the formulas use of one argument."""


class BackendContract(LinearMapContract):
    """What every `Backend` must do. Override the fixture ``backend``."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test."""
        raise NotImplementedError("override the fixture 'backend' with one that returns your backend")

    # ------------------------------------------------------------------ arrays

    def test_it_says_what_it_is(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)
        assert isinstance(backend.name, str)
        assert backend.name
        assert isinstance(backend.device, str)
        assert isinstance(backend.has_autograd, bool)

    @pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
    @pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3)])
    def test_values_go_there_and_back(self, backend: Backend, kind: str, shape: tuple[int, ...]) -> None:
        values = (np.random.default_rng(1).normal(size=shape) * 3.0).astype(kind)
        there = backend.asarray(values)
        assert tuple(there.shape) == shape
        back = backend.to_numpy(there)
        assert isinstance(back, np.ndarray)
        assert back.dtype == values.dtype
        np.testing.assert_array_equal(back, values)
        np.testing.assert_array_equal(backend.to_numpy(backend.asarray(there)), values)

    def test_sequences_of_python_floats_are_double(self, backend: Backend) -> None:
        back = backend.to_numpy(backend.asarray([[0.1, 0.2], [0.3, 1e300]]))
        assert back.dtype == np.float64
        assert back.tolist() == [[0.1, 0.2], [0.3, 1e300]]

    @pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
    def test_the_dtype_asked_for_is_given(self, backend: Backend, kind: str) -> None:
        for values in ([1, 2, 3], np.array([1.0, 2.0, 3.0]), backend.asarray([1.0, 2.0, 3.0])):
            back = backend.to_numpy(backend.asarray(values, kind))
            assert back.dtype == np.dtype(kind)
            assert back.tolist() == [1, 2, 3]

    def test_what_cannot_be_an_array_is_refused(self, backend: Backend) -> None:
        for bad in (["a", "b"], np.array([1j])):
            with pytest.raises(InputError):
                backend.asarray(bad)
        with pytest.raises(InputError):
            backend.asarray([1.0], "float1")

    def test_views_and_reversed_arrays_are_taken(self, backend: Backend) -> None:
        values = np.arange(12.0).reshape(3, 4)
        frozen = values.copy()
        frozen.setflags(write=False)
        for view in (values[::-1], values.T, values[:, ::2], frozen):
            np.testing.assert_array_equal(backend.to_numpy(backend.asarray(view)), view)

    def test_its_namespace_computes(self, backend: Backend, dtype: str) -> None:
        xp = backend.xp
        values = np.array([0.25, 0.5, 3.0]).astype(dtype)
        x = backend.asarray(values)
        assert xp.isdtype(x.dtype, "real floating")
        for name in ELEMENTWISE:
            found = getattr(xp, name)(x)
            assert found.dtype == x.dtype
            # Libraries round exp and its like to a few units in the last place.
            expected = getattr(np, name)(values.astype(np.float64))
            np.testing.assert_allclose(on_host(backend, found), expected, rtol=8.0 * epsilon(dtype))
        assert on_host(backend, xp.where(x > 0.3, x, xp.zeros_like(x))).tolist() == [0.0, 0.5, 3.0]
        assert on_host(backend, xp.clip(x, 0.0, 1.0)).tolist() == [0.25, 0.5, 1.0]
        assert float(on_host(backend, xp.sum(x))) == 3.75
        assert on_host(backend, xp.max(x)).shape == ()

    # ------------------------------------------------------------------ draws

    def test_draws_are_strictly_inside_and_uniform(self, backend: Backend, dtype: str) -> None:
        draws = 200_000
        uniform = backend.uniform(backend.generator(5), (draws,), dtype)
        assert uniform.dtype == backend.asarray(np.zeros(1), dtype).dtype
        values = backend.to_numpy(uniform)
        assert ((values > 0.0) & (values < 1.0)).all()
        ranks = (np.arange(draws) + 0.5) / draws
        assert np.max(np.abs(np.sort(values.astype(np.float64)) - ranks)) < distance_bound(draws)
        # Neighbours are independent: five standard deviations of a correlation of that many pairs.
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5.0 / np.sqrt(draws)

    def test_normal_draws_are_normal(self, backend: Backend, dtype: str) -> None:
        draws = 50_000
        values = on_host(backend, backend.standard_normal(backend.generator(6), (draws,), dtype))
        assert np.isfinite(values).all()
        ranks = (np.arange(draws) + 0.5) / draws
        assert np.max(np.abs(normal.cdf(np, np.sort(values)) - ranks)) < distance_bound(draws)

    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
    def test_draws_have_the_shape_asked_for(self, backend: Backend, dtype: str, shape: tuple[int, ...]) -> None:
        assert tuple(backend.uniform(backend.generator(0), shape, dtype).shape) == shape
        assert tuple(backend.standard_normal(backend.generator(0), shape, dtype).shape) == shape

    def test_draws_of_whole_numbers_are_refused(self, backend: Backend) -> None:
        with pytest.raises(InputError):
            backend.uniform(backend.generator(0), (3,), "int64")

    def test_a_generator_is_its_own(self, backend: Backend) -> None:
        alone = self._draws(backend, backend.generator(7), 6)
        first, second = backend.generator(7), backend.generator(8)
        mixed = []
        for _ in range(6):
            mixed.append(self._draws(backend, first, 1))
            self._draws(backend, second, 1)
        np.testing.assert_array_equal(np.concatenate(mixed), alone)
        assert (self._draws(backend, backend.generator(8), 6) != alone).any()

    @staticmethod
    def _draws(backend: Backend, generator: object, times: int) -> np.ndarray:
        return np.concatenate([backend.to_numpy(backend.uniform(generator, (4,))) for _ in range(times)])
