"""Rows, and records, of a matrix that are the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.hashing import mixed
from l0_gates.jit import jit

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]


def fingerprints(matrix: sp.csr_array, by_rows: bool) -> HashArray:
    """A hash of the entries of each row (or record) of a canonical CSR matrix, shape (rows,) or (records,).

    Those that are equal have the same one; of two that are not, to the last bit of an entry, one pair in 2**64 has.
    """
    out = np.zeros(matrix.shape[0 if by_rows else 1], dtype=np.uint64)
    bits = matrix.data.view(np.uint32 if matrix.dtype == np.float32 else np.uint64)
    _add_hashes(matrix.indptr, matrix.indices, bits, by_rows, out)
    return out


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


@jit
def _add_hashes(indptr: IntArray, indices: IntArray, bits: HashArray, by_rows: bool, out: HashArray) -> None:
    """Hashes of places and bits, added up (modulo 2**64): whatever their size, no entry is lost beside others."""
    for i in range(indptr.size - 1):
        for p in range(indptr[i], indptr[i + 1]):
            own, across = (i, indices[p]) if by_rows else (indices[p], i)
            out[own] += mixed(mixed(np.uint64(across)) ^ np.uint64(bits[p]))


def _same_row(matrix: sp.csr_array, i: int, j: int) -> bool:
    a, b = (slice(int(matrix.indptr[r]), int(matrix.indptr[r + 1])) for r in (i, j))
    return np.array_equal(matrix.indices[a], matrix.indices[b]) and np.array_equal(matrix.data[a], matrix.data[b])
