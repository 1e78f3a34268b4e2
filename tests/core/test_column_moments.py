"""Moments of columns: those of NumPy in long numbers, whatever the storage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from l0_core.column_moments import column_moments


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, bool])
@pytest.mark.parametrize("form", ["dense", "csr", "csc", "coo"])
def test_they_are_those_of_float64(form: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    dense = (rng.integers(0, 256, (40, 6)) * (rng.random((40, 6)) < 0.7)).astype(dtype)
    matrix = dense if form == "dense" else sp.coo_array(dense).asformat(form)
    means, deviations = column_moments(matrix)
    np.testing.assert_allclose(means, dense.astype(np.float64).mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(deviations, dense.astype(np.float64).std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_a_spread_far_from_zero_is_not_lost_and_a_constant_has_none(form: str) -> None:
    rng = np.random.default_rng(1)
    near = rng.random(50)
    dense = np.column_stack((near, near + 1e6, 1e-100 * near, np.full(50, 0.1), np.zeros(50)))
    _, deviations = column_moments(dense if form == "dense" else sp.csr_array(dense))
    np.testing.assert_allclose(deviations[:3], near.std() * np.array([1.0, 1.0, 1e-100]), rtol=1e-8)
    assert (deviations[3:] == 0.0).all()


def test_entries_stored_in_parts_count_once_and_stay_as_they_are() -> None:
    parts = sp.csr_array((np.full(6, 100, dtype=np.int8), [0, 0, 1, 0, 0, 1], [0, 3, 6]), shape=(2, 2))
    means, deviations = column_moments(parts)
    assert means.tolist() == [200.0, 100.0]
    assert deviations.tolist() == [0.0, 0.0]
    assert parts.nnz == 6


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("form", ["dense", "csr", "coo"])
def test_weights_say_how_often_a_row_counts(form: str, dtype: type) -> None:
    rng = np.random.default_rng(2)
    dense = (rng.integers(0, 256, (40, 6)) * (rng.random((40, 6)) < 0.7)).astype(dtype)
    weights = rng.integers(0, 4, 40)
    matrix = dense if form == "dense" else sp.coo_array(dense).asformat(form)
    repeated = dense.astype(np.float64).repeat(weights, axis=0)
    means, deviations = column_moments(matrix, weights / 7.0)
    np.testing.assert_allclose(means, repeated.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(deviations, repeated.std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_weights_lose_no_spread_far_from_zero_and_give_a_constant_none(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    near, weights = rng.random(500), rng.random(500)
    dense = np.column_stack((near, near + 1e6, np.full(500, 0.1), np.zeros(500)))
    _, deviations = column_moments(dense if form == "dense" else sp.csr_array(dense), weights)
    expected = np.sqrt(np.average(np.square(near - np.average(near, weights=weights)), weights=weights))
    np.testing.assert_allclose(deviations[:2], expected, rtol=1e-8)
    assert (deviations[2:] == 0.0).all()


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_a_matrix_without_an_entry_has_moments_of_zero(form: str) -> None:
    nothing = np.zeros((4, 3))
    for found in column_moments(nothing if form == "dense" else sp.csr_array(nothing)):
        np.testing.assert_array_equal(found, np.zeros(3), strict=True)
