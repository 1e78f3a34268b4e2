"""Calibration of survey weights with gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l0._lazy import lazy

if TYPE_CHECKING:
    from l0_calibrate.torch_faces.sparse_calibration import SparseCalibrationWeights

__all__ = ["SparseCalibrationWeights"]

if not TYPE_CHECKING:  # a checker sees the names above, and that there are no others
    __getattr__, __dir__ = lazy(
        globals(),
        {
            "l0_calibrate.torch_faces.sparse_calibration": ("SparseCalibrationWeights",),
        },
    )
