"""What errors of targets are relative to, everywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def error_scale(targets: FloatArray) -> FloatArray:
    """``max(|t|, 1)`` of each target, in its units: an error over it is relative, in the target's own unit below 1."""
    scale: FloatArray = np.maximum(np.abs(targets), 1.0)
    return scale
