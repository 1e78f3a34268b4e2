"""`survey_calibrate`: GREG, raking and logit calibration, with bounds on the g-weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from l0_calibrate.survey.conflicts import AMONG, Clues, at_the_edge, refuse_conflict
from l0_calibrate.survey.distances import Distance, distance_of
from l0_calibrate.survey.newton import (
    PUZZLED,
    CalibrationNotConverged,
    Dual,
    Search,
    constraint_scale,
    within_totals,
)
from l0_calibrate.survey.sample import Sample

FloatArray = npt.NDArray[np.float64]


def survey_calibrate(
    design_weights: Any,
    X: Any,
    totals: Any,
    method: Literal["linear", "raking", "logit"] | Distance = "linear",
    bounds: tuple[float, float] | None = None,
    q: Any = None,
) -> FloatArray:
    """Weights nearest to the design weights that meet all totals exactly.

    ``w_j = d_j F(q_j x_j'lambda)`` with ``X'w = totals`` (Deville & Särndal 1992), F by the method:

    - ``"linear"``: ``1 + u``, the generalised regression estimator (GREG); weights may be negative;
    - ``"raking"``: ``exp(u)``; weights are positive; on categories this is iterative proportional fitting;
    - ``"logit"``: between the bounds, which it never touches;
    - a `Distance` of your own.

    Each step holds three dense arrays of shape (constraints, constraints): 10 GB for 20,000 constraints, and minutes.

    Parameters
    ----------
    design_weights
        d, shape (records,), not negative. A record with weight 0 keeps it. A Series must have the records in the order
        of X (or of the labels of X, if it has any), and so must ``q``: nothing is reordered.
    X
        Shape (records, constraints): ndarray, DataFrame (its columns name the constraints), SciPy sparse.
        A column of ones holds the sum of the weights.
    totals
        Shape (constraints,), in the order of the columns, or a mapping or Series by their names.
    method
        The distance.
    bounds
        ``(L, U)`` of the g-weights w / d, L < 1 < U. Linear and raking weights are cut off there. `tightest_bounds` has
        the least that will do.
    q
        Shape (records,), positive: how freely a weight may move (1 / q is the variance factor of R's
        ``survey``); ones where None.

    Returns
    -------
    Weights of shape (records,). Every total t is met to 1e-9 of ``max(|t|, sum_j d_j |x_j|)``, and to rounding as a
    rule; by raking without a lower bound and by logit from 0, to 1e-9 of ``|t|`` itself where no two entries of a
    column differ in sign.

    Raises
    ------
    InputError
        On input that cannot be meant, and (`TooManyTotals`) on more constraints than the machine has memory for.
    ConflictingTotals
        No weights within the bounds meet the totals: names an irreducible set of those that fight.
    CalibrationNotConverged
        The totals can be met, but rounding keeps the iteration from it.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 20.0], [1.0, 30.0], [1.0, 70.0]])
    >>> weights = survey_calibrate([10.0, 10.0, 10.0], X, [30.0, 1300.0])
    >>> (X.T @ weights).round(9).tolist()
    [30.0, 1300.0]
    """
    distance = distance_of(method, bounds)
    return nearest(Sample.of(design_weights, X, totals, q), distance)


def nearest(sample: Sample, distance: Distance) -> FloatArray:
    """The weights of `survey_calibrate`, shape (records,), and its errors."""
    within = within_totals(sample.design, sample.x, sample.totals, distance)
    scale = constraint_scale(sample.design * within, sample.x, sample.totals)
    search = Search.of(Dual.of(sample.design, sample.x, sample.totals, sample.q, distance, scale))
    search.run(PUZZLED)
    if not search.best.is_met:
        refuse_conflict(sample, within, distance, Clues(search.rays(), AMONG))
        search.run()
    found = search.best
    if not found.is_met or at_the_edge(found.ratios, within, distance):
        refuse_conflict(sample, within, distance, Clues(search.rays()))
    if not found.is_met:
        search = Search.of(search.problem.orthogonal())
        search.run()
        found = min(found, search.best, key=lambda point: point.worst)
    if not found.is_met:
        raise _not_met(sample, found.miss, distance)
    weights = np.zeros(sample.used.size)
    weights[sample.used] = sample.design * found.ratios
    return weights


def _not_met(sample: Sample, miss: FloatArray, distance: Distance) -> CalibrationNotConverged:
    """What is said where totals can neither be met nor told to fight; ``miss``, relative, of shape (constraints,)."""
    worst = int(np.argmax(np.abs(miss)))  # NaN counts as the largest
    is_free = np.isinf(distance.lower) and np.isinf(distance.upper)
    edge = "" if is_free else "the totals can be met only at the ends of the g-weights, or "
    widen = ", or widen the bounds" if distance.can_be_widened else ""
    return CalibrationNotConverged(
        f"the iteration stopped with {sample.names[worst]!r} missed by {abs(miss[worst]):.3g} (relative): {edge}totals "
        f"nearly repeat one another and do not agree to rounding; leave out one of those{widen}",
        miss,
    )
