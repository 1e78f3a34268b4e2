"""The measures of microcalibrate, for NumPy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any

Array = Any

CLOSE = 0.1
"""How far an estimate that counts as close may be from its target, relative to the target's size."""


def loss(estimate: Array, targets_array: Array, normalization_factor: Array | None = None) -> Array:
    """Mean of ``factor ((estimate - target + 1) / (target + 1))^2``: microcalibrate's historical measure.

    It is least one unit *below* the target, and grows without bound for targets near -1. It is here because
    logs and thresholds are written in it; `Calibration` minimises it only where ``loss="historical"`` says so.

    Parameters
    ----------
    estimate, targets_array
        Shape (targets,).
    normalization_factor
        Shape (targets,), what each target counts for.
    """
    errors = ((estimate - targets_array + 1) / (targets_array + 1)) ** 2
    return (errors if normalization_factor is None else errors * normalization_factor).mean()


def pct_close(estimate: Array, targets_array: Array, t: float = CLOSE) -> float:
    """The share of estimates, in [0, 1], whose distance from the target is at most ``t`` times the target's size."""
    close = abs(estimate - targets_array) <= t * abs(targets_array)
    return float(close.sum()) / len(close)
