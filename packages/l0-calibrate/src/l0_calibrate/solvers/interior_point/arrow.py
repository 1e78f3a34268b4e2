"""``S = A D A' + diag`` assembled and factored block by block along an elimination tree (multifrontal).

Each block gathers the products of its own columns and what its children leave for it, factors its own
rows and passes the rest on to its parent (Duff & Reid 1983). Branches below the root are independent; they
are put into a few groups of about equal work, whose sums are added in their order, so that the numbers do not
depend on the threads that the groups are handed to.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.lapack import cholesky, downdate, solve_rows
from l0_calibrate.solvers.interior_point.numbering import Structure, block_cost
from l0_calibrate.solvers.interior_point.ordering import RunArrays, Runs
from l0_calibrate.solvers.interior_point.products import extent
from l0_calibrate.solvers.interior_point.substitution import Panels, backward, forward
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUDGE = 1e-13
"""Relative to the largest diagonal entry of a block: what its diagonal is raised by when rounding has made
it indefinite. Multiplied by 100 until it is enough."""
_NUDGES = 6
_GROUPS = 8
"""Most groups of branches: enough for threads to be equally busy; fewer where their copies of the root's part would
take more than a sixteenth of the matrix."""


_ABREAST = 4
"""Columns with the same rows that are multiplied at a time."""
_NONE, _ONE = np.uint64(0), np.uint64(1)


class NotPositiveDefinite(ArithmeticError):
    """The matrix cannot be factored, even nudged."""


@attrs.frozen(eq=False)
class _Places:
    """Where the rest that a block leaves goes: its number of rows, and their places in the parent's front."""

    parent: int
    places: IntArray


