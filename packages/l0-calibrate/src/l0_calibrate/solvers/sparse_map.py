"""Products with the columns of a fit, on one thread or several."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.solvers.kernels import multiply, multiply_transposed
from l0_calibrate.system import Columns, ColumnsCopy, Room

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


_SCATTER = 0.8
"""What adding an entry to its row costs beside reading it; a sweep does so where the ratio is not 0."""


def _cuts(columns: Columns, parts: int, moving: BoolArray | None = None) -> list[tuple[int, int]]:
    """Ranges of columns of about equal work: by their entries, and a little for each column itself.

    ``moving`` marks the columns whose entries are added to rows as well; None: all alike.
    """
    if parts == 1:
        return [(0, columns.count)]
    if moving is None:
        work = columns.indptr.astype(np.float64)
    else:
        entries = np.diff(columns.indptr.astype(np.float64)) * (1.0 + _SCATTER * moving)
        work = np.concatenate(([0.0], np.cumsum(entries)))
    work += 4.0 * np.arange(columns.count + 1)
    edges = np.searchsorted(work, np.linspace(0.0, work[-1], parts + 1)[1:-1])
    bounds = [0, *(int(e) for e in edges), columns.count]
    return list(itertools.pairwise(bounds))


_WORTH_A_THREAD = 300_000
"""Non-zeros of one thread's share below which handing it over costs more than it saves (tens of microseconds)."""


def threads_for(columns: Columns, threads: int) -> int:
    """How many of the threads at hand are worth using on a matrix; depends on its size alone."""
    return max(1, min(threads, columns.nnz // _WORTH_A_THREAD))


@attrs.define(eq=False)
class ColumnMap:
    """``A`` as columns, with a fixed share of them for each thread that is worth using.

    Threads add into private row buffers that are summed in the order of the threads, so results are
    bit-equal for equal numbers of threads.
    """

    columns: Columns
    threads: int = 1
    _pool: ThreadPoolExecutor | None = None
    _moving: BoolArray | None = None
    _ranges: list[tuple[int, int]] = attrs.field(init=False)
    _buffers: list[FloatArray] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.threads = threads_for(self.columns, self.threads)
        self._ranges = _cuts(self.columns, self.threads, self._moving)
        self._buffers = [np.zeros(self.columns.rows) for _ in self._ranges[1:]]
        if self.threads == 1:
            self._pool = None
        elif self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads - 1)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def restricted(self, chosen: IntArray, moving: BoolArray, room: Room) -> ColumnMap:
        """Some of the columns (ascending), copied close together, on the same threads (which stay this map's).

        ``moving`` marks those of them that sweeps will work most on; the copy lies in ``room`` until it is used again.
        """
        copy = ColumnsCopy.of(self.columns, chosen, room)
        part = ColumnMap(copy.columns, self.threads, self._pool, moving)
        jobs = []
        if part._pool is not None:
            jobs = [part._pool.submit(copy.fill, *cut) for cut in part._ranges[1:]]
        copy.fill(*part._ranges[0])
        for job in jobs:
            job.result()
        return part

    def sweep(
        self, kernel: Callable[..., Any], product: FloatArray, *arguments: Any, others: FloatArray | None = None
    ) -> float:
        """Run ``kernel(first, last, matrix, *arguments, product)`` over all columns.

        ``product`` is set to the sum of what the ranges add, and of ``others``; the sum of what the kernel returns
        is returned.
        """
        c = self.columns
        arrays = (c.arrays, *arguments)
        product[:] = 0.0 if others is None else others
        if self._pool is None:
            return float(kernel(0, c.count, *arrays, product))
        jobs = []
        for (first, last), buffer in zip(self._ranges[1:], self._buffers, strict=True):
            buffer[:] = 0.0
            jobs.append(self._pool.submit(kernel, first, last, *arrays, buffer))
        total = float(kernel(*self._ranges[0], *arrays, product))
        for job, buffer in zip(jobs, self._buffers, strict=True):
            total += float(job.result())
            product += buffer
        return total

    def matvec(self, u: FloatArray) -> FloatArray:
        """``A u``, shape (m,)."""
        product = np.empty(self.columns.rows)
        self.sweep(multiply, product, u)
        return product

    def rmatvec(self, y: FloatArray) -> FloatArray:
        """``A'y``, shape (k,)."""
        c = self.columns
        g = np.empty(c.count)
        # Each thread writes entries of its own: the bits are the same for any number of threads.
        jobs = []
        if self._pool is not None:
            jobs = [self._pool.submit(multiply_transposed, *part, c.arrays, y, g) for part in self._ranges[1:]]
        multiply_transposed(*self._ranges[0], c.arrays, y, g)
        for job in jobs:
            job.result()
        return g
