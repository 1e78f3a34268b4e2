"""Products with bundles of columns, and other passes over them, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.bundles import BundleArrays, Bundles
from l0_calibrate.threads import Threads
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ONE = np.uint64(1)


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
        edges = [np.uint64(size * t // self.threads) for t in range(self.threads + 1)]
        return self.all(self.threads, lambda t: kernel(edges[t], edges[t + 1], *arguments))

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


@fast_jit
def multiply(first: int, last: int, bundles: BundleArrays, u: FloatArray, product: FloatArray) -> None:
    """``A u`` of some bundles added to ``product``.

    Places are unsigned: signed ones are tested for wrapping around at each use.
    """
    room = most_lines(first, last, bundles)
    near, total = np.empty(room), np.empty(room)
    for b in range(first, last):
        for k in range(np.uint64(bundles.lines[b])):
            near[k] = 0.0
        for r in range(bundles.run_edges[b], bundles.run_edges[b + 1]):
            edge, length, count, start = extent(bundles, r)
            column = np.uint64(bundles.columns[r])
            weight = u[column]
            if count == _ONE:
                for k in range(length):
                    near[bundles.touched[edge + k]] += bundles.values[start + k] * weight
                continue
            for k in range(length):
                total[k] = bundles.values[start + k] * weight
            for c in range(_ONE, count):
                start += length
                weight = u[column + c]
                for k in range(length):
                    total[k] += bundles.values[start + k] * weight
            for k in range(length):
                near[bundles.touched[edge + k]] += total[k]
        for k in range(np.uint64(bundles.row_edges[b]), np.uint64(bundles.row_edges[b + 1])):
            product[bundles.rows[k]] += bundles.multiple[k] * near[bundles.line[k]]


@fast_jit
def multiply_transposed(first: int, last: int, bundles: BundleArrays, y: FloatArray, g: FloatArray) -> None:
    """``a_j'y`` of the columns of some bundles."""
    room = most_lines(first, last, bundles)
    near, beside = np.empty(room), np.empty(room)
    for b in range(first, last):
        for k in range(np.uint64(bundles.lines[b])):
            near[k] = 0.0
        for k in range(np.uint64(bundles.row_edges[b]), np.uint64(bundles.row_edges[b + 1])):
            near[bundles.line[k]] += bundles.multiple[k] * y[bundles.rows[k]]
        for r in range(bundles.run_edges[b], bundles.run_edges[b + 1]):
            edge, length, count, start = extent(bundles, r)
            column = np.uint64(bundles.columns[r])
            for k in range(length):
                beside[k] = near[bundles.touched[edge + k]]
            for c in range(count):
                total = 0.0
                for k in range(length):
                    total += bundles.values[start + k] * beside[k]
                g[column + c] = total
                start += length


@fast_jit
def most_lines(first: int, last: int, bundles: BundleArrays) -> int:
    """The most lines of some bundles."""
    most = 1
    for b in range(first, last):
        most = max(most, bundles.lines[b])
    return most


@fast_jit
def extent(bundles: BundleArrays, r: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """First of the touched lines of a run, how many, how many columns, and the first of its values."""
    edge = np.uint64(bundles.touched_edges[r])
    length = np.uint64(bundles.touched_edges[r + 1]) - edge
    count = np.uint64(bundles.columns[r + 1]) - np.uint64(bundles.columns[r])
    return edge, length, count, np.uint64(bundles.starts[r])
