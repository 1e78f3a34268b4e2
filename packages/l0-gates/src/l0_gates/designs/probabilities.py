"""First-order inclusion probabilities of fixed-size designs, and the weights they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_core.real_numbers import real_array
from l0_core.selection import Selection, check_count

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def size_measure(values: Any, total: int | None = None) -> FloatArray:
    """A size for each unit, checked: one-dimensional, finite, not negative, not all zero."""
    sizes = real_array(values, "size_measure").astype(np.float64, copy=False)
    if sizes.ndim != 1 or (total is not None and sizes.size != total):
        raise InputError(f"size_measure must have shape ({'units' if total is None else total},), got {sizes.shape}")
    bad = np.flatnonzero(~(np.isfinite(sizes) & (sizes >= 0.0)))
    if bad.size:
        raise InputError(f"size_measure of unit {bad[0]} is {sizes[bad[0]]!r}; sizes must be finite and not negative")
    if not sizes.any():
        raise InputError("size_measure is zero for every unit; give at least one unit a size")
    return sizes


def inclusion_probabilities(sizes: Any, n: int) -> FloatArray:
    """Probabilities in proportion to size that add up to ``n``, each at most 1.

    A unit whose share of ``n`` is 1 or more is certain; the rest of the sample is shared out among the others
    in proportion to their sizes, and so on until none exceeds 1 (Tillé 2006, Sampling Algorithms, sec. 2.10).

    Parameters
    ----------
    sizes
        Shape (units,), finite, not negative.
    n
        Sample size; at most the number of units with a size.

    Raises
    ------
    InputError
        Sizes that cannot be used, or fewer than ``n`` of them positive.
    """
    values = size_measure(sizes)
    n = check_count(n, values.size, "n")
    positive = int(np.count_nonzero(values))
    if positive < n:
        raise InputError(f"n is {n}, but only {positive} units have a positive size; the others can never be drawn")
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    rest = np.cumsum(falling[::-1])[::-1]
    # With the c largest certain, the next one must not exceed 1: (n - c) size_c <= rest_c. The first such c is it.
    certain = int(np.argmax((n - np.arange(n + 1)[: values.size]) * falling[: n + 1] <= rest[: n + 1]))
    result = np.zeros(values.size)
    result[order[:certain]] = 1.0
    result[order[certain:]] = np.minimum((n - certain) * falling[certain:] / rest[certain], 1.0)
    return result


def check_probabilities(probabilities: Any, fixed_size: bool) -> FloatArray:
    """Probabilities in 0..1, with a whole sum where the size is fixed."""
    values = real_array(probabilities, "probabilities").astype(np.float64, copy=False)
    if values.ndim != 1:
        raise InputError(f"probabilities must have shape (units,), got {values.shape}")
    bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if bad.size:
        raise InputError(f"probability of unit {bad[0]} is {values[bad[0]]!r}; it must be from 0 to 1")
    # 1e-6: a sum of a million doubles rounds to within 1e-9 of a whole number; a real fraction is far larger.
    if fixed_size and abs(values.sum() - round(values.sum())) > 1e-6:
        raise InputError(f"probabilities add up to {values.sum()}; a design of fixed size needs a whole number")
    return values


def horvitz_thompson_weights(selection: Selection, reference: Any = None) -> FloatArray:
    """Weights that leave every total unbiased over the design: ``reference / inclusion probability``, 0 where dropped.

    Parameters
    ----------
    selection
        One that carries inclusion probabilities.
    reference
        Shape (items,), the weights before; ``None`` is 1 for each.
    """
    chances = selection.inclusion_probabilities
    if chances is None:
        raise InputError("the selection has no inclusion probabilities: it was not drawn by a design")
    before = np.ones(selection.total) if reference is None else real_array(reference, "reference").astype(np.float64)
    if before.shape != (selection.total,):
        raise InputError(f"reference must have shape ({selection.total},), got {before.shape}")
    weights = np.zeros(selection.total)
    weights[selection.indices] = before[selection.indices] / chances[selection.indices]
    return weights
