"""What selectors and solvers, ours and those of plugins, promise: verified on what they hand out."""

from __future__ import annotations

import numpy as np

from l0_calibrate.constraints import Bounds
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.selectors.base import Budget
from l0_calibrate.selectors.groups import whole
from l0_core import Selection

ROUNDING = 1e-9
"""Relative excess over a bound that is not one: ratios become weights in a multiplication."""


def check_selection(budget: Budget, selection: Selection, selector: str) -> None:
    """A selection has exactly the records asked for, whole groups of them, and heeds the flags.

    Raises
    ------
    RuntimeError
        It does not: a fault of the selector, not of the input.
    """
    mask, faults = selection.mask, []
    if len(selection) != budget.keep:
        faults.append(f"kept {len(selection)} records instead of {budget.keep}")
    if budget.groups is not None and (whole(budget.groups, mask) != mask).any():
        faults.append("split a group")
    for flags, kept, what in ((budget.must_keep, False, "dropped"), (budget.never_keep, True, "kept")):
        unheeded = np.empty(0, np.int64) if flags is None else np.flatnonzero(flags & (mask == kept))
        if unheeded.size:
            faults.append(f"{what} record {budget.problem.record_ids[unheeded[0]]} against its flag")
    if faults:
        raise RuntimeError(
            f"selector {selector!r} {'; '.join(faults)}: it breaks the contract of selectors; report it to the "
            "package that brings it"
        )


def check_weights(result: CalibrationResult, bounds: Bounds, mass: float | None) -> None:
    """Weights are within their bounds, on as many records as asked for, and have the sum to be held.

    Raises
    ------
    RuntimeError
        They are not: a fault of the solver, not of the input.
    """
    problem, weights, faults = result.problem, result.weights, []
    keep, support = result.options.budget(problem.n_records), result.selection.indices
    lower, upper = bounds.on(support, 1.0 if keep is None else problem.n_records / keep)
    reference, kept = problem.initial_weights[support], weights[support]
    if not np.isfinite(weights).all() or (weights < 0).any():
        faults.append("a weight is negative or not finite")
    for outside, what in (
        (kept > upper * reference * (1 + ROUNDING), "above"),
        (kept < lower * reference * (1 - ROUNDING), "below"),
    ):
        if outside.any():
            faults.append(
                f"the weight of record {problem.record_ids[support[int(np.argmax(outside))]]} is {what} its bound"
            )
    if keep is not None and result.kept != keep:
        faults.append(f"{result.kept} records have a positive weight instead of {keep}")
    if mass is not None and result.status != "infeasible" and abs(weights.sum() / mass - 1) > ROUNDING:
        faults.append(f"the weights sum to {weights.sum():.10g} instead of {mass:.10g}")
    if faults:
        raise RuntimeError("the solver broke its contract: " + "; ".join(faults))
