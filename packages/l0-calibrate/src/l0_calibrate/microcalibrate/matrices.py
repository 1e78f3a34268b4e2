"""From what people hand in as an estimate matrix to one sparse matrix of (targets, records)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_core import InputError

_BLOCK = 2_000_000
"""Numbers of a dense table that are looked at together: some 16 MB, whatever the size of the table."""


def host(values: Any) -> Any:
    """A tensor as an ndarray; anything else as it is."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def record_columns(matrix: Any) -> sp.csr_array:
    """A (records, targets) table as a sparse float64 (targets, records) matrix, without a dense copy of it.

    Parameters
    ----------
    matrix
        DataFrame (with dense or sparse columns), ndarray, tensor or scipy sparse.

    Raises
    ------
    InputError
        Not a table of numbers, or a value that is not finite; it names record and target column.
    """
    table = host(matrix)
    if isinstance(table, pd.DataFrame):
        rows = _from_frame(table)
    elif sp.issparse(table):
        rows = sp.csr_array(table.T)
    else:
        values = np.asarray(table)
        if values.ndim != 2:
            raise InputError(f"estimate_matrix must have two dimensions (records, targets), got shape {values.shape}")
        rows = _from_dense(values)
    if rows.dtype.kind not in "biuf":
        raise InputError(f"estimate_matrix must hold real numbers, got dtype {rows.dtype}")
    rows = rows.astype(np.float64, copy=False)
    rows.sum_duplicates()
    _check_finite(rows)
    return rows


def _from_frame(frame: pd.DataFrame) -> sp.csr_array:
    kinds = set(frame.dtypes)
    if all(isinstance(kind, pd.SparseDtype) and kind.fill_value == 0 for kind in kinds):
        return sp.csr_array(frame.sparse.to_coo().T)
    text = [str(name) for name, kind in frame.dtypes.items() if not _is_number(kind)]
    if text:
        raise InputError(f"estimate_matrix must hold numbers; these columns do not: {', '.join(text[:5])}")
    if len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype):
        return _from_dense(frame.to_numpy())  # of one kind it is there already
    width = max(1, _BLOCK // max(len(frame), 1))
    parts = [
        _from_dense(frame.iloc[:, k : k + width].to_numpy(dtype=np.float64)) for k in range(0, frame.shape[1], width)
    ]
    return sp.csr_array(sp.vstack(parts, format="csr"))


def _is_number(kind: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(kind)) and not pd.api.types.is_complex_dtype(kind)


def _from_dense(values: npt.NDArray[Any]) -> sp.csr_array:
    """The transpose of a dense table, sparse, read in the order in which it lies in memory."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"estimate_matrix must hold real numbers, got dtype {values.dtype}")
    if values.flags.f_contiguous:
        return _rows_of(values.T)
    return sp.csr_array(_rows_of(values).T)


def _rows_of(values: npt.NDArray[Any]) -> sp.csr_array:
    """A table as CSR, some rows at a time. (NaN is not zero: it stays to be found.)"""
    height, width = values.shape
    step = max(1, _BLOCK // max(width, 1))
    data, indices, counts = [], [], []
    for k in range(0, height, step):
        block = values[k : k + step]
        there = block != 0
        places = np.flatnonzero(there)
        data.append(block.ravel()[places])
        indices.append((places % width).astype(np.int32 if width < 2**31 else np.int64))
        counts.append(np.count_nonzero(there, axis=1))
    if not data:
        return sp.csr_array((height, width))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return sp.csr_array((np.concatenate(data), np.concatenate(indices), indptr), shape=(height, width))


def _check_finite(rows: sp.csr_array) -> None:
    bad = np.flatnonzero(~np.isfinite(rows.data))
    if bad.size:
        k = int(bad[0])
        target = int(np.searchsorted(rows.indptr, k, side="right")) - 1
        raise InputError(
            f"estimate_matrix holds {rows.data[k]} for record {int(rows.indices[k])}, target column {target}; "
            "every value must be finite"
        )
