"""The linear system that strategies are fitted to, checked at the door."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.errors import InputError
from l0_core.real_numbers import real_array, refuse_other_than_real

FloatArray = npt.NDArray[np.float64]


@attrs.frozen(eq=False, init=False)
class LinearSystem:
    """Totals that weighted sums of the items should meet.

    Parameters
    ----------
    matrix
        Shape (rows, items), ndarray or scipy sparse; kept as CSR.
    totals
        Shape (rows,).
    reference
        Shape (items,), the weights before, finite and not negative; ``None`` is 1 for each.

    Raises
    ------
    InputError
        On wrong shapes, other than real numbers, non-finite values (the row or item is named) or negative reference
        weights.
    """

    columns: sp.csr_array
    totals: FloatArray
    reference: FloatArray

    def __init__(self, matrix: Any, totals: Any, reference: Any = None) -> None:
        columns = sp.csr_array(matrix) if sp.issparse(matrix) else _dense(matrix)
        refuse_other_than_real(columns.dtype, "matrix")
        if not columns.has_canonical_format:
            columns = columns.copy()  # the caller's matrix stays as it is
            columns.sum_duplicates()
        if columns.dtype not in (np.float32, np.float64):
            columns = columns.astype(np.float64)
        rows, items = columns.shape
        if not rows or not items:
            raise InputError(f"matrix must have at least one row and one item, got shape {columns.shape}")
        bad = np.flatnonzero(~np.isfinite(columns.data))
        if bad.size:
            row = int(np.searchsorted(columns.indptr, bad[0], side="right")) - 1
            raise InputError(f"matrix entry in row {row}, item {columns.indices[bad[0]]} is not finite")
        right = _vector(totals, rows, "totals", "row")
        before = np.ones(items) if reference is None else _vector(reference, items, "reference", "item")
        if (before < 0.0).any():
            raise InputError(f"reference weight of item {int(np.flatnonzero(before < 0.0)[0])} is negative")
        if not before.any():
            raise InputError("reference weights are all zero; give at least one item a weight")
        self.__attrs_init__(columns, right, before)

    @property
    def items(self) -> int:
        """Number of items (columns)."""
        return int(self.columns.shape[1])


def _dense(matrix: Any) -> sp.csr_array:
    dense = real_array(matrix, "matrix")
    if dense.ndim != 2:
        raise InputError(f"matrix must have two dimensions (rows, items), got shape {dense.shape}")
    return sp.csr_array(dense if dense.dtype in (np.float32, np.float64) else dense.astype(np.float64))


def _vector(values: Any, length: int, what: str, of: str) -> FloatArray:
    array = real_array(values, what).astype(np.float64)
    if array.shape != (length,):
        raise InputError(f"{what} must have shape ({length},), one for each {of}, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(f"{what} of {of} {bad[0]} is not finite")
    return array
