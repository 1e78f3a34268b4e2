"""The normal law of the core, which the array API does not have, beside SciPy's."""

from __future__ import annotations

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from l0_core.distributions import normal

# exp(-x^2 / 2) takes x^2 / 2 to units in the last place; SciPy has the same error.
TAIL = {"float64": 1e-12, "float32": 1e-5}


@pytest.mark.parametrize(("dtype", "least"), [("float64", -37.0), ("float32", -12.5)])
def test_cdf_is_exact_in_the_tail(dtype, least):
    x = np.linspace(least, 9.0, 20_001).astype(dtype)
    found = normal.cdf(xp, x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, special.ndtr(x.astype(np.float64)), rtol=TAIL[dtype])
    np.testing.assert_allclose(normal.cdf(xp, x) + normal.cdf(xp, -x), 1.0, rtol=4 * np.finfo(dtype).eps)


def test_log_cdf_goes_on_where_the_cdf_underflows():
    x = np.concatenate([-np.geomspace(1e-3, 1e8, 2001), np.linspace(0.0, 8.0, 801)])
    np.testing.assert_allclose(normal.log_cdf(xp, x), special.log_ndtr(x), rtol=1e-13, atol=1e-300)


def test_the_center_is_exact():
    assert normal.cdf(xp, np.zeros(1))[0] == 0.5
    assert abs(normal.quantile(xp, np.full(1, 0.5))[0]) < 1e-16


@given(exponent=st.floats(-300.0, -0.302), upper=st.booleans())
def test_quantile_inverts_the_cdf_in_both_tails(exponent, upper):
    p = np.full(1, 10.0**exponent)
    if upper and exponent > -15.0:
        p = 1.0 - p
    found = normal.quantile(xp, p)
    np.testing.assert_allclose(found, special.ndtri(p), rtol=1e-12, atol=1e-15)


def test_float32_quantile_keeps_its_dtype_and_precision():
    p = np.concatenate([np.geomspace(1e-30, 0.5, 501), 1.0 - np.geomspace(2.0**-23, 0.5, 501)]).astype(np.float32)
    found = normal.quantile(xp, p)
    assert found.dtype == np.float32
    # Near the upper end p itself is known to 6e-8 of 1 - p = 1e-7: the mirror image is exact all the same.
    np.testing.assert_allclose(found, special.ndtri(p.astype(np.float64)), rtol=3e-6, atol=1e-6)


def test_density_is_the_slope_of_the_cdf():
    x = np.linspace(-6.0, 6.0, 241)
    step = 1e-5
    slope = (special.ndtr(x + step) - special.ndtr(x - step)) / (2 * step)
    np.testing.assert_allclose(normal.density(xp, x), slope, rtol=1e-6, atol=1e-11)


def test_gradients_at_the_branch_point_are_right():
    torch = pytest.importorskip("torch")
    import array_api_compat.torch as torch_xp

    for function, slope in ((normal.cdf, 1.0 / np.sqrt(2 * np.pi)), (normal.log_cdf, 2.0 / np.sqrt(2 * np.pi))):
        x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        function(torch_xp, x).sum().backward()
        assert x.grad.item() == pytest.approx(slope, rel=1e-13)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_infinite_arguments_have_limits():
    ends = np.array([-np.inf, np.inf])
    assert normal.cdf(xp, ends).tolist() == [0.0, 1.0]
    assert normal.log_cdf(xp, ends).tolist() == [-np.inf, 0.0]
