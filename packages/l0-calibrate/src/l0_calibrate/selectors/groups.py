"""Records that are kept or dropped together (the members of a household), at an exact number of records.

Groups have sizes, so not every count is a sum of them: `nearest_counts` says which are, `fill` finds the groups
of greatest worth whose sizes sum to a count that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from l0_calibrate.selectors.base import Budget
from l0_core import InputError

if TYPE_CHECKING:
    from l0_calibrate.options import Options
    from l0_calibrate.problem import CalibrationProblem

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_REACH = 4
"""The exchange of marginal groups that makes a count exact begins with sums of that many times the largest size."""


def group_numbers(problem: CalibrationProblem, options: Options) -> IntArray | None:
    """The groups of ``options.groups`` numbered from 0 in order of appearance, shape (records,).

    Raises
    ------
    InputError
        Not one id for each record, or a record without one.
    """
    if options.groups is None:
        return None
    if options.groups.shape != (problem.n_records,):
        raise InputError(
            f"groups must have one id for each of the {problem.n_records} records, got shape {options.groups.shape}"
        )
    numbers, _ = pd.factorize(options.groups)
    if (numbers < 0).any():
        raise InputError(f"record {problem.record_ids[int(np.argmin(numbers))]} has no id in groups")
    return np.asarray(numbers, dtype=np.int64)


class _Groups(NamedTuple):
    """The groups of some records: the position of each record's group, sizes, and which must stay."""

    of_record: IntArray
    sizes: IntArray
    must: BoolArray

    @classmethod
    def of(cls, budget: Budget, support: IntArray) -> _Groups:
        assert budget.groups is not None
        _, positions = np.unique(budget.groups[support], return_inverse=True)
        sizes = np.bincount(positions).astype(np.int64)
        must = np.zeros(sizes.size, dtype=bool)
        if budget.must_keep is not None:
            must[positions[budget.must_keep[support]]] = True
        return cls(positions.astype(np.int64), sizes, must)

    def count_without_must(self, count: int) -> int:
        return count - int(self.sizes[self.must].sum())


def whole(groups: IntArray, flags: BoolArray) -> BoolArray:
    """The flags with every member of a group flagged that has one."""
    flagged = np.zeros(int(groups.max(initial=0)) + 1, dtype=bool)
    flagged[groups[flags]] = True
    out: BoolArray = flagged[groups]
    return out


def first_groups(groups: IntArray, ranked: IntArray, count: int) -> IntArray:
    """All records of the groups of the first records, ascending: groups of ``count`` records together, one at least."""
    _, first = np.unique(groups[ranked], return_index=True)
    numbers = groups[ranked[np.sort(first)]]
    fits = np.cumsum(np.bincount(groups)[numbers]) <= count
    fits[0] = True
    return np.flatnonzero(np.isin(groups, numbers[fits]))


def _sums(sizes: IntArray, limit: int) -> int:
    """The sums of subsets of the sizes up to a limit, as the bits of a number."""
    mask = (1 << (limit + 1)) - 1
    bits = 1
    for size, available in zip(*np.unique(sizes, return_counts=True), strict=True):
        size, left, step = int(size), int(available), 1
        while left > 0 and size <= limit:
            taken = min(step, left)
            bits |= bits << (size * taken)
            bits &= mask
            left, step = left - taken, 2 * step
    return bits


def nearest_counts(sizes: IntArray, count: int) -> tuple[int | None, int | None]:
    """The largest sum of sizes up to ``count`` and the least from it on; None where there is none."""
    count = int(count)  # as in `reachable_counts`
    if count < 0:
        return None, 0
    limit = min(int(sizes.sum()), count + int(sizes.max(initial=0)))
    bits = _sums(sizes, limit)
    below = (bits & ((1 << (count + 1)) - 1)).bit_length() - 1
    above = bits >> count
    return below, None if above == 0 else count + (above & -above).bit_length() - 1


def reachable_counts(sizes: IntArray, least: int, most: int) -> IntArray:
    """The sums of subsets of the sizes from ``least`` to ``most``, ascending."""
    # A shift by a number of NumPy's has 64 bits, and loses every sum beyond.
    least, most = int(least), min(int(most), int(sizes.sum()))
    if most < least:
        return np.empty(0, dtype=np.int64)
    bits = _sums(sizes, most) >> least
    return least + np.flatnonzero([bits >> k & 1 for k in range(most - least + 1)])


def check_count(budget: Budget, usable: BoolArray) -> None:
    """Refuse a budget that no whole groups of the usable records give.

    Raises
    ------
    InputError
        With the nearest counts that can be had.
    """
    groups = _Groups.of(budget, np.flatnonzero(usable))
    free = groups.sizes[~groups.must]
    wanted = groups.count_without_must(budget.keep)
    below, above = nearest_counts(free, wanted)
    if below == wanted:
        return
    fixed = budget.keep - wanted
    can = [f"{fixed + count:,}" for count in (below, above) if count is not None and fixed + count > 0]
    raise InputError(
        f"keep={budget.keep} cannot be had by whole groups (of up to {int(groups.sizes.max(initial=0))} records); "
        f"the nearest counts that can: {' and '.join(can)}"
    )


