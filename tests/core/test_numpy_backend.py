"""What the NumPy backend does beyond the contract of backends."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import InputError, get_backend
from l0_core.backends.numpy import row_stored

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
    linear_map = BACKEND.linear_map(given)
    stored = linear_map._matrix
    assert stored.indices.dtype == stored.indptr.dtype == np.int32
    linear_map.rmatvec(np.ones(30))
    assert linear_map._transpose.indices.dtype == np.int32
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


class Ends:
    """A generator whose draws are the least and the greatest that NumPy's can be."""

    def random(self, shape, dtype):
        return np.resize(np.array([0.0, 1.0 - np.finfo(dtype).eps / 2], dtype=dtype), shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_stay_inside_at_both_ends_and_are_symmetric(dtype):
    low, high = BACKEND.uniform(Ends(), (2,), dtype)
    assert 0 < low < 1e-6
    assert high < 1
    assert low == 1 - high


def test_draws_of_one_seed_are_the_same_on_every_platform():
    backend = BACKEND
    found = backend.uniform(backend.generator(0), (3,))
    reference = np.random.Generator(np.random.PCG64(0)).random(3)
    np.testing.assert_allclose(found, reference, rtol=0, atol=2.0**-52)


def test_the_transpose_is_made_once_and_only_when_asked_for():
    linear_map = BACKEND.linear_map(sp.csr_array(np.eye(3)))
    linear_map.matvec(np.ones(3))
    assert linear_map._transpose is None
    linear_map.rmatvec(np.ones(3))
    made = linear_map._transpose
    linear_map.rmatvec(np.ones(3))
    assert linear_map._transpose is made


def test_stored_rows_share_no_memory_with_the_matrix():
    for matrix in (sp.csr_array(np.eye(3)), np.eye(3)):
        stored = row_stored(matrix)
        theirs, ours = (m if isinstance(m, np.ndarray) else m.data for m in (matrix, stored))
        assert not np.shares_memory(theirs, ours)


def test_float32_values_stay_float32():
    linear_map = BACKEND.linear_map(sp.csr_array(np.eye(3, dtype=np.float32)))
    assert linear_map.dtype == np.float32
    assert linear_map.matvec(np.ones(3, dtype=np.float32)).dtype == np.float32
    with pytest.raises(InputError, match="float32"):
        linear_map.matvec(np.ones(3))  # would copy the whole matrix to float64 in every product


def test_every_form_of_scipy_is_taken():
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    for form in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok"):
        for kind in (sp.csr_array, sp.csr_matrix):
            found = BACKEND.linear_map(kind(dense).asformat(form))
            np.testing.assert_array_equal(found.matvec(np.array([1.0, 10.0, 100.0])), [20.0, 301.0])
            np.testing.assert_array_equal(found.rmatvec(np.array([1.0, 10.0])), [10.0, 2.0, 30.0])


def test_arrays_are_handed_on_without_a_copy():
    array = np.arange(3.0)
    assert BACKEND.asarray(array) is array
    assert BACKEND.to_numpy(array) is array


def test_sums_of_numpy_are_arrays_of_the_backend():
    total = BACKEND.to_numpy(BACKEND.xp.sum(np.ones(3, dtype=np.float32)))
    assert isinstance(total, np.ndarray)
    assert (total.shape, total.dtype) == ((), np.float32)


def test_a_vector_that_is_no_array_is_refused_as_such() -> None:
    with pytest.raises(InputError, match=r"must be an ndarray, got list; use backend\.asarray"):
        BACKEND.linear_map(np.eye(2)).matvec([1.0, 2.0])
