"""The two points that a Hard Concrete gate has with positive probability."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from l0_core import HardConcrete

LAWS = [HardConcrete(), HardConcrete(0.1), HardConcrete(2.0, -0.3, 1.05)]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_atoms_are_what_the_stretch_cuts_off(law):
    """P(s <= x) for the binary concrete s is sigmoid(beta logit(x) - log_alpha) (Louizos et al. 2018, eq. 23)."""
    log_alpha = np.linspace(-50.0, 50.0, 41)
    zero, one = ((edge - law.gamma) / (law.zeta - law.gamma) for edge in (0.0, 1.0))
    below = special.expit(law.beta * special.logit(zero) - log_alpha)
    above = special.expit(log_alpha - law.beta * special.logit(one))
    np.testing.assert_allclose(law.prob_zero(log_alpha), below, rtol=1e-12)
    np.testing.assert_allclose(law.prob_one(log_alpha), above, rtol=1e-12)
    just_below_1 = np.nextafter(1.0, 0.0)
    np.testing.assert_allclose(law.survival(just_below_1, log_alpha), law.prob_one(log_alpha), rtol=1e-13)


def test_a_gate_in_the_middle_is_closed_and_full_alike():
    law = HardConcrete(0.5, -0.2, 1.2)  # symmetric about 1/2
    assert law.prob_zero(0.0) == pytest.approx(float(law.prob_one(0.0)), rel=1e-14)
    assert law.mean(0.0) == pytest.approx(0.5, rel=1e-14)
    for rule in law.rules:
        assert law.deterministic(0.0, rule) == pytest.approx(0.5, rel=1e-14)
