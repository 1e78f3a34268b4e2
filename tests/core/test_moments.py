"""Means and variances by fixed quadrature beside adaptive integration, and the rule of the base class."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special

from l0_core import GateDistribution, HardConcrete, InputError
from l0_core.distributions.gaussian import GaussianGate
from l0_core.distributions.straight_through import StraightThrough

LAWS = [
    HardConcrete(),
    HardConcrete(0.1),
    HardConcrete(5.0),
    HardConcrete(0.5, -1e-4, 1.001),
    HardConcrete(0.3, -5.0, 9.0),
    GaussianGate(),
    GaussianGate(0.05),
    GaussianGate(3.0),
]


def integral(function) -> float:
    return integrate.quad(function, 0.0, 1.0, epsabs=0.0, epsrel=1e-13, limit=400)[0]


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("log_alpha", [-30.0, -3.0, -0.2, 0.5, 2.0, 30.0])
def test_moments_are_those_of_adaptive_integration(law, log_alpha):
    at = np.array(log_alpha)
    mean = integral(lambda t: float(law.survival(t, at)))
    rest = integral(lambda t: float(law.cdf(t, at)))
    if mean < rest:
        variance = integral(lambda t: 2.0 * t * float(law.survival(t, at))) - mean**2
    else:
        variance = integral(lambda t: 2.0 * (1.0 - t) * float(law.cdf(t, at))) - rest**2
    np.testing.assert_allclose(law.mean(at), mean, rtol=1e-12)
    # The difference of the moments loses two digits where the gate hardly varies. Below 1e-300 numbers are denormal.
    np.testing.assert_allclose(law.variance(at), variance, rtol=1e-10, atol=1e-300)


def test_gaussian_mean_is_the_textbook_formula():
    """E clip(X, 0, 1) for X normal, from the integrals of the normal cdf."""
    sigma, mu = 0.5, np.linspace(-2.0, 3.0, 51)

    def running(x):  # integral of Phi up to x
        return x * special.ndtr(x) + np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)

    expected = sigma * (running(mu / sigma) - running((mu - 1.0) / sigma))
    np.testing.assert_allclose(GaussianGate(sigma).mean(mu), expected, rtol=1e-12, atol=1e-14)


def test_rare_gates_keep_their_relative_accuracy():
    """Far out every probability is exp(log_alpha) times a constant; so are the moments."""
    law = HardConcrete()
    for name in ("open_probability", "mean", "variance", "open_probability_derivative"):
        near, far = (getattr(law, name)(np.array(a)) for a in (-40.0, -600.0))
        assert far / np.exp(-560.0) == pytest.approx(near, rel=1e-12), name
    assert law.log_open_probability(np.array(-1e6)) == pytest.approx(-1e6 - law.zero_threshold)
    assert law.log_prob_zero(np.array(1e6)) == pytest.approx(-1e6 + law.zero_threshold)


def test_the_bernoulli_moments_are_exact():
    log_alpha = np.linspace(-700.0, 700.0, 29)
    law = StraightThrough()
    np.testing.assert_array_equal(law.mean(log_alpha), law.open_probability(log_alpha))
    np.testing.assert_allclose(
        law.variance(log_alpha), special.expit(log_alpha) * special.expit(-log_alpha), rtol=1e-13
    )


class PlainHardConcrete(HardConcrete):
    """With nothing but the abstract facts: what a plugin author starts with."""

    mean = GateDistribution.mean
    moment_nodes = GateDistribution.moment_nodes
    survival = GateDistribution.survival
    prob_zero = GateDistribution.prob_zero
    log_open_probability = GateDistribution.log_open_probability


def test_what_the_base_class_derives_agrees():
    log_alpha = np.linspace(-6.0, 6.0, 25)
    plain, full = PlainHardConcrete(), HardConcrete()
    for name in ("mean", "variance", "prob_zero", "log_open_probability"):
        np.testing.assert_allclose(getattr(plain, name)(log_alpha), getattr(full, name)(log_alpha), rtol=1e-11)
    assert GateDistribution.with_temperature(plain, 0.1) is plain


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("log_alpha", [-2.0, 0.1, 1.5])
def test_pathwise_gradients_are_unbiased(law, log_alpha):
    """The expected derivative of a sample, over the draws, is the derivative of the mean."""
    at = np.array(log_alpha)
    first, last = float(law.prob_zero(at)), float(law.cdf(1.0 - 1e-15, at))  # between, the gate is open and below 1
    found = integrate.quad(
        lambda u: float(law.sample_derivative(at, u)), first, last, epsabs=1e-12, epsrel=1e-10, limit=400
    )[0]
    step = 1e-5
    slope = float(law.mean(at + step) - law.mean(at - step)) / (2 * step)
    # The difference quotient is good to step^2 and to rounding over step.
    assert found == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("law", [GaussianGate(1e-9), HardConcrete(1e7)])
def test_moments_that_would_fill_the_memory_are_refused(law):
    for moment in (law.mean, law.variance):
        with pytest.raises(InputError, match="panels"):
            moment(0.5)
