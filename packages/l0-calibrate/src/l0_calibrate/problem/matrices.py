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
"""Numbers that are looked at together: 16 MB in float64.

Of a dense table this is the largest copy that is made, whatever its size.
"""


def frozen_csr(matrix: Any, what: str = "the matrix", axes: str = "(targets, records)") -> sp.csr_array:
    """The matrix as CSR that nobody can write to.

    Parameters
    ----------
    matrix
        ndarray or nested sequences, pandas DataFrame (also of sparse columns), any SciPy sparse matrix
        or array, torch tensor (strided, COO, CSR or CSC). float32 stays float32, other real numbers
        become float64.
    what, axes
        What messages call the matrix and its dimensions.

    Returns
    -------
    Indices sorted and of type int32 where they fit, no stored zeros, repeated entries added up (which is
    what they mean in SciPy and in torch). Arrays of a canonical CSR matrix that are read-only already
    are shared; everything else is copied, so that the caller's arrays stay the caller's.

    Raises
    ------
    InputError
        Not two-dimensional, empty, not of real numbers, indices out of range.
    """
    sparse = as_sparse(matrix, what, axes)
    if len(sparse.shape) != 2 or 0 in sparse.shape:
        raise InputError(f"{what} must be two-dimensional {axes} with at least one of each, got shape {sparse.shape}")
    if sparse.dtype.kind not in "fiub":
        raise InputError(f"{what} must hold real numbers, got dtype {sparse.dtype}")
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


def as_sparse(matrix: Any, what: str = "the matrix", axes: str = "(targets, records)") -> Any:
    """A SciPy sparse matrix or array, of any format, that shares what it can with the argument.

    A dense table is read some rows or columns at a time, in the order in which it lies in memory: no copy of it is
    made. Explicit zeros and repeated entries of a sparse matrix stay as they are.

    Parameters
    ----------
    matrix
        See `frozen_csr`.
    what, axes
        What messages call the matrix and its dimensions.

    Raises
    ------
    InputError
        Not two-dimensional, or not of real numbers.
    """
    if sp.issparse(matrix):
        return matrix
    if hasattr(matrix, "layout") and hasattr(matrix, "detach"):
        return _from_torch(matrix, what, axes)
    if isinstance(matrix, pd.DataFrame):
        return _from_frame(matrix, what)
    refuse_masked(matrix, what)
    try:
        values = np.asarray(matrix)
    except (ValueError, TypeError) as fault:
        raise InputError(f"{what} cannot be read as an array: {fault}") from fault
    if values.ndim != 2:
        raise InputError(f"{what} must be two-dimensional {axes}, got shape {values.shape}")
    if values.dtype.kind not in "fiub":
        raise InputError(f"{what} must hold real numbers, got dtype {values.dtype}")
    return _from_dense(values)


def _from_frame(frame: pd.DataFrame, what: str) -> Any:
    """A frame of dense or sparse columns; dense ones some at a time, so that none but the caller's is whole."""
    kinds = list(frame.dtypes)
    if kinds and all(isinstance(kind, pd.SparseDtype) and kind.fill_value == 0 for kind in kinds):
        return frame.sparse.to_coo()
    for column, kind in zip(frame.columns, kinds, strict=True):
        if getattr(kind, "kind", "O") not in "fiub":
            raise InputError(f"{what} must hold real numbers; column {column!r} has dtype {kind}")
    height, width = frame.shape
    if not height * width:
        return sp.csc_array(frame.shape)
    plain = all(isinstance(kind, np.dtype) for kind in kinds)
    step = max(1, _BLOCK // height)
    parts = []
    for k in range(0, width, step):
        block = frame.iloc[:, k : k + step]
        values = block.to_numpy() if plain else block.to_numpy(dtype=np.float64, na_value=np.nan)
        parts.append(sp.csc_array(_from_dense(values)))
    return sp.hstack(parts, format="csc")


def _from_dense(values: npt.NDArray[Any]) -> Any:
    """CSR of a table that lies in memory row by row, CSC of one that lies column by column."""
    if values.flags.f_contiguous and not values.flags.c_contiguous:
        return _rows_of(values.T).T
    return _rows_of(values)


def _rows_of(values: npt.NDArray[Any]) -> sp.csr_array:
    """A table as CSR, some rows at a time. (NaN is not zero: it stays to be found.)"""
    height, width = values.shape
    if not height * width:
        return sp.csr_array((height, width))
    step = max(1, _BLOCK // width)
    data, indices, counts = [], [], []
    for k in range(0, height, step):
        block = values[k : k + step]
        there = block != 0
        places = np.flatnonzero(there)
        data.append(_widened(block.ravel()[places]))
        indices.append((places % width).astype(np.int32 if width <= _INT32 else np.int64))
        counts.append(np.count_nonzero(there, axis=1))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return sp.csr_array((np.concatenate(data), np.concatenate(indices), indptr), shape=(height, width))


def _widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Half precision, which SciPy's sparse matrices do not have, as float32; it is exact there."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _from_torch(tensor: Any, what: str, axes: str) -> Any:
    """A torch tensor of any layout; torch itself is not imported."""
    tensor = tensor.detach().cpu()
    layout = str(tensor.layout)
    if str(tensor.dtype) in ("torch.bfloat16", "torch.float16"):  # exact in float32
        tensor = tensor.float()
    if tensor.ndim != 2:
        raise InputError(f"{what} must be two-dimensional {axes}, got shape {tuple(tensor.shape)}")
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
    return _from_dense(tensor.numpy())


def row_ranges(matrix: sp.csr_array, most: int) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of stretches of rows with about ``most`` non-zeros each."""
    start = 0
    while start < matrix.shape[0]:
        stop = max(start + 1, int(np.searchsorted(matrix.indptr, int(matrix.indptr[start]) + most, side="right")) - 1)
        yield start, stop
        start = stop


def row_blocks(matrix: sp.csr_array, most: int = _BLOCK) -> Iterator[tuple[int, int, sp.csr_array]]:
    """(first row, row after the last, those rows without a copy) with about ``most`` non-zeros each."""
    for start, stop in row_ranges(matrix, most):
        first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
        indptr = matrix.indptr[start : stop + 1] - matrix.indptr.dtype.type(first)
        parts = (matrix.data[first:last], matrix.indices[first:last], indptr)
        yield start, stop, sp.csr_array(parts, shape=(stop - start, matrix.shape[1]))


def entries_of_columns(matrix: sp.csr_array) -> npt.NDArray[np.int64]:
    """Number of stored entries of each column, shape (columns,)."""
    out = np.zeros(matrix.shape[1], dtype=np.int64)
    for _, _, block in row_blocks(matrix):
        out += np.bincount(block.indices, minlength=matrix.shape[1])
    return out
