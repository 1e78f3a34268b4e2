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


@attrs.define(eq=False)
class BundleMap:
    """A matrix by bundles, with a fixed share of it for each of some threads.

    What threads add up is added in their order, so results are bit-equal for equal numbers of threads.
    """

    bundles: Bundles
    threads: int
    ranges: list[tuple[int, int]] = attrs.field(init=False)
    _shares: FloatArray = attrs.field(init=False)
    _workers: Threads = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ranges = self.bundles.parts(self.threads)
        self._shares = np.zeros((len(self.ranges), self.bundles.height))
        self._workers = Threads(self.threads)

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def all(self, count: int, work: Callable[[int], Any]) -> list[Any]:
        """``work(k)`` for each k below ``count``, shared out to the threads; what they return, in order."""
        return self._workers.all(count, work)

    def over(self, size: int, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(first, last, *arguments)`` for each thread's part of ``size`` elements (unsigned, as places are)."""
        shares = [tuple(map(np.uint64, share)) for share in even_shares(size, self.threads)]
        return self.all(self.threads, lambda t: kernel(*shares[t], *arguments))

    def matvec(self, u: FloatArray, before: Callable[[Any, Any], None] | None = None) -> FloatArray:
        """``A u``, shape (height,); ``before(first, last)`` makes ready a thread's own part of ``u``."""

        def work(t: int) -> None:
            if before is not None:
                before(*self._columns(t))
            share = self._shares[t]
            share[:] = 0.0
            multiply(*self.ranges[t], self.bundles.arrays, u, share)

        self.all(self.threads, work)
        product: FloatArray = self._shares[0].copy()
        for share in self._shares[1:]:
            product += share
        return product

    def rmatvec(
        self, y: FloatArray, out: FloatArray | None = None, after: Callable[[Any, Any], None] | None = None
    ) -> FloatArray:
        """``A'y``, shape (count,): the same bits for any number of threads.

        ``after(first, last)`` takes up a thread's own part of it.
        """
        g = np.empty(self.bundles.count) if out is None else out

        def work(t: int) -> None:
            multiply_transposed(*self.ranges[t], self.bundles.arrays, y, g)
            if after is not None:
                after(*self._columns(t))

        self.all(self.threads, work)
        return g

    def _columns(self, t: int) -> tuple[Any, Any]:
        """First and last column of a thread (unsigned)."""
        first, last = self.ranges[t]
        a = self.bundles.arrays
        return np.uint64(a.columns[a.run_edges[first]]), np.uint64(a.columns[a.run_edges[last]])
