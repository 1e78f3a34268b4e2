from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import l0_core
from l0_core import InputError, MissingDependencyError
from l0_torch.backend import TorchBackend, TorchCudaBackend
from l0_torch.device import cuda_lack

no_cuda = not torch.cuda.is_available()
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(no_cuda, reason="this machine has no CUDA device"))]


@pytest.fixture(params=DEVICES)
def backend(request) -> TorchBackend:
    return TorchBackend(request.param)


def sparse(rows: int, columns: int, seed: int = 0, dtype=np.float64):
    return sp.random_array((rows, columns), density=0.3, rng=np.random.default_rng(seed), dtype=dtype, format="csr")


def test_the_registry_gives_the_torch_backend():
    found = l0_core.get_backend("torch")
    assert isinstance(found, TorchBackend)
    assert (found.name, found.device, found.has_autograd) == ("torch", "cpu", True)


@pytest.mark.skipif(not no_cuda, reason="this machine has a CUDA device")
def test_cuda_without_a_device_names_the_remedy():
    with pytest.raises(MissingDependencyError, match=r"install a CUDA build|check the driver"):
        l0_core.get_backend("torch-cuda")
    with pytest.raises(RuntimeError, match="'torch' on the CPU"):
        TorchBackend("cuda:0")


@pytest.mark.skipif(no_cuda, reason="this machine has no CUDA device")
def test_the_registry_gives_the_cuda_backend():
    found = l0_core.get_backend("torch-cuda")
    assert found.name == "torch-cuda"
    assert found.device.startswith("cuda:")


def test_the_list_of_plugins_says_where_the_device_is_missing():
    (row,) = (row for row in l0_core.plugins() if row.name == "torch-cuda")
    assert row.state == ("missing device" if no_cuda else "ok")
    assert ("CUDA" in row.detail) is no_cuda


class Driver:
    """The driver's management library, with so many devices; without one where ``devices`` is negative."""

    def __init__(self, devices: int) -> None:
        self.devices, self.ended = devices, 0

    def __call__(self, name: str) -> Driver:
        if self.devices < 0:
            raise OSError(name)
        return self

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count) -> int:
        count._obj.value = self.devices
        return 0

    def nvmlShutdown(self) -> int:
        self.ended += 1
        return 0


@pytest.mark.parametrize(
    ("version", "visible", "devices", "text"),
    [
        ("2.9.0", None, 2, ""),
        ("2.9.0", "1", 2, ""),
        ("2.9.0", "", 2, "CUDA_VISIBLE_DEVICES"),
        ("2.9.0", None, 0, "no NVIDIA driver"),
        ("2.9.0", None, -1, "no NVIDIA driver"),
        ("2.9.0+cpu", None, 2, "torch 2.9.0+cpu is not built for CUDA"),
    ],
)
def test_a_cuda_device_is_looked_for_without_torch(monkeypatch, version, visible, devices, text):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    driver = Driver(devices)
    lack = cuda_lack(driver)
    assert text in lack
    assert bool(lack) is bool(text)
    assert "torch" not in sys.modules
    assert driver.ended <= 1


def test_unknown_devices_are_refused():
    with pytest.raises(InputError, match="unknown device"):
        TorchBackend("abacus")
    with pytest.raises(InputError, match="needs a CUDA device"):
        TorchCudaBackend("cpu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "dense"])
def test_products_are_those_of_scipy(backend, dtype, kind):
    matrix = sparse(13, 29)
    given_matrix = matrix.toarray() if kind == "dense" else matrix.asformat(kind)
    found = backend.linear_map(given_matrix, dtype)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=29), rng.normal(size=13)
    rtol = 1e-5 if dtype == "float32" else 1e-13  # a row has at most 29 terms
    assert found.shape == (13, 29)
    np.testing.assert_allclose(backend.to_numpy(found.matvec(backend.asarray(x, dtype))), matrix @ x, rtol, 1e-5)
    np.testing.assert_allclose(backend.to_numpy(found.rmatvec(backend.asarray(y, dtype))), matrix.T @ y, rtol, 1e-5)


