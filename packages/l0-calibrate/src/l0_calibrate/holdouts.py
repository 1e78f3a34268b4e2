"""Hold-outs: how well targets are met that took no part in the fit, family by family."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.calibrate import calibrate
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.problem.dependence import determined_rows
from l0_calibrate.problem.labels import naming, near, shown
from l0_calibrate.problem.rules import target_table
from l0_calibrate.result.diagnostics import CLOSE
from l0_calibrate.result.result import CalibrationResult
from l0_calibrate.time_shares import Shares
from l0_calibrate.watch import Watch, watch_of_domain
from l0_core import InputError

BoolArray = npt.NDArray[np.bool_]


def hold_out(
    problem: CalibrationProblem, by: str, options: Options | None = None, *, watch: Watch | None = None
) -> pd.DataFrame:
    """Fit once for each family of targets, without it, and score the weights on it.

    A target that those in the fit determine, such as a total whose parts are all among them, would be met for nothing:
    it is held out with its family and not scored. Targets of no weight are in no fit.

    Parameters
    ----------
    by
        Column of ``target_info``: targets with the same value are a family.
    options
        Of every fit; a time limit is that of all together.

    Returns
    -------
    One row a family, the worst first: its value ``family``; ``held_out`` and ``scored``, numbers of targets; mean
    \\|relative error\\| of the scored, by the initial weights (``error_initial``), by the fit that did not see them
    (``error_held_out``) and by one on all targets (``error_fitted``); ``within_10_percent``, the share of them that the
    fit without them meets to 10 %; ``loss`` and ``kept`` of that fit. Errors are missing where nothing is scored.

    Raises
    ------
    InputError
        An unknown column, a target without a value in it, fewer than two families; a fit that is refused, by its
        family.

    Notes
    -----
    Families that hold what others repeat leak: hold totals out together with their parts, or regions as wholes.
    """
    families = _families(problem, by)
    options = options or Options()
    clock = Shares(options.time_limit, len(families) + 1)

    def fit(part: CalibrationProblem, named: str) -> CalibrationResult:
        how = attrs.evolve(options, time_limit=clock.following())
        return calibrate(part, how, watch=watch_of_domain(watch, named))

    everybody = np.ones(problem.n_records, dtype=bool)
    before = np.abs(problem.relative_errors(problem.initial_weights))
    fitted = np.abs(problem.relative_errors(fit(problem, "all targets").weights))
    rows = []
    for k, (value, members) in enumerate(families.items()):
        named = f"without {by} {value}, {k + 1:,} of {len(families):,}"
        try:
            result = fit(problem.subset(~members, everybody), named)
        except InputError as fault:
            raise InputError(f"without {by} = {shown(value)}: {fault}") from fault
        scored = members & ~determined_rows(problem.matrix, ~members & (problem.loss_weights > 0))
        errors = np.abs(problem.relative_errors(result.weights))
        sizes = [_mean(each[scored]) for each in (before, errors, fitted)]
        loss = float(errors[~members].mean())
        rows.append((value, members.sum(), scored.sum(), *sizes, _mean(errors[scored] <= CLOSE), loss, result.kept))
    names = (
        "family", "held_out", "scored", "error_initial", "error_held_out", "error_fitted", "within_10_percent", "loss",
        "kept",
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(names)).sort_values("error_held_out", ascending=False, ignore_index=True)


def _families(problem: CalibrationProblem, by: str) -> dict[Any, BoolArray]:
    """The targets of each value, in the order in which values come first."""
    table = target_table(problem)
    if by not in table.columns:
        raise InputError(f"the targets have no column {by!r}; {near(by, table.columns)}")
    codes, values = pd.factorize(table[by])
    if (codes < 0).any():
        raise InputError(f"targets without a value of {by!r}: {naming(problem.target_names[codes < 0])}")
    if len(values) < 2:
        raise InputError(
            f"{by!r} has one value for all targets, {shown(values[0])}; hold-outs need two families at least"
        )
    return {value: codes == k for k, value in enumerate(values)}


def _mean(values: npt.NDArray[Any]) -> float:
    """NaN of none."""
    return float(values.mean()) if values.size else float("nan")
