"""``S = A D A' + diag`` assembled and factored block by block along an elimination tree (multifrontal).

Each block gathers the products of its own columns and what its children leave for it, factors its own
rows and passes the rest on to its parent (Duff & Reid 1983). Branches below the root are independent; they
are put into a few groups of about equal work, whose sums are added in their order, so that the numbers do not
depend on the threads that the groups are handed to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays, Bundles
from l0_calibrate.bundles.kernels import extent, most_lines
from l0_calibrate.solvers.interior_point.lapack import ROUTINES, Numbers, Routines, cholesky, downdate, solve_rows
from l0_calibrate.solvers.interior_point.numbering import Structure, block_cost
from l0_calibrate.solvers.interior_point.substitution import Panels, backward, forward
from l0_calibrate.threads import Threads
from l0_gates.jit import fast_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
UintArray = npt.NDArray[np.uint64]

_NUDGE = 1e-13
"""Relative to the largest diagonal entry of a block: what its diagonal is raised by when rounding has made
it indefinite. Multiplied by 100 until it is enough."""
_NUDGES = 6
_TINY = float(np.finfo(np.float64).tiny)
_TILE = 32
_GROUPS = 8
"""Most groups of branches: enough for threads to be equally busy; fewer where their copies of the root's part would
take more than about an eighth of the factor. A power of two: three groups keep two threads busy for three quarters
of the time."""


_ABREAST = 4
"""Columns with values on the same lines that are multiplied at a time."""
_SCATTERED = 10.0
"""What a multiplication costs whose product is added to a place of its own, beside one in a factorisation."""
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

    def __init__(self, structure: Structure, bundles: Bundles, workers: Threads) -> None:
        """``bundles`` of the structure's columns."""
        self._blocks = structure.blocks
        self._bundles = bundles
        self._panels = Panels.of(structure)
        self._up = [self._places(k) for k in range(len(self._blocks))]
        self._groups = self._grouped()
        root = self._blocks[-1]
        self._sums = [np.empty((root.own, root.own)) for _ in self._groups]
        self._shares = np.zeros((len(self._groups), root.own))
        self._workers = workers

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
        root = len(self._blocks) - 1

        def work(g: int) -> None:
            self._sums[g][:] = 0.0
            # What is left for a parent is added to it at once: many children side by side would take much memory.
            begun: dict[int, FloatArray] = {}
            for k in self._groups[g].tolist():
                rest = begun.pop(k) if k in begun else self._begun(k)
                self._close(k, weights, diagonal, rest)
                parent, places = self._up[k].parent, self._up[k].places
                if parent == root:
                    _extend(rest, places, self._sums[g], _NOTHING)
                else:
                    if parent not in begun:
                        begun[parent] = self._begun(parent)
                    _extend(rest, places, self._panels.panel(parent), begun[parent])

        self._each_group(work)
        panel = self._panels.panel(root)
        panel[:] = 0.0
        for part in self._sums:
            panel += part
        self._close(root, weights, diagonal, _NOTHING)

    def _begun(self, k: int) -> FloatArray:
        """An empty front: the block's panel, in place, and what it will leave for the rows above it."""
        self._panels.panel(k)[:] = 0.0
        size = self._blocks[k].above.size
        return np.zeros((size, size))

    def _close(self, k: int, weights: FloatArray, diagonal: FloatArray, above: FloatArray) -> None:
        """Gather a block's own columns into its front and factor it."""
        block, (first, last) = self._blocks[k], self._bundles.of_blocks[k : k + 2]
        front = Front(*block.rows, block.above, self._panels.panel(k), above)
        if not _closed(ROUTINES, first, last, self._bundles.arrays, weights, diagonal, front):
            raise NotPositiveDefinite(f"block of rows {block.rows[0]} to {block.rows[1]}")

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


class Front(NamedTuple):
    """A block's rows, the rows above it, and what is gathered for both.

    ``panel``, (own, own + above), becomes that of the factor; ``rest``, (above, above), is left for the parent.
    """

    first: int
    last: int
    above: IntArray
    panel: FloatArray
    rest: FloatArray


@jit
def _closed(
    use: Routines,
    first: int,
    last: int,
    bundles: BundleArrays,
    weights: FloatArray,
    diagonal: FloatArray,
    front: Front,
) -> bool:
    """Gather the columns of some bundles into a front and factor it; False where it is not positive definite."""
    begin, end, above, panel, rest = front
    n, a = end - begin, above.size
    if last > first:
        local = np.empty(max(end, above[a - 1] + 1 if a else 0), dtype=np.int64)
        for i in range(n):
            local[begin + i] = i
        for i in range(a):
            local[above[i]] = n + i
        _gather(first, last, bundles, local, weights, panel, rest)
    for i in range(n):
        panel[i, i] += diagonal[begin + i]
    room, stride = np.zeros(8, dtype=np.int32), n + a
    at: Any = np.int64(panel.ctypes.data)
    beyond: Any = np.int64(rest.ctypes.data)
    if not _factored(use, panel, room):
        return False
    solve_rows(use, at, at + 8 * n, stride, n, a, room)
    downdate(use, at + 8 * n, stride, n, a, beyond, a, room)
    return True


