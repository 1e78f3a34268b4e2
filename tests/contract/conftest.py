"""Every registered backend, and one of a third party: arrays of another library on a device that is not the host."""

from __future__ import annotations

import contextlib

import array_api_strict
import numpy as np
import pytest

from l0_core import Backend, InputError, LinearMap, MissingDependencyError, get_backend
from l0_core.backends.checks import array_dtype, checked_matrix, float_dtype
from l0_core.plugins import registry


class StrictLinearMap(LinearMap):
    def __init__(self, backend: StrictBackend, matrix, dtype: str) -> None:
        self._backend = backend
        self._rows = matrix.toarray() if hasattr(matrix, "toarray") else np.array(matrix)
        self._rows = self._rows.astype(dtype)

    @property
    def shape(self):
        return self._rows.shape

    def matvec(self, x):
        return self._product(self._rows, x)

    def rmatvec(self, y):
        return self._product(self._rows.T, y)

    def _product(self, matrix, vector):
        values = self._backend.to_numpy(vector)
        if values.shape != matrix.shape[1:] or values.dtype != matrix.dtype:
            raise InputError(f"the vector must be {matrix.dtype} of shape {matrix.shape[1:]}")
        return self._backend.asarray(matrix @ values)


class StrictBackend(Backend):
    """array-api-strict: nothing but the standard, and its second device, whose arrays NumPy cannot read."""

    name = "strict"
    has_autograd = False
    xp = array_api_strict
    device = "device1"
    _device = array_api_strict.Device("device1")

    def asarray(self, values, dtype=None):
        if not isinstance(values, type(array_api_strict.zeros(0))):
            values = np.array(values)
            if values.dtype.kind not in "fiub":
                raise InputError(f"values must be real numbers or booleans, got dtype {values.dtype}")
        kind = None if dtype is None else getattr(array_api_strict, array_dtype(dtype))
        array = array_api_strict.asarray(values, device=self._device)
        return array if kind is None else array_api_strict.astype(array, kind)

    def to_numpy(self, array):
        return np.array(array.to_device(array_api_strict.Device("CPU_DEVICE")))

    def generator(self, seed):
        return np.random.default_rng(seed)

    def uniform(self, generator, shape, dtype="float64"):
        cells = 2.0**52 if float_dtype(dtype) == "float64" else 2.0**23
        draws = np.asarray(generator.random(shape, dtype=np.dtype(dtype).type))
        return self.asarray((np.floor(draws * cells) + 0.5) / cells, dtype)

    def linear_map(self, matrix, dtype=None):
        checked_matrix(matrix)
        kind = float_dtype(dtype or (str(matrix.dtype) if matrix.dtype.kind == "f" else "float64"))
        return StrictLinearMap(self, matrix, kind)


def usable() -> dict[str, Backend]:
    """The backends by name; without those for which this machine lacks a device or a package."""
    found: dict[str, Backend] = {"strict": StrictBackend()}
    for name in registry().names("backend"):
        with contextlib.suppress(MissingDependencyError):
            found[name] = get_backend(name)
    return found


BACKENDS = usable()


@pytest.fixture(params=BACKENDS)
def any_backend(request) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def backend_names() -> set[str]:
    return set(BACKENDS)
