"""What the contract cannot see of the NumPy backend: the ends of its draws, how it stores, what it shares."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core import InputError
from l0_core.backends.numpy import NumpyBackend, row_stored


class Ends:
    """A generator whose draws are the least and the greatest that NumPy's can be."""

    def random(self, shape, dtype):
        return np.resize(np.array([0.0, 1.0 - np.finfo(dtype).eps / 2], dtype=dtype), shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_stay_inside_at_both_ends_and_are_symmetric(dtype):
    low, high = NumpyBackend().uniform(Ends(), (2,), dtype)
    assert 0 < low < 1e-6
    assert high < 1
    assert low == 1 - high


def test_draws_of_one_seed_are_the_same_on_every_platform():
    backend = NumpyBackend()
    found = backend.uniform(backend.generator(0), (3,))
    reference = np.random.Generator(np.random.PCG64(0)).random(3)
    np.testing.assert_allclose(found, reference, rtol=0, atol=2.0**-52)


def test_indices_are_stored_in_32_bits_where_they_fit():
    wide = sp.csr_array(np.eye(3))
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    linear_map = NumpyBackend().linear_map(wide)
    assert linear_map._matrix.indices.dtype == np.int32
    assert linear_map._matrix.indptr.dtype == np.int32
    linear_map.rmatvec(np.ones(3))
    assert linear_map._transpose.format == "csr"
    assert linear_map._transpose.indices.dtype == np.int32
    assert wide.indices.dtype == np.int64  # the caller's matrix is as it was


def test_the_transpose_is_made_once_and_only_when_asked_for():
    linear_map = NumpyBackend().linear_map(sp.csr_array(np.eye(3)))
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
    linear_map = NumpyBackend().linear_map(sp.csr_array(np.eye(3, dtype=np.float32)))
    assert linear_map.dtype == np.float32
    assert linear_map.matvec(np.ones(3, dtype=np.float32)).dtype == np.float32
    with pytest.raises(InputError, match="float32"):
        linear_map.matvec(np.ones(3))  # would copy the whole matrix to float64 in every product


def test_every_form_of_scipy_is_taken():
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    for form in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok"):
        for kind in (sp.csr_array, sp.csr_matrix):
            found = NumpyBackend().linear_map(kind(dense).asformat(form))
            np.testing.assert_array_equal(found.matvec(np.array([1.0, 10.0, 100.0])), [20.0, 301.0])
            np.testing.assert_array_equal(found.rmatvec(np.array([1.0, 10.0])), [10.0, 2.0, 30.0])


def test_arrays_are_handed_on_without_a_copy():
    array = np.arange(3.0)
    assert NumpyBackend().asarray(array) is array
    assert NumpyBackend().to_numpy(array) is array
