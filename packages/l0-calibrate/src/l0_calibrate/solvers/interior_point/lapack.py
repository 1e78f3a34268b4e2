"""LAPACK and BLAS on row-major blocks, in place, the interpreter's lock released.

SciPy's own wrappers hold the lock, so blocks could not be factored side by side; the routines that SciPy
exports for Cython are called directly instead. A row-major array is the transpose of what Fortran
sees: the upper triangle here is the lower one there.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.extending import get_cython_function_address

FloatArray = npt.NDArray[np.float64]


def _routine(module: str, name: str, arguments: int) -> Any:
    signature = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * arguments))
    return signature(get_cython_function_address(f"scipy.linalg.{module}", name))


_potrf = _routine("cython_lapack", "dpotrf", 5)
_trsm = _routine("cython_blas", "dtrsm", 11)
_syrk = _routine("cython_blas", "dsyrk", 10)
_gemm = _routine("cython_blas", "dgemm", 13)

_LOWER, _NO, _YES, _RIGHT = (ctypes.byref(ctypes.c_char(flag)) for flag in (b"L", b"N", b"T", b"R"))
_ONE, _MINUS_ONE = (ctypes.byref(ctypes.c_double(value)) for value in (1.0, -1.0))


_FEW_ROWS = 64
"""Rows up to which a triangular solve is left to LAPACK."""


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _stride(block: FloatArray) -> Any:
    """Elements from one row to the next: blocks may be parts of wider ones."""
    return _int(block.strides[0] // block.itemsize)


def cholesky(block: FloatArray) -> int:
    """Factor a symmetric block in place from its upper triangle: ``S = U'U``.

    Returns 0, or the number (from 1) of the first row whose leading minor is not positive.
    """
    info = ctypes.c_int(0)
    n = block.shape[0]
    if n:
        _potrf(_LOWER, _int(n), block.ctypes.data, _stride(block), ctypes.byref(info))
    return int(info.value)


def solve_rows(factor: FloatArray, block: FloatArray) -> None:
    """``block <- U'^{-1} block`` for the factor of `cholesky`, shapes (n, n) and (n, a).

    In halves, down to few rows: products of matrices are faster than triangular solves.
    """
    n, a = block.shape
    if not n or not a:
        return
    if n > _FEW_ROWS:
        half = n // 2
        solve_rows(factor[:half, :half], block[:half])
        _gemm(
            _NO, _YES, _int(a), _int(n - half), _int(half), _MINUS_ONE, block.ctypes.data, _stride(block),
            factor[:half, half:].ctypes.data, _stride(factor), _ONE, block[half:].ctypes.data, _stride(block),
        )  # fmt: skip
        solve_rows(factor[half:, half:], block[half:])
        return
    _trsm(
        _RIGHT, _LOWER, _YES, _NO, _int(a), _int(n), _ONE,
        factor.ctypes.data, _stride(factor), block.ctypes.data, _stride(block),
    )  # fmt: skip


def downdate(block: FloatArray, target: FloatArray) -> None:
    """``target <- target - block'block``, upper triangle only, shapes (n, a) and (a, a)."""
    n, a = block.shape
    if n and a:
        _syrk(
            _LOWER, _NO, _int(a), _int(n), _MINUS_ONE, block.ctypes.data, _stride(block), _ONE,
            target.ctypes.data, _stride(target),
        )  # fmt: skip
