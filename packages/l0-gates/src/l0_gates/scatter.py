"""Compiled: a column added to sums that its entries are scattered over, the inner loop of much that is sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_gates.jit import fast_inner_jit

FloatArray = npt.NDArray[np.float64]

_ONE, _TWO, _THREE, _FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


@fast_inner_jit
def add_scaled(
    sums: FloatArray, places: npt.NDArray[Any], values: npt.NDArray[Any], first: Any, last: Any, factor: float
) -> None:
    """``sums[places[p]] += factor values[p]`` for p from ``first`` to ``last``, whose places are all different.

    Four at a time: the processor need not wait to see that none reads what the one before has written. Places should
    be unsigned: signed ones are tested for counting from the end.
    """
    p, end = np.uint64(first), np.uint64(last)
    while p + _THREE < end:
        i0, i1, i2, i3 = places[p], places[p + _ONE], places[p + _TWO], places[p + _THREE]
        s0 = sums[i0] + values[p] * factor
        s1 = sums[i1] + values[p + _ONE] * factor
        s2 = sums[i2] + values[p + _TWO] * factor
        s3 = sums[i3] + values[p + _THREE] * factor
        sums[i0] = s0
        sums[i1] = s1
        sums[i2] = s2
        sums[i3] = s3
        p += _FOUR
    while p < end:
        sums[places[p]] += values[p] * factor
        p += _ONE
