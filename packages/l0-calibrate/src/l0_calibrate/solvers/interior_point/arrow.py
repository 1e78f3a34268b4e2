"""``S = A D A' + diag`` assembled and factored block by block along an elimination tree (multifrontal).

Each block gathers the products of its own columns and what its children leave for it, factors its own
rows and passes the rest on to its parent (Duff & Reid 1983). Branches below the root are independent; they
are put into a few groups of about equal work, whose sums are added in their order, so that the numbers do not
depend on the threads that the groups are handed to.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.solvers.interior_point.fronts import Front, Tree, close, factor_branches
from l0_calibrate.solvers.interior_point.lapack import ROUTINES
from l0_calibrate.solvers.interior_point.numbering import Structure, block_cost
from l0_calibrate.solvers.interior_point.substitution import Panels, backward, forward
from l0_calibrate.threads import Threads

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_GROUPS = 8
"""Most groups of branches: enough for threads to be equally busy; fewer where their copies of the root's part would
take more than about an eighth of the factor. A power of two: three groups keep two threads busy for three quarters
of the time."""

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
        self._panels = Panels.of(structure)
        self._tree = Tree.of(structure, bundles.of_blocks)
        self._groups = self._grouped()
        root = self._blocks[-1]
        self._sums = [np.empty((root.own, root.own)) for _ in self._groups]
        self._shares = np.zeros((len(self._groups), root.own))
        self._workers = workers

    def _grouped(self) -> list[IntArray]:
        """Blocks of each group in ascending order: whole branches, the largest first to the group with least work."""
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
        branches = np.flatnonzero(work)
        room = self._panels.arrays.values.size / max(8 * self._blocks[-1].own ** 2, 1)
        groups = min(max(min(_GROUPS, 2 ** round(math.log2(max(room, 1.0)))), 2), branches.size)
        group_of, load = np.full(len(self._blocks), -1), np.zeros(groups)
        for branch in branches[np.argsort(-work[branches], kind="stable")]:
            group_of[branch] = int(np.argmin(load))
            load[group_of[branch]] += work[branch]
        of_block = group_of[branch_of[:last]]
        return [np.flatnonzero(of_block == g) for g in range(groups)]

    def _each_group(self, work: Callable[[int], None]) -> None:
        self._workers.all(len(self._groups), work)

    def factor(self, weights: FloatArray, diagonal: FloatArray) -> None:
        """Factor ``A diag(weights) A' + diag(diagonal)``; shapes (k,) and (m,), in the new order."""
        arrays, panels, tree = self._bundles.arrays, self._panels.arrays, self._tree

        def work(g: int) -> None:
            sums = self._sums[g]
            sums[:] = 0.0
            failed = factor_branches(ROUTINES, self._groups[g], tree, panels, arrays, weights, diagonal, sums)
            if failed >= 0:
                raise NotPositiveDefinite(f"block {failed}")

        self._each_group(work)
        root, panel = len(self._blocks) - 1, self._panels.panel(len(self._blocks) - 1)
        panel[:] = 0.0
        for part in self._sums:
            panel += part
        block, nothing = self._blocks[root], np.empty((0, 0))
        front = Front(*block.rows, block.above, panel, nothing)
        first, last = tree.of_blocks[root:]
        if not close(ROUTINES, first, last, arrays, weights, diagonal, front):
            raise NotPositiveDefinite(f"block {root}")

    def solve(self, rhs: FloatArray) -> FloatArray:
        """``S^{-1} rhs``, shape (m,), in the new order."""
        x, panels, shares = rhs.copy(), self._panels, self._shares
        root = np.array([len(self._blocks) - 1])
        first = self._blocks[-1].rows[0]
        shares[:] = 0.0
        self._each_group(lambda g: forward(self._groups[g], panels.arrays, x, first, shares[g]))
        x[first:] += shares.sum(axis=0)
        forward(root, panels.arrays, x, first, np.empty(0))
        backward(root, panels.arrays, x)
        self._each_group(lambda g: backward(self._groups[g], panels.arrays, x))
        return x
