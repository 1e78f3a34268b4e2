"""What was kept: the `Selection` record, and the exact-count rules that every strategy shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_core.whole_numbers import check_whole, is_whole

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _indices(values: Any) -> IntArray:
    found = np.asarray(values)
    if found.size and found.dtype.kind not in "iu":
        raise InputError(f"indices must be whole numbers, got dtype {found.dtype}")
    return _frozen(np.array(found, dtype=np.int64))


def _total(value: Any) -> int:
    return check_whole(value, 0, "total")


def _floats(values: Any) -> FloatArray | None:
    return None if values is None else _frozen(np.array(values, dtype=np.float64))


def _strings(values: Any) -> npt.NDArray[np.str_] | None:
    return None if values is None else _frozen(np.array(values, dtype=np.str_))


_ROUNDING = 1e-9
"""How far above 1 the sums of a design may leave a probability."""


@attrs.frozen(eq=False)
class Selection:
    """The items that were kept, in ascending order.

    Parameters
    ----------
    indices
        Shape (kept,), positions of the kept items, strictly ascending.
    total
        Number of items chosen from.
    kinds
        Shape (kept,), why each was kept (``"learned"``, ``"random"``, ``"must"``), or None.
    scores
        Shape (total,), what the items were ranked by (larger is better), or None.
    inclusion_probabilities
        Shape (total,), the design's first-order inclusion probabilities, or None where there is no design.
    """

    indices: IntArray = attrs.field(converter=_indices)
    total: int = attrs.field(converter=_total)
    kinds: npt.NDArray[np.str_] | None = attrs.field(default=None, converter=_strings)
    scores: FloatArray | None = attrs.field(default=None, converter=_floats)
    inclusion_probabilities: FloatArray | None = attrs.field(default=None, converter=_floats)

    def __attrs_post_init__(self) -> None:
        if self.indices.ndim != 1:
            raise InputError(f"indices must be one-dimensional, got shape {self.indices.shape}")
        if self.indices.size and (self.indices[0] < 0 or self.indices[-1] >= self.total):
            raise InputError(f"indices must lie in 0..{self.total - 1}")
        if np.any(np.diff(self.indices) <= 0):
            raise InputError("indices must be strictly ascending")
        for name, length in (
            ("kinds", self.indices.size),
            ("scores", self.total),
            ("inclusion_probabilities", self.total),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != (length,):
                raise InputError(f"{name} must have shape ({length},), got {value.shape}")
        chances = self.inclusion_probabilities
        if chances is not None:
            wrong = np.flatnonzero(~((chances >= 0.0) & (chances <= 1.0 + _ROUNDING)))
            if wrong.size:
                raise InputError(
                    f"inclusion_probabilities must lie in 0..1, that of item {wrong[0]} is {float(chances[wrong[0]])!r}"
                )

    def __len__(self) -> int:
        return int(self.indices.size)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Shape (total,), True where kept."""
        mask = np.zeros(self.total, dtype=bool)
        mask[self.indices] = True
        return mask


def check_count(keep: int, total: int, what: str = "keep") -> int:
    """``keep`` as an int, or InputError unless it is a whole number from 1 to ``total``."""
    if not is_whole(keep):
        raise InputError(f"{what} must be a whole number, got {keep!r}")
    if not 1 <= keep <= total:
        raise InputError(f"{what} must be from 1 to the number of items, {total}; got {keep}")
    return int(keep)


def check_seed(seed: Any, what: str = "seed") -> int:
    """The seed as NumPy and torch both take it, or InputError unless it is a whole number from 0 to 2**63 - 1."""
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"{what} must be a whole number from 0 to 2**63 - 1, got {seed!r}")
    return int(seed)


def count_of(data: Any) -> int:
    """The number of items that ``data`` stands for: itself where it is a whole number, its length otherwise."""
    if is_whole(data):
        count = int(data)
    else:
        shape = getattr(data, "shape", None)
        if not (hasattr(data, "__len__") if shape is None else shape):
            raise InputError(f"give the number of items, or data whose length is that number; got {data!r}")
        count = int(shape[0]) if shape else len(data)
    if count < 1:
        raise InputError(f"there must be at least one item to select from, got {count}")
    return count


def top_k(scores: Any, keep: int, seed: int = 0) -> IntArray:
    """Positions of exactly ``keep`` largest scores, ascending; ties are broken at random by the seed.

    Parameters
    ----------
    scores
        Shape (items,); NaN is refused, infinities rank as they should.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"scores must be one-dimensional, got shape {values.shape}")
    if np.isnan(values).any():
        raise InputError(f"score of item {int(np.flatnonzero(np.isnan(values))[0])} is NaN")
    keep = check_count(keep, values.size)
    tie = np.random.default_rng(check_seed(seed)).permutation(values.size)
    order = np.lexsort((tie, -values))
    return np.sort(order[:keep]).astype(np.int64)


def share_out(total: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in the proportion of the shares that add up to ``total`` exactly.

    By largest remainders (Hamilton's method); equal remainders go to the earlier share.
    """
    if total < 0:
        raise InputError(f"total must not be negative, got {total}")
    whole = math.fsum(shares)
    if not shares or any(not (math.isfinite(s) and s >= 0) for s in shares) or whole <= 0:
        raise InputError(f"shares must be non-negative, finite and not all zero, got {tuple(shares)}")
    exact = [total * s / whole for s in shares]
    counts = [math.floor(e) for e in exact]
    remainders = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in remainders[: total - sum(counts)]:
        counts[i] += 1
    return tuple(counts)
