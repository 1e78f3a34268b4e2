"""Compiled work on the fronts of blocks: gathered, factored in place, and what is left added to the parent's.

A front has a row and a column for each of the block's own rows and of the rows above it. Its own rows become the
block's panel of the factor; the rest lives in one piece of memory, used again by block after block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.bundles.kernels import extent, most_lines
from l0_calibrate.solvers.interior_point.extending import RootSums, clear, extend, extend_root
from l0_calibrate.solvers.interior_point.lapack import ITEM, Numbers, Routines, cholesky, downdate, solve_rows
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.solvers.interior_point.substitution import PanelArrays
from l0_calibrate.solvers.lanes import waited
from l0_gates.jit import fast_inner_jit, fast_jit, inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
UintArray = npt.NDArray[np.uint64]

_NUDGE = 1e-13
"""Relative to the largest diagonal entry of a block: what its diagonal is raised by when rounding has made
it indefinite. Multiplied by 100 until it is enough."""
_NUDGES = 6
_TINY = float(np.finfo(np.float64).tiny)
_TILE = 32
_ABREAST = 4
"""Columns with values on the same lines that are multiplied at a time."""
_PATIENCE = 20_000
"""Looks before a thread that waits for its turn naps between them."""
_NONE, _ONE = np.uint64(0), np.uint64(1)


class Tree(NamedTuple):
    """Of each block: its parent (-1 for the root, the last), the first block below it, and its place in memory.

    ``places``, with the edges of `PanelArrays.above`, has where the rows above it are in the parent's front; ``rests``
    where what it leaves for them begins, behind that of its parent, in memory of ``room`` elements. Blocks are in
    post-order, so of those side by side only one is begun and not closed yet.
    """

    parents: IntArray
    firsts: IntArray
    places: IntArray
    rests: IntArray
    of_blocks: IntArray
    room: int

    @classmethod
    def of(cls, structure: Structure, of_blocks: IntArray) -> Tree:
        """``of_blocks``: the first bundle of each block and, last, their number."""
        blocks = structure.blocks
        root, count = len(blocks) - 1, len(blocks)
        parents = np.array([block.parent for block in blocks], dtype=np.int64)
        firsts, rests, room = np.arange(count), np.zeros(count, dtype=np.int64), 0
        for k in range(root):
            firsts[parents[k]] = min(firsts[parents[k]], firsts[k])
        for k in reversed(range(root)):
            above = parents[k]
            if above != root:
                rests[k] = rests[above] + blocks[above].above.size ** 2
            room = max(room, int(rests[k]) + blocks[k].above.size ** 2)
        places = [np.empty(0, dtype=np.int64)]
        for block in blocks[:-1]:
            parent = blocks[block.parent]
            places.append(np.searchsorted(np.concatenate((np.arange(*parent.rows), parent.above)), block.above))
        return cls(parents, firsts, np.concatenate(places).astype(np.int64), rests, of_blocks, room)


class Left(NamedTuple):
    """Where a branch adds what it leaves for the root, when so many have added to the same sum before it.

    ``number`` is that of the sum. ``turn``, (1,), says how many have added to it; ``given_up``, (1,), that one never
    will. ``memory`` of the thread is what fronts are gathered in.
    """

    sums: RootSums
    number: int
    turn: IntArray
    before: int
    given_up: IntArray
    memory: FloatArray


class Front(NamedTuple):
    """A block's rows, the rows above it, and what is gathered for both.

    ``panel``, (own, own + above), becomes that of the factor; ``rest``, (above, above), is left for the parent.
    """

    first: int
    last: int
    above: IntArray
    panel: FloatArray
    rest: FloatArray


@inner_jit
def factor_branch(
    use: Routines,
    blocks: IntArray,
    tree: Tree,
    panels: PanelArrays,
    bundles: BundleArrays,
    weights: FloatArray,
    diagonal: FloatArray,
    left: Left,
) -> int:
    """Factor a branch, its blocks ascending; what it leaves for the root is added to a sum in turn.

    Returns -1, or the number of the first block that is not positive definite, or of one when somebody else gave up.
    """
    root = tree.parents.size - 1
    for k in blocks:
        begun = k
        while begun != root and tree.firsts[begun] == k:  # this block, and those above that begin with it
            front = _front(begun, tree, panels, left.memory)
            front.panel[:] = 0.0
            front.rest[:] = 0.0
            begun = tree.parents[begun]
        front = _front(k, tree, panels, left.memory)
        if not close(use, tree.of_blocks[k], tree.of_blocks[k + 1], bundles, weights, diagonal, front):
            return int(k)
        parent = tree.parents[k]
        places = tree.places[panels.above_edges[k] : panels.above_edges[k + 1]]
        if parent == root:
            if waited(left.turn, left.before, left.given_up, _PATIENCE) < 0:
                return int(k)
            if left.before == 0:
                clear(left.sums, left.number)
            extend_root(front.rest, places, left.sums, left.number)
        else:
            above = _front(parent, tree, panels, left.memory)
            extend(front.rest, places, above.panel, above.rest)
    return -1


@inner_jit
def _front(k: int, tree: Tree, panels: PanelArrays, memory: FloatArray) -> Front:
    """The front of a block, in place."""
    first, last = panels.row_edges[k], panels.row_edges[k + 1]
    above = panels.above[panels.above_edges[k] : panels.above_edges[k + 1]]
    n, a = last - first, above.size
    panel = panels.values[panels.offsets[k] : panels.offsets[k + 1]].reshape((n, n + a))
    return Front(first, last, above, panel, memory[tree.rests[k] : tree.rests[k] + a * a].reshape((a, a)))


@jit
def close(
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
    solve_rows(use, at, at + ITEM * n, stride, n, a, room)
    downdate(use, at + ITEM * n, stride, n, a, beyond, a, room)
    return True


@inner_jit
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
        if not np.isfinite(diagonal[i]):
            return False
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


@fast_inner_jit
def _mirror(own: FloatArray) -> None:
    """Copy the upper triangle to the lower one, by tiles: along whole rows every store would miss the cache."""
    n = own.shape[0]
    for first in range(0, n, _TILE):
        for second in range(first, n, _TILE):
            for j in range(second, min(second + _TILE, n)):
                for i in range(first, min(first + _TILE, j)):
                    own[j, i] = own[i, j]


@fast_inner_jit
def _restore(own: FloatArray, diagonal: FloatArray) -> None:
    """Copy the lower triangle back to the upper one."""
    n = own.shape[0]
    for i in range(n):
        own[i, i] = diagonal[i]
        for j in range(i + 1, n):
            own[i, j] = own[j, i]


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


@fast_inner_jit
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


@fast_inner_jit
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
