"""Taking rows or columns of whatever kind of table people have; the same kind comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l0_core.errors import InputError
from l0_core.real_numbers import real_array


def check_length(data: Any, length: int, axis: int, what: str) -> None:
    """InputError unless the data have ``length`` rows (axis 0) or columns (axis 1, or -1 for the last dimension)."""
    shape = getattr(data, "shape", None)
    if shape is None:
        raise InputError(
            f"data must be a tensor, ndarray, DataFrame or scipy sparse matrix, got {type(data).__name__}; "
            "wrap a list by numpy.asarray"
        )
    if not shape or len(shape) <= axis or shape[axis] != length:
        name = "columns" if axis else "rows"
        raise InputError(
            f"the data must have {length} {name}, one for each of the {what}; their shape is {tuple(shape)}"
        )


def take(data: Any, indices: npt.NDArray[np.int64], axis: int = 0) -> Any:
    """The rows (axis 0) or columns (axis 1, or -1 for the last dimension) at the given positions.

    Parameters
    ----------
    data
        Tensor, ndarray, pandas DataFrame or Series, or scipy sparse matrix or array.

    Returns
    -------
    Any
        Of the same kind: a tensor on the same device (gradients flow), a frame with its labels, a sparse
        matrix of the same format.
    """
    if isinstance(data, Tensor):
        if data.layout not in (torch.strided, torch.sparse_coo):  # torch takes no part of the others
            coo: Tensor = data.to_sparse_coo()  # type: ignore[no-untyped-call]
            return take(coo, indices, axis).to_sparse(layout=data.layout)
        return data.index_select(axis, torch.from_numpy(np.array(indices)).to(data.device))
    if isinstance(data, np.ndarray):
        return np.take(data, indices, axis=axis)
    along_rows = axis == 0 or len(data.shape) == 1
    if hasattr(data, "iloc"):
        return data.iloc[indices] if along_rows else data.iloc[:, indices]
    if hasattr(data, "tocsr") and hasattr(data, "format"):
        form = data.format
        return (data.tocsr()[indices] if along_rows else data.tocsc()[:, indices]).asformat(form)
    raise InputError(f"data must be a tensor, ndarray, DataFrame or scipy sparse matrix, got {type(data).__name__}")


def as_matrix(data: Any) -> Any:
    """The data as what a backend takes: an ndarray, or a scipy sparse matrix as it is."""
    if isinstance(data, Tensor):
        if data.layout != torch.strided:
            raise InputError("a sparse tensor is not taken here; give a scipy sparse matrix, or tensor.to_dense()")
        host = data.detach().cpu()
        return (host.float() if host.dtype == torch.bfloat16 else host).numpy()  # NumPy has no bfloat16
    if hasattr(data, "iloc"):
        try:
            return data.to_numpy(dtype=np.float64)
        except (ValueError, TypeError) as fault:
            raise InputError(f"the data must hold numbers: {fault}") from fault
    return data if hasattr(data, "tocsr") else np.asarray(data)


def refuse_not_finite(data: Any, what: str) -> None:
    """InputError that names the place of the first value that is NaN or infinite."""
    if isinstance(data, Tensor):
        dense = data.layout == torch.strided
        table = data.detach() if dense else data.detach().to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
        bad = torch.nonzero(~torch.isfinite(table if dense else table.values()))
        places = bad if dense else table.indices()[:, bad[:, 0]].T
    elif hasattr(data, "tocoo"):
        table = data.tocoo()
        places = np.column_stack(table.coords)[~np.isfinite(table.data)]
    else:
        places = np.argwhere(~np.isfinite(real_array(as_matrix(data), what)))
    if len(places):
        raise InputError(f"{what}[{', '.join(str(int(k)) for k in places[0])}] is not finite")
