"""The door: every vector of a problem is checked once, here, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from l0_calibrate.problem.labels import Labels, naming, refuse_masked, shown
from l0_calibrate.problem.number_text import first_text
from l0_calibrate.problem.tables import as_frame
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_LARGE = 1e150
"""Loss weights above it are divided by the largest: their sum might be too large for a double."""
LARGEST_TARGET = 1e300
"""Hundreds of it, and sums of many, stay finite."""
LARGEST_WEIGHT = 1e140
"""Sums of squares of it stay finite, which the effective sample size takes."""
_ROUNDING = 1e-12
"""Weights whose mean is this near to 1 have been scaled before: scaling again would only move their last bits."""


def vector(values: Any, count: int, what: str, one: str) -> FloatArray:
    """A read-only copy as float64 of shape (count,); nothing is broadcast.

    Parameters
    ----------
    what, one
        How the vector and one of its places are called in messages: ``"targets"``, ``"target"``.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    refuse_masked(values, what)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        try:
            if array.dtype.kind == "c":
                raise TypeError("an imaginary part cannot be kept")
            array = array.astype(np.float64)
        except (ValueError, TypeError) as fault:
            why = (first_text(values) if array.ndim == 1 and array.dtype.kind != "c" else None) or str(fault)
            raise InputError(f"{what} must be real numbers, got dtype {np.asarray(values).dtype}: {why}") from fault
    if array.shape != (count,):
        raise InputError(
            f"{what} must have shape ({count},), one for each {one} of the matrix, got {array.shape}"
            + ("; is the matrix (targets, records)?" if array.ndim == 1 else "")
        )
    out = np.array(array, dtype=np.float64)
    out.setflags(write=False)
    return out


def refuse_not_finite(values: FloatArray, labels: Labels, what: str, one: str) -> None:
    """InputError that names the first value that is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        i = int(bad[0])
        more = f" (and {bad.size - 1:,} more)" if bad.size > 1 else ""
        raise InputError(f"{what} of {one} {shown(labels[i])} (position {i}) is {values[i]}{more}; it must be finite")


def refuse_too_large(values: FloatArray, most: float, labels: Labels, what: str, one: str) -> None:
    """InputError that names the first value whose sums and products would not be finite."""
    bad = np.flatnonzero(np.abs(values) > most)
    if bad.size:
        i = int(bad[0])
        more = f" (and {bad.size - 1:,} more)" if bad.size > 1 else ""
        raise InputError(
            f"{what} of {one} {shown(labels[i])} (position {i}) is {values[i]}{more}: sums of such numbers overflow "
            f"above {most:g}; give it in larger units, or leave it out if it stands for a missing value"
        )


def refuse_negative(values: FloatArray, labels: Labels, what: str, one: str) -> None:
    """InputError that names the first value below zero."""
    bad = np.flatnonzero(values < 0)
    if bad.size:
        i = int(bad[0])
        more = f" (and {bad.size - 1:,} more)" if bad.size > 1 else ""
        raise InputError(
            f"{what} of {one} {shown(labels[i])} (position {i}) is {values[i]}{more}; it must not be negative"
        )


def refuse_entries_not_finite(matrix: sp.csr_array, target_names: Labels, record_ids: Labels) -> None:
    """InputError that names the target and the record of the first entry that is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if bad.size:
        p = int(bad[0])
        row = int(np.searchsorted(matrix.indptr, p, side="right")) - 1
        column = int(matrix.indices[p])
        more = f" (and {bad.size - 1:,} more)" if bad.size > 1 else ""
        raise InputError(
            f"the matrix holds {matrix.data[p]} for target {shown(target_names[row])} (row {row}) and record "
            f"{shown(record_ids[column])} (column {column}){more}; every entry must be finite"
        )


def checked_initial_weights(values: Any, record_ids: Labels) -> FloatArray:
    """Finite, not negative, not all zero; ones where None."""
    if values is None:
        ones = np.ones(record_ids.size)
        ones.setflags(write=False)
        return ones
    weights = vector(values, record_ids.size, "initial_weights", "record (column)")
    refuse_not_finite(weights, record_ids, "the initial weight", "record")
    refuse_negative(weights, record_ids, "the initial weight", "record")
    refuse_too_large(weights, LARGEST_WEIGHT, record_ids, "the initial weight", "record")
    if not weights.any():
        raise InputError("all initial weights are zero: no record can get weight; give the design weights")
    return weights


