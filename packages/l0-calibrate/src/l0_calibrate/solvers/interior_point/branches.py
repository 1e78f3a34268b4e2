"""Branches of the elimination tree in groups that threads share out inside compiled calls: who is free does the next.

What branches leave for the root is added to a few sums, each group to one of them and after the groups before it; the
numbers do not depend on the threads that do the work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.solvers.atomics import added, seen, swapped
from l0_calibrate.solvers.interior_point.fronts import Sums, Tree, factor_branches
from l0_calibrate.solvers.interior_point.lapack import Routines
from l0_calibrate.solvers.interior_point.substitution import PanelArrays, backward, forward
from l0_gates.jit import jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_GROUPS = 32
"""Most groups: with so many, the last to be done makes others wait for a few per cent of the time."""
_LINE = 8
"""Numbers of a cache line."""


class Groups(NamedTuple):
    """Blocks of each group, ascending, from one edge to the next; the groups with most work come first.

    ``next``, (1,), is the group that is to be done next, ``failed``, (1,), one more than the number of a block that
    could not be factored, ``turns``, (sums, 8), how many groups have been added to each of the sums.
    """

    blocks: IntArray
    edges: IntArray
    next: IntArray
    failed: IntArray
    turns: IntArray

    @classmethod
    def of(cls, branch_of: IntArray, work: FloatArray, sums: int) -> Groups:
        """Whole branches of about equal work: the largest first, each to the group with least.

        ``branch_of``, (blocks below the root,), numbers the branch of each, ``work`` is by branch; so many sums.
        """
        branches = np.flatnonzero(work)
        count = min(_GROUPS, branches.size)
        group_of, load = np.full(work.size, -1), np.zeros(count)
        for branch in branches[np.argsort(-work[branches], kind="stable")]:
            group_of[branch] = int(np.argmin(load))
            load[group_of[branch]] += work[branch]
        place = np.empty(count, dtype=np.int64)
        place[np.argsort(-load, kind="stable")] = np.arange(count)
        of_block = place[group_of[branch_of]]
        blocks = np.argsort(of_block, kind="stable")
        edges = np.searchsorted(of_block[blocks], np.arange(count + 1))
        none = np.zeros((2, _LINE), np.int64)
        return cls(blocks, edges, none[0], none[1], np.zeros((min(sums, count), _LINE), np.int64))

    @property
    def size(self) -> int:
        """How many there are."""
        return self.edges.size - 1

    def begin(self) -> None:
        """Nothing is done yet."""
        self.next[0] = self.failed[0] = 0
        self.turns[:] = 0


@jit
def factor_groups(
    use: Routines,
    groups: Groups,
    tree: Tree,
    panels: PanelArrays,
    bundles: BundleArrays,
    weights: FloatArray,
    diagonal: FloatArray,
    sums: FloatArray,
) -> None:
    """Factor groups as long as there are some; ``sums``, (sums, root, root)."""
    memory, several = np.empty(tree.room), groups.turns.shape[0]
    k: Any = added(groups.next)
    while k < groups.edges.size - 1 and seen(groups.failed) == 0:
        turn, number = groups.turns[k % several], k // several
        blocks = groups.blocks[groups.edges[k] : groups.edges[k + 1]]
        into = Sums(sums[k % several], turn, number, groups.failed, memory)
        failed = factor_branches(use, blocks, tree, panels, bundles, weights, diagonal, into)
        if failed >= 0 and seen(groups.failed) == 0:
            swapped(groups.failed, np.int64(failed + 1))
        added(turn)
        k = added(groups.next)


@jit
def forward_groups(groups: Groups, panels: PanelArrays, x: FloatArray, root: int, shares: FloatArray) -> None:
    """`forward` over groups as long as there are some; ``shares``, (groups, root), of each its own."""
    k: Any = added(groups.next)
    while k < shares.shape[0]:
        shares[k] = 0.0
        forward(groups.blocks[groups.edges[k] : groups.edges[k + 1]], panels, x, root, shares[k])
        k = added(groups.next)


@jit
def backward_groups(groups: Groups, panels: PanelArrays, x: FloatArray) -> None:
    """`backward` over groups as long as there are some."""
    k: Any = added(groups.next)
    while k < groups.edges.size - 1:
        backward(groups.blocks[groups.edges[k] : groups.edges[k + 1]], panels, x)
        k = added(groups.next)
