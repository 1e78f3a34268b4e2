"""The pass over columns in bundles that the primal-dual iteration makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import BundleArrays
from l0_calibrate.bundles.kernels import extent, most_lines
from l0_calibrate.solvers.kernels import Primal, Terms, column_steps
from l0_gates.jit import fast_inner_jit

FloatArray = npt.NDArray[np.float64]

_ONE = np.uint64(1)


@fast_inner_jit
def bundle_sweep(
    first: int,
    last: int,
    bundles: BundleArrays,
    mass_row: FloatArray,
    y: FloatArray,
    primal: Primal,
    terms: Terms,
    omega: float,
    q: float,
    product: FloatArray,
) -> float:
    """`primal_sweep` over bundles: duals are added up by lines first, and what goes to a line goes to its rows last."""
    room = most_lines(first, last, bundles)
    lines, beside = np.empty(room), np.empty(room)
    has_mass = mass_row.size > 0
    mass_dual = y[y.size - 1] if has_mass else 0.0
    mass = travel = 0.0
    u1 = primal.u1
    for b in range(first, last):
        runs = range(bundles.run_edges[b], bundles.run_edges[b + 1])
        if runs.start == runs.stop:
            continue
        rows = range(np.uint64(bundles.row_edges[b]), np.uint64(bundles.row_edges[b + 1]))
        of_bundle = range(np.uint64(bundles.columns[runs.start]), np.uint64(bundles.columns[runs.stop]))
        for k in range(np.uint64(bundles.lines[b])):
            lines[k] = 0.0
        for k in rows:
            lines[bundles.line[k]] += bundles.multiple[k] * y[bundles.rows[k]]
        for r in runs:
            edge, length, count, start = extent(bundles, r)
            column = np.uint64(bundles.columns[r])
            if count == _ONE:
                gradient = 0.0
                for k in range(length):
                    gradient += bundles.values[start + k] * lines[bundles.touched[edge + k]]
                u1[column] = gradient
                continue
            for k in range(length):
                beside[k] = lines[bundles.touched[edge + k]]
            for c in range(count):
                gradient = 0.0
                for k in range(length):
                    gradient += bundles.values[start + k] * beside[k]
                u1[column + c] = gradient
                start += length
        if has_mass:
            for j in of_bundle:
                u1[j] += mass_dual * mass_row[j]
        travel += column_steps(of_bundle.start, of_bundle.stop, primal, terms, omega, q)
        if has_mass:
            for j in of_bundle:
                mass += mass_row[j] * u1[j]
        for k in range(np.uint64(bundles.lines[b])):
            lines[k] = 0.0
        for r in runs:
            edge, length, count, start = extent(bundles, r)
            column = np.uint64(bundles.columns[r])
            if count == _ONE:
                new = u1[column]
                if new != 0.0:
                    for k in range(length):
                        lines[bundles.touched[edge + k]] += bundles.values[start + k] * new
                continue
            for k in range(length):
                beside[k] = 0.0
            for c in range(count):
                new = u1[column + c]
                if new != 0.0:
                    for k in range(length):
                        beside[k] += bundles.values[start + k] * new
                start += length
            for k in range(length):
                lines[bundles.touched[edge + k]] += beside[k]
        for k in rows:
            product[bundles.rows[k]] += bundles.multiple[k] * lines[bundles.line[k]]
    if has_mass:
        product[product.size - 1] += mass
    return travel
