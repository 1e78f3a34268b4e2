"""The torch backends: arrays, generators and sparse linear maps on the CPU or on a CUDA device."""

from __future__ import annotations

import warnings
from typing import Any

import array_api_compat.torch as torch_namespace
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l0_core.backends.base import Backend, LinearMap
from l0_core.backends.checks import array_dtype, checked_matrix, float_dtype
from l0_core.backends.matrix_cache import MatrixCache
from l0_core.backends.numpy import row_stored
from l0_core.errors import InputError, MissingDependencyError
from l0_core.selection import check_seed

_CACHE = MatrixCache()


class CudaUnavailableError(MissingDependencyError, RuntimeError):
    """A CUDA device was asked for and there is none that this torch can use; the text names the remedy."""


def _check_device(device: str) -> torch.device:
    """The device, with its index where it is a CUDA one, or an error that says what to do."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"unknown device {device!r}; give 'cpu', 'cuda' or 'cuda:0': {error}") from None
    if found.type != "cuda":
        return found
    if torch.version.cuda is None and torch.version.hip is None:
        raise CudaUnavailableError(
            f"device {device!r} needs a torch that is built for CUDA; torch {torch.__version__} is not: "
            "install a CUDA build of torch, or use the backend 'torch' on the CPU"
        )
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or count == 0:
        raise CudaUnavailableError(
            f"device {device!r}: torch {torch.__version__} sees no CUDA device; check the driver (nvidia-smi) and "
            "CUDA_VISIBLE_DEVICES, or use the backend 'torch' on the CPU"
        )
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= count:
        raise CudaUnavailableError(f"device {device!r} does not exist; this machine has cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


class _Product(torch.autograd.Function):
    """``matrix @ x``, whose vector-Jacobian product is that of the stored transpose.

    Autograd's own rule would build the transpose anew in every backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: TorchLinearMap, transposed: bool) -> Tensor:
        ctx.linear, ctx.transposed = linear, transposed
        return linear.stored(transposed) @ x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Product.apply(grads[0], ctx.linear, not ctx.transposed), None, None  # type: ignore[no-untyped-call]