@jit
def _factored(use: Routines, panel: FloatArray, room: Numbers) -> bool:
    """Cholesky of the upper triangle of a panel's own rows, with a nudge where rounding has spoilt it.

    What is factored is kept in the lower triangle, which nobody reads: a dense block may be half of all memory.
    """
    n, stride = panel.shape
    if not n:
        return True
    own = panel[:, :n]
    diagonal, largest = np.empty(n), 0.0
    for i in range(n):
        diagonal[i] = own[i, i]
        largest = max(largest, diagonal[i])
    _mirror(own)
    nudge = _NUDGE * max(largest, _TINY)
    for _ in range(_NUDGES):
        if np.isfinite(nudge) and cholesky(use, panel.ctypes.data, stride, n, room) == 0 and np.isfinite(own[-1, -1]):
            return True
        for i in range(n):
            diagonal[i] += nudge
        _restore(own, diagonal)
        nudge *= 100.0
    return False


@fast_jit
def _mirror(own: FloatArray) -> None:
    """Copy the upper triangle to the lower one, by tiles: along whole rows every store would miss the cache."""
    n = own.shape[0]
    for first in range(0, n, _TILE):
        for second in range(first, n, _TILE):
            for j in range(second, min(second + _TILE, n)):
                for i in range(first, min(first + _TILE, j)):
                    own[j, i] = own[i, j]


@fast_jit
def _restore(own: FloatArray, diagonal: FloatArray) -> None:
    """Copy the lower triangle back to the upper one."""
    n = own.shape[0]
    for i in range(n):
        own[i, i] = diagonal[i]
        for j in range(i + 1, n):
            own[i, j] = own[j, i]


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
    bundles: BundleArrays,
    local: IntArray,
    weights: FloatArray,
    panel: FloatArray,
    above: FloatArray,
) -> None:
    """Add ``d_j a_j a_j'`` of the columns of some bundles to a front; ``local`` maps rows to places, own rows first.

    Products of the columns of a bundle are summed in a small dense square of its lines first.
    """
    lines, rows = most_lines(first, last, bundles), 1
    for b in range(first, last):
        rows = max(rows, bundles.row_edges[b + 1] - bundles.row_edges[b])
    square = np.empty((lines, lines))
    entries = np.zeros((_ABREAST, lines))
    # Unsigned places: signed ones are tested for wrapping around at each use.
    places, near = np.empty(rows, dtype=np.uint64), np.empty(rows)
    for b in range(first, last):
        count = np.uint64(bundles.lines[b])
        square[:count, :count] = 0.0
        for r in range(bundles.run_edges[b], bundles.run_edges[b + 1]):
            _add_products(r, bundles, weights, entries, square)
        for q in range(count):
            for p in range(q):
                square[q, p] = square[p, q]
        _spread(b, bundles, local, square, places, near, panel, above)


@fast_jit
def _add_products(r: int, bundles: BundleArrays, weights: FloatArray, entries: FloatArray, square: FloatArray) -> None:
    """Add the products of the columns of a run to the upper triangle of the square, a few at a time."""
    edge, length, count, start = extent(bundles, r)
    column = np.uint64(bundles.columns[r])
    if count == _ONE:
        for k in range(length):
            entries[0, k] = bundles.values[start + k]
        for q in range(length):
            scaled = weights[column] * entries[0, q]
            at = bundles.touched[edge + q]
            for p in range(q, length):
                square[at, bundles.touched[edge + p]] += scaled * entries[0, p]
        return
    done = _NONE
    while done < count:
        for c in range(_ABREAST):
            # Past the last column, what is in the room counts nothing.
            root = np.sqrt(weights[column + done]) if done < count else 0.0
            for k in range(length):
                entries[c, k] = root * bundles.values[start + k]
            if done < count:
                done += _ONE
                if done < count:
                    start += length
        for q in range(length):
            at = bundles.touched[edge + q]
            e0, e1, e2, e3 = entries[0, q], entries[1, q], entries[2, q], entries[3, q]
            for p in range(q, length):
                square[at, bundles.touched[edge + p]] += (e0 * entries[0, p] + e1 * entries[1, p]) + (
                    e2 * entries[2, p] + e3 * entries[3, p]
                )


@fast_jit
def _spread(
    b: int,
    bundles: BundleArrays,
    local: IntArray,
    square: FloatArray,
    places: UintArray,
    near: FloatArray,
    panel: FloatArray,
    above: FloatArray,
) -> None:
    """Add the products of the lines of a bundle to the places of its rows, the upper triangle."""
    n, width = panel.shape[0], np.uint64(panel.shape[0])
    edge = np.uint64(bundles.row_edges[b])
    rows = np.uint64(bundles.row_edges[b + 1]) - edge
    own = _NONE
    for k in range(rows):
        place = local[bundles.rows[edge + k]]
        own += np.uint64(place < n)
        places[k] = np.uint64(place if place < n else place - n)
    for q in range(rows):
        at, line = places[q], bundles.line[edge + q]
        multiple = np.float64(bundles.multiple[edge + q])
        for p in range(q, rows):
            near[p] = multiple * bundles.multiple[edge + p] * square[line, bundles.line[edge + p]]
        if q < own:
            for p in range(q, own):
                panel[at, places[p]] += near[p]
            for p in range(own, rows):
                panel[at, width + places[p]] += near[p]
        else:
            for p in range(q, rows):
                above[at, places[p]] += near[p]
