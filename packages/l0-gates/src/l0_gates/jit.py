"""One decorator for compiled kernels: machine code cached on disk where a place for it can be written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Array = TypeVar("Array", bound=npt.NDArray[Any])

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
    vector units): equal input still gives bit-equal output on one machine, and infinities keep their meaning. Such a
    kernel is put in the place of each call from another: of one that is called, a process that has compiled it by
    itself before would run another machine code than one that finds the caller's in the cache.

    A division by zero gives infinity or NaN, as in NumPy: a test for it keeps the compiler from using vector units.

    Machine code in the cache is that of the sources and options at hand, the other kernels' included (see `_stamp`):
    numba alone would go on with the code of a kernel whose file has not changed though one that it calls has, and
    would fail where the types of its arguments have moved to another module. An upgrade in place leaves such code
    behind.
    """
    options = _options(fastmath)
    name, stamp = function.__qualname__, _stamp(function, options)
    function.__qualname__ = f"{name}-{stamp}"  # numba names the files of its cache after it
    try:
        compiled: Any = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if _NO_PLACE not in str(error):
            raise
        compiled = numba.njit(**options)(function)
    finally:
        function.__qualname__ = name
    compiled.__qualname__, compiled.stamp = name, stamp
    kernel: Kernel = compiled
    return kernel


def fast_jit(function: Kernel) -> Kernel:
    """`jit` with ``fastmath``."""
    return jit(function, fastmath=True)


def inner_jit(function: Kernel, fastmath: bool = False) -> Kernel:
    """A piece of kernels, compiled into those that call it and by itself in no process; otherwise as `jit`.

    What kernels alone call needs neither an entry for the interpreter nor a file in the cache: both take time at the
    first fit. Called from Python it is the plain function.
    """
    options = _options(fastmath)
    part: Any = register_jitable(**options)(function)
    part.stamp = _stamp(function, options)
    kernel: Kernel = part
    return kernel


def fast_inner_jit(function: Kernel) -> Kernel:
    """`inner_jit` with ``fastmath``."""
    return inner_jit(function, fastmath=True)


def read_only(array: Array) -> Array:
    """The array as one that is not written to, whether it may be or not.

    To the compiler an array that may be written to is of another type: a kernel that is given now the one, now the
    other is compiled for each.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def _options(fastmath: bool) -> dict[str, Any]:
    """What every kernel is compiled with; an entry for C, which nobody here calls, is not made."""
    flags: bool | set[str] = _REGROUP if fastmath else False
    return {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": flags,
        "forceinline": fastmath,
        "no_cfunc_wrapper": True,
    }


def _stamp(function: Callable[..., Any], options: dict[str, Any]) -> str:
    """A digest of what machine code is made from: the kernel's file, the options, and what its module sees of others.

    That is kernels, numbers, the files of intrinsics, and the fields of named tuples in their order.
    """
    seen = function.__globals__
    made_from = hashlib.sha256(_digest(function.__code__.co_filename))
    # Numba would take code that was compiled with other options for that of this kernel.
    how = {key: sorted(value) if isinstance(value, set) else value for key, value in options.items()}
    made_from.update(repr(how).encode())
    for key in sorted(seen):
        value = seen[key]
        if isinstance(value, int | float | np.generic):
            made_from.update(f"{key} {value!r}".encode())
        elif isinstance(stamp := getattr(value, "stamp", None), str):
            made_from.update(f"{key} {stamp}".encode())
        elif callable(intrinsic := getattr(value, "_defn", None)):
            made_from.update(key.encode() + _digest(intrinsic.__code__.co_filename))
        elif isinstance(value, type) and issubclass(value, tuple):
            made_from.update(f"{value} {getattr(value, '_fields', '')}".encode())
    return made_from.hexdigest()[:12]


@lru_cache
def _digest(path: str) -> bytes:
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError:  # code that is in no file
        return b""
