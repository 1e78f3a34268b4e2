"""What coordinate descent is asked: a regression with an L0 price, a ridge and bounds, checked at the door."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core.column_moments import column_moments
from l0_core.errors import InputError
from l0_core.real_numbers import real_array, refuse_other_than_real
from l0_core.whole_numbers import whole
from l0_gates.descent.kernels import Columns, FloatArray, IndexArray
from l0_gates.descent.losses import DescentLoss, descent_loss
from l0_gates.row_weights import checked_row_weights, row_shares


@attrs.frozen
class DescentSettings:
    """How hard coordinate descent tries.

    Parameters
    ----------
    tolerance
        A solution stands still when no coordinate moves the fit by more than this, relative to the
        norm of the weighted response.
    max_passes
        Sweeps over the coordinates in one descent.
    max_majorisations
        Quadratics for a loss that is not one itself.
    max_swaps
        Exchanges of one coordinate for another after the descent; 0 leaves the descent's point as it is.
    swap_leavers
        How many of the non-zeros (those that matter least) are tried for exchange each time.
    """

    tolerance: float = attrs.field(default=1e-9, validator=attrs.validators.gt(0.0))
    max_passes: int = attrs.field(default=2_000, validator=whole(1))
    max_majorisations: int = attrs.field(default=200, validator=whole(1))
    max_swaps: int = attrs.field(default=200, validator=whole(0))
    swap_leavers: int = attrs.field(default=200, validator=whole(1))


def _vector(values: Any, length: int, what: str) -> FloatArray:
    """A float64 vector: a number for all, or one for each."""
    array = real_array(values, what).astype(np.float64)
    if array.ndim == 0:
        array = np.full(length, float(array))
    if array.shape != (length,):
        raise InputError(f"{what} must be one number or have shape ({length},), got {array.shape}")
    if np.isnan(array).any():
        raise InputError(f"{what} of position {int(np.flatnonzero(np.isnan(array))[0])} is NaN")
    return array


@attrs.frozen(eq=False, init=False)
class Regression:
    """Minimise ``sum_i w_i f(x_i b + a, y_i) + l0 ||b||_0 + l2/2 ||b||^2`` over ``lower <= b <= upper``.

    Parameters
    ----------
    matrix
        Shape (rows, coordinates), ndarray or scipy sparse; kept sparse where it is.
    response
        Shape (rows,); 0 or 1 under the logistic loss.
    loss
        ``"squared"`` (``f = (eta - y)^2 / 2``) or ``"logistic"``.
    l2
        Ridge, a non-negative number or one for each coordinate.
    lower, upper
        Bounds, numbers or one for each coordinate. Where they exclude zero the coordinate is always in.
    row_weights
        Shape (rows,), non-negative; ``None`` is 1 for each.
    mean
        Divide the loss by the sum of the row weights.
    intercept
        Whether there is an ``a``, without price, ridge and bounds.

    Raises
    ------
    InputError
        On wrong shapes, non-finite values, crossed bounds, negative weights or ridge.
    """

    values: FloatArray
    indices: npt.NDArray[np.int32]
    indptr: IndexArray
    response: FloatArray
    row_weights: FloatArray
    loss: DescentLoss
    ridge: FloatArray
    lower: FloatArray
    upper: FloatArray
    intercept: bool
    offsets: FloatArray

    def __init__(
        self,
        matrix: Any,
        response: Any,
        *,
        loss: str = "squared",
        l2: Any = 0.0,
        lower: Any = -np.inf,
        upper: Any = np.inf,
        row_weights: Any = None,
        mean: bool = False,
        intercept: bool = False,
    ) -> None:
        values, indices, indptr, (rows, coordinates) = _columns(matrix)
        target = real_array(response, "response").astype(np.float64)
        if target.shape != (rows,):
            raise InputError(f"response must have shape ({rows},), one for each row of the matrix, got {target.shape}")
        if not np.isfinite(target).all():
            raise InputError(f"response of row {int(np.flatnonzero(~np.isfinite(target))[0])} is not finite")
        law = descent_loss(loss)
        law.check(target)
        weights = checked_row_weights(1.0 if row_weights is None else row_weights, rows)
        ridge = _vector(l2, coordinates, "l2")
        if not (np.isfinite(ridge).all() and (ridge >= 0.0).all()):
            raise InputError("l2 must be finite and not negative")
        low, high = _vector(lower, coordinates, "lower"), _vector(upper, coordinates, "upper")
        crossed = np.flatnonzero((low > high) | (low == np.inf) | (high == -np.inf))
        if crossed.size:
            j = int(crossed[0])
            raise InputError(f"coordinate {j} has no admissible value: lower {low[j]}, upper {high[j]}")
        offsets = np.zeros(coordinates)
        if intercept and values.size and not indices.size:
            values, offsets = _near_zero(values, rows)
        self.__attrs_init__(
            values,
            indices,
            indptr,
            target,
            row_shares(weights) if mean else weights,
            law,
            ridge,
            low,
            high,
            bool(intercept),
            offsets,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, coordinates)."""
        return self.response.size, self.indptr.size - 1

    @property
    def is_sparse(self) -> bool:
        """Whether only non-zeros are stored (a matrix without any counts as sparse)."""
        return bool(self.indices.size) or not self.values.size

    @property
    def forced(self) -> npt.NDArray[np.bool_]:
        """Coordinates that may not be zero."""
        return (self.lower > 0.0) | (self.upper < 0.0)

    def products(self, coefficients: FloatArray) -> FloatArray:
        """The stored columns times the coefficients, shape (rows,): ``X b`` less what the offsets contribute."""
        rows, coordinates = self.shape
        if self.is_sparse:
            matrix = sp.csc_array((self.values, self.indices, self.indptr), shape=(rows, coordinates))
            return np.asarray(matrix @ coefficients)
        return np.asarray(self.values.reshape(coordinates, rows).T @ coefficients)

    def predictor(self, coefficients: FloatArray, intercept: float) -> FloatArray:
        """``X b + a``, shape (rows,)."""
        return self.products(coefficients) + (intercept + float(self.offsets @ coefficients))

    def objective(self, coefficients: FloatArray, intercept: float) -> float:
        """Loss and ridge, without the L0 price."""
        eta = self.predictor(coefficients, intercept)
        loss = float(self.row_weights @ self.loss.values(eta, self.response))
        return loss + 0.5 * float(self.ridge @ coefficients**2)

    def quadratic(self, weights: FloatArray) -> Columns:
        """The columns scaled by the square roots of the row weights, with their weighted means."""
        rows, coordinates = self.shape
        root = np.sqrt(weights)
        if self.is_sparse:
            data = self.values * root[self.indices]
            scaled = sp.csc_array((data, self.indices, self.indptr), shape=(rows, coordinates))
            means = np.asarray(scaled.T @ root)
            squares = np.asarray(scaled.multiply(scaled).sum(axis=0)).ravel()
        else:
            data = (self.values.reshape(coordinates, rows) * root).ravel()
            dense = data.reshape(coordinates, rows)
            means = dense @ root
            squares = np.einsum("ij,ij->i", dense, dense)
        mass = float(weights.sum())
        means = means / mass if self.intercept else np.zeros(coordinates)
        # A constant column is all intercept: what rounding leaves of its centred square must not divide.
        centred = squares - mass * means**2
        centred[centred <= 1e-13 * squares] = 0.0
        return Columns(data, self.indices.view(np.uint32), self.indptr, means, centred, mass)


