"""The columns of a structure in bundles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.bundles.bundles import Bundles
from l0_calibrate.bundles.making import BundleMaker, key_row
from l0_calibrate.columns import Columns
from l0_calibrate.solvers.interior_point.numbering import Structure
from l0_calibrate.threads import Threads

FloatArray = npt.NDArray[np.float64]


def bundled(columns: Columns, structure: Structure, scale: FloatArray, threads: int) -> Bundles:
    """The columns of a structure in bundles, each within a block.

    Parameters
    ----------
    scale
        What each row was divided by, shape (rows,): entries times it are the raw ones, up to a factor of each column.

    Notes
    -----
    The same for any number of threads. Entries are those of the matrix but for a few roundings.
    """
    maker = BundleMaker.of(columns, structure.row_order, scale)
    order = structure.column_order
    block_edges = np.array([0, *(block.columns[1] for block in structure.blocks)])
    block = np.repeat(np.arange(block_edges.size - 1), np.diff(block_edges))
    with Threads(threads) as workers:
        key = key_row(maker, order, block, workers, lambda bundles: float(bundles.work[-1]))
        order, arrays = maker.make_all(order, block, key, block_edges, workers)
    return Bundles(arrays, maker.height, order, np.searchsorted(arrays.columns[arrays.run_edges], block_edges))
