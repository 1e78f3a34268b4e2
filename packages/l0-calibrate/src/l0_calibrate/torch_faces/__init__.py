"""What of the calibrator needs torch (extra ``[torch]``); imported when one of its names is asked for."""

from l0_calibrate.torch_faces.sparse_calibration import SparseCalibrationWeights

__all__ = ["SparseCalibrationWeights"]