def checked_loss_weights(values: Any, target_names: Labels) -> FloatArray:
    """Finite, not negative, not all zero, scaled to mean 1; ones where None."""
    count = target_names.size
    if values is None:
        values = np.ones(count)
    weights = vector(values, count, "loss_weights", "target (row)")
    refuse_not_finite(weights, target_names, "the loss weight", "target")
    refuse_negative(weights, target_names, "the loss weight", "target")
    if not weights.any():
        raise InputError("all loss weights are zero: no target counts; leave loss_weights out to count them alike")
    largest = float(weights.max())
    if largest > _LARGE:
        weights = weights / largest
    mean = weights.mean()
    scaled: FloatArray = weights / (1.0 if abs(mean - 1.0) < _ROUNDING else mean)
    scaled.setflags(write=False)
    return scaled


def checked_tolerances(values: Any, target_names: Labels) -> FloatArray:
    """Relative errors that cost nothing, one for each target or one number for all; zeros where None."""
    count = target_names.size
    if values is None or np.ndim(values) == 0:
        values = np.full(count, 0.0 if values is None else values)
    tolerances = vector(values, count, "tolerances", "target (row)")
    refuse_not_finite(tolerances, target_names, "the tolerance", "target")
    refuse_negative(tolerances, target_names, "the tolerance", "target")
    return tolerances


def checked_info(info: pd.DataFrame | None, count: int, what: str) -> pd.DataFrame | None:
    """A table with one row for each target or record, in the same order."""
    if info is None:
        return None
    info = as_frame(info)
    if not isinstance(info, pd.DataFrame):
        raise InputError(f"{what} must be a pandas DataFrame, got {type(info).__name__}")
    if len(info) != count:
        raise InputError(f"{what} must have {count} rows, in the order of the matrix, got {len(info)}")
    if info.columns.has_duplicates:
        raise InputError(f"{what} has the column {info.columns[info.columns.duplicated()][0]!r} twice")
    return info.reset_index(drop=True)


def balanced_weights(groups: Any, multipliers: Mapping[Any, float] | None = None, weights: Any = None) -> FloatArray:
    """Loss weights that give every group of targets the same say, however many targets it has.

    Parameters
    ----------
    groups
        Labels of shape (targets,).
    multipliers
        The say of a group against the others, by label; 1 for those not named.
    weights
        Shape (targets,), the say of a target within its group; alike where None.

    Returns
    -------
    Shape (targets,), mean 1: ``k_g w_i / sum(w in g)``, scaled.

    Raises
    ------
    InputError
        A missing label, a multiplier for a group that does not exist, a negative or infinite one.
    """
    labels = groups.to_numpy() if isinstance(groups, (pd.Series, pd.Index)) else np.asarray(groups)
    if labels.ndim != 1 or not labels.size:
        raise InputError(f"groups must have one label for each target, got shape {labels.shape}")
    codes, names = pd.factorize(labels)
    if (codes < 0).any():
        raise InputError(f"target at position {int(np.flatnonzero(codes < 0)[0])} has no group")
    say = np.ones(len(names))
    known = {name: g for g, name in enumerate(names)}
    for name, multiplier in (multipliers or {}).items():
        if name not in known:
            raise InputError(f"there is no group {name!r} to multiply; the groups: {naming(names, 20)}")
        if not (np.isfinite(multiplier) and multiplier >= 0):
            raise InputError(f"the multiplier of group {name!r} must be finite and not negative, got {multiplier}")
        say[known[name]] = multiplier
    within = checked_loss_weights(weights, np.arange(labels.size))
    totals = np.bincount(codes, within, minlength=len(names))
    shares = np.divide(say, totals, out=np.zeros_like(say), where=totals > 0)
    return checked_loss_weights(shares[codes] * within, np.arange(labels.size))