def largest_whole(budget: Budget, support: IntArray, values: FloatArray, count: int) -> IntArray:
    """Positions of the records of the worthiest groups, those that must stay among them.

    Exactly ``count`` records where that is ``budget.keep``; otherwise at most so many, and such that whole groups
    of them still give ``budget.keep``; where that is not so, ``budget.keep`` records at once.

    Parameters
    ----------
    support
        Records, whole groups of them, that contain ``budget.keep`` records in whole groups.
    values
        Worth of each record, shape (k,), finite.
    """
    groups = _Groups.of(budget, support)
    worth = np.bincount(groups.of_record, values, groups.sizes.size).astype(np.float64)
    stays: BoolArray | None = None
    if count > budget.keep:
        stays = _greedy(groups, worth, count)
        wanted = groups.count_without_must(budget.keep)
        if nearest_counts(groups.sizes[stays & ~groups.must], wanted)[0] != wanted:
            stays = None
    if stays is None:
        stays = fill(groups.sizes, worth, groups.must, budget.keep)
    return np.flatnonzero(stays[groups.of_record])


def _by_density(sizes: IntArray, worth: FloatArray, free: IntArray) -> IntArray:
    order: IntArray = free[np.argsort(-worth[free] / sizes[free], kind="stable")]
    return order


def _greedy(groups: _Groups, worth: FloatArray, count: int) -> BoolArray:
    """Those that must stay, then groups by worth a record as long as they fit."""
    order = _by_density(groups.sizes, worth, np.flatnonzero(~groups.must))
    fits = np.cumsum(groups.sizes[order]) <= groups.count_without_must(count)
    stays = groups.must.copy()
    stays[order[fits]] = True
    return stays


def fill(sizes: IntArray, worth: FloatArray, must: BoolArray, count: int) -> BoolArray:
    """The groups, those that must stay among them, of exactly ``count`` records and of (nearly) the greatest worth.

    Groups are taken by worth a record as long as they fit; then a dynamic programme over the sums of
    marginal groups, some more of one size and some fewer of another, makes the count exact at the least loss
    of worth. Its sums are held within a window that widens until it finds a way, so it finds one where
    there is one.

    Raises
    ------
    InputError
        There is none.
    """
    free = np.flatnonzero(~must)
    wanted = count - int(sizes[must].sum())
    if nearest_counts(sizes[free], wanted)[0] != wanted:
        raise InputError(f"no whole groups have {count} records together")
    order = _by_density(sizes, worth, free)
    total = np.cumsum(sizes[order])
    taken = order[: int(np.searchsorted(total, wanted, side="right"))]
    missing = wanted - int(sizes[taken].sum())
    stays = must.copy()
    stays[taken] = True
    if missing == 0:
        return stays
    # Of each size, the groups in order of worth: the first so many stay.
    queues = [order[sizes[order] == size] for size in np.unique(sizes[free])]
    heads = np.array([int(stays[queue].sum()) for queue in queues])
    window = _REACH * int(sizes[free].max())
    while True:
        moves = _adjust([int(sizes[q[0]]) for q in queues], [worth[q] for q in queues], heads, missing, window)
        if moves is not None:
            break
        window *= 2
    for queue, head, move in zip(queues, heads, moves, strict=True):
        stays[queue[: head + move]] = True
        stays[queue[head + move :]] = False
    return stays


def _adjust(sizes: list[int], worths: list[FloatArray], heads: IntArray, missing: int, window: int) -> list[int] | None:
    """How many more groups of each size to take (fewer: negative) to gain ``missing`` records at the least loss.

    Sums on the way stay within the window; None where that finds no way.
    """
    best = np.full(2 * window + 1, -np.inf)
    best[window] = 0.0
    choices = []
    for size, worth, head in zip(sizes, worths, heads, strict=True):
        prefix = np.concatenate(([0.0], np.cumsum(worth)))
        after, choice = np.full_like(best, -np.inf), np.zeros(best.size, dtype=np.int64)
        most = 2 * window // size
        for move in range(max(-int(head), -most), min(worth.size - int(head), most) + 1):
            shift = move * size
            here, there = (
                slice(max(0, -shift), best.size - max(0, shift)),
                slice(max(0, shift), best.size - max(0, -shift)),
            )
            value = best[here] + (prefix[head + move] - prefix[head])
            better = value > after[there]
            after[there][better] = value[better]
            choice[there][better] = move
        best = after
        choices.append(choice)
    at = window + missing
    if at >= best.size or best[at] == -np.inf:
        return None
    moves = []
    for size, choice in zip(reversed(sizes), reversed(choices), strict=True):
        moves.append(int(choice[at]))
        at -= moves[-1] * size
    return moves[::-1]
