"""What came out: result, diagnostics, files, pictures."""

from l0_calibrate.result.diagnostics import Diagnostics, diagnose, effective_sample_size, weight_ratios
from l0_calibrate.result.result import CalibrationResult

__all__ = ["CalibrationResult", "Diagnostics", "diagnose", "effective_sample_size", "weight_ratios"]
