"""What selectors and solvers, ours and those of plugins, promise: verified on what they hand out."""

from __future__ import annotations

from typing import Any

import numpy as np

from l0_calibrate.constraints import Bounds
from l0_calibrate.losses.base import RowPrice
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.groups import whole
from l0_calibrate.solvers.base import MET, STATUS, Solution
from l0_core import Selection

ROUNDING = 1e-9
"""Relative excess over a bound that is not one: ratios become weights in a multiplication."""

ABOVE = 1e-3
"""Relative excess of a bound over its objective that is not one: far beyond rounding, and no lie worth telling."""


def _broken(what: str, kind: str) -> RuntimeError:
    return RuntimeError(f"{what}: it breaks the contract of {kind}; report it to the package that brings it")


def check_price(price: Any, problem: CalibrationProblem, loss: str) -> RowPrice:
    """The price of a loss, if it has numbers that are none below 0 for each target; a cap alone may be infinite.

    Raises
    ------
    RuntimeError
        It has not: a fault of the loss. No solver would see it, and weights and gap would mean nothing.
    """
    if not isinstance(price, RowPrice):
        raise _broken(f"loss {loss!r} gave {price!r} instead of a RowPrice", "losses")
    for name in ("cap", "dead_zone", "curvature"):
        values = getattr(price, name)
        if values.shape != (problem.n_targets,):
            raise _broken(
                f"loss {loss!r} gave a {name} of shape {values.shape} for {problem.n_targets} targets", "losses"
            )
        wrong = ~(values >= 0) | (np.isinf(values) & (name != "cap"))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise _broken(f"loss {loss!r} gave target {problem.target_names[i]!r} a {name} of {values[i]:g}", "losses")
    return price


def check_selected(selected: Any, selector: str) -> Selected:
    """What a selector gave, if it is a `Selected`; RuntimeError otherwise."""
    if not isinstance(selected, Selected):
        raise _broken(f"selector {selector!r} gave a {type(selected).__name__} instead of a Selected", "selectors")
    return selected


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
        raise _broken(f"selector {selector!r} {'; '.join(faults)}", "selectors")


def check_claims(solution: Solution, objective: float, targets: int, solver: str) -> None:
    """The status is one that there is, and the bound is none that the solution itself goes below.

    Parameters
    ----------
    objective
        That of the solution by the problem's own entries, sum form.

    Raises
    ------
    RuntimeError
        They are not: a fault of the solver. The gap would be 0 and the status "optimal" of whatever weights.
    """
    if solution.status not in STATUS:
        raise _broken(f"solver {solver!r} ended with the status {solution.status!r}", "solvers")
    if np.isnan(solution.bound) or np.isnan(solution.objective):
        numbers = f"the objective {solution.objective:g} and the bound {solution.bound:g}"
        raise _broken(f"solver {solver!r} gave {numbers}", "solvers")
    if solution.status != "infeasible" and solution.bound > objective * (1 + ABOVE) + MET * targets:
        raise _broken(
            f"solver {solver!r} claims that no weights have an objective below {solution.bound:g}, and those that it "
            f"gave have {objective:g}",
            "solvers",
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
        raise _broken(f"solver {result.solver!r}: {'; '.join(faults)}", "solvers")