class TorchLinearMap(LinearMap):
    """A matrix and, from the first product with it, its transpose, both stored by rows (CSR, or dense) on one device.

    Parameters
    ----------
    rows
        The matrix by rows on the host, shape (rows, columns); kept until the transpose is made of it.
    device
        Where the products are taken.
    """

    def __init__(self, rows: Any, device: torch.device) -> None:
        self._device = device
        self._rows: Any = rows
        self._matrix = _on_device(rows, device)
        self._transpose: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self._matrix.shape
        return int(rows), int(columns)

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored values; that of the vectors must be the same."""
        return self._matrix.dtype

    def stored(self, transposed: bool) -> Tensor:
        """The matrix or its transpose, by rows on the device."""
        if not transposed:
            return self._matrix
        if self._transpose is None:
            self._transpose = _on_device(row_stored(self._rows.T, copy=False), self._device)
            self._rows = None
        return self._transpose

    def matvec(self, x: Tensor) -> Tensor:
        """``A @ x``, shape (rows,); differentiable in x, any number of times."""
        return self._product(x, False)

    def rmatvec(self, y: Tensor) -> Tensor:
        """``A.T @ y``, shape (columns,); differentiable in y, any number of times."""
        return self._product(y, True)

    def _product(self, x: Tensor, transposed: bool) -> Tensor:
        matrix, length = self._matrix, self.shape[0 if transposed else 1]
        if not isinstance(x, Tensor) or tuple(x.shape) != (length,):
            raise InputError(f"the vector must be a tensor of shape ({length},), got {np.shape(x)}")
        if x.device != matrix.device or x.dtype != matrix.dtype:
            raise InputError(
                f"the vector is {x.dtype} on {x.device} and the matrix {matrix.dtype} on {matrix.device}; "
                "use backend.asarray"
            )
        result: Tensor = _Product.apply(x, self, transposed)  # type: ignore[no-untyped-call]
        return result


def _on_device(rows: Any, device: torch.device) -> Tensor:
    """A matrix by rows as a tensor on the device, sharing memory with the given one on the CPU."""
    if isinstance(rows, np.ndarray):
        return torch.from_numpy(rows).to(device)
    with warnings.catch_warnings():
        # torch says once in a process that CSR tensors are in beta; the products used here are tested.
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr),
            torch.from_numpy(rows.indices),
            torch.from_numpy(rows.data),
            size=rows.shape,
            device=device,
            check_invariants=False,
        )


class TorchBackend(Backend):
    """Torch on one device.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"`` (the current one) or ``"cuda:1"``.

    Raises
    ------
    InputError
        For a device that torch does not know.
    CudaUnavailableError
        For a CUDA device that is not there (an ImportError and a RuntimeError).
    """

    name = "torch"
    has_autograd = True

    def __init__(self, device: str = "cpu") -> None:
        self._device = _check_device(device)

    @property
    def xp(self) -> Any:
        """``array_api_compat.torch``."""
        return torch_namespace

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:0"``."""
        return str(self._device)

    def asarray(self, values: Any, dtype: str | None = None) -> Tensor:
        """A tensor on this device; of NumPy arrays and sequences a copy, of tensors itself where it fits already."""
        wanted = None if dtype is None else _torch_dtype(array_dtype(dtype))
        if isinstance(values, Tensor):
            return values.to(device=self._device, dtype=wanted)
        # Through NumPy, so that Python floats become float64 whatever torch's default dtype is;
        # copied, so that torch never writes into memory that the caller shares (or has frozen).
        array = np.array(values, copy=True, order="C")
        if array.dtype.kind not in "fiub":
            raise InputError(f"values must be real numbers or booleans, got dtype {array.dtype}")
        return torch.from_numpy(array).to(device=self._device, dtype=wanted)

    def to_numpy(self, array: Tensor) -> npt.NDArray[Any]:
        """A NumPy copy on the host, without a gradient."""
        if not isinstance(array, Tensor):
            raise InputError(f"the torch backend holds tensors, got {type(array).__name__}")
        return np.array(array.detach().cpu().numpy(), copy=True)

    def generator(self, seed: int) -> torch.Generator:
        """A generator on this device that nothing else touches."""
        return torch.Generator(device=self._device).manual_seed(check_seed(seed))

    def uniform(self, generator: torch.Generator, shape: tuple[int, ...], dtype: str = "float64") -> Tensor:
        """Draws on the midpoints of a grid of 2^-52 (float64) or 2^-23 (float32), so never 0 or 1."""
        return open_uniform(shape, _torch_dtype(float_dtype(dtype)), self._device, generator)

    def linear_map(self, matrix: Any, dtype: str | None = None) -> TorchLinearMap:
        """The matrix and its transpose by rows on this device, remembered while the matrix lives unchanged.

        Raises
        ------
        InputError
            Not a two-dimensional ndarray or scipy sparse matrix of real numbers, or a value is not finite.
        """
        checked_matrix(matrix)
        kind = float_dtype(dtype or (str(matrix.dtype) if matrix.dtype.kind == "f" else "float64"))

        def build() -> TorchLinearMap:
            return TorchLinearMap(row_stored(matrix, np.dtype(kind)), self._device)

        return _CACHE.get(matrix, (self.device, kind), build)


def _torch_dtype(name: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def open_uniform(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str, generator: torch.Generator | None
) -> Tensor:
    """Draws on the midpoints of a grid on (0, 1), for which the law of u is exactly that of 1 - u.

    Parameters
    ----------
    generator
        Of the device; ``None`` is torch's global one.
    """
    cells = 2.0**52 if dtype == torch.float64 else 2.0**23
    draws = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    return draws.mul_(cells).floor_().add_(0.5).div_(cells)


class TorchCudaBackend(TorchBackend):
    """Torch on a CUDA device.

    Parameters
    ----------
    device
        ``"cuda"`` (the current one) or ``"cuda:1"``.
    """

    name = "torch-cuda"

    def __init__(self, device: str = "cuda") -> None:
        super().__init__(device)
        if self._device.type != "cuda":
            raise InputError(f"the backend 'torch-cuda' needs a CUDA device, got {device!r}; 'torch' takes the others")
