"""Compiled products with bundles of columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_gates.jit import fast_jit

FloatArray = npt.NDArray[np.float64]

_ONE = np.uint64(1)


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
