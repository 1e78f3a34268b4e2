"""Targets whose units cannot be those of their row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FAR_OFF = 100.0
"""An initial estimate so many times its target, or so many times below, speaks of different units. Below 1,000, so that
a total in thousands is seen though the initial weights do not meet it exactly."""


def is_far_off(targets: npt.NDArray[np.float64], estimates: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which estimates, shape (targets,), are so far from a target other than 0."""
    size, estimate = np.abs(targets), np.abs(estimates)
    far: npt.NDArray[np.bool_] = (size > 0) & ((estimate > FAR_OFF * size) | (estimate * FAR_OFF < size))
    return far
