"""From what people hand in as an estimate matrix to one sparse matrix of (targets, records)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from l0_calibrate.problem.matrices import as_sparse, frozen_csr
from l0_core import InputError


def record_columns(matrix: Any) -> sp.csr_array:
    """A (records, targets) table as a sparse float64 (targets, records) matrix, without a dense copy of it.

    Parameters
    ----------
    matrix
        DataFrame (with dense or sparse columns), ndarray, tensor or scipy sparse.

    Raises
    ------
    InputError
        Not a table of real numbers, or a value that is not finite; it names record and target column.
    """
    columns = frozen_csr(as_sparse(matrix, "estimate_matrix", "(records, targets)").T).astype(np.float64, copy=False)
    bad = np.flatnonzero(~np.isfinite(columns.data))
    if bad.size:
        k = int(bad[0])
        target = int(np.searchsorted(columns.indptr, k, side="right")) - 1
        raise InputError(
            f"estimate_matrix holds {columns.data[k]} for record {int(columns.indices[k])}, target column {target}; "
            "every value must be finite"
        )
    return columns
