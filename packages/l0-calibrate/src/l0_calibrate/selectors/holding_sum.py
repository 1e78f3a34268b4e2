"""Records that the bounds let hold the sum of the weights, in the place of chosen ones that they do not."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.constraints import SUM_ROUNDING
from l0_calibrate.selectors.base import Budget, Selected
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Start
from l0_core import Selection

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

TRIES = 100
"""Exchanges that are tried, each with one record more, until one goes beyond neither bound of the sum."""


def holding_sum(budget: Budget, selected: Selected, selector: str) -> Selected:
    """The records of a selector, with a few exchanged for others so that they can hold ``budget.mass`` in their bounds.

    Those that can have the least weight go, for some that can have more (or, where ``lower_ratio`` makes them too
    heavy, the other way round). With bounds on one side they are the fewest, found wherever there are any; with both
    it is a subset-sum problem, which only some exchanges are tried for.

    Returned as they are: records that hold the sum, or that no exchange helps; whole groups; and samples of a design,
    whose inclusion probabilities an exchange would belie.
    """
    selection = selected.selection
    if budget.mass is None or budget.groups is not None or selection.inclusion_probabilities is not None:
        return selected
    w0, mass = budget.system.reference, budget.mass
    most = np.zeros(w0.size)
    np.multiply(budget.upper(np.arange(w0.size)), w0, out=most, where=w0 > 0)
    np.minimum(most, 2.0 * mass, out=most)  # one such record is enough, and its sums are finite
    least = budget.lower_ratio * budget.scale_up * w0

    def beyond(chosen: BoolArray) -> tuple[float, float]:
        """How far the sum is above what flagged records can have, and below what they must."""
        return mass - float(most[chosen].sum()), float(least[chosen].sum()) - mass

    short, over = beyond(selection.mask)
    if max(short, over) <= SUM_ROUNDING * mass:
        return selected
    free, others = selection.mask, usable_records(budget) & ~selection.mask
    if budget.must_keep is not None:
        free &= ~budget.must_keep
    size, needed = (most, short) if short > over else (-least, over)
    for leaving, entering in _exchanges(size, needed, free, others):
        chosen = selection.mask
        chosen[leaving], chosen[entering] = False, True
        if max(beyond(chosen)) <= SUM_ROUNDING * mass:
            return _with(selected, budget, chosen, selector)
    return selected


def _exchanges(
    size: FloatArray, needed: float, free: BoolArray, others: BoolArray
) -> Iterator[tuple[IntArray, IntArray]]:
    """Which of ``free`` to exchange for which of ``others`` so that a sum of sizes grows by what is needed.

    All have shape (n,). First the fewest that do, then one more each. Those that leave are the smallest, those that
    enter neighbours by size, as small as will do; the last two, of all there are, go the least beyond what is needed.
    """
    leaving, rising = (of[np.argsort(size[of], kind="stable")] for of in map(np.flatnonzero, (free, others)))
    entering = rising[::-1]
    pairs = min(leaving.size, entering.size)
    gained = np.cumsum(np.maximum(size[entering[:pairs]] - size[leaving[:pairs]], 0.0))
    fewest = int(np.searchsorted(gained, needed)) + 1
    sums = np.append(0.0, np.cumsum(size[entering]))
    for count in range(fewest, min(fewest + TRIES, pairs + 1)):
        enough = np.flatnonzero(sums[count:] - sums[:-count] >= needed + size[leaving[:count]].sum())
        first = int(enough[-1]) if enough.size else 0
        out, inside = leaving[: count - 1], entering[first : first + count - 1]
        left = np.delete(entering, slice(first, first + count - 1))[::-1]
        wanted = size[leaving[count - 1 :]] + (needed - float(size[inside].sum() - size[out].sum()))
        at = np.minimum(np.searchsorted(size[left], wanted), left.size - 1)
        beyond = size[left[at]] - wanted
        best = int(np.argmin(np.where(beyond >= 0.0, beyond, np.inf)))
        yield np.append(out, leaving[count - 1 + best]), np.append(inside, left[at[best]])


def _with(selected: Selected, budget: Budget, chosen: BoolArray, selector: str) -> Selected:
    """The records with these flags, shape (n,), instead; new ones begin at their scaled-up reference weight."""
    selection, start, indices = selected.selection, selected.start, np.flatnonzero(chosen)
    kept = selection.mask[indices]
    was = np.searchsorted(selection.indices, indices[kept])
    kinds = None
    if selection.kinds is not None:
        kinds = np.full(indices.size, "must", dtype=np.promote_types(selection.kinds.dtype, "U4"))
        kinds[kept] = selection.kinds[was]
    if start is not None and start.u is not None:
        u = np.minimum(budget.scale_up, budget.upper(indices))
        u[kept] = start.u[was]
        start = Start(u, start.y, start.mass_dual)
    note = (
        f"{int((~kept).sum()):,} of the records that selector {selector!r} chose were exchanged for others, so that "
        "the bounds let them hold the sum of the weights (conserve_mass)"
    )
    exchanged = Selection(indices, selection.total, kinds, selection.scores)
    return attrs.evolve(selected, selection=exchanged, start=start, notes=(*selected.notes, note))
