"""``S = A D A' + diag`` assembled and factored block by block along an elimination tree (multifrontal).

Each block gathers the products of its own columns and what its children leave for it, factors its own
rows and passes the rest on to its parent (Duff & Reid 1983). Branches below the root are independent; threads share
them out (`branches`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.solvers.interior_point.branches import Branches, backward_all, factor_all, forward_all
from l0_calibrate.solvers.interior_point.extending import RootSums, add_up
from l0_calibrate.solvers.interior_point.fronts import Front, Tree, close
from l0_calibrate.solvers.interior_point.lapack import ROUTINES
from l0_calibrate.solvers.interior_point.numbering import Structure, block_cost
from l0_calibrate.solvers.interior_point.substitution import Panels, backward, forward
from l0_calibrate.threads import Threads

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SQUARES, _SHARE = 4, 16
"""Most squares for what branches leave for the root, and elements of the factor for each element of spare ones."""

_SCATTERED = 10.0
"""What a multiplication costs whose product is added to a place of its own, beside one in a factorisation."""


class NotPositiveDefinite(ArithmeticError):
    """The matrix cannot be factored, even nudged."""


class BlockFactor:
    """The factor of S for one matrix and structure; ``factor`` anew in each iteration, then ``solve``."""

    def __init__(self, structure: Structure, bundles: Bundles, workers: Threads) -> None:
        """``bundles`` of the structure's columns."""
        self._blocks = structure.blocks
        self._bundles = bundles
        root = self._blocks[-1].own
        spare = sum(block.size for block in self._blocks) // max(_SHARE * root**2, 1)
        count = min(1 + spare, _SQUARES)
        self._panels = Panels.of(structure, count)
        self._sums = RootSums(self._panels.squares(count), np.empty((count, root)))
        self._tree = Tree.of(structure, bundles.of_blocks)
        self._branches = self._parted(2 * count)
        self._shares = np.empty((self._branches.groups.size - 1, root))
        self._workers = workers

    def _parted(self, sums: int) -> Branches:
        last = len(self._blocks) - 1
        branch_of = np.arange(len(self._blocks))
        for k in reversed(range(last)):
            if self._blocks[k].parent != last:
                branch_of[k] = branch_of[self._blocks[k].parent]
        work = np.zeros(len(self._blocks))
        gathering = np.diff(self._bundles.work[self._bundles.of_blocks])
        for k in range(last):
            block = self._blocks[k]
            work[branch_of[k]] += block_cost(block.own, block.above.size) + _SCATTERED * gathering[k]
        return Branches.of(branch_of[:last], work, sums)

    def _on_all(self, parts: int, kernel: Callable[..., None], *arguments: Any) -> None:
        """``kernel(branches, *arguments)`` on every thread that there is a part of the work for."""
        branches = self._branches
        branches.begin()

        def work(_: int) -> None:
            try:
                kernel(branches, *arguments)
            except BaseException:
                branches.failed[0] = 1  # nobody is to wait for what this thread has begun
                raise

        self._workers.all(min(self._workers.count, parts), work)

    def factor(self, weights: FloatArray, diagonal: FloatArray) -> None:
        """Factor ``A diag(weights) A' + diag(diagonal)``; shapes (k,) and (m,), in the new order."""
        arrays, panels, tree, branches = self._bundles.arrays, self._panels.arrays, self._tree, self._branches
        parts = branches.edges.size - 1
        self._on_all(parts, factor_all, ROUTINES, tree, panels, arrays, weights, diagonal, self._sums)
        if branches.failed[0]:
            raise NotPositiveDefinite(f"block {branches.failed[0] - 1}")
        root, panel = len(self._blocks) - 1, self._panels.panel(len(self._blocks) - 1)
        add_up(self._sums, branches.turns.shape[0])
        block, nothing = self._blocks[root], np.empty((0, 0))
        front = Front(*block.rows, block.above, panel, nothing)
        first, last = tree.of_blocks[root:]
        if not close(ROUTINES, first, last, arrays, weights, diagonal, front):
            raise NotPositiveDefinite(f"block {root}")

    def solve(self, rhs: FloatArray) -> FloatArray:
        """``S^{-1} rhs``, shape (m,), in the new order."""
        x, panels, parts = rhs.copy(), self._panels.arrays, self._shares.shape[0]
        root = np.array([len(self._blocks) - 1])
        first = self._blocks[-1].rows[0]
        self._on_all(parts, forward_all, panels, x, first, self._shares)
        x[first:] += self._shares.sum(axis=0)
        forward(root, panels, x, first, np.empty(0))
        backward(root, panels, x)
        self._on_all(parts, backward_all, panels, x)
        return x
