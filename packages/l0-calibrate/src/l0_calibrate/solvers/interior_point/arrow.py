"""``S = A D A' + diag`` assembled and factored block by block along an elimination tree (multifrontal).

Each block gathers the products of its own columns and what its children leave for it, factors its own
rows and passes the rest on to its parent (Duff & Reid 1983). Subtrees below the root are independent
and are handed to threads; what they leave is added in their order, so the numbers do not depend on the threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.lapack import cholesky, downdate, solve_rows, solve_vector
from l0_calibrate.solvers.interior_point.structure import Block, Structure
from l0_calibrate.system import ColumnArrays, Columns
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUDGE = 1e-13
"""Relative to the largest diagonal entry of a block: what its diagonal is raised by when rounding has made
it indefinite. Multiplied by 100 until it is enough."""
_NUDGES = 6


class NotPositiveDefinite(ArithmeticError):
    """The matrix cannot be factored, even nudged."""


class _Front(NamedTuple):
    """A block's part of S, row-major upper triangles: own x own, own x above, above x above."""

    own: FloatArray
    across: FloatArray
    above: FloatArray


class BlockFactor:
    """The factor of S for one matrix and structure; ``factor`` anew in each iteration, then ``solve``."""

    def __init__(self, structure: Structure, columns: Columns, threads: int) -> None:
        """``columns`` in the new order of rows and columns, row numbers ascending within each column."""
        self._structure = structure
        self._matrix = columns.arrays
        self._rows = columns.rows
        self._longest = int(np.diff(columns.indptr.astype(np.int64)).max(initial=0))
        blocks = structure.blocks
        self._children: list[list[int]] = [[] for _ in blocks]
        for k, block in enumerate(blocks):
            if block.parent >= 0:
                self._children[block.parent].append(k)
        self._own = [np.empty((b.own, b.own)) for b in blocks]
        self._across = [np.empty((b.own, b.above.size)) for b in blocks]
        branches = len(self._children[-1])
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and branches > 1 else None

    @property
    def runs_in_threads(self) -> bool:
        """Whether blocks are factored side by side (a single block leaves the threads to BLAS)."""
        return self._pool is not None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def factor(self, weights: FloatArray, diagonal: FloatArray) -> None:
        """Factor ``A diag(weights) A' + diag(diagonal)``; shapes (k,) and (m,), in the new order."""
        self._eliminate(len(self._structure.blocks) - 1, weights, diagonal, self._pool)

    def _eliminate(
        self, k: int, weights: FloatArray, diagonal: FloatArray, pool: ThreadPoolExecutor | None = None
    ) -> FloatArray:
        """Factor a subtree; what it leaves for the rows above it."""
        block = self._structure.blocks[k]
        front = _Front(self._own[k], self._across[k], np.zeros((block.above.size, block.above.size)))
        front.own[:] = 0.0
        front.across[:] = 0.0
        children = self._children[k]
        left = (
            pool.map(lambda child: self._eliminate(child, weights, diagonal), children)
            if pool is not None
            else (self._eliminate(child, weights, diagonal) for child in children)
        )
        n = block.own
        for rest in left:
            front.own[:] += rest[:n, :n]
            front.across[:] += rest[:n, n:]
            front.above[:] += rest[n:, n:]
        local = np.empty(self._rows, dtype=np.int64)
        local[block.rows[0] : block.rows[1]] = np.arange(n)
        local[block.above] = n + np.arange(block.above.size)
        _gather(*block.columns, self._matrix, local, weights, front, self._longest)
        front.own[np.diag_indices(n)] += diagonal[block.rows[0] : block.rows[1]]
        _factor_own(front.own, block)
        solve_rows(front.own, front.across)
        downdate(front.across, front.above)
        return front.above

    def solve(self, rhs: FloatArray) -> FloatArray:
        """``S^{-1} rhs``, shape (m,), in the new order."""
        x = rhs.copy()
        blocks = self._structure.blocks
        for k, block in enumerate(blocks):
            own = x[block.rows[0] : block.rows[1]]
            solve_vector(self._own[k], own, transposed=True)
            if block.above.size:
                x[block.above] -= own @ self._across[k]
        for k in reversed(range(len(blocks))):
            block = blocks[k]
            own = x[block.rows[0] : block.rows[1]]
            if block.above.size:
                own -= self._across[k] @ x[block.above]
            solve_vector(self._own[k], own, transposed=False)
        return x


def _factor_own(own: FloatArray, block: Block) -> None:
    """Cholesky in place, with a nudge where rounding has spoilt it."""
    if not own.size:
        return
    kept = np.triu(own)
    nudge = _NUDGE * max(float(np.diagonal(own).max()), np.finfo(np.float64).tiny)
    for _ in range(_NUDGES):
        if np.isfinite(nudge) and cholesky(own) == 0 and np.isfinite(own[-1, -1]):
            return
        own[:] = kept
        own[np.diag_indices(block.own)] += nudge
        nudge *= 100.0
    raise NotPositiveDefinite(f"block of rows {block.rows[0]} to {block.rows[1]}")


@fast_jit
def _gather(
    first: int,
    last: int,
    matrix: ColumnArrays,
    local: IntArray,
    weights: FloatArray,
    front: _Front,
    longest: int,
) -> None:
    """Add ``d_j a_j a_j'`` of some columns to a front; ``local`` maps rows to places in it, own rows first."""
    own, across, above = front
    n = own.shape[0]
    places = np.empty(longest, dtype=np.int64)
    entries = np.empty(longest)
    for j in range(first, last):
        start = np.int64(matrix.indptr[j])
        length = np.int64(matrix.indptr[j + 1]) - start
        split = 0
        for k in range(length):
            place = local[np.int64(matrix.indices[start + k])]
            if place < n:
                split += 1
            places[k] = place
            entries[k] = matrix.values[start + k]
        for q in range(split):
            scaled = weights[j] * entries[q]
            row = own[places[q]]
            for p in range(q, split):
                row[places[p]] += scaled * entries[p]
            row = across[places[q]]
            for p in range(split, length):
                row[places[p] - n] += scaled * entries[p]
        for q in range(split, length):
            scaled = weights[j] * entries[q]
            row = above[places[q] - n]
            for p in range(q, length):
                row[places[p] - n] += scaled * entries[p]
