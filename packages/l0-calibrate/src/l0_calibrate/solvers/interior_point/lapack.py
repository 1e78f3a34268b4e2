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
_trsv = _routine("cython_blas", "dtrsv", 8)
_syrk = _routine("cython_blas", "dsyrk", 10)


def _flag(value: bytes) -> Any:
    return ctypes.byref(ctypes.c_char(value))


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _real(value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value))


def cholesky(block: FloatArray) -> int:
    """Factor a symmetric block in place from its upper triangle: ``S = U'U``.

    Returns 0, or the number (from 1) of the first row whose leading minor is not positive.
    """
    info = ctypes.c_int(0)
    n = block.shape[0]
    if n:
        _potrf(_flag(b"L"), _int(n), block.ctypes.data, _int(n), ctypes.byref(info))
    return int(info.value)


def solve_rows(factor: FloatArray, block: FloatArray) -> None:
    """``block <- U'^{-1} block`` for the factor of `cholesky`, shapes (n, n) and (n, a)."""
    n, a = block.shape
    if n and a:
        _trsm(
            _flag(b"R"), _flag(b"L"), _flag(b"T"), _flag(b"N"), _int(a), _int(n), _real(1.0),
            factor.ctypes.data, _int(n), block.ctypes.data, _int(a),
        )  # fmt: skip


def downdate(block: FloatArray, target: FloatArray) -> None:
    """``target <- target - block'block``, upper triangle only, shapes (n, a) and (a, a)."""
    n, a = block.shape
    if n and a:
        _syrk(
            _flag(b"L"), _flag(b"N"), _int(a), _int(n), _real(-1.0), block.ctypes.data, _int(a), _real(1.0),
            target.ctypes.data, _int(a),
        )  # fmt: skip


def solve_vector(factor: FloatArray, vector: FloatArray, *, transposed: bool) -> None:
    """``vector <- U'^{-1} vector`` (transposed) or ``U^{-1} vector``, in place, shape (n,), contiguous."""
    n = vector.size
    if n:
        trans = b"N" if transposed else b"T"
        _trsv(
            _flag(b"L"), _flag(trans), _flag(b"N"), _int(n), factor.ctypes.data, _int(n), vector.ctypes.data, _int(1)
        )  # fmt: skip
