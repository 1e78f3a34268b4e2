"""Means and standard deviations of the columns of a matrix: what makes coefficients comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def column_moments(matrix: Any, weights: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """(means, standard deviations) in float64, each of shape (columns,); a constant column has deviation 0 exactly.

    From deviations, not from squares, which would lose a spread that is small beside its mean, and overflow in the
    short integers that pictures come in.

    Parameters
    ----------
    matrix
        Shape (rows, columns): ndarray, or scipy sparse, whose zeros count.
    weights
        Shape (rows,), not negative and not all zero: how often each row counts. ``None`` is once.
    """
    rows, count = matrix.shape
    mass = rows if weights is None else float(weights.sum())
    if isinstance(matrix, np.ndarray):
        if weights is None:
            means = matrix.mean(axis=0, dtype=np.float64)
            squares = np.square(matrix - means).sum(axis=0)
        else:
            means = weights @ matrix / mass
            squares = weights @ np.square(matrix - means)
    else:
        columns = matrix.astype(np.float64, copy=False).tocsc()
        if not columns.has_canonical_format:
            columns = columns.copy()
            columns.sum_duplicates()
        data, filled = columns.data, np.diff(columns.indptr)
        column = np.repeat(np.arange(count), filled)
        each = np.ones(data.size) if weights is None else weights[columns.indices]
        means = np.bincount(column, weights=each * data, minlength=count) / mass
        # Not in place: without any entry `bincount` counts in whole numbers.
        entries = np.bincount(column, weights=each * np.square(data - means[column]), minlength=count)
        held = np.bincount(column, weights=each, minlength=count)
        # A full column has no zeros, whatever rounding leaves of the difference.
        zeros = np.where(filled == rows, 0.0, np.maximum(mass - held, 0.0))
        squares = entries + zeros * np.square(means)
    deviations = np.sqrt(squares / mass)
    # What rounding of its mean leaves of a constant column's deviation is none.
    return means, np.where(deviations > 1e-14 * np.sqrt(rows) * np.abs(means), deviations, 0.0)
