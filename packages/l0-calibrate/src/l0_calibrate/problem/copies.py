"""Rows, and records, of a matrix that are the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.problem.matrices import entries_of_columns, times, times_transposed

IntArray = npt.NDArray[np.int64]


def fingerprints(matrix: sp.csr_array, by_rows: bool) -> npt.NDArray[np.void]:
    """Two random projections and the number of entries: equal rows (or records) agree in all of them."""
    rng = np.random.default_rng(0)
    out = np.empty((matrix.shape[0 if by_rows else 1], 3))
    for k in range(2):
        z = rng.standard_normal(matrix.shape[1 if by_rows else 0])
        out[:, k] = times(matrix, z) if by_rows else times_transposed(matrix, z)
    out[:, 2] = np.diff(matrix.indptr) if by_rows else entries_of_columns(matrix)
    return np.ascontiguousarray(out + 0.0).view([("", np.float64)] * 3).reshape(-1)


def first_copies(matrix: sp.csr_array) -> IntArray:
    """Of each row the first row that has the very same entries: itself where none before it does. Shape (rows,)."""
    _, group = np.unique(fingerprints(matrix, by_rows=True), return_inverse=True)
    firsts: dict[int, list[int]] = {}
    out = np.arange(matrix.shape[0])
    for i, g in enumerate(group.tolist()):
        known = firsts.setdefault(g, [])
        same = next((k for k in known if _same_row(matrix, k, i)), None)
        if same is None:
            known.append(i)
        else:
            out[i] = same
    return out


def _same_row(matrix: sp.csr_array, i: int, j: int) -> bool:
    a, b = (slice(int(matrix.indptr[r]), int(matrix.indptr[r + 1])) for r in (i, j))
    return np.array_equal(matrix.indices[a], matrix.indices[b]) and np.array_equal(matrix.data[a], matrix.data[b])
