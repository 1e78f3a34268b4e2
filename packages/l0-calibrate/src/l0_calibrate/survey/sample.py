"""What the classical estimators are given, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.memory import physical_memory
from l0_calibrate.problem.checks import vector
from l0_calibrate.problem.labels import own_labels, refuse_other_order, shown
from l0_calibrate.problem.matrices import frozen_csr
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

NAMED = 10
"""Names of constraints that a message lists."""


DENSE = 3
"""Arrays of totals by totals, in float64, that a step of the iteration holds at the same time."""


class TooManyTotals(InputError):
    """The dense arrays of totals by totals are more than the memory of this machine."""


@attrs.frozen(eq=False)
class Sample:
    """The arguments, checked, without the records of weight 0 (``used`` flags the others)."""

    design: FloatArray
    x: Any
    totals: FloatArray
    q: FloatArray
    names: list[Any]
    used: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, design_weights: Any, X: Any, totals: Any, q: Any) -> Sample:
        """Refuse what cannot be meant."""
        matrix = frozen_csr(X, "X", "(records, constraints)")
        n, p = matrix.shape
        labels = next(
            (own for own in (labels_of(X), labels_of(design_weights)) if own is not None and own.size == n), None
        )
        for values, name in ((design_weights, "design_weights"), (q, "q")):
            if labels is not None:
                refuse_other_order(values, labels, name, "X" if labels_of(X) is not None else "design_weights")
        names = list(X.columns) if isinstance(X, pd.DataFrame) else list(range(p))
        target = _totals(totals, names)
        bad = np.flatnonzero(~np.isfinite(matrix.data))
        if bad.size:
            row = int(np.searchsorted(matrix.indptr, bad[0], side="right")) - 1
            column = names[matrix.indices[bad[0]]]
            raise InputError(f"X has an entry that is not finite: record {row}, column {column!r}")
        design = finite(design_weights, n, "design_weights", "record")
        if (design < 0).any():
            first = int(np.flatnonzero(design < 0)[0])
            raise InputError(f"design_weights must not be negative: record {first} has one")
        return cls.under(design, matrix, target, freedoms(q, np.arange(n)), names)

    @classmethod
    def under(cls, design: FloatArray, x: Any, totals: FloatArray, q: FloatArray, names: list[Any]) -> Sample:
        """Of numbers that are checked: ``x`` CSR of shape (records, constraints)."""
        used = design > 0
        if not used.any():
            raise InputError("all design weights are 0: there is nothing to calibrate")
        _refuse_too_many(totals.size)
        return cls(design[used], x.astype(np.float64)[used], totals, q[used], names, used)


def _refuse_too_many(totals: int) -> None:
    """Where the steps' arrays could not be held, before any is made."""
    needed, there = DENSE * 8 * totals**2, physical_memory()
    if there is not None and needed > there:
        raise TooManyTotals(
            f"meeting {totals:,} totals exactly takes {DENSE} dense arrays of totals by totals, "
            f"{needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f} GB; fit the weights instead (calibrate, "
            "or l0-calibrate fit), which never makes any, or give fewer totals"
        )


def freedoms(q: Any, labels: npt.NDArray[Any]) -> FloatArray:
    """``q`` of each record, ones where None; InputError that names a bad one by the labels, shape (records,)."""
    if q is None:
        return np.ones(labels.size)
    values = finite(q, labels.size, "q", "record", labels)
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        raise InputError(f"q must be positive: record {shown(labels[bad[0]])} has {values[bad[0]]:g}")
    return values


def labels_of(values: Any) -> npt.NDArray[Any] | None:
    """The labels of the records of a Series or DataFrame that has any of its own."""
    own = own_labels(values.index) if isinstance(values, (pd.Series, pd.DataFrame)) else None
    return None if own is None else own.to_numpy()


def finite(values: Any, size: int, name: str, what: str, labels: npt.NDArray[Any] | None = None) -> FloatArray:
    """One finite number for each record or constraint, refused where it has another shape."""
    if np.shape(values) != (size,):
        raise InputError(f"{name} must have shape ({size},), one for each {what}, got {np.shape(values)}")
    array = vector(values, size, name, what)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        which = shown(bad[0] if labels is None else labels[bad[0]])
        raise InputError(f"{name} must be finite: {what} {which} has {array[bad[0]]}")
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
                    f"{what} {', '.join(map(repr, which[:NAMED]))}"
                    for what, which in (("no total for", missing), ("no column for", unknown))
                    if which
                )
            )
        totals = [totals[name] for name in names]
    return finite(totals, len(names), "totals", "constraint")
