"""Classical calibration estimators: weights near the design weights that meet totals exactly."""

from l0_calibrate.survey.calibration import survey_calibrate
from l0_calibrate.survey.conflicts import ConflictingTotals
from l0_calibrate.survey.newton import CalibrationNotConverged

__all__ = ["CalibrationNotConverged", "ConflictingTotals", "survey_calibrate"]
