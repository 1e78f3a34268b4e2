"""Calibration problems: what is asked, where it comes from, and what can be known before solving it."""

from l0_calibrate.problem.checks import balanced_weights
from l0_calibrate.problem.columns import record_column, record_columns, record_flags, record_numbers
from l0_calibrate.problem.conditions import Condition, parse_condition
from l0_calibrate.problem.consistency import Consistency, Disagreement, consistency
from l0_calibrate.problem.finding import Finding
from l0_calibrate.problem.preflight import preflight
from l0_calibrate.problem.problem import CalibrationProblem
from l0_calibrate.problem.rules import balance_targets, choose_targets
from l0_calibrate.problem.targets import Target
from l0_calibrate.problem.template import target_template

__all__ = [
    "CalibrationProblem",
    "Condition",
    "Consistency",
    "Disagreement",
    "Finding",
    "Target",
    "balance_targets",
    "balanced_weights",
    "choose_targets",
    "consistency",
    "parse_condition",
    "preflight",
    "record_column",
    "record_columns",
    "record_flags",
    "record_numbers",
    "target_template",
]