class BlockFactor:
    """The factor of S for one matrix and structure; ``factor`` anew in each iteration, then ``solve``."""

    def __init__(self, structure: Structure, runs: Runs, threads: int) -> None:
        """``runs`` of the structure's columns, in its order."""
        self._blocks = structure.blocks
        self._matrix = runs.arrays
        self._rows = runs.height
        self._longest = runs.longest
        self._panels = Panels.of(structure)
        self._up = [self._places(k) for k in range(len(self._blocks))]
        self._children: list[list[int]] = [[] for _ in self._blocks]
        for k, block in enumerate(self._blocks):
            if block.parent >= 0:
                self._children[block.parent].append(k)
        self._groups = self._grouped()
        root = self._blocks[-1]
        self._sums = [np.empty((root.own, root.own)) for _ in self._groups]
        self._shares = np.zeros((len(self._groups), root.own))
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and len(self._groups) > 1 else None

    @property
    def runs_in_threads(self) -> bool:
        """Whether blocks are factored side by side (a single block leaves the threads to BLAS)."""
        return self._pool is not None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _places(self, k: int) -> _Places:
        block = self._blocks[k]
        if block.parent < 0:
            return _Places(-1, block.above)
        parent = self._blocks[block.parent]
        front = np.concatenate((np.arange(*parent.rows), parent.above))
        return _Places(block.parent, np.searchsorted(front, block.above))

    def _grouped(self) -> list[IntArray]:
        """Blocks of each group in ascending order: whole branches, the largest first to the group with least work."""
        last = len(self._blocks) - 1
        branch_of = np.arange(len(self._blocks))
        for k in reversed(range(last)):
            if self._blocks[k].parent != last:
                branch_of[k] = branch_of[self._blocks[k].parent]
        work = np.zeros(len(self._blocks))
        for k in range(last):
            block = self._blocks[k]
            entries = float(self._matrix.starts[block.runs[1]] - self._matrix.starts[block.runs[0]])
            work[branch_of[k]] += block_cost(block.own, block.above.size) + self._longest * entries
        branches = np.flatnonzero(work)
        room = int(self._matrix.values.size // max(16 * self._blocks[-1].own ** 2, 1))
        groups = min(max(min(_GROUPS, room), 2), branches.size)
        group_of, load = np.full(len(self._blocks), -1), np.zeros(groups)
        for branch in branches[np.argsort(-work[branches], kind="stable")]:
            group_of[branch] = int(np.argmin(load))
            load[group_of[branch]] += work[branch]
        of_block = group_of[branch_of[:last]]
        return [np.flatnonzero(of_block == g) for g in range(groups)]

    def _each_group(self, work: Callable[[int], None]) -> None:
        groups = range(len(self._groups))
        for _ in map(work, groups) if self._pool is None else self._pool.map(work, groups):
            pass

    def factor(self, weights: FloatArray, diagonal: FloatArray) -> None:
        """Factor ``A diag(weights) A' + diag(diagonal)``; shapes (k,) and (m,), in the new order."""
        root = len(self._blocks) - 1

        def work(g: int) -> None:
            self._sums[g][:] = 0.0
            rests: dict[int, FloatArray] = {}
            for k in self._groups[g].tolist():
                rest = self._eliminate(k, weights, diagonal, rests)
                if self._blocks[k].parent == root:
                    _extend(rest, self._up[k].places, self._sums[g], _NOTHING)
                else:
                    rests[k] = rest

        self._each_group(work)
        panel = self._panels.panel(root)
        panel[:] = 0.0
        for part in self._sums:
            panel += part
        self._close(root, weights, diagonal, _NOTHING)

    def _eliminate(self, k: int, weights: FloatArray, diagonal: FloatArray, rests: dict[int, FloatArray]) -> FloatArray:
        """Factor a block; what it leaves for the rows above it."""
        size = self._blocks[k].above.size
        panel, above = self._panels.panel(k), np.zeros((size, size))
        panel[:] = 0.0
        for child in self._children[k]:
            _extend(rests.pop(child), self._up[child].places, panel, above)
        self._close(k, weights, diagonal, above)
        return above

    def _close(self, k: int, weights: FloatArray, diagonal: FloatArray, above: FloatArray) -> None:
        """Gather a block's own columns into its front and factor it."""
        block, panel = self._blocks[k], self._panels.panel(k)
        n = block.own
        if block.runs[1] > block.runs[0]:
            local = np.empty(self._rows, dtype=np.int64)
            local[block.rows[0] : block.rows[1]] = np.arange(n)
            local[block.above] = n + np.arange(block.above.size)
            _gather(*block.runs, self._matrix, local, weights, panel, above, self._longest)
        own, across = panel[:, :n], panel[:, n:]
        own[np.diag_indices(n)] += diagonal[block.rows[0] : block.rows[1]]
        if not _factored(own):
            raise NotPositiveDefinite(f"block of rows {block.rows[0]} to {block.rows[1]}")
        solve_rows(own, across)
        downdate(across, above)

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


_NOTHING: Any = np.empty((0, 0))


def _factored(own: FloatArray) -> bool:
    """Cholesky in place, with a nudge where rounding has spoilt it; False where no nudge is enough."""
    n = own.shape[0]
    if not n:
        return True
    kept = own.copy()
    nudge = _NUDGE * max(float(np.diagonal(own).max()), np.finfo(np.float64).tiny)
    for _ in range(_NUDGES):
        if np.isfinite(nudge) and cholesky(own) == 0 and np.isfinite(own[-1, -1]):
            return True
        own[:] = kept
        own[np.diag_indices(n)] += nudge
        nudge *= 100.0
    return False


@fast_jit
def _extend(rest: FloatArray, places: IntArray, panel: FloatArray, above: FloatArray) -> None:
    """Add the upper triangle of what a child leaves to its places (ascending) in a front."""
    n = panel.shape[0]
    for q in range(places.size):
        i = places[q]
        if i < n:
            for p in range(q, places.size):
                panel[i, places[p]] += rest[q, p]
        else:
            for p in range(q, places.size):
                above[i - n, places[p] - n] += rest[q, p]


@fast_jit
def _gather(
    first: int,
    last: int,
    runs: RunArrays,
    local: IntArray,
    weights: FloatArray,
    panel: FloatArray,
    above: FloatArray,
    longest: int,
) -> None:
    """Add ``d_j a_j a_j'`` of the columns of some runs to a front; ``local`` maps rows to places in it, own rows first.

    Products of the columns of a run are summed in a small dense square first and scattered once.
    """
    n = panel.shape[0]
    # Unsigned places, in the panel and in what lies above: signed ones are tested for wrapping around at each use.
    inside, outside = np.empty(longest, dtype=np.uint64), np.empty(longest, dtype=np.uint64)
    entries = np.zeros((_ABREAST, longest))
    square = np.zeros((longest, longest))
    for r in range(first, last):
        edge, length, count, start = extent(runs, r)
        column = np.uint64(runs.columns[r])
        split = _NONE
        for k in range(length):
            place = local[runs.rows[edge + k]]
            inside[k] = np.uint64(place)
            if place < n:
                split += _ONE
            else:
                outside[k] = np.uint64(place - n)
        if count == _ONE:
            for k in range(length):
                entries[0, k] = runs.values[start + k]
            for q in range(length):
                scaled = weights[column] * entries[0, q]
                if q < split:
                    for p in range(q, length):
                        panel[inside[q], inside[p]] += scaled * entries[0, p]
                else:
                    for p in range(q, length):
                        above[outside[q], outside[p]] += scaled * entries[0, p]
            continue
        done = _NONE
        while done < count:
            for c in range(_ABREAST):
                # Past the last column, what is in the room counts nothing.
                root = np.sqrt(weights[column + done]) if done < count else 0.0
                for k in range(length):
                    entries[c, k] = root * runs.values[start + k]
                if done < count:
                    done += _ONE
                    if done < count:
                        start += length
            for q in range(length):
                e0, e1, e2, e3 = entries[0, q], entries[1, q], entries[2, q], entries[3, q]
                for p in range(q, length):
                    square[q, p] += (e0 * entries[0, p] + e1 * entries[1, p]) + (
                        e2 * entries[2, p] + e3 * entries[3, p]
                    )
        for q in range(length):
            if q < split:
                for p in range(q, length):
                    panel[inside[q], inside[p]] += square[q, p]
                    square[q, p] = 0.0
            else:
                for p in range(q, length):
                    above[outside[q], outside[p]] += square[q, p]
                    square[q, p] = 0.0
