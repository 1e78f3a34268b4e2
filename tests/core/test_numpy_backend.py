"""What the NumPy backend does beyond the contract of backends."""

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


def test_wide_indices_become_narrow_ones_and_the_given_matrix_keeps_its_own():
    given = matrix()
    given.indices, given.indptr = given.indices.astype(np.int64), given.indptr.astype(np.int64)
    stored = BACKEND.linear_map(given)._matrix
    assert stored.indices.dtype == stored.indptr.dtype == np.int32
    assert given.indices.dtype == np.int64
    np.testing.assert_array_equal(stored.toarray(), given.toarray())


def test_whole_numbers_are_stored_in_double_precision():
    linear = BACKEND.linear_map(sp.csr_array(np.array([[1, 2], [0, 3]])))
    assert linear.dtype == np.float64
    assert linear.matvec(np.array([0.5, 1.0])).tolist() == [2.5, 3.0]


def test_draws_lie_on_a_grid_that_is_the_same_seen_from_1():
    for dtype, cells in (("float64", 2.0**52), ("float32", 2.0**23)):
        draws = BACKEND.uniform(BACKEND.generator(3), (50_000,), dtype).astype(np.float64)
        np.testing.assert_array_equal((draws * cells) % 1.0, 0.5)
        assert draws.min() < 1e-3
        # What gates are made of is finite at both ends of the grid, in that precision.
        ends = np.array([0.5 / cells, 1.0 - 0.5 / cells], dtype=dtype)
        assert (ends > 0.0).all()
        assert (ends < 1.0).all()
        assert np.isfinite(np.log(ends) - np.log1p(-ends)).all()


def test_arrays_of_others_are_refused():
    with pytest.raises(InputError, match="numpy arrays, got list"):
        BACKEND.to_numpy([1.0])
    with pytest.raises(InputError, match="object"):
        BACKEND.asarray([object()])
    with pytest.raises(InputError, match="complex"):
        BACKEND.linear_map(sp.csr_array(np.array([[1j]])))
