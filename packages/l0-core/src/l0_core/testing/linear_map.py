"""The part of the contract of backends that is about matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from l0_core.backends.base import Backend, LinearMap
from l0_core.errors import InputError
from l0_core.testing.contract import Contract, FloatArray, epsilon, on_host

ROWS, COLUMNS = 7, 11


def matrix() -> FloatArray:
    """A third of the entries, an empty row, an empty column, values of both signs."""
    rng = np.random.default_rng(3)
    values: FloatArray = rng.normal(size=(ROWS, COLUMNS)) * (rng.random((ROWS, COLUMNS)) < 0.35)
    values[4, :] = 0.0
    values[:, 6] = 0.0
    return values


class LinearMapContract(Contract):
    """What ``linear_map`` of every backend must do."""

    @pytest.fixture
    def sparse(self) -> Any:
        """scipy.sparse."""
        return pytest.importorskip("scipy.sparse")

    @pytest.mark.parametrize("form", ["csr_array", "csc_array", "coo_array", "csr_matrix", "lil_array"])
    def test_products_are_those_of_the_matrix(self, backend: Backend, dtype: str, sparse: Any, form: str) -> None:
        values = matrix().astype(dtype)
        rng = np.random.default_rng(8)
        x, y = rng.normal(size=COLUMNS).astype(dtype), rng.normal(size=ROWS).astype(dtype)
        linear = backend.linear_map(getattr(sparse, form)(values))
        assert isinstance(linear, LinearMap)
        assert tuple(linear.shape) == (ROWS, COLUMNS)
        exact = values.astype(np.float64)
        for product, vector, expected in ((linear.matvec, x, exact @ x), (linear.rmatvec, y, exact.T @ y)):
            on_backend = backend.asarray(vector)
            found = product(on_backend)
            assert type(found) is type(on_backend)
            assert found.dtype == on_backend.dtype
            # Sums of at most 11 products of numbers of size 1, in any order.
            np.testing.assert_allclose(on_host(backend, found), expected, atol=64.0 * epsilon(dtype))

    def test_the_dtype_asked_for_is_that_of_the_products(self, backend: Backend, dtype: str, sparse: Any) -> None:
        for stored in ("float32", "float64", "int64"):
            linear = backend.linear_map(sparse.csr_array(matrix().astype(stored)), dtype)
            ones = backend.asarray(np.ones(COLUMNS), dtype)
            assert linear.matvec(ones).dtype == ones.dtype

    def test_entries_given_twice_are_added(self, backend: Backend, sparse: Any) -> None:
        twice = sparse.coo_array((np.array([1.5, 2.0, 4.0]), ([0, 0, 1], [2, 2, 0])), shape=(2, 3))
        found = backend.linear_map(twice).matvec(backend.asarray(np.array([1.0, 1.0, 1.0])))
        assert on_host(backend, found).tolist() == [3.5, 4.0]

    def test_a_matrix_of_nothing(self, backend: Backend, dtype: str, sparse: Any) -> None:
        linear = backend.linear_map(sparse.csr_array((3, 2)), dtype)
        assert on_host(backend, linear.matvec(backend.asarray(np.ones(2), dtype))).tolist() == [0.0, 0.0, 0.0]
        assert on_host(backend, linear.rmatvec(backend.asarray(np.ones(3), dtype))).tolist() == [0.0, 0.0]

    def test_a_matrix_changed_in_place_is_another_matrix(self, backend: Backend, sparse: Any) -> None:
        given = sparse.csr_array(matrix())
        ones = backend.asarray(np.ones(COLUMNS))
        first = backend.linear_map(given)
        before = on_host(backend, first.matvec(ones)).copy()
        given.data *= 2.0
        np.testing.assert_array_equal(on_host(backend, first.matvec(ones)), before)
        np.testing.assert_allclose(on_host(backend, backend.linear_map(given).matvec(ones)), 2.0 * before, rtol=1e-15)

    def test_the_given_matrix_is_left_as_it_is(self, backend: Backend, sparse: Any) -> None:
        given = sparse.csr_array(matrix())
        copy = given.copy()
        linear = backend.linear_map(given, "float32")
        linear.rmatvec(backend.asarray(np.ones(ROWS), "float32"))
        assert given.dtype == copy.dtype
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(given, part), getattr(copy, part))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_an_entry_that_is_no_number_is_refused_by_its_place(
        self, backend: Backend, sparse: Any, bad: float
    ) -> None:
        spoilt = matrix()
        spoilt[5, 9] = bad
        with pytest.raises(InputError, match=r"5\D+9"):
            backend.linear_map(sparse.csr_array(spoilt))

    def test_what_is_no_matrix_is_refused(self, backend: Backend) -> None:
        for bad in ("matrix", None, [[1.0, 2.0]], np.ones(3), np.ones((2, 2, 2))):
            with pytest.raises(InputError):
                backend.linear_map(bad)

    def test_vectors_of_another_length_or_dtype_are_refused(self, backend: Backend, sparse: Any) -> None:
        linear = backend.linear_map(sparse.csr_array(matrix()))
        for product, length in ((linear.matvec, COLUMNS), (linear.rmatvec, ROWS)):
            for bad in (np.ones(length + 1), np.ones((length, 1)), np.ones(1), np.ones(length, dtype=np.float32)):
                with pytest.raises(InputError):
                    product(backend.asarray(bad))

    def test_gradients_flow_through_both_products(self, backend: Backend, dtype: str, sparse: Any) -> None:
        if not backend.has_autograd:
            pytest.skip("the library has no gradients of its own")
        values = matrix().astype(dtype)
        linear = backend.linear_map(sparse.csr_array(values))
        by_x = self.gradient_of(linear.matvec, backend.asarray(np.ones(COLUMNS), dtype))
        by_y = self.gradient_of(linear.rmatvec, backend.asarray(np.ones(ROWS), dtype))
        if by_x is None:
            pytest.skip("gradient_of does not know the gradients of this library; override it")
        # Sums of at most 11 numbers of size 1.
        tolerance = 64.0 * epsilon(dtype)
        np.testing.assert_allclose(on_host(backend, by_x), values.astype(np.float64).sum(axis=0), atol=tolerance)
        np.testing.assert_allclose(on_host(backend, by_y), values.astype(np.float64).sum(axis=1), atol=tolerance)
