"""Linear maps of the NumPy backend: what is remembered, what is dense, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import InputError, get_backend

BACKEND = get_backend("numpy")


def matrix(rows=30, columns=50, seed=0):
    return sp.random_array((rows, columns), density=0.2, rng=np.random.default_rng(seed), format="csr")


def test_dense_matrices_have_the_same_products():
    sparse = matrix()
    x, y = np.random.default_rng(1).normal(size=50), np.random.default_rng(2).normal(size=30)
    dense = BACKEND.linear_map(sparse.toarray())
    np.testing.assert_allclose(dense.matvec(x), BACKEND.linear_map(sparse).matvec(x), rtol=1e-12)
    np.testing.assert_allclose(dense.rmatvec(y), BACKEND.linear_map(sparse).rmatvec(y), rtol=1e-12)


def test_a_matrix_is_converted_once_for_each_dtype():
    given = matrix()
    first = BACKEND.linear_map(given)
    assert BACKEND.linear_map(given) is first
    assert BACKEND.linear_map(given, "float64") is first
    assert BACKEND.linear_map(given, "float32") is not first
    assert BACKEND.linear_map(given.copy()) is not first


def test_whole_numbers_are_stored_in_double_precision():
    linear = BACKEND.linear_map(sp.csr_array(np.array([[1, 2], [0, 3]])))
    assert linear.dtype == np.float64
    assert linear.matvec(np.array([0.5, 1.0])).tolist() == [2.5, 3.0]


def test_what_holds_no_real_numbers_is_refused():
    with pytest.raises(InputError, match="numpy arrays, got list"):
        BACKEND.to_numpy([1.0])
    with pytest.raises(InputError, match="object"):
        BACKEND.asarray([object()])
    with pytest.raises(InputError, match="complex"):
        BACKEND.linear_map(sp.csr_array(np.array([[1j]])))


def test_sums_of_numpy_are_arrays_of_the_backend():
    total = BACKEND.to_numpy(BACKEND.xp.sum(np.ones(3, dtype=np.float32)))
    assert isinstance(total, np.ndarray)
    assert (total.shape, total.dtype) == ((), np.float32)
