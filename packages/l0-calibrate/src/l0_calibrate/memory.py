"""How much memory there is; what nobody uses goes back to the system, which would count it to the process."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp


def physical_memory() -> int | None:
    """Bytes of memory of this machine, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # no such function, or no such number
        return None


def can_unmap() -> bool:
    """Whether the system can be told to take back the memory of a mapped file."""
    return hasattr(mmap, "MADV_DONTNEED")


def give_back_mapped(matrix: sp.csr_array) -> None:
    """Give back the memory of arrays that are mapped from a file; they are read again when they are used again.

    The kernel could take it at any time (the pages are those of the file), but counts it to the process until then.
    """
    if can_unmap():
        for array in (matrix.data, matrix.indices, matrix.indptr):
            holder: Any = array
            while isinstance(holder, np.ndarray):
                holder = holder.base
            if isinstance(holder, mmap.mmap):
                holder.madvise(mmap.MADV_DONTNEED)


@cache
def _trim() -> Any:
    """glibc's own function for it; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None


def give_back_freed() -> None:
    """Give back what was freed and the C library holds on to, for the next array that fits (GNU/Linux only).

    What preparing a fit takes and frees is as much as a small matrix, and lies below arrays that are still in use.
    """
    if (trim := _trim()) is not None:
        trim(0)
