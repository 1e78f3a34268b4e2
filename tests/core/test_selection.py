"""Exact counts: the largest scores, shares of a whole, and the record of what was kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l0_core import InputError, Selection
from l0_core.selection import count_of, share_out, top_k

scores = arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.0, 0.5, 2.0, np.inf]))


@given(values=scores, data=st.data(), seed=st.integers(0, 5))
def test_top_k_keeps_exactly_the_largest(values, data, seed):
    keep = data.draw(st.integers(1, values.size))
    kept = top_k(values, keep, seed)
    assert kept.size == keep
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(np.sort(values[kept]), np.sort(values)[values.size - keep :])
    np.testing.assert_array_equal(top_k(values, keep, seed), kept)


def test_ties_go_to_each_alike():
    drawn = np.array([top_k([3.0, 1.0, 1.0, 1.0, 0.0], 2, seed) for seed in range(600)])
    assert (drawn[:, 0] == 0).all()
    counts = np.bincount(drawn[:, 1], minlength=5)[1:4]
    # Five standard deviations of a binomial count of 600 with probability 1/3.
    assert counts.sum() == 600
    assert np.abs(counts - 200).max() < 5 * np.sqrt(600 * 2 / 9)


def test_scores_that_cannot_be_ranked_are_refused():
    with pytest.raises(InputError, match="item 1 is NaN"):
        top_k([0.0, np.nan], 1)
    with pytest.raises(InputError, match="one-dimensional"):
        top_k(np.ones((2, 2)), 1)
    for keep in (0, -1, 3, 1.0, True):
        with pytest.raises(InputError, match="keep"):
            top_k([0.0, 1.0], keep)


shares = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=12).filter(lambda s: sum(s) > 0)


@given(total=st.integers(0, 10_000), parts=shares)
def test_shares_add_up_and_none_is_off_by_one(total, parts):
    counts = share_out(total, parts)
    assert sum(counts) == total
    for count, part in zip(counts, parts, strict=True):
        # Hamilton's method stays within quota; 1e-6 is the rounding of the quota itself.
        assert abs(count - total * part / sum(parts)) < 1.0 + 1e-6


def test_shares_by_hand():
    assert share_out(10, (0.25, 0.75)) == (3, 7)  # 2.5 and 7.5: the earlier gets the odd one
    assert share_out(10, (0.58, 0.42)) == (6, 4)  # 5.8 and 4.2: the larger remainder
    assert share_out(10, (0.42, 0.58)) == (4, 6)  # wherever it stands
    assert share_out(7, (1.0, 1.0, 1.0)) == (3, 2, 2)
    assert share_out(5, (0.0, 1.0)) == (0, 5)
    assert share_out(100, (0.1, 0.2, 0.7)) == (10, 20, 70)


@pytest.mark.parametrize("bad", [(), (0.0, 0.0), (-1.0, 2.0), (np.nan, 1.0), (np.inf, 1.0)])
def test_shares_that_cannot_be_are_refused(bad):
    with pytest.raises(InputError, match="shares"):
        share_out(3, bad)
    with pytest.raises(InputError, match="total"):
        share_out(-1, (1.0,))


def test_a_selection_is_frozen_and_apart_from_what_it_was_made_of():
    indices, values = np.array([1, 4]), np.arange(5.0)
    selection = Selection(indices, 5, kinds=["learned", "must"], scores=values, inclusion_probabilities=values / 10)
    indices[0], values[0] = 3, 99.0
    assert selection.indices.tolist() == [1, 4]
    assert selection.scores[0] == 0.0
    assert selection.mask.tolist() == [False, True, False, False, True]
    assert len(selection) == 2
    for array in (selection.indices, selection.kinds, selection.scores, selection.inclusion_probabilities):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(AttributeError):
        selection.total = 3


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"indices": [2, 1]}, "ascending"),
        ({"indices": [1, 1]}, "ascending"),
        ({"indices": [-1, 1]}, r"0\.\.4"),
        ({"indices": [1, 5]}, r"0\.\.4"),
        ({"indices": [[1, 2]]}, "one-dimensional"),
        ({"total": 5.5}, "total must be a whole number"),
        ({"kinds": ["a"]}, "kinds"),
        ({"scores": [0.0, 1.0]}, "scores"),
        ({"inclusion_probabilities": np.ones(4)}, "inclusion_probabilities"),
        ({"inclusion_probabilities": [0.5, 1.0, 2.0, 1.0, 0.0]}, "0..1, that of item 2 is 2.0"),
        ({"inclusion_probabilities": [0.5, -0.1, 1.0, 1.0, 0.0]}, "0..1, that of item 1 is -0.1"),
        ({"inclusion_probabilities": [np.nan, 1.0, 1.0, 1.0, 0.0]}, "0..1, that of item 0 is nan"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(settings, text):
    with pytest.raises(InputError, match=text):
        Selection(**{"indices": [1, 2], "total": 5, **settings})


def test_whole_numbers_only():
    with pytest.raises(InputError, match="whole"):
        Selection([0.5, 1.0], 5)


@pytest.mark.parametrize(("data", "count"), [(7, 7), (np.int64(3), 3), ("abc", 3), ([1, 2], 2), (np.ones((4, 2)), 4)])
def test_the_number_of_items(data, count):
    assert count_of(data) == count


@pytest.mark.parametrize("data", [0, -2, [], True, 2.5, np.float64(3.0), np.array(3), np.bool_(True)])
def test_what_has_no_number_of_items(data):
    with pytest.raises(InputError):
        count_of(data)
