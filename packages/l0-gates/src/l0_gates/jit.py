"""One decorator for compiled kernels: machine code cached on disk where a place for it can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_NO_PLACE = "no locator available"
"""How numba words that neither the package's folder nor the user's cache folder can be written."""

_REGROUP = {"reassoc", "contract", "nsz", "arcp"}
"""The relaxations of ``fastmath`` that leave NaN and infinity alone: bounds may be infinite."""


def jit(function: Kernel, fastmath: bool = False) -> Kernel:
    """Compile a kernel at its first call: without the interpreter, the lock released, cached where possible.

    On a read-only installation whose user has no writable cache folder numba refuses to decorate
    with ``cache=True``; the kernel is then compiled once in every process instead of failing at import.

    Kernels are compiled without threads and, unless asked for, without ``fastmath``, so that sums are added
    in the order in which they are written. ``fastmath`` lets the compiler regroup and fuse operations (for
    vector units): equal input still gives bit-equal output on one machine, and infinities keep their meaning.
    """
    flags: bool | set[str] = _REGROUP if fastmath else False
    try:
        compiled: Kernel = numba.njit(cache=True, nogil=True, fastmath=flags)(function)
    except RuntimeError as error:
        if _NO_PLACE not in str(error):
            raise
        compiled = numba.njit(nogil=True, fastmath=flags)(function)
    return compiled


def fast_jit(function: Kernel) -> Kernel:
    """`jit` with ``fastmath``."""
    return jit(function, fastmath=True)
