"""The projection on a sum of weights, and the search of the spread for a sample size, each by itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq

from l0_calibrate.solvers.mass import project_mass
from l0_calibrate.spread_search import spread_for_ess
from l0_core import InputError


@pytest.mark.parametrize("seed", range(25))
def test_the_projection_is_one_factor_cut_off_at_the_bounds(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    u, reference = rng.lognormal(0, 1, n), rng.lognormal(0, 2, n) * (rng.random(n) < 0.8)
    reference[0] = 1.0
    lower, upper = rng.uniform(0, 0.5, n) * (rng.random(n) < 0.5), rng.uniform(1.0, 4.0, n)
    mass = reference @ lower + rng.uniform(0.01, 0.99) * (reference @ (upper - lower))
    found = project_mass(u, reference, mass, lower, upper)
    factor = brentq(lambda t: reference @ np.clip(t * u, lower, upper) - mass, 0.0, 1e6, xtol=1e-300, rtol=1e-15)
    assert reference @ found == pytest.approx(mass, rel=1e-14)
    counted = reference > 0
    np.testing.assert_allclose(found[counted], np.clip(factor * u, lower, upper)[counted], rtol=1e-9)
    assert ((found >= lower) & (found <= upper)).all()


def test_where_no_factor_gives_the_sum_all_move_alike():
    lower, upper, reference = np.zeros(4), np.array([0.5, 2.0, 2.0, 2.0]), np.array([1.0, 1.0, 2.0, 0.0])
    np.testing.assert_allclose(project_mass(np.zeros(4), reference, 4.1, lower, upper)[:3], [0.5, 1.2, 1.2])
    one = project_mass(np.array([0.5, 0.0, 0.0, 0.0]), reference, 3.5, lower, upper)
    np.testing.assert_allclose(one[:3], [0.5, 1.0, 1.0])


def test_a_sum_that_the_bounds_do_not_allow_has_no_projection():
    u, reference, lower, upper = np.ones(3), np.array([1.0, 2.0, 0.0]), np.full(3, 0.5), np.array([2.0, 2.0, np.inf])
    assert project_mass(u, reference, 6.01, lower, upper) is None
    assert project_mass(u, reference, 1.49, lower, upper) is None
    np.testing.assert_allclose(project_mass(u, reference, 6.0, lower, upper)[:2], [2.0, 2.0])
    np.testing.assert_allclose(project_mass(u, reference, 1.5, lower, upper)[:2], [0.5, 0.5])


def test_what_rounding_left_of_the_sum_does_not_push_a_ratio_over_its_bound():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        reference, upper = rng.lognormal(0, 2, 20), rng.uniform(1.0, 4.0, 20)
        u = upper * np.append(1.0 - 2e-16, rng.uniform(0.5, 1.0, 19))
        mass = float(reference @ u) * (1.0 + rng.choice([3e-14, 9e-14]))
        found = project_mass(u, reference, mass, np.zeros(20), upper)
        assert (found <= upper).all()
        assert reference @ found == pytest.approx(mass, rel=1e-14)


class Fits:
    """Fits whose effective sample size, of 1000 records, is a given function of mu; they note what they were asked."""

    def __init__(self, size_at):
        self.size_at, self.asked = size_at, []

    def __call__(self, mu, start):
        self.asked.append((mu, start))
        # Ratios of 1 in one half and r in the other: the sample size is n (1 + r)^2 / (2 (1 + r^2)).
        part = self.size_at(mu) / 1000
        r = (1 - np.sqrt(1 - (2 * part - 1) ** 2)) / (2 * part - 1)
        return SimpleNamespace(u=np.repeat([1.0, r], 500), start=lambda: mu, mu=mu)


def rising(mu):
    return 550 + 400 * mu / (mu + 0.01)


@pytest.mark.parametrize("first", [1e-5, 1e-2, 10.0])
@pytest.mark.parametrize("wanted", [560.0, 750.0, 930.0])
def test_the_spread_is_about_the_least_that_has_the_sample_size(first, wanted):
    fits = Fits(rising)
    solution, mu = spread_for_ess(fits, wanted, np.ones(1000), first)
    assert solution.mu == mu
    assert wanted <= rising(mu) <= wanted * 1.01
    assert fits.asked[0] == (first, None)
    assert all(start in [mu for mu, _ in fits.asked] for _, start in fits.asked[1:])
    assert len(fits.asked) <= 16


def test_even_fits_are_taken_where_those_near_the_initial_weights_never_have_the_size():
    falling, even = Fits(lambda mu: 950 - 400 * mu / (mu + 0.01)), Fits(rising)
    solution, mu = spread_for_ess(falling, 900.0, np.ones(1000), 0.01, even_fit=even)
    assert 900.0 <= rising(mu) <= 909.0
    assert solution.mu == mu
    assert even.asked[0] == (0.01, None)
    with pytest.raises(InputError, match=r"cannot be had: .* is about 750;"):
        spread_for_ess(falling, 900.0, np.ones(1000), 0.01)


def test_what_no_spread_gives_is_told_with_the_most_there_is():
    with pytest.raises(InputError, match=r"ess_at_least=960 cannot be had: .* is about 949\.99"):
        spread_for_ess(Fits(rising), 960.0, np.ones(1000), 0.01)
    with pytest.raises(InputError, match="was not reached within the time limit, but 9"):
        spread_for_ess(late := Fits(rising), 960.0, np.ones(1000), 0.01, lambda: True)
    assert min(mu for mu, _ in late.asked) == 0.01


def test_once_it_is_late_the_first_that_has_the_size_is_taken():
    fits = Fits(rising)
    _, mu = spread_for_ess(fits, 560.0, np.ones(1000), 10.0, lambda: True)
    assert (mu, len(fits.asked)) == (10.0, 1)
    fits = Fits(rising)
    _, mu = spread_for_ess(fits, 750.0, np.ones(1000), 1e-3, lambda: True)
    assert mu == pytest.approx(1e-3 * 4.0**2)
    assert len(fits.asked) == 3
