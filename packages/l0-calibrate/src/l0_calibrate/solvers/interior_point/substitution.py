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


class PanelArrays(NamedTuple):
    """`Panels` as compiled kernels take them; the arrays by block have one entry more than there are blocks."""

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
    def of(cls, structure: Structure) -> Panels:
        """Room for the factor of a structure."""
        blocks = structure.blocks
        own = np.array([block.own for block in blocks], dtype=np.int64)
        above = np.array([block.above.size for block in blocks], dtype=np.int64)
        offsets, row_edges, above_edges = (
            np.concatenate(([0], np.cumsum(sizes))) for sizes in (own * (own + above), own, above)
        )
        rows = np.concatenate([block.above for block in blocks]).astype(np.int64)
        return cls(PanelArrays(np.empty(int(offsets[-1])), offsets, row_edges, rows, above_edges))

    def panel(self, k: int) -> FloatArray:
        """The panel of a block, in place."""
        values, offsets, row_edges, _, above_edges = self.arrays
        own = int(row_edges[k + 1] - row_edges[k])
        width = own + int(above_edges[k + 1] - above_edges[k])
        return values[int(offsets[k]) : int(offsets[k + 1])].reshape(own, width)


@fast_jit
def forward(blocks: IntArray, panels: PanelArrays, x: FloatArray, root: int, share: FloatArray) -> None:
    """``x <- L^{-1} x`` over some blocks in order; what falls on rows from ``root`` on goes to ``share`` instead."""
    values, offsets, row_edges, rows, above_edges = panels
    for k in blocks:
        first, n = row_edges[k], row_edges[k + 1] - row_edges[k]
        start, a = above_edges[k], above_edges[k + 1] - above_edges[k]
        left = np.zeros(a)
        at = offsets[k]
        for i in range(n):
            solved = x[first + i] / values[at + i]
            x[first + i] = solved
            own = values[at + i + 1 : at + n]
            rest = x[first + i + 1 : first + n]
            for j in range(own.size):
                rest[j] -= own[j] * solved
            across = values[at + n : at + n + a]
            for j in range(a):
                left[j] += across[j] * solved
            at += n + a
        for j in range(a):
            row = rows[start + j]
            if row < root:
                x[row] -= left[j]
            else:
                share[row - root] -= left[j]


@fast_jit
def backward(blocks: IntArray, panels: PanelArrays, x: FloatArray) -> None:
    """``x <- L^{-T} x`` over some blocks in reverse order; the rows above them are final."""
    values, offsets, row_edges, rows, above_edges = panels
    for b in range(blocks.size - 1, -1, -1):
        k = blocks[b]
        first, n = row_edges[k], row_edges[k + 1] - row_edges[k]
        start, a = above_edges[k], above_edges[k + 1] - above_edges[k]
        known = np.empty(a)
        for j in range(a):
            known[j] = x[rows[start + j]]
        for i in range(n - 1, -1, -1):
            at = offsets[k] + i * (n + a)
            value = x[first + i]
            across = values[at + n : at + n + a]
            total = 0.0
            for j in range(a):
                total += across[j] * known[j]
            own = values[at + i + 1 : at + n]
            solved = x[first + i + 1 : first + n]
            for j in range(own.size):
                total += own[j] * solved[j]
            x[first + i] = (value - total) / values[at + i]
