"""The logistic function beside SciPy's, and its gradient where `abs` would have none."""

from __future__ import annotations

import array_api_compat.numpy as xp
import numpy as np
import pytest
from scipy import special

from l0_core import HardConcrete
from l0_core.distributions import logistic
from l0_core.distributions.straight_through import StraightThrough


@pytest.mark.parametrize(("dtype", "reach"), [("float64", 700.0), ("float32", 85.0)])
def test_values_are_exact_in_both_tails(dtype, reach):
    x = np.linspace(-reach, reach, 2801).astype(dtype)
    exact = x.astype(np.float64)
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(logistic.sigmoid(xp, x), special.expit(exact), rtol=rtol)
    np.testing.assert_allclose(logistic.log_sigmoid(xp, x), special.log_expit(exact), rtol=rtol)
    slope = special.expit(exact) * special.expit(-exact)
    np.testing.assert_allclose(logistic.sigmoid_derivative(xp, x), slope, rtol=rtol)
    for function in (logistic.sigmoid, logistic.log_sigmoid, logistic.sigmoid_derivative):
        assert function(xp, x).dtype == dtype


def test_infinite_arguments_have_limits():
    ends = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(logistic.sigmoid(xp, ends), [0.0, 1.0])
    np.testing.assert_array_equal(logistic.log_sigmoid(xp, ends), [-np.inf, 0.0])
    np.testing.assert_array_equal(logistic.sigmoid_derivative(xp, ends), [0.0, 0.0])


def test_logit_inverts_the_sigmoid():
    p = np.concatenate([np.geomspace(1e-300, 0.5, 501), 1.0 - np.geomspace(1e-15, 0.5, 501)])
    np.testing.assert_allclose(logistic.logit(xp, p), special.logit(p), rtol=1e-14, atol=2e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_that_start_at_zero_get_their_gradient(dtype):
    torch = pytest.importorskip("torch")
    law = HardConcrete()
    start = {
        "median": (lambda a: law.deterministic(a), 0.0, law.deterministic_derivative(0.0)),
        "half a draw": (lambda a: law.sample(a, torch.full_like(a, 0.5)), 0.0, law.sample_derivative(0.0, 0.5)),
        "straight through": (StraightThrough().deterministic, 0.0, 0.25),
        "open": (law.open_probability, law.zero_threshold, 0.25),
        "log open": (law.log_open_probability, law.zero_threshold, 0.5),
    }
    for name, (function, at, expected) in start.items():
        log_alpha = torch.full((3,), at, dtype=getattr(torch, dtype), requires_grad=True)
        function(log_alpha).sum().backward()
        np.testing.assert_allclose(log_alpha.grad.numpy(), float(expected), rtol=1e-6, err_msg=name)


def test_far_gates_have_no_gradient_that_is_no_number():
    torch = pytest.importorskip("torch")
    log_alpha = torch.tensor([-1e4, -200.0, -90.0, 90.0, 200.0, 1e4], requires_grad=True)
    law = HardConcrete()
    total = law.open_probability(log_alpha) + law.log_open_probability(log_alpha) + law.mean(log_alpha)
    (total + law.sample(log_alpha, torch.full((6,), 0.3))).sum().backward()
    assert torch.isfinite(log_alpha.grad).all()
