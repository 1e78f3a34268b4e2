"""How a budget is shared out over domains: exactly, in proportion, by whole groups where records belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l0_calibrate.problem.labels import naming, shown
from l0_calibrate.selectors.groups import reachable_counts, whole
from l0_core import InputError
from l0_core.selection import share_out

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_REACH = 4
"""How far counts are first let stray from their shares, in sizes of the largest group; doubled while needed ..."""
_FURTHEST = 64
"""... up to this many."""


def proportional_counts(
    keep: int, values: npt.NDArray[Any], of_record: IntArray, must: BoolArray, never: BoolArray
) -> tuple[int, ...]:
    """Records for each domain: those that must be kept (one at least), the rest in the proportion of what is left.

    Parameters
    ----------
    keep
        Records in all.
    values, of_record
        The domains, and the number of each record's, shape (records,).
    must, never
        Flags of shape (records,).

    Raises
    ------
    InputError
        A domain has no record to keep, or the budget is too small or too large for them.
    """
    usable = np.bincount(of_record[~never], minlength=values.size)
    least = np.maximum(np.bincount(of_record[must], minlength=values.size), 1)
    short = np.flatnonzero(usable < least)
    if short.size:
        raise InputError(f"domain {shown(values[short[0]])} has no record that can be kept; leave the domain out")
    if keep < least.sum():
        raise InputError(
            f"keep={keep} is below the {int(least.sum())} records that {values.size} domains need "
            "(those that must be kept, one at least in each)"
        )
    if keep > usable.sum():
        raise InputError(f"keep={keep} is above the {int(usable.sum())} records that can be kept")
    room = [float(left) for left in usable - least]
    extra = share_out(keep - int(least.sum()), room) if any(room) else [0] * values.size
    return tuple(int(base + more) for base, more in zip(least, extra, strict=True))


def check_groups(by: str, of_record: IntArray, groups: IntArray, ids: Any) -> None:
    """Refuse groups with records in several domains.

    Raises
    ------
    InputError
        With the ids of such groups.
    """
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    across = np.unique(number[of_record != of_record[first][number]])
    if across.size:
        raise InputError(
            f"by={by!r} needs groups that each lie in one domain; these have records in several: "
            f"{naming(np.asarray(ids)[first[across]])}"
        )


def counts_by_groups(
    keep: int, values: npt.NDArray[Any], of_record: IntArray, must: BoolArray, never: BoolArray, groups: IntArray
) -> tuple[int, ...]:
    """As `proportional_counts`, each count one that whole groups of the domain give, as near to its share as may be.

    A dynamic programme over the domains: of the counts that add up to ``keep``, those with the least sum of squared
    distances from the shares.

    Parameters
    ----------
    groups
        The number of each record's group, shape (records,), each within one domain.

    Raises
    ------
    InputError
        As `proportional_counts`, or no counts of whole groups add up to ``keep`` (with the nearest that do).
    """
    must, never = whole(groups, must), whole(groups, never)
    shares = np.array(proportional_counts(keep, values, of_record, must, never))
    _, home, sizes = np.unique(groups, return_index=True, return_counts=True)
    usable, stays, domain = ~never[home], must[home], of_record[home]
    fixed = np.bincount(domain, np.where(stays, sizes, 0), values.size).astype(np.int64)
    free = [sizes[(domain == d) & usable & ~stays].astype(np.int64) for d in range(values.size)]
    largest = int(sizes[usable].max())
    sums = np.empty(0, dtype=np.int64)
    reach = _REACH
    while reach <= _FURTHEST:
        window = reach * largest
        options = [
            base + reachable_counts(rest, max(share - base - window, 0 if base else 1), share - base + window)
            for base, rest, share in zip(fixed, free, shares, strict=True)
        ]
        found, sums = _nearest(options, shares, window)
        if found is not None:
            return found
        reach *= 2
    near = [f"{keep + int(s):,}" for s in (*sums[sums < 0][-1:], *sums[sums > 0][:1])]
    raise InputError(
        f"keep={keep} cannot be shared out over {values.size} domains by whole groups (of up to {largest} records)"
        + (f"; the nearest counts that can: {' and '.join(near)}" if near else "")
    )


def _nearest(options: list[IntArray], shares: IntArray, window: int) -> tuple[tuple[int, ...] | None, IntArray]:
    """One option of each domain, adding up to the sum of the shares; or None, and how far off the sums that can be are.

    Sums on the way stray by at most the window.
    """
    cost = np.full(2 * window + 1, np.inf)
    cost[window] = 0.0
    chosen = []
    for these, share in zip(options, shares, strict=True):
        after, choice = np.full_like(cost, np.inf), np.zeros(cost.size, dtype=np.int64)
        for count in these.tolist():
            shift = count - int(share)
            here = slice(max(0, -shift), cost.size - max(0, shift))
            there = slice(max(0, shift), cost.size - max(0, -shift))
            value = cost[here] + float(shift) ** 2
            better = value < after[there]
            after[there][better] = value[better]
            choice[there][better] = count
        cost = after
        chosen.append(choice)
    if np.isinf(cost[window]):
        return None, np.flatnonzero(np.isfinite(cost)) - window
    at, counts = window, []
    for choice, share in zip(reversed(chosen), reversed(shares.tolist()), strict=True):
        counts.append(int(choice[at]))
        at -= counts[-1] - share
    return tuple(counts[::-1]), np.zeros(1, dtype=np.int64)
