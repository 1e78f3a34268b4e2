"""Passes over the rows of a matrix, with nothing of its size beside it: its product with weights, rows in reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.memory import give_back_mapped
from l0_calibrate.problem.matrices import row_ranges
from l0_gates.jit import jit, read_only

FloatArray = npt.NDArray[np.float64]

_AT_A_TIME = 1 << 16
"""Entries after which what is mapped from a file is given back: half a MB."""


def times(matrix: sp.csr_array, vector: FloatArray) -> FloatArray:
    """``A v`` in float64, shape (rows,), each row summed in the order of its entries."""
    out = np.empty(matrix.shape[0])
    _pass(matrix, _times, read_only(matrix.data), read_only(vector), out)
    return out


def reached(matrix: sp.csr_array, usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows have an entry in a usable column, shape (rows,)."""
    out = np.zeros(matrix.shape[0], dtype=np.bool_)
    _pass(matrix, _reached, usable, out)
    return out


def _pass(matrix: sp.csr_array, kernel: Callable[..., None], *arguments: Any) -> None:
    indptr, indices = read_only(matrix.indptr), read_only(matrix.indices)
    for start, stop in row_ranges(matrix, _AT_A_TIME):
        kernel(start, stop, indptr, indices, *arguments)
        give_back_mapped(matrix)


@jit
def _times(
    start: int,
    stop: int,
    indptr: npt.NDArray[Any],
    indices: npt.NDArray[Any],
    data: npt.NDArray[Any],
    vector: FloatArray,
    out: FloatArray,
) -> None:
    for i in range(start, stop):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[p]) * vector[indices[p]]
        out[i] = total


@jit
def _reached(
    start: int,
    stop: int,
    indptr: npt.NDArray[Any],
    indices: npt.NDArray[Any],
    usable: npt.NDArray[np.bool_],
    out: npt.NDArray[np.bool_],
) -> None:
    for i in range(start, stop):
        for p in range(indptr[i], indptr[i + 1]):
            if usable[indices[p]]:
                out[i] = True
                break
