"""Penalties beside their definition by enumeration, and their sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l0_core import HardConcrete, InputError, get_penalty
from l0_core.penalties.combined import SumPenalty, l0l2
from l0_core.penalties.l0 import L0
from l0_core.penalties.l2 import L2

LAW = HardConcrete()
vectors = arrays(np.float64, 5, elements=st.floats(-6.0, 6.0))


def enumerated(price, weights, log_alpha) -> float:
    """The expectation of ``price(open, weights)`` over all ways in which the gates can be open or closed."""
    opened = LAW.open_probability(log_alpha)
    total = 0.0
    for pattern in itertools.product((False, True), repeat=weights.size):
        mask = np.array(pattern)
        total += np.where(mask, opened, 1.0 - opened).prod() * price(mask, weights)
    return total


@given(weights=vectors, log_alpha=vectors, price=st.floats(0.0, 10.0))
def test_l0_is_the_expected_number_of_open_gates(weights, log_alpha, price):
    expected = enumerated(lambda mask, w: mask.sum(), weights, log_alpha)
    assert L0(price).value(weights, log_alpha, LAW) == pytest.approx(price * expected, rel=1e-12)


@given(weights=vectors, log_alpha=vectors, price=st.floats(0.0, 10.0))
def test_l2_is_the_expected_half_square_of_the_open_weights(weights, log_alpha, price):
    expected = enumerated(lambda mask, w: 0.5 * np.sum(np.where(mask, w, 0.0) ** 2), weights, log_alpha)
    assert L2(price).value(weights, log_alpha, LAW) == pytest.approx(price * expected, rel=1e-12, abs=1e-300)


def test_sums_are_flat_and_scale_term_by_term():
    both = l0l2(l0=2.0, l2=3.0)
    assert both == SumPenalty((L0(2.0), L2(3.0))) == get_penalty("l0l2", l0=2.0, l2=3.0)
    assert (both + L0(1.0)).terms == (L0(2.0), L2(3.0), L0(1.0))
    assert (L0(1.0) + both).terms == (L0(1.0), L0(2.0), L2(3.0))
    assert both.scaled(0.5) == l0l2(l0=1.0, l2=1.5)


def test_rare_gates_are_priced():
    # 1e-12 of a gate is not nothing where a million of them share the price.
    log_alpha = np.full(1_000_000, float(LAW.log_alpha_for(1e-12)))
    assert L0().value(log_alpha, log_alpha, LAW) == pytest.approx(1e-6, rel=1e-9)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, "dear", None])
def test_prices_that_cannot_be_are_refused(bad):
    for penalty in (L0, L2):
        with pytest.raises(InputError, match="weight of a penalty"):
            penalty(bad)
    with pytest.raises(InputError, match="weight of a penalty"):
        get_penalty("l0l2", l2=bad)


def test_sums_of_something_else_are_refused():
    with pytest.raises(InputError, match="at least one"):
        SumPenalty(())
    with pytest.raises(InputError, match="float"):
        SumPenalty((L0(), 2.0))
