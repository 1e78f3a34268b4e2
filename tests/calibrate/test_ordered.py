"""Order for kernels: NumPy's answers, compiled and as plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0_calibrate.ordered import place_of, put_in_order
from l0_gates.jit import jit


@jit
def places(values, ordered, out):
    for k in range(values.size):
        out[k] = place_of(values[k], ordered)


@jit
def ordered_in_place(values):
    put_in_order(values)


WHOLE = st.lists(st.integers(-50, 50), max_size=80)


@given(WHOLE, WHOLE)
def test_places_are_those_of_searchsorted(numbers, values):
    ordered = np.sort(np.array(numbers, dtype=np.int64))
    asked = np.array(values, dtype=np.int64)
    out = np.empty(asked.size, dtype=np.int64)
    places(asked, ordered, out)
    np.testing.assert_array_equal(out, np.searchsorted(ordered, asked))
    assert [place_of(value, ordered) for value in asked] == out.tolist()


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.int32])
def test_places_among_row_numbers_of_any_type(kind):
    ordered = np.array([0, 3, 3, 9, 60_000], dtype=kind)
    asked = np.array([-1, 0, 1, 3, 4, 60_000, 70_000])
    out = np.empty(asked.size, dtype=np.int64)
    places(asked, ordered, out)
    assert out.tolist() == [0, 0, 1, 1, 3, 4, 5]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=200))
def test_order_is_that_of_sort(numbers):
    values = np.array(numbers, dtype=np.int32)
    expected = np.sort(values)
    ordered_in_place(values)
    np.testing.assert_array_equal(values, expected)


def test_order_of_many_that_were_in_the_other_order():
    values = np.arange(50_000, dtype=np.int32)[::-1].copy()
    ordered_in_place(values)
    assert (values == np.arange(50_000)).all()
