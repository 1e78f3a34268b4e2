"""Linear maps made of others: columns that visit the device a block at a time, and centred columns."""

from __future__ import annotations

from typing import Any

import scipy.sparse as sp

from l0_core.backends.base import Backend, LinearMap

Array = Any


class ColumnBlocks(LinearMap):
    """The matrix in blocks of columns that stay on the host; each is moved for its product and let go after it.

    Nothing of a block is remembered on the device, so that memory there is that of one block; the price is
    its transfer in every product.
    """

    def __init__(self, backend: Backend, matrix: sp.sparray, dtype: str, block_size: int) -> None:
        self._backend, self._dtype, self._shape = backend, dtype, matrix.shape
        columns = matrix.tocsc()
        starts = range(0, matrix.shape[1], block_size)
        self._spans = [(start, min(start + block_size, matrix.shape[1])) for start in starts]
        by_columns = [sp.csc_array(columns[:, start:end]) for start, end in self._spans]
        self._blocks = [sp.csr_array(block) for block in by_columns]
        # A matrix by columns is its transpose by rows: no visit has to transpose anything.
        self._transposed = [sp.csr_array(block.T) for block in by_columns]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self._shape[0]), int(self._shape[1])

    def _map(self, block: sp.csr_array) -> LinearMap:
        # An object of its own for each visit: backends remember what they built for as long as the matrix lives.
        visitor = sp.csr_array((block.data, block.indices, block.indptr), shape=block.shape, copy=False)
        return self._backend.linear_map(visitor, self._dtype)

    def matvec(self, x: Array) -> Array:
        """``A @ x``: the blocks' products added up in order."""
        total: Array = None
        for (start, end), block in zip(self._spans, self._blocks, strict=True):
            part = self._map(block).matvec(x[start:end])
            total = part if total is None else total + part
        return total

    def rmatvec(self, y: Array) -> Array:
        """``A.T @ y``: the blocks' products one after another."""
        return self._backend.xp.concat([self._map(block).matvec(y) for block in self._transposed])


class CentredColumns(LinearMap):
    """``A - 1 means'`` without forming it: a sparse ``A`` stays sparse.

    Parameters
    ----------
    means
        Shape (columns,), on the backend.
    """

    def __init__(self, backend: Backend, linear: LinearMap, means: Array) -> None:
        self._xp, self._linear, self._means = backend.xp, linear, means

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self._linear.shape

    def matvec(self, x: Array) -> Array:
        """``A x - 1 (means'x)``."""
        return self._linear.matvec(x) - self._xp.sum(self._means * x)

    def rmatvec(self, y: Array) -> Array:
        """``A'y - means (1'y)``."""
        return self._linear.rmatvec(y) - self._means * self._xp.sum(y)
