"""Targets chosen and weighted by rule: conditions on what describes them, groups that count the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from l0_calibrate.problem.checks import balanced_weights
from l0_calibrate.problem.conditions import parse_condition
from l0_calibrate.problem.evaluation import Evaluator
from l0_calibrate.problem.labels import naming, near
from l0_calibrate.problem.problem import CalibrationProblem, attrs_copy
from l0_core import InputError


def target_table(problem: CalibrationProblem) -> pd.DataFrame:
    """``name``, ``value`` and the columns of ``target_info``, one row a target."""
    table = pd.DataFrame({"name": problem.target_names, "value": problem.targets})
    info = problem.target_info
    return table if info is None else table.assign(**{str(column): info[column].to_numpy() for column in info.columns})


def choose_targets(
    problem: CalibrationProblem, *, only: str | None = None, exclude: str | None = None
) -> CalibrationProblem:
    """The problem of the targets that a rule names.

    Parameters
    ----------
    only, exclude
        Conditions on ``name``, ``value`` and the columns of ``target_info``, such as
        ``"geography_level == 'state' and variable in ('agi', 'wages')"``.

    Raises
    ------
    InputError
        A rule that matches no target, or rules that leave none: what does nothing was not meant.
    """
    keep = np.ones(problem.n_targets, dtype=bool)
    evaluator = Evaluator(target_table(problem))
    for rule, wanted in ((only, True), (exclude, False)):
        if rule is None:
            continue
        matched = evaluator.mask(parse_condition(rule))
        if not matched.any():
            described = naming(target_table(problem).columns, 20)
            raise InputError(
                f"no target matches {rule!r}; the columns of targets are {described}: look at the values that they have"
            )
        keep &= matched if wanted else ~matched
    if not keep.any():
        raise InputError(f"no target is left by only={only!r} and exclude={exclude!r}")
    return problem if keep.all() else problem.subset(keep, np.ones(problem.n_records, dtype=bool))


def balance_targets(
    problem: CalibrationProblem, column: str, multipliers: Mapping[Any, float] | None = None
) -> CalibrationProblem:
    """The problem in which every group of targets counts the same, however many targets it has.

    Parameters
    ----------
    column
        Of ``target_info``: its values are the groups. The loss weights that targets have stay within each.
    multipliers
        The say of a group against the others, by value; 1 for those not named.

    Raises
    ------
    InputError
        An unknown column, a target without a value, a multiplier of a group that does not exist.
    """
    table = target_table(problem)
    if column not in table.columns:
        raise InputError(f"the targets have no column {column!r}; {near(column, table.columns)}")
    weights = balanced_weights(table[column], multipliers, problem.loss_weights)
    return attrs_copy(problem, loss_weights=weights)
