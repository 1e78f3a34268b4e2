"""Products with bundles of columns, and other passes over them, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays, Bundles
from l0_calibrate.bundles.kernels import multiply, multiply_transposed
from l0_calibrate.solvers.atomics import added
from l0_calibrate.threads import Threads, even_shares
from l0_gates.jit import inner_jit, jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


_PIECES, _PIECE = 16, 100_000
"""Most pieces of a matrix and values of each, about: whatever the threads, so that results are the same for any."""


class Pieces(NamedTuple):
    """Bundles in pieces: the columns of each end where the next ones' begin; who is free does the one that is next.

    ``ends`` and ``columns``, (pieces + 1,), are edges in bundles and in columns, ``sums``, (pieces, rows), what each
    adds to the rows.
    """

    next: IntArray
    ends: IntArray
    columns: IntArray
    bundles: BundleArrays
    sums: FloatArray


@attrs.frozen(eq=False)
class BundleMap:
    """A matrix by bundles, in pieces that threads share out; all results are bit-equal for any number of them."""

    bundles: Bundles
    workers: Threads = attrs.field(factory=lambda: Threads(1))
    pieces: Pieces = attrs.field(init=False)

    @pieces.default
    def _cut(self) -> Pieces:
        arrays = self.bundles.arrays
        parts = self.bundles.parts(_pieces(self.bundles.size))
        ends = np.array([0, *(last for _, last in parts)], dtype=np.int64)
        columns = arrays.columns[arrays.run_edges[ends]].astype(np.int64)
        return Pieces(np.zeros(1, np.int64), ends, columns, arrays, np.zeros((len(parts), self.bundles.height)))

    def over(self, size: int, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(first, last, *arguments)`` for each piece of ``size`` elements (unsigned, as places are)."""
        shares = [tuple(map(np.uint64, share)) for share in even_shares(size, _pieces(size))]
        return self.workers.all(len(shares), lambda k: kernel(*shares[k], *arguments))

    def each(self, kernel: Callable[..., Any], *arguments: Any) -> None:
        """``kernel(pieces, *arguments)`` on every thread: it does pieces (see `taken`) as long as there are some."""
        self.pieces.next[0] = 0
        self.workers.all(min(self.workers.count, self.pieces.sums.shape[0]), lambda _: kernel(self.pieces, *arguments))

    def summed(self, kernel: Callable[..., Any], *arguments: Any) -> FloatArray:
        """What the pieces add up in ``sums`` by a kernel, shape (height,)."""
        self.each(kernel, *arguments)
        product: FloatArray = self.pieces.sums[0].copy()
        for sums in self.pieces.sums[1:]:
            product += sums
        return product

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, shape (height,)."""
        return self.summed(_multiply, u)

    def rmatvec(self, y: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """``A'y``, shape (count,)."""
        g = np.empty(self.bundles.count) if out is None else out
        self.each(_multiply_transposed, y, g)
        return g


def _pieces(size: int) -> int:
    return max(1, min(_PIECES, size // _PIECE))


@jit
def taken(pieces: Pieces) -> int:
    """The number of the next piece, which is the caller's to do; none of theirs when there are no more."""
    number: int = added(pieces.next)
    return number


@jit
def _multiply(pieces: Pieces, u: FloatArray) -> None:
    k = taken(pieces)
    while k < pieces.sums.shape[0]:
        multiply_piece(k, pieces, u)
        k = taken(pieces)


@inner_jit
def multiply_piece(k: int, pieces: Pieces, u: FloatArray) -> None:
    """What the columns of a piece add to the rows, in its sums."""
    sums = pieces.sums[k]
    sums[:] = 0.0
    multiply(pieces.ends[k], pieces.ends[k + 1], pieces.bundles, u, sums)


@jit
def _multiply_transposed(pieces: Pieces, y: FloatArray, g: FloatArray) -> None:
    k = taken(pieces)
    while k < pieces.sums.shape[0]:
        multiply_transposed(pieces.ends[k], pieces.ends[k + 1], pieces.bundles, y, g)
        k = taken(pieces)
