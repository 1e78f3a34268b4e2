"""Classical calibration estimators: weights near the design weights that meet totals exactly."""

from l0_calibrate.survey.calibration import survey_calibrate
from l0_calibrate.survey.conflicts import ConflictingTotals
from l0_calibrate.survey.distances import Distance
from l0_calibrate.survey.estimator import SurveyResult, calibrate_survey, exactness
from l0_calibrate.survey.newton import CalibrationNotConverged
from l0_calibrate.survey.tightest import tightest_bounds
from l0_calibrate.survey.trimming import trim_weights

__all__ = [
    "CalibrationNotConverged",
    "ConflictingTotals",
    "Distance",
    "SurveyResult",
    "calibrate_survey",
    "exactness",
    "survey_calibrate",
    "tightest_bounds",
    "trim_weights",
]
