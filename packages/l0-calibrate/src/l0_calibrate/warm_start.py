"""The warm start that somebody gives: checked, and brought to where a fit can begin."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.run import Run
from l0_calibrate.solvers.base import Start
from l0_calibrate.solvers.certificate import largest_residual
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_ASTRAY = 1e3
"""Ratios that cost so many times what those of 1 do are no help, and may be further off than a solver can come back."""


def check_warm(problem: CalibrationProblem, warm: Start | None) -> None:
    """Refuse a warm start that is not one of this problem; InputError says of which shape it must be."""
    if warm is None:
        return
    for values, count, what in (
        (warm.u, problem.n_records, "a ratio for each record"),
        (warm.y, problem.n_targets, "a dual for each target"),
    ):
        if values is not None and (np.shape(values) != (count,) or not np.isfinite(values).all()):
            raise InputError(f"warm must have {what}, finite, of shape ({count},), got shape {np.shape(values)}")
    if not np.isfinite(warm.mass_dual):
        raise InputError(f"warm must have a finite dual of the mass, got {warm.mass_dual}")


def usable_start(run: Run, warm: Start | None) -> Start | None:
    """The warm start without what is of no use: ratios that are far worse than those of 1, duals that no optimum has.

    No dual is steeper than the price of a residual which alone costs as much as ratios of 1 do: those that are, are
    cut off there. Without its ratios a start is none.
    """
    if warm is None:
        return None
    plain = _worth(run, np.ones(run.problem.n_records))
    if warm.u is not None and not _worth(run, np.asarray(warm.u, dtype=np.float64)) <= _ASTRAY * plain:
        return None
    steepest = np.abs(run.price.slopes(largest_residual(run.price, plain)))
    y = None if warm.y is None else np.clip(np.asarray(warm.y, dtype=np.float64), -steepest, steepest)
    farthest = _ASTRAY * float((1.0 + steepest) @ (1.0 + run.problem.system.row_sums))
    return attrs.evolve(warm, y=y, mass_dual=float(np.clip(warm.mass_dual, -farthest, farthest)))


def _worth(run: Run, ratios: FloatArray) -> float:
    """What the errors cost, and the sum of the weights beside that of the initial ones; NaN where out of range."""
    problem = run.problem
    keep = run.options.budget(problem.n_records)
    lower, upper = run.bounds.on(np.arange(problem.n_records), 1.0 if keep is None else problem.n_records / keep)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.clip(ratios, lower, upper) * problem.initial_weights
        cost = run.price.total(problem.relative_errors(weights))
        return cost + float(weights.sum() / problem.initial_weights.sum())
