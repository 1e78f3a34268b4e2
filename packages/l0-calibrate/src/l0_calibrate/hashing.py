"""A hash for compiled kernels."""

from __future__ import annotations

import numpy as np

from l0_gates.jit import jit


@jit
def mixed(seed: np.uint64) -> np.uint64:
    """A well-mixed number (splitmix64)."""
    x = seed + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
