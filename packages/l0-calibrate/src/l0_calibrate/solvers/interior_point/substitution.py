"""The factor of a block arrow in one piece, and the triangular solves with it."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ONE = np.uint64(1)


class PanelArrays(NamedTuple):
    """`Panels` as compiled kernels take them; the arrays by block have one entry more than there are blocks.

    ``values`` may go on behind the last panel, which is that of the root.
    """

    values: FloatArray
    offsets: IntArray
    row_edges: IntArray
    above: IntArray
    above_edges: IntArray


@attrs.frozen(eq=False)
class Panels:
    """For each block the row-major panel ``[U | across]`` of shape (own, own + above), all in one array."""

    arrays: PanelArrays

    @classmethod
    def of(cls, structure: Structure, squares: int = 1) -> Panels:
        """Room for the factor of a structure, and at its end for squares like the root's, this one counted."""
        blocks = structure.blocks
        own = np.array([block.own for block in blocks], dtype=np.int64)
        above = np.array([block.above.size for block in blocks], dtype=np.int64)
        offsets, row_edges, above_edges = (
            np.concatenate(([0], np.cumsum(sizes))) for sizes in (own * (own + above), own, above)
        )
        rows = np.concatenate([block.above for block in blocks]).astype(np.int64)
        size = int(offsets[-1]) + (squares - 1) * int(own[-1]) ** 2
        return cls(PanelArrays(np.empty(size), offsets, row_edges, rows, above_edges))

    def panel(self, k: int) -> FloatArray:
        """The panel of a block, in place."""
        values, offsets, row_edges, _, above_edges = self.arrays
        own = int(row_edges[k + 1] - row_edges[k])
        width = own + int(above_edges[k + 1] - above_edges[k])
        return values[int(offsets[k]) : int(offsets[k + 1])].reshape(own, width)

    def squares(self, count: int) -> FloatArray:
        """The panel of the root and the spare ones, shape (count, root, root), in place; a root may have no rows."""
        values, offsets, row_edges, _, _ = self.arrays
        own = int(row_edges[-1] - row_edges[-2])
        return values[int(offsets[-2]) :].reshape(count, own, own)


@fast_jit
def forward(blocks: IntArray, panels: PanelArrays, x: FloatArray, root: int, share: FloatArray) -> None:
    """``x <- L^{-1} x`` over some blocks in order; what falls on rows from ``root`` on goes to ``share`` instead.

    Places are unsigned: signed ones are tested for wrapping around at each use.
    """
    values, offsets, row_edges, rows, above_edges = panels
    longest = 0
    for k in blocks:
        longest = max(longest, row_edges[k + 1] - row_edges[k] + above_edges[k + 1] - above_edges[k])
    near = np.empty(longest)
    for k in blocks:
        first, n = np.uint64(row_edges[k]), np.uint64(row_edges[k + 1] - row_edges[k])
        start, width = np.uint64(above_edges[k]), n + np.uint64(above_edges[k + 1] - above_edges[k])
        at = np.uint64(offsets[k])
        for i in range(n):
            near[i] = x[first + i]
        for i in range(n, width):
            near[i] = 0.0
        for i in range(n):
            solved = near[i] / values[at + i]
            x[first + i] = solved
            for j in range(i + _ONE, width):
                near[j] -= values[at + j] * solved
            at += width
        for j in range(n, width):
            row = rows[start + (j - n)]
            if row < root:
                x[row] += near[j]
            else:
                share[row - root] += near[j]


@fast_jit
def backward(blocks: IntArray, panels: PanelArrays, x: FloatArray) -> None:
    """``x <- L^{-T} x`` over some blocks in reverse order; the rows above them are final."""
    values, offsets, row_edges, rows, above_edges = panels
    longest = 0
    for k in blocks:
        longest = max(longest, row_edges[k + 1] - row_edges[k] + above_edges[k + 1] - above_edges[k])
    near = np.empty(longest)
    for b in range(blocks.size - 1, -1, -1):
        k = blocks[b]
        first, n = np.uint64(row_edges[k]), np.uint64(row_edges[k + 1] - row_edges[k])
        start, width = np.uint64(above_edges[k]), n + np.uint64(above_edges[k + 1] - above_edges[k])
        for j in range(n, width):
            near[j] = x[rows[start + (j - n)]]
        at = np.uint64(offsets[k]) + n * width
        for c in range(n):
            i = n - _ONE - c
            at -= width
            total = 0.0
            for j in range(i + _ONE, width):
                total += values[at + j] * near[j]
            solved = (x[first + i] - total) / values[at + i]
            near[i] = solved
            x[first + i] = solved
