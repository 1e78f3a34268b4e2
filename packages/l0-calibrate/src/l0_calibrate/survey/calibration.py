"""`survey_calibrate`: GREG, raking and logit calibration, with bounds on the g-weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.problem.checks import vector
from l0_calibrate.problem.labels import own_labels, refuse_other_order
from l0_calibrate.problem.matrices import frozen_csr
from l0_calibrate.survey.conflicts import ConflictingTotals, at_the_edge, conflicting
from l0_calibrate.survey.distances import Distance, distance_named
from l0_calibrate.survey.newton import (
    ACCEPTED,
    AT_LENGTH,
    CalibrationNotConverged,
    Dual,
    constraint_scale,
    g_weights,
    within_totals,
)
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_NAMED = 10
"""Names of constraints that a message lists."""


def survey_calibrate(
    design_weights: Any,
    X: Any,
    totals: Any,
    method: Literal["linear", "raking", "logit"] = "linear",
    bounds: tuple[float, float] | None = None,
    q: Any = None,
) -> FloatArray:
    """Weights nearest to the design weights that meet all totals exactly.

    ``w_j = d_j F(q_j x_j'lambda)`` with ``X'w = totals`` (Deville & Särndal 1992), F by the method:

    - ``"linear"``: ``1 + u``, the generalised regression estimator (GREG); weights may be negative.
    - ``"raking"``: ``exp(u)``; weights are positive; on categories this is iterative proportional fitting.
    - ``"logit"``: between the bounds, which it never touches.

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
        ``(L, U)`` of the g-weights w / d, L < 1 < U. Linear and raking weights are cut off there.
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
        On input that cannot be meant.
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
    distance = distance_named(method, bounds)
    sample = _Sample.of(design_weights, X, totals, q)
    within = within_totals(sample.design, sample.x, sample.totals, distance)
    scale = constraint_scale(sample.design * within, sample.x, sample.totals)
    dual = Dual.of(sample.design, sample.x, sample.totals, sample.q, distance, scale)
    ratios, misses = g_weights(dual)
    if not _are_met(misses) or at_the_edge(ratios, within, distance):
        _refuse_conflict(sample, within, distance)
    if not _are_met(misses):
        ratios, misses = g_weights(dual.orthogonal(), AT_LENGTH)
    if not _are_met(misses):
        worst = int(np.argmax(np.abs(np.nan_to_num(misses, nan=np.inf))))
        raise CalibrationNotConverged(
            f"the iteration stopped with {sample.names[worst]!r} missed by {abs(misses[worst]):.3g} (relative): the "
            "totals can be met only at the edge of the bounds, or columns of X nearly repeat one another; widen the "
            "bounds",
            misses,
        )
    weights = np.zeros(sample.used.size)
    weights[sample.used] = sample.design * ratios
    return weights


@attrs.frozen(eq=False)
class _Sample:
    """The arguments, checked, without the records of weight 0 (``used`` flags the others)."""

    design: FloatArray
    x: Any
    totals: FloatArray
    q: FloatArray
    names: list[Any]
    used: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, design_weights: Any, X: Any, totals: Any, q: Any) -> _Sample:
        """Refuse what cannot be meant."""
        matrix = frozen_csr(X, "X", "(records, constraints)")
        n, p = matrix.shape
        labels = next(
            (own for own in (_records(X), _records(design_weights)) if own is not None and own.size == n), None
        )
        for values, name in ((design_weights, "design_weights"), (q, "q")):
            if labels is not None:
                refuse_other_order(values, labels, name, "X" if _records(X) is not None else "design_weights")
        names = list(X.columns) if isinstance(X, pd.DataFrame) else list(range(p))
        target = _totals(totals, names)
        design = _finite(design_weights, n, "design_weights", "record")
        factor = np.ones(n) if q is None else _finite(q, n, "q", "record")
        bad = np.flatnonzero(~np.isfinite(matrix.data))
        if bad.size:
            row = int(np.searchsorted(matrix.indptr, bad[0], side="right")) - 1
            column = names[matrix.indices[bad[0]]]
            raise InputError(f"X has an entry that is not finite: record {row}, column {column!r}")
        if (design < 0).any():
            first = int(np.flatnonzero(design < 0)[0])
            raise InputError(f"design_weights must not be negative: record {first} has one")
        if (factor <= 0).any():
            first = int(np.flatnonzero(factor <= 0)[0])
            raise InputError(f"q must be positive: record {first} has {factor[first]:g}")
        used = design > 0
        if not used.any():
            raise InputError("all design weights are 0: there is nothing to calibrate")
        return cls(design[used], matrix.astype(np.float64)[used], target, factor[used], names, used)


def _records(values: Any) -> npt.NDArray[Any] | None:
    """The labels of the records of a Series or DataFrame that has any of its own."""
    own = own_labels(values.index) if isinstance(values, (pd.Series, pd.DataFrame)) else None
    return None if own is None else own.to_numpy()


def _are_met(misses: FloatArray) -> bool:
    return bool((np.abs(misses) <= ACCEPTED).all())


def _finite(values: Any, size: int, name: str, what: str) -> FloatArray:
    if np.shape(values) != (size,):
        raise InputError(
            f"{name} must have shape ({size},), one for each {what} of X (records, constraints), got {np.shape(values)}"
        )
    array = vector(values, size, name, what)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(f"{name} must be finite: {what} {int(bad[0])} has {array[bad[0]]}")
    return array


def _totals(totals: Any, names: list[Any]) -> FloatArray:
    """Totals in the order of the columns."""
    if isinstance(totals, pd.Series) and not totals.index.is_unique:
        raise InputError(f"totals name {totals.index[totals.index.duplicated()][0]!r} twice")
    if isinstance(totals, (Mapping, pd.Series)):
        given = set(totals.keys())
        missing = [name for name in names if name not in given]
        unknown = [name for name in totals.keys() if name not in set(names)]  # noqa: SIM118 (a Series iterates values)
        if missing or unknown:
            raise InputError(
                "totals and columns of X do not match: "
                + "; ".join(
                    f"{what} {', '.join(map(repr, which[:_NAMED]))}"
                    for what, which in (("no total for", missing), ("no column for", unknown))
                    if which
                )
            )
        totals = [totals[name] for name in names]
    return _finite(totals, len(names), "totals", "constraint")


def _refuse_conflict(sample: _Sample, within: FloatArray, distance: Distance) -> None:
    """Raise the error that names the totals that fight, if any do."""
    names, target = sample.names, sample.totals
    fight = conflicting(sample.design, sample.x, target, within, distance)
    if not fight.size:
        return
    shown = ", ".join(f"{names[k]!r} (total {target[k]:g})" for k in fight[:_NAMED])
    more = f" and {fight.size - _NAMED} more" if fight.size > _NAMED else ""
    which = "weights"
    if np.isfinite(distance.upper):
        which = f"g-weights between {distance.lower:g} and {distance.upper:g}"
    elif distance.is_open:
        which = "positive weights"
    elif np.isfinite(distance.lower):
        which = f"g-weights of at least {distance.lower:g}"
    tail = "together" if fight.size > 1 else "whatever the other totals"
    raise ConflictingTotals(
        f"no {which} meet {shown}{more} {tail}; change or leave out one of them, or widen the bounds",
        tuple(names[k] for k in fight),
    )
