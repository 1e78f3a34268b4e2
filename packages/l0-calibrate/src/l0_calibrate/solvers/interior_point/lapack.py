"""LAPACK and BLAS on row-major blocks, in place, called from compiled kernels.

SciPy's own wrappers hold the interpreter's lock, so blocks could not be factored side by side, and many blocks are so
small that calling them from Python takes longer than the work. The routines that SciPy exports for Cython are called
by their addresses instead. A block is given by the address of its first element and the elements from one row to the
next; ``room``, shape (8,), is where routines read sizes, of one thread alone. A row-major array is the transpose of
what Fortran sees: the upper triangle here is the lower one there.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from l0_gates.jit import jit

Numbers = npt.NDArray[np.int32]

_ROWS = 64
"""Rows at a time that a triangular solve is left to BLAS: products of matrices are faster."""
ITEM = 8


class Routines(NamedTuple):
    """Addresses of routines, and of the flags and numbers that they are told; machine code in a cache has none."""

    potrf: int
    trsm: int
    syrk: int
    gemm: int
    lower: int
    no: int
    yes: int
    right: int
    one: int
    minus_one: int


_FLAGS = [ctypes.c_char(flag) for flag in (b"L", b"N", b"T", b"R")]
_FACTORS = [ctypes.c_double(value) for value in (1.0, -1.0)]
ROUTINES = Routines(
    get_cython_function_address("scipy.linalg.cython_lapack", "dpotrf"),
    *(get_cython_function_address("scipy.linalg.cython_blas", name) for name in ("dtrsm", "dsyrk", "dgemm")),
    *(ctypes.addressof(flag) for flag in _FLAGS),
    *(ctypes.addressof(factor) for factor in _FACTORS),
)


@intrinsic
def _call(_typing: Any, address: Any, arguments: Any) -> Any:
    """Call a routine without a result; a tuple of addresses is what it is told."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        routine = ir.FunctionType(ir.VoidType(), [pointer] * signature.args[1].count).as_pointer()
        told = cgutils.unpack_tuple(builder, values[1], signature.args[1].count)
        builder.call(builder.inttoptr(values[0], routine), [builder.inttoptr(one, pointer) for one in told])
        return context.get_dummy_value()

    return types.void(types.int64, arguments), code


@jit
def cholesky(use: Routines, block: int, stride: int, n: int, room: Numbers) -> int:
    """Factor a symmetric block of shape (n, n) in place from its upper triangle: ``S = U'U``.

    Returns 0, or the number (from 1) of the first row whose leading minor is not positive.
    """
    room[0], room[1], room[2] = n, stride, 0
    at: Any = np.int64(room.ctypes.data)
    if n:
        _call(use.potrf, (use.lower, at, block, at + 4, at + 8))
    return int(room[2])


@jit
def solve_rows(use: Routines, factor: int, block: int, stride: int, n: int, a: int, room: Numbers) -> None:
    """``block <- U'^{-1} block`` for the factor of `cholesky`, shapes (n, n) and (n, a), both of one panel."""
    at: Any = np.int64(room.ctypes.data)
    room[0], room[1] = a, stride
    if not a:
        return
    for first in range(0, n, _ROWS):
        target, row = block + ITEM * stride * first, factor + ITEM * stride * first
        room[2], room[3] = min(_ROWS, n - first), first
        if first:
            _call(
                use.gemm,
                (
                    use.no, use.yes, at, at + 8, at + 12, use.minus_one, block, at + 4,
                    factor + ITEM * first, at + 4, use.one, target, at + 4,
                ),
            )  # fmt: skip
        _call(
            use.trsm,
            (
                use.right, use.lower, use.yes, use.no, at, at + 8, use.one, row + ITEM * first, at + 4,
                target, at + 4,
            ),
        )  # fmt: skip


@jit
def downdate(use: Routines, block: int, stride: int, n: int, a: int, target: int, across: int, room: Numbers) -> None:
    """``target <- target - block'block``, upper triangle only, shapes (n, a) and (a, a); rows of target are across."""
    at: Any = np.int64(room.ctypes.data)
    room[0], room[1], room[2], room[3] = a, n, stride, across
    if n and a:
        _call(
            use.syrk,
            (use.lower, use.no, at, at + 4, use.minus_one, block, at + 8, use.one, target, at + 12),
        )
