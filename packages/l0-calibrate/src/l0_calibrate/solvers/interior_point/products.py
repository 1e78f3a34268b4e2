"""Products with bundles of columns, and other passes over them, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.bundles.kernels import multiply, multiply_transposed
from l0_calibrate.threads import Threads, even_shares

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


_PIECES, _PIECE = 16, 100_000
"""Most pieces of a matrix and values of each, about: whatever the threads, so that results are the same for any."""


@attrs.frozen(eq=False)
class BundleMap:
    """A matrix by bundles, in pieces that threads share out; all results are bit-equal for any number of them."""

    bundles: Bundles
    workers: Threads = attrs.field(factory=lambda: Threads(1))
    pieces: list[tuple[int, int]] = attrs.field(init=False)
    _sums: FloatArray = attrs.field(init=False)

    @pieces.default
    def _cut(self) -> list[tuple[int, int]]:
        return self.bundles.parts(_pieces(self.bundles.size))

    @_sums.default
    def _no_sums(self) -> FloatArray:
        return np.zeros((len(self.pieces), self.bundles.height))

    def over(self, size: int, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(first, last, *arguments)`` for each piece of ``size`` elements (unsigned, as places are)."""
        shares = [tuple(map(np.uint64, share)) for share in even_shares(size, _pieces(size))]
        return self.workers.all(len(shares), lambda k: kernel(*shares[k], *arguments))

    def matvec(self, u: FloatArray, before: Callable[[Any, Any], None] | None = None) -> FloatArray:
        """``A u``, shape (height,); ``before(first, last)`` makes ready a piece of ``u``."""

        def work(k: int) -> None:
            if before is not None:
                before(*self._columns(k))
            sums = self._sums[k]
            sums[:] = 0.0
            multiply(*self.pieces[k], self.bundles.arrays, u, sums)

        self.workers.all(len(self.pieces), work)
        product: FloatArray = self._sums[0].copy()
        for sums in self._sums[1:]:
            product += sums
        return product

    def rmatvec(
        self, y: FloatArray, out: FloatArray | None = None, after: Callable[[Any, Any], None] | None = None
    ) -> FloatArray:
        """``A'y``, shape (count,); ``after(first, last)`` takes up a piece of it."""
        g = np.empty(self.bundles.count) if out is None else out

        def work(k: int) -> None:
            multiply_transposed(*self.pieces[k], self.bundles.arrays, y, g)
            if after is not None:
                after(*self._columns(k))

        self.workers.all(len(self.pieces), work)
        return g

    def _columns(self, k: int) -> tuple[Any, Any]:
        """First and last column of a piece (unsigned)."""
        first, last = self.pieces[k]
        a = self.bundles.arrays
        return np.uint64(a.columns[a.run_edges[first]]), np.uint64(a.columns[a.run_edges[last]])


def _pieces(size: int) -> int:
    return max(1, min(_PIECES, size // _PIECE))