def test_gradients_flow_through_both_products_and_through_the_gradient(backend):
    found = backend.linear_map(sparse(5, 7))
    x = torch.randn(7, dtype=torch.float64, device=backend.device, requires_grad=True)
    y = torch.randn(5, dtype=torch.float64, device=backend.device, requires_grad=True)
    assert torch.autograd.gradcheck(found.matvec, (x,))
    assert torch.autograd.gradcheck(found.rmatvec, (y,))
    assert torch.autograd.gradgradcheck(lambda v: found.matvec(v) ** 3, (x,))


def test_duplicate_entries_are_added_up(backend):
    matrix = sp.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    product = backend.linear_map(matrix).matvec(backend.asarray([1.0, 10.0]))
    np.testing.assert_array_equal(backend.to_numpy(product), [30.0, 4.0])


def test_a_matrix_is_converted_once_and_again_when_it_changed(backend):
    matrix = sparse(6, 6)
    first = backend.linear_map(matrix)
    assert backend.linear_map(matrix) is first
    assert backend.linear_map(matrix, "float32") is not first
    before = backend.to_numpy(first.matvec(backend.asarray(np.ones(6))))
    matrix.data *= 10
    after = backend.to_numpy(backend.linear_map(matrix).matvec(backend.asarray(np.ones(6))))
    np.testing.assert_allclose(after, 10 * before)
    np.testing.assert_array_equal(backend.to_numpy(first.matvec(backend.asarray(np.ones(6)))), before)


def test_indices_are_32_bits_and_nothing_is_dense(backend):
    stored = backend.linear_map(sparse(6, 6)).stored(transposed=True)
    assert stored.layout == torch.sparse_csr
    assert stored.crow_indices().dtype == torch.int32


def test_wrong_vectors_and_matrices_are_refused(backend):
    found = backend.linear_map(sparse(3, 4))
    with pytest.raises(InputError, match="shape"):
        found.matvec(backend.asarray(np.ones(3)))
    with pytest.raises(InputError, match="float32"):
        found.matvec(backend.asarray(np.ones(4), "float32"))
    with pytest.raises(InputError, match="two-dimensional"):
        backend.linear_map(np.ones(3))
    with pytest.raises(InputError, match="dtype"):
        backend.linear_map(sparse(3, 4), "float16")
    with pytest.raises(InputError, match="dtype"):
        backend.asarray([1.0], "complex64")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(["float32", "float64"]))
def test_uniform_draws_are_strictly_inside_and_repeat(seed, dtype):
    backend = TorchBackend()
    state = torch.get_rng_state()
    draws = backend.uniform(backend.generator(seed), (1000,), dtype)
    again = backend.uniform(backend.generator(seed), (1000,), dtype)
    assert str(draws.dtype) == f"torch.{dtype}"
    assert bool(torch.all((draws > 0) & (draws < 1) & (draws == again)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_ends_are_reached_from_inside(monkeypatch, dtype):
    kind = getattr(torch, dtype)
    ends = torch.tensor([0.0, 1.0 - torch.finfo(kind).eps / 2], dtype=kind)  # the ends of what torch.rand draws
    monkeypatch.setattr(torch, "rand", lambda *a, **k: ends.clone())
    backend = TorchBackend()
    low, high = backend.uniform(backend.generator(0), (2,), dtype).tolist()
    assert 0 < low < 1e-6
    assert 1 - 1e-6 < high < 1
    assert low == 1 - high


def test_arrays_keep_dtype_device_and_independence(backend):
    frozen = np.arange(3.0)
    frozen.setflags(write=False)
    tensor = backend.asarray(frozen)
    tensor += 1
    np.testing.assert_array_equal(frozen, [0.0, 1.0, 2.0])
    assert tensor.device == torch.device(backend.device)
    assert backend.asarray([0.5]).dtype == torch.float64
    copy = backend.to_numpy(tensor)
    tensor += 1
    np.testing.assert_array_equal(copy, [1.0, 2.0, 3.0])
