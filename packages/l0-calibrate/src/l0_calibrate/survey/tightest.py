"""The smallest bounds of g-weights within which the totals can be met."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse as sp

from l0_calibrate.survey.conflicts import AMONG, Clues, refuse_conflict
from l0_calibrate.survey.deadline import NEVER, Deadline
from l0_calibrate.survey.distances import Linear
from l0_calibrate.survey.newton import PUZZLED, Dual, Search, constraint_scale
from l0_calibrate.survey.sample import Sample
from l0_core import InputError


def tightest_bounds(design_weights: Any, X: Any, totals: Any, *, least: float = 0.0) -> tuple[float, float]:
    """The bounds ``(L, U)`` of g-weights with the smallest ``U - L`` within which all totals can be met.

    A linear programme in the g-weights and both ends (by HiGHS). At these bounds themselves hardly any weights are left
    to choose from: linear and raking calibration want a little more room to be near the design weights, logit some room
    in any case.

    Parameters
    ----------
    design_weights, X, totals
        As in `survey_calibrate`: shapes (records,), (records, constraints) and (constraints,).
    least
        The least g-weight that is allowed, below 1: 0 for weights that are not negative, ``-inf`` for any.

    Returns
    -------
    L and U, ``least <= L <= 1 <= U``.

    Raises
    ------
    InputError
        On input that cannot be meant.
    ConflictingTotals
        No g-weights of at least ``least`` meet the totals: names an irreducible set of those that fight.

    Examples
    --------
    >>> tightest_bounds([10.0, 10.0], [[1.0, 0.0], [1.0, 1.0]], [20.0, 15.0])
    (0.5, 1.5)
    """
    if not least < 1.0:
        raise InputError(f"least must be a g-weight below 1, got {least!r}")
    return tightest(Sample.of(design_weights, X, totals, None), least)


def tightest(sample: Sample, least: float, deadline: Deadline = NEVER) -> tuple[float, float]:
    """The bounds of `tightest_bounds`, and its errors; `NotDecided` where the deadline passes before."""
    scale = constraint_scale(sample.design, sample.x, sample.totals)
    rows = sp.diags_array(1.0 / scale) @ sample.x.T.multiply(sample.design)
    count, n = rows.shape
    free = Linear(least, np.inf)
    search = Search.of(Dual.of(sample.design, sample.x, sample.totals, sample.q, free, scale))
    search.run(PUZZLED, deadline)
    if not search.best.is_met:  # a conflict shows itself sooner than bounds are found
        refuse_conflict(sample, np.ones(n), free, Clues(search.rays(), AMONG, deadline))
    ones, each = sp.csr_array(np.ones((n, 1))), sp.eye_array(n)
    none = sp.csr_array((n, 1))
    # In how far g-weights are from 1: HiGHS takes entries below 1e-9 for 0, and what that costs is in proportion.
    moved = (sample.totals - sample.x.T @ sample.design) / scale
    asked = functools.partial(
        scipy.optimize.linprog, np.concatenate((np.zeros(n), [1.0, 1.0])),
        A_eq=sp.csr_array(sp.hstack([rows, sp.csr_array((count, 2))])), b_eq=moved,
        A_ub=sp.csr_array(sp.vstack([sp.hstack([-each, -ones, none]), sp.hstack([each, none, -ones])])),
        b_ub=np.zeros(2 * n), bounds=[*[(None, None)] * n, (0.0, 1.0 - least), (0.0, None)],
        method="highs",
    )  # fmt: skip
    found = asked(options=deadline.highs())
    deadline.check(found)
    if found.status != 0:  # presolve takes constraints that repeat others but for a rounding for a contradiction
        found = asked(options={**deadline.highs(), "presolve": False})
        deadline.check(found)
    if found.status != 0:
        refuse_conflict(sample, np.ones(n), free, Clues(search.rays(), deadline=deadline))
        raise InputError(f"the bounds were not found: {found.message}")
    return float(max(1.0 - found.x[n], least)), float(1.0 + found.x[n + 1])
