"""A gate strategy: the records that contribute most to the totals."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_core import GateStrategy, InputError, Selection, UntrainedWarning
from l0_core.selection import check_count, count_of, top_k

FloatArray = npt.NDArray[np.float64]


def finite(values: Any, shape: tuple[int, ...], what: str) -> FloatArray:
    """The values in double precision, or InputError for another shape or a number that is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{what} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{what} of position {int(np.flatnonzero(~np.isfinite(array))[0])} is not finite")
    return array


class ContributionStrategy(GateStrategy):
    """Ranks records by the sum over the totals of ``|entry| reference / max(|total|, 1)``.

    Parameters
    ----------
    keep
        How many records; ``None`` leaves it to each `select`.
    seed
        Of ties.
    """

    def __init__(self, keep: int | None = None, seed: int = 0) -> None:
        self.keep = keep
        self.seed = seed
        self._scores: FloatArray | None = None

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Take the contributions of the records (errors: `GateStrategy.fit`)."""
        columns = sp.csr_array(matrix)
        if columns.ndim != 2:
            raise InputError(f"matrix must have two dimensions, got shape {columns.shape}")
        finite(columns.data, columns.data.shape, "matrix entry")
        rows, items = columns.shape
        scale = np.maximum(np.abs(finite(totals, (rows,), "totals")), 1.0)
        before = np.ones(items) if reference is None else finite(reference, (items,), "reference")
        if (before < 0.0).any():
            raise InputError(f"reference of position {int(np.argmin(before))} is negative")
        self._scores = before * (abs(columns).T @ (1.0 / scale))
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self._scores is not None

    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        """Exactly ``keep`` records; before `fit` a random choice, with an `UntrainedWarning`."""
        total = count_of(data)
        wanted = self.keep if keep is None else keep
        if wanted is None:
            raise InputError("no count to keep: give keep here or at construction")
        if self._scores is None:
            warnings.warn("not fitted: records are kept at random", UntrainedWarning, stacklevel=2)
        scores = np.zeros(total) if self._scores is None else self._scores
        if scores.size != total:
            raise InputError(f"fitted to {scores.size} records, {total} are to be selected from")
        indices = top_k(scores, check_count(wanted, total), self.seed if seed is None else seed)
        return Selection(indices, total, kinds=np.full(indices.size, "learned"), scores=scores)
