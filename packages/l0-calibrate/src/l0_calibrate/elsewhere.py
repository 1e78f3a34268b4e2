"""What the command line takes as an option and Python as a function of its own: who asks `calibrate` is told which."""

from __future__ import annotations

COUNTS = "calibrate_path(problem, counts, options)"
"""The call that takes several numbers of records."""

CALLS = {
    "balance_by": "balance_targets(problem, column)",
    "by": "calibrate_domains(problem, by, options)",
    "counts": COUNTS,
    "csv": "CalibrationResult.save(folder, csv=True)",
    "exclude_targets": "choose_targets(problem, exclude=...)",
    "multiplier": "balance_targets(problem, column, multipliers)",
    "multipliers": "balance_targets(problem, column, multipliers)",
    "only_targets": "choose_targets(problem, only=...)",
    "out": "CalibrationResult.save(folder)",
    "replicate_weights": "calibrate_replicates(result, replicate_weights)",
    "replicates": "calibrate_replicates(result, replicate_weights)",
    "resume": "calibrate(problem, checkpoint=Checkpoint(path, resume=True))",
    "reuse": "reuse_selection(problem, options, ids)",
    "small_file": "CalibrationResult.small_file()",
    "tolerance": "CalibrationProblem.with_tolerance(tolerance)",
}
"""By the option: the call that does it, of names that `l0_calibrate` has."""


def named(call: str) -> str:
    """A call as it is named behind what was asked for."""
    return f" (l0_calibrate has {call} for that)"
