"""From every kind of matrix that people hold to one: SciPy CSR, canonical, checked, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate.problem.labels import refuse_masked
from l0_core import InputError

_INT32 = np.iinfo(np.int32).max

_BLOCK = 1 << 21
"""Non-zeros of a block of rows: its float64 copy (16 MB) is all that a product of a float32 matrix needs."""


def frozen_csr(matrix: Any) -> sp.csr_array:
    """The matrix as CSR that nobody can write to.

    Parameters
    ----------
    matrix
        ndarray or nested sequences, pandas DataFrame (also of sparse columns), any SciPy sparse matrix
        or array, torch tensor (strided, COO, CSR or CSC). float32 stays float32, other real numbers
        become float64.

    Returns
    -------
    Indices sorted and of type int32 where they fit, no stored zeros, repeated entries added up (which is
    what they mean in SciPy and in torch). Arrays of a canonical CSR matrix that are read-only already
    are shared; everything else is copied, so that the caller's arrays stay the caller's.

    Raises
    ------
    InputError
        Not two-dimensional, empty, not of real numbers, indices out of range, entries that are not finite.
    """
    sparse = _as_sparse(matrix)
    if len(sparse.shape) != 2 or 0 in sparse.shape:
        raise InputError(
            f"the matrix must be two-dimensional (targets, records) with at least one of each, got shape {sparse.shape}"
        )
    if sparse.dtype.kind not in "fiub":
        raise InputError(f"the matrix must hold real numbers, got dtype {sparse.dtype}")
    if hasattr(sparse, "check_format"):
        try:
            sparse.check_format(full_check=True)
        except ValueError as fault:
            raise InputError(f"the sparse matrix is damaged: {fault}") from fault
    _refuse_places_outside(sparse)
    dtype = np.float32 if sparse.dtype == np.float32 else np.float64
    csr = sp.csr_array(sparse if sparse.dtype == dtype else sparse.astype(dtype))  # small integers overflow when added
    data, indices, indptr = csr.data, csr.indices, csr.indptr
    if not csr.has_canonical_format or np.count_nonzero(data) < data.size:
        csr = csr.copy()
        csr.sum_duplicates()
        csr.eliminate_zeros()
        data, indices, indptr = csr.data, csr.indices, csr.indptr
    index = np.int32 if max(max(csr.shape), indices.size) <= _INT32 else np.int64
    parts = (_own(data, dtype), _own(indices, index), _own(indptr, index))
    out = sp.csr_array(parts, shape=csr.shape, copy=False)
    for part in (out.data, out.indices, out.indptr):
        part.setflags(write=False)
    out.has_canonical_format = True
    return out


def _refuse_places_outside(sparse: Any) -> None:
    """SciPy trusts the coordinates of a COO matrix; one outside would be written to anywhere in memory."""
    if sparse.format == "coo":
        for axis, places in enumerate(sparse.coords):
            if places.size and not (places.min() >= 0 and places.max() < sparse.shape[axis]):
                raise InputError(f"the sparse matrix is damaged: a coordinate lies outside its shape {sparse.shape}")


def _own(array: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """A plain array of a type that nobody else writes to."""
    shared = array.dtype == dtype and array.flags.c_contiguous
    holder: Any = array
    while shared and isinstance(holder, np.ndarray):  # a read-only view may look at what others can write to
        shared = not holder.flags.writeable
        holder = holder.base
    if shared:
        return array
    own: npt.NDArray[Any] = np.array(array, dtype=dtype, order="C", subok=False)
    own.setflags(write=False)
    return own


def _as_sparse(matrix: Any) -> Any:
    """A SciPy sparse matrix that shares what it can with the argument."""
    if sp.issparse(matrix):
        return matrix
    if hasattr(matrix, "layout") and hasattr(matrix, "detach"):
        return _from_torch(matrix)
    if isinstance(matrix, pd.DataFrame):
        if len(matrix.columns) and all(isinstance(dtype, pd.SparseDtype) for dtype in matrix.dtypes):
            return matrix.sparse.to_coo()
        for column, kind in zip(matrix.columns, matrix.dtypes, strict=True):
            if getattr(kind, "kind", "O") not in "fiub":
                raise InputError(f"the matrix must hold real numbers; column {column!r} has dtype {kind}")
        plain = all(isinstance(kind, np.dtype) for kind in matrix.dtypes)
        values = matrix.to_numpy() if plain else matrix.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        refuse_masked(matrix, "the matrix")
        try:
            values = np.asarray(matrix)
        except (ValueError, TypeError) as fault:
            raise InputError(f"the matrix cannot be read as an array: {fault}") from fault
    if values.ndim != 2:
        raise InputError(f"the matrix must be two-dimensional (targets, records), got shape {values.shape}")
    if values.dtype.kind not in "fiub":
        raise InputError(f"the matrix must hold real numbers, got dtype {values.dtype}")
    return sp.csr_array(_widened(values))


def _widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Half precision, which SciPy's sparse matrices do not have, as float32; it is exact there."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _from_torch(tensor: Any) -> Any:
    """A torch tensor of any layout; torch itself is not imported."""
    tensor = tensor.detach().cpu()
    layout = str(tensor.layout)
    if str(tensor.dtype) in ("torch.bfloat16", "torch.float16"):  # exact in float32
        tensor = tensor.float()
    if tensor.ndim != 2:
        raise InputError(f"the matrix must be two-dimensional (targets, records), got shape {tuple(tensor.shape)}")
    shape = tuple(int(length) for length in tensor.shape)
    if layout == "torch.sparse_csr":
        parts = (tensor.values(), tensor.col_indices(), tensor.crow_indices())
        return sp.csr_array(tuple(part.numpy() for part in parts), shape=shape)
    if layout == "torch.sparse_csc":
        parts = (tensor.values(), tensor.row_indices(), tensor.ccol_indices())
        return sp.csc_array(tuple(part.numpy() for part in parts), shape=shape)
    if layout == "torch.sparse_coo":
        tensor = tensor.coalesce()
        rows, columns = tensor.indices().numpy()
        return sp.coo_array((tensor.values().numpy(), (rows, columns)), shape=shape)
    if layout != "torch.strided":
        raise InputError(f"a torch tensor of layout {layout} cannot be read; use .to_sparse_csr()")
    return sp.csr_array(tensor.numpy())


def row_blocks(matrix: sp.csr_array, most: int = _BLOCK) -> Iterator[tuple[int, int, sp.csr_array]]:
    """(first row, row after the last, those rows without a copy) with about ``most`` non-zeros each."""
    start = 0
    while start < matrix.shape[0]:
        first = int(matrix.indptr[start])
        stop = max(start + 1, int(np.searchsorted(matrix.indptr, first + most, side="right")) - 1)
        last = int(matrix.indptr[stop])
        indptr = matrix.indptr[start : stop + 1] - matrix.indptr.dtype.type(first)
        parts = (matrix.data[first:last], matrix.indices[first:last], indptr)
        yield start, stop, sp.csr_array(parts, shape=(stop - start, matrix.shape[1]))
        start = stop


def times(matrix: sp.csr_array, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``A v`` in float64, shape (rows,); a float32 matrix is widened a block of rows at a time."""
    out = np.empty(matrix.shape[0])
    for start, stop, block in row_blocks(matrix):
        out[start:stop] = block @ vector
    return out


def times_transposed(matrix: sp.csr_array, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``A' v`` in float64, shape (columns,)."""
    out = np.zeros(matrix.shape[1])
    for start, stop, block in row_blocks(matrix):
        out += block.T @ vector[start:stop]
    return out
