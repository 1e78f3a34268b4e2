"""From what people hand in as an estimate matrix to one sparse matrix of (targets, records)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from l0_core import InputError

_BLOCK = 64
"""Columns of a frame that are dense at a time."""


def host(values: Any) -> Any:
    """A tensor as an ndarray; anything else as it is."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def record_columns(matrix: Any) -> sp.csr_array:
    """A (records, targets) table as a sparse (targets, records) matrix, without a dense copy of the whole.

    Parameters
    ----------
    matrix
        DataFrame (with dense or sparse columns), ndarray, tensor or scipy sparse.

    Raises
    ------
    InputError
        Not a table, or a value that is not a finite number; it names row and column.
    """
    table = host(matrix)
    if sp.issparse(table):
        rows = sp.csr_array(table.T)
        _check(rows.data, lambda k: (int(rows.indices[k]), int(np.searchsorted(rows.indptr, k, "right")) - 1))
        return rows
    if isinstance(table, pd.DataFrame):
        return _from_frame(table)
    values = np.asarray(table)
    if values.ndim != 2:
        raise InputError(f"estimate_matrix must have two dimensions (records, targets), got shape {values.shape}")
    blocks = (values[:, k : k + _BLOCK] for k in range(0, values.shape[1], _BLOCK))
    return _stacked(list(map(_rows_of, blocks)), values.shape)


def _from_frame(frame: pd.DataFrame) -> sp.csr_array:
    blocks = []
    for k in range(0, frame.shape[1], _BLOCK):
        part = frame.iloc[:, k : k + _BLOCK]
        try:
            if all(isinstance(kind, pd.SparseDtype) and kind.fill_value == 0 for kind in part.dtypes):
                blocks.append(sp.csr_array(part.sparse.to_coo().T.astype(np.float64)))
            else:
                blocks.append(_rows_of(part.to_numpy(dtype=np.float64)))
        except (TypeError, ValueError) as error:
            names = ", ".join(str(name) for name, kind in part.dtypes.items() if kind.kind not in "biuf")
            raise InputError(f"estimate_matrix must hold finite numbers; see columns {names or k}: {error}") from error
    return _stacked(blocks, frame.shape)


def _rows_of(block: Any) -> sp.csr_array:
    """The transpose of a dense block, sparse."""
    _check(block.ravel(), lambda k: divmod(k, block.shape[1]))
    return sp.csr_array(block.T.astype(np.float64, copy=False))


def _stacked(blocks: list[sp.csr_array], shape: tuple[int, int]) -> sp.csr_array:
    if not blocks:
        return sp.csr_array((shape[1], shape[0]))
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _check(values: Any, place: Any) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        k = int(np.flatnonzero(~finite)[0])
        row, column = place(k)
        raise InputError(f"estimate_matrix holds {values[k]} for record {row}, target column {column} of its block")
