"""The scaled system: what solvers and selectors see of a problem, made once.

With targets ``t``, reference weights ``w0`` and the matrix ``A`` of a problem, row i is divided by
``s_i = max(|t_i|, 1)`` and column j multiplied by ``w0_j``; ``b = t / s``, the unknown is ``u = w / w0``
and the residual of target i, ``r_i = (A u - b)_i``, is its relative error.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Columns:
    """A sparse matrix by columns (CSC) in the types the kernels are fastest with.

    ``indptr`` uint64 of shape (columns + 1,), ``indices`` uint32 and ``values`` float32 of shape
    (non-zeros,); row indices ascend within a column.
    """

    indptr: npt.NDArray[np.uint64]
    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]
    rows: int

    @property
    def count(self) -> int:
        """Number of columns."""
        return int(self.indptr.size - 1)

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.values.size)


@attrs.frozen(eq=False)
class ScaledSystem:
    """A problem in relative errors and ratios to the reference weights.

    Parameters
    ----------
    columns
        The scaled matrix, shape (m targets, n records).
    b
        Scaled targets, shape (m,): -1, 0 or 1 where |t| >= 1.
    scale
        ``s``, shape (m,), in the units of the targets.
    reference
        ``w0``, shape (n,), the reference (design) weights; 0 marks a record that cannot get weight.
    row_sums, column_sums
        Sums of absolute scaled entries, shapes (m,) and (n,).
    """

    columns: Columns
    b: FloatArray
    scale: FloatArray
    reference: FloatArray
    row_sums: FloatArray
    column_sums: FloatArray

    @property
    def targets(self) -> int:
        """m."""
        return int(self.b.size)

    @property
    def records(self) -> int:
        """n."""
        return int(self.reference.size)