_FAR = 100.0
"""Deviations from zero at which a column is stored around its mean: its square would lose digits of its spread."""


def _near_zero(values: FloatArray, rows: int) -> tuple[FloatArray, FloatArray]:
    """(dense columns, what was taken off each of them), an intercept being there to make up for it."""
    table = values.reshape(-1, rows)
    means, deviations = column_moments(table.T)
    offsets = np.where((deviations > 0.0) & (np.abs(means) > _FAR * deviations), means, 0.0)
    return ((table - offsets[:, None]).ravel() if offsets.any() else values), offsets


def _columns(matrix: Any) -> tuple[FloatArray, npt.NDArray[np.int32], IndexArray, tuple[int, int]]:
    """Values, row indices (none for a dense matrix) and column starts, checked."""
    if sp.issparse(matrix):
        refuse_other_than_real(matrix.dtype, "matrix")
        columns = sp.csc_array(matrix, dtype=np.float64)
        columns.sum_duplicates()
        values, indices = columns.data, columns.indices.astype(np.int32, copy=False)
        indptr, shape = columns.indptr.astype(np.int64, copy=False), columns.shape
    else:
        dense = real_array(matrix, "matrix").astype(np.float64, copy=False)
        if dense.ndim != 2:
            raise InputError(f"matrix must have two dimensions (rows, coordinates), got shape {dense.shape}")
        shape = dense.shape
        values = np.ascontiguousarray(dense.T).ravel()
        indices = np.zeros(0, dtype=np.int32)
        indptr = np.arange(shape[1] + 1, dtype=np.int64) * shape[0]
    if 0 in shape:
        raise InputError(f"matrix must have at least one row and one column, got shape {shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        column = int(np.searchsorted(indptr, bad[0], side="right")) - 1
        row = int(indices[bad[0]]) if indices.size else int(bad[0] - indptr[column])
        raise InputError(f"matrix entry in row {row}, column {column} is not finite ({bad.size} such entries)")
    return values, indices, indptr, (int(shape[0]), int(shape[1]))
