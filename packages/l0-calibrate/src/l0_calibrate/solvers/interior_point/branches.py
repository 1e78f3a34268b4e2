"""Branches of the elimination tree, which threads share out inside compiled calls: who is free does the next.

What branches leave for the root is added to a few sums, each branch to one of them and after the branches before it;
the numbers do not depend on the threads that do the work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.solvers.atomics import added, seen, swapped
from l0_calibrate.solvers.interior_point.extending import RootSums
from l0_calibrate.solvers.interior_point.fronts import Left, Tree, factor_branch
from l0_calibrate.solvers.interior_point.lapack import Routines
from l0_calibrate.solvers.interior_point.substitution import PanelArrays, backward, forward
from l0_gates.jit import jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_GROUPS = 32
"""Groups of branches in which triangular solves are shared out, about: with so many, the last to be done makes others
wait for a few per cent of the time."""
_LINE = 8
"""Numbers of a cache line."""


class Branches(NamedTuple):
    """``blocks`` below the root by branches, those with most work first, ascending within each; and groups of branches.

    ``edges``, (branches + 1,), are where branches begin and end, ``groups`` such of these as bound groups. ``next``,
    (1,), is what is to be done next, ``failed``, (1,), one more than the number of a block that could not be factored,
    ``turns``, (sums, 8), how many branches have been added to each of the sums.
    """

    blocks: IntArray
    edges: IntArray
    groups: IntArray
    next: IntArray
    failed: IntArray
    turns: IntArray

    @classmethod
    def of(cls, branch_of: IntArray, work: FloatArray, sums: int) -> Branches:
        """``branch_of``, (blocks,), numbers the branch of each, ``work`` is by branch (0: none); so many sums."""
        order = np.argsort(-work, kind="stable")[: np.count_nonzero(work)]
        place = np.full(work.size, -1)
        place[order] = np.arange(order.size)
        of_block = place[branch_of]
        blocks = np.argsort(of_block, kind="stable")
        edges = np.searchsorted(of_block[blocks], np.arange(order.size + 1))
        # A group ends with the branch that fills its share of the work.
        done = np.floor(np.cumsum(work[order]) * (_GROUPS / max(work.sum(), 1e-300)) * (1.0 + 1e-12))
        ends = np.flatnonzero(np.diff(np.append(0.0, done)) > 0)
        groups = edges[np.unique(np.concatenate(([0], ends + 1, [order.size])))]
        none = np.zeros((2, _LINE), np.int64)
        return cls(blocks, edges, groups, none[0], none[1], np.zeros((min(sums, order.size), _LINE), np.int64))

    def begin(self) -> None:
        """Nothing is done yet."""
        self.next[0] = self.failed[0] = 0
        self.turns[:] = 0


@jit
def factor_all(
    branches: Branches,
    use: Routines,
    tree: Tree,
    panels: PanelArrays,
    bundles: BundleArrays,
    weights: FloatArray,
    diagonal: FloatArray,
    sums: RootSums,
) -> None:
    """Factor branches as long as there are some; what they leave for the root is in the sums then."""
    memory, several = np.empty(tree.room), branches.turns.shape[0]
    k: Any = added(branches.next)
    while k < branches.edges.size - 1 and seen(branches.failed) == 0:
        blocks = branches.blocks[branches.edges[k] : branches.edges[k + 1]]
        turn = branches.turns[k % several]
        left = Left(sums, k % several, turn, k // several, branches.failed, memory)
        failed = factor_branch(use, blocks, tree, panels, bundles, weights, diagonal, left)
        if failed >= 0 and seen(branches.failed) == 0:
            swapped(branches.failed, np.int64(failed + 1))
        added(turn)
        k = added(branches.next)


@jit
def forward_all(branches: Branches, panels: PanelArrays, x: FloatArray, root: int, shares: FloatArray) -> None:
    """`forward` over groups as long as there are some; ``shares``, (groups, root), of each its own."""
    k: Any = added(branches.next)
    while k < shares.shape[0]:
        shares[k] = 0.0
        forward(branches.blocks[branches.groups[k] : branches.groups[k + 1]], panels, x, root, shares[k])
        k = added(branches.next)


@jit
def backward_all(branches: Branches, panels: PanelArrays, x: FloatArray) -> None:
    """`backward` over groups as long as there are some."""
    k: Any = added(branches.next)
    while k < branches.groups.size - 1:
        backward(branches.blocks[branches.groups[k] : branches.groups[k + 1]], panels, x)
        k = added(branches.next)
