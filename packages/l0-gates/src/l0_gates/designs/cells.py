"""Where a sample is drawn: strata with fixed counts, linked groups that come whole, records that must be kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError
from l0_core.selection import share_out
from l0_gates.designs.probabilities import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Cell:
    """Groups of equal size in one stratum, of which exactly ``count`` are drawn.

    ``members`` has shape (groups, items in a group): the positions of the items.
    """

    members: IntArray
    count: int


def labels(values: Any, total: int, what: str) -> IntArray:
    """Labels of any kind as numbers 0, 1, ...; ``None`` is one label for all."""
    if values is None:
        return np.zeros(total, dtype=np.int64)
    array = np.asarray(values)
    if array.shape != (total,):
        raise InputError(f"{what} must have shape ({total},), one label for each item, got {array.shape}")
    missing = np.flatnonzero([_is_missing(label) for label in array] if array.dtype == object else array != array)
    if missing.size:
        raise InputError(
            f"{what} of item {missing[0]} is missing; give it a label of its own ({missing.size} such items)"
        )
    if array.dtype == object:
        array = np.array([f"{type(label).__name__} {label}" for label in array])  # labels of several kinds do not sort
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _is_missing(label: Any) -> bool:
    """Whether a label is None, or not equal to itself; pandas' NA is neither equal nor not."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True


def whole_groups(must: BoolArray, groups: IntArray | None) -> BoolArray:
    """The items that must be kept, with everything that is linked to them."""
    if groups is None:
        return must
    return np.asarray(np.isin(groups, groups[must]))


def cells(sizes: FloatArray, keep: int, strata: IntArray, groups: IntArray | None, must: BoolArray) -> list[Cell]:
    """The cells of a sample of exactly ``keep`` items, the items that ``must`` be kept not among them.

    Strata have counts in proportion to their sizes. Linked groups are split into classes by their number of
    items, so that drawing a fixed number of whole groups from each class gives the count exactly.

    Raises
    ------
    InputError
        A group in two strata; more items that must be kept than ``keep``; or a count that no choice of whole
        groups has.
    """
    left = keep - int(must.sum())
    if left < 0:
        raise InputError(f"{int(must.sum())} items must be kept (with those linked to them), which is more than {keep}")
    free = np.flatnonzero(~must)
    if not left or not free.size:
        return []
    names, stratum = np.unique(strata[free], return_inverse=True)
    shares: FloatArray = np.bincount(stratum, weights=sizes[free], minlength=names.size).astype(np.float64)
    room = np.bincount(stratum[sizes[free] > 0.0], minlength=names.size)
    counts = _share_with_room(left, shares, room)
    result: list[Cell] = []
    for s, count in enumerate(counts):
        inside = free[stratum == s]
        if not count:
            continue
        if groups is None:
            result.append(Cell(inside[:, None], count))
        else:
            result.extend(_classes(sizes, inside, groups[inside], count))
    if groups is not None:
        _check_nested(strata, groups)
    return result


def _check_nested(strata: IntArray, groups: IntArray) -> None:
    pairs = np.unique(np.column_stack([groups, strata]), axis=0)
    if pairs.shape[0] != np.unique(groups).size:
        raise InputError("a linked group lies in more than one stratum; groups must nest in the strata")


def _share_with_room(total: int, shares: FloatArray, room: npt.NDArray[Any]) -> list[int]:
    """Whole counts in proportion to the shares, none above its room."""
    if total > int(room.sum()):
        raise InputError(f"{total} items are to be drawn, but only {int(room.sum())} have a positive size")
    counts = np.zeros(shares.size, dtype=int)
    open_ = shares > 0.0
    while (missing := total - int(counts.sum())) > 0:
        extra = np.zeros(shares.size, dtype=int)
        extra[open_] = share_out(missing, list(shares[open_]))
        counts = np.minimum(counts + extra, room)
        open_ &= counts < room
    return [int(c) for c in counts]


def _classes(sizes: FloatArray, inside: IntArray, group: IntArray, count: int) -> list[Cell]:
    """One cell for each number of items in a group, with counts that add up to ``count`` items."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    lengths = np.diff(np.append(starts, group.size))
    kinds = np.unique(lengths)
    members = [inside[order[starts[lengths == k][:, None] + np.arange(k)]] for k in kinds]
    # A group none of whose items has a size can never be drawn.
    members = [m[sizes[m].sum(axis=1) > 0.0] for m in members]
    weight = [float(sizes[m].sum()) for m in members]
    whole = math.fsum(weight)
    ideal = [min(count * w / whole / k, len(m)) for w, k, m in zip(weight, kinds, members, strict=True)]
    numbers = _numbers_of_groups([int(k) for k in kinds], [len(m) for m in members], ideal, count)
    return [Cell(m, n) for m, n in zip(members, numbers, strict=True) if n]


def _numbers_of_groups(
    lengths: Sequence[int], available: Sequence[int], ideal: Sequence[float], count: int
) -> list[int]:
    """How many groups of each length, adding up to ``count`` items, near the ideal numbers."""
    for slack in (1, 3, 12):
        base = [max(0, math.floor(i) - slack) for i in ideal]
        missing = count - sum(b * k for b, k in zip(base, lengths, strict=True))
        room = [min(a - b, 2 * slack + 2) for a, b in zip(available, base, strict=True)]
        found = _exact_sum(lengths, room, [i - b for i, b in zip(ideal, base, strict=True)], missing)
        if found is not None:
            return [b + f for b, f in zip(base, found, strict=True)]
    raise InputError(
        f"no choice of whole groups near the proportions asked for has exactly {count} items "
        f"(groups of {', '.join(map(str, lengths))} items); ask for another count or for other groups"
    )


def _exact_sum(lengths: Sequence[int], room: Sequence[int], ideal: Sequence[float], missing: int) -> list[int] | None:
    """Numbers within ``room`` whose items add up to ``missing``, near ``ideal``; None where there are none."""
    reached: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for length, most, wish in zip(lengths, room, ideal, strict=True):
        following: dict[int, tuple[float, tuple[int, ...]]] = {}
        for done, (price, numbers) in reached.items():
            for number in range(most + 1):
                items = done + number * length
                if items > missing:
                    break
                candidate = (price + (number - wish) ** 2 * length, (*numbers, number))
                if items not in following or candidate < following[items]:
                    following[items] = candidate
        reached = following
    return list(reached[missing][1]) if missing in reached else None
