"""Products with runs of columns, and other passes over them, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.interior_point.ordering import RunArrays, Runs
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ONE = np.uint64(1)


@attrs.define(eq=False)
class RunMap:
    """A matrix by runs, with a fixed share of it for each of some threads.

    What threads add up is added in their order, so results are bit-equal for equal numbers of threads.
    """

    runs: Runs
    threads: int
    ranges: list[tuple[int, int]] = attrs.field(init=False)
    _shares: FloatArray = attrs.field(init=False)
    _pool: ThreadPoolExecutor | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.ranges = self.runs.parts(self.threads)
        self._shares = np.zeros((len(self.ranges), self.runs.height))
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads - 1)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def each(self, work: Callable[[int], Any]) -> list[Any]:
        """``work(t)`` for each thread t, side by side; what they return, in order."""
        return self.all(len(self.ranges), work)

    def all(self, count: int, work: Callable[[int], Any]) -> list[Any]:
        """``work(k)`` for each k below ``count``, on the threads at hand; what they return, in order."""
        if self._pool is None or count == 1:
            return [work(k) for k in range(count)]
        jobs = [self._pool.submit(work, k) for k in range(1, count)]
        return [work(0), *(job.result() for job in jobs)]

    def over(self, size: int, kernel: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``kernel(first, last, *arguments)`` for each thread's part of ``size`` elements (unsigned, as places are)."""
        edges = np.linspace(0, size, len(self.ranges) + 1).astype(np.uint64)
        return self.each(lambda t: kernel(edges[t], edges[t + 1], *arguments))

    def gathered(self, kernel: Callable[..., Any], *arguments: Any) -> FloatArray:
        """The sum over threads of what ``kernel(first run, last run, runs, *arguments, product)`` adds, (height,)."""

        def work(t: int) -> None:
            share = self._shares[t]
            share[:] = 0.0
            kernel(*self.ranges[t], self.runs.arrays, *arguments, share)

        self.each(work)
        product: FloatArray = self._shares[0].copy()
        for share in self._shares[1:]:
            product += share
        return product

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, shape (height,)."""
        return self.gathered(multiply, u)

    def rmatvec(self, y: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """``A'y``, shape (count,): the same bits for any number of threads."""
        g = np.empty(self.runs.count) if out is None else out
        self.each(lambda t: multiply_transposed(*self.ranges[t], self.runs.arrays, y, g))
        return g


@fast_jit
def multiply(first: int, last: int, runs: RunArrays, u: FloatArray, product: FloatArray) -> None:
    """``A u`` of some runs added to ``product``.

    Places are unsigned: signed ones are tested for wrapping around at each use.
    """
    total = np.empty(product.size)
    for r in range(first, last):
        edge, length, count, start = extent(runs, r)
        column = np.uint64(runs.columns[r])
        weight = u[column]
        if count == _ONE:
            for k in range(length):
                product[runs.rows[edge + k]] += runs.values[start + k] * weight
            continue
        for k in range(length):
            total[k] = runs.values[start + k] * weight
        for c in range(_ONE, count):
            start += length
            weight = u[column + c]
            for k in range(length):
                total[k] += runs.values[start + k] * weight
        for k in range(length):
            product[runs.rows[edge + k]] += total[k]


@fast_jit
def multiply_transposed(first: int, last: int, runs: RunArrays, y: FloatArray, g: FloatArray) -> None:
    """``a_j'y`` of the columns of some runs."""
    near = np.empty(y.size)
    for r in range(first, last):
        edge, length, count, start = extent(runs, r)
        column = np.uint64(runs.columns[r])
        for k in range(length):
            near[k] = y[runs.rows[edge + k]]
        for c in range(count):
            total = 0.0
            for k in range(length):
                total += runs.values[start + k] * near[k]
            g[column + c] = total
            start += length


@fast_jit
def extent(runs: RunArrays, r: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """First of the row numbers of a run, how many, how many columns, and the first of its values."""
    edge = np.uint64(runs.row_edges[r])
    length = np.uint64(runs.row_edges[r + 1]) - edge
    count = np.uint64(runs.columns[r + 1]) - np.uint64(runs.columns[r])
    return edge, length, count, np.uint64(runs.starts[r])
