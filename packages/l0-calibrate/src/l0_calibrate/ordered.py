"""Order, and places in what is ordered, for kernels.

NumPy's own functions are compiled for values of any type, NaN among them, and in several parts; of these there is less
to compile at the first fit on a machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_gates.jit import inner_jit

Whole = npt.NDArray[np.integer[Any]]


@inner_jit
def place_of(value: Any, ordered: Whole) -> int:
    """How many of the numbers, which ascend, are below a value."""
    low, high = 0, ordered.size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inner_jit
def put_in_order(values: Whole) -> None:
    """Make the numbers ascend, in place (Shell 1959)."""
    step = 1
    while step < values.size // 3:
        step = 3 * step + 1
    while step > 0:
        for i in range(step, values.size):
            value, k = values[i], i
            while k >= step and values[k - step] > value:
                values[k] = values[k - step]
                k -= step
            values[k] = value
        step //= 3
