"""What backends ask of dtypes and matrices, in one wording."""

from __future__ import annotations

from typing import Any

import numpy as np

from l0_core.errors import InputError

_FLOATS = ("float32", "float64")
_KNOWN = (*_FLOATS, "int32", "int64", "bool")


def array_dtype(name: str) -> str:
    """The name, or InputError unless it is a dtype that every backend has."""
    if name not in _KNOWN:
        raise InputError(f"unknown dtype {name!r}; known: {', '.join(_KNOWN)}")
    return name


def float_dtype(name: str) -> str:
    """The name, or InputError unless it is ``"float32"`` or ``"float64"``."""
    if name not in _FLOATS:
        raise InputError(f"the dtype must be {' or '.join(_FLOATS)}, got {name!r}")
    return name


def checked_matrix(matrix: Any) -> None:
    """InputError unless this is a two-dimensional ndarray or scipy sparse matrix of finite real numbers."""
    if not isinstance(matrix, np.ndarray) and not (hasattr(matrix, "tocsr") and hasattr(matrix, "format")):
        raise InputError(f"the matrix must be an ndarray or scipy sparse, got {type(matrix).__name__}")
    if len(matrix.shape) != 2:
        raise InputError(f"the matrix must be two-dimensional, got shape {tuple(matrix.shape)}")
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"the matrix must hold real numbers, got dtype {matrix.dtype}")
    if matrix.dtype.kind != "f":
        return
    values = matrix if isinstance(matrix, np.ndarray) else getattr(matrix, "data", None)
    if values is None or values.dtype.kind != "f":
        values = matrix.tocsr().data
    if np.isfinite(values).all():
        return
    dense = isinstance(matrix, np.ndarray)
    coo = None if dense else matrix.tocoo()
    rows, columns = np.nonzero(~np.isfinite(matrix)) if coo is None else (coo.row, coo.col)
    found = matrix[rows, columns] if coo is None else coo.data
    first = int(np.flatnonzero(~np.isfinite(found))[0])
    raise InputError(
        f"the matrix holds {found[first]} at row {int(rows[first])}, column {int(columns[first])}; "
        "every stored value must be finite"
    )
