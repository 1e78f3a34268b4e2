"""How the formulas take arrays: one library, one kind of number, gradients stopped where it is asked."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from l0_core import HardConcrete, InputError
from l0_core.distributions.arrays import floating, stop_gradient


def test_numbers_take_the_dtype_and_the_device_of_the_arrays():
    _, (number, array) = floating(z=0.5, log_alpha=np.ones(3, dtype=np.float32))
    assert number.dtype == array.dtype == np.float32
    elsewhere = array_api_strict.ones(3, device=array_api_strict.Device("device1"))
    xp, (number, _) = floating(z=1, log_alpha=elsewhere)
    assert xp is array_api_strict
    assert number.device == elsewhere.device
    assert number.dtype == elsewhere.dtype


def test_numbers_alone_are_double():
    xp, (first, second) = floating(z=1, log_alpha=0.5)
    assert first.dtype == second.dtype == np.float64
    assert xp.isdtype(first.dtype, "real floating")


def test_arrays_are_handed_back_as_they_are():
    array = np.ones(3)
    assert floating(log_alpha=array)[1][0] is array


@pytest.mark.parametrize("bad", [np.array([1, 2]), np.array([True]), np.array([1j]), [0.5], "half", None])
def test_the_argument_that_cannot_be_is_named(bad):
    with pytest.raises(InputError, match="uniform must"):
        HardConcrete().sample(np.zeros(2), bad)


def test_arrays_of_two_libraries_are_refused():
    with pytest.raises(InputError, match="one library"):
        floating(log_alpha=np.ones(2), uniform=array_api_strict.ones(2))
    # Also when both are known already.
    for array in (np.ones(2), array_api_strict.ones(2)):
        floating(log_alpha=array)
    with pytest.raises(InputError, match="one library"):
        floating(log_alpha=np.ones(2), uniform=array_api_strict.ones(2))


def test_gradients_stop_where_there_are_any():
    array = np.ones(2)
    assert stop_gradient(array) is array
    torch = pytest.importorskip("torch")
    leaf = torch.ones(2, requires_grad=True)
    assert not stop_gradient(leaf).requires_grad
    assert torch.equal(stop_gradient(leaf), leaf)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": -float("inf")}, "gamma"),
        ({"zeta": 1.0}, "zeta"),
        ({"zeta": "wide"}, "number"),
    ],
)
def test_parameters_of_the_law_are_checked(settings, text):
    with pytest.raises(InputError, match=text):
        HardConcrete(**settings)
    assert HardConcrete(0.5).with_temperature(0.25) == HardConcrete(0.25)
    with pytest.raises(InputError, match="temperature"):
        HardConcrete().with_temperature(-1.0)


def test_arrays_on_two_devices_are_refused_by_name():
    torch = pytest.importorskip("torch")
    here, elsewhere = torch.zeros(3), torch.full((3,), 0.5, device="meta")
    with pytest.raises(InputError, match=r"one device, got log_alpha: cpu, uniform: meta"):
        HardConcrete().sample(here, elsewhere)
