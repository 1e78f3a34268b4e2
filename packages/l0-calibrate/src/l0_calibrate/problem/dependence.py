"""Which rows of a sparse matrix others determine: totals that are met for nothing where their parts are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_NOTHING = 1e-7
"""Squared distance of a row of length 1 from what others span below which it is one of their combinations."""
_SHIFT = 1e-10
"""Added to the diagonal of the Gram matrix, which repeated rows make singular."""
_ROUNDS = 8
"""Rounds that undo the shift: each takes out all but a part ``_SHIFT / (s^2 + _SHIFT)`` along a singular value s."""
_PROBES = 12
"""Random vectors: all of them would have to be nearly orthogonal to a row for it to pass for a combination."""


def determined_rows(rows: Any, kept: BoolArray) -> BoolArray:
    """Which of the rows that are not kept are combinations of kept ones.

    Parameters
    ----------
    rows
        Sparse, shape (rows, records).
    kept
        Shape (rows,).

    Returns
    -------
    Shape (rows,). A row of zeros is a combination.

    Notes
    -----
    A random vector, less its projection on the kept rows, is orthogonal to their combinations and to no other row:
    its product with a row at distance d from them is normal with deviation d. The projection needs a factor of the
    Gram matrix, which is as sparse as rows that share records are few: nothing of the size (rows x rows) is dense.
    """
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    unit = sp.csr_array(sp.diags_array(1.0 / np.sqrt(np.where(squares > 0.0, squares, 1.0))) @ rows)
    inside, outside = np.flatnonzero(kept), np.flatnonzero(~kept)
    probes = np.random.default_rng(0).standard_normal((unit.shape[1], _PROBES))
    products = unit[outside] @ _orthogonal(probes, unit[inside])
    found = np.zeros(kept.size, dtype=bool)
    found[outside] = np.square(products).mean(axis=1) <= _NOTHING
    return found


def _orthogonal(vectors: FloatArray, rows: Any) -> FloatArray:
    """Vectors, shape (records, vectors), less their projections on rows of length 1 or 0."""
    if rows.shape[0] == 0:
        return vectors
    gram = sp.csc_array(rows @ rows.T + _SHIFT * sp.eye_array(rows.shape[0]))
    factor = scipy.sparse.linalg.splu(
        gram, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    for _ in range(_ROUNDS):
        vectors = vectors - rows.T @ factor.solve(rows @ vectors)
    return vectors
