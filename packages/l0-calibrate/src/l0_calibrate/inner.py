"""Sums of products of long vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def inner(a: FloatArray, b: FloatArray) -> float:
    """``a'b``, the same on any number of cores: BLAS splits more than 10,000 terms between those that it finds."""
    return float((a * b).sum())
