"""Which totals fight: an irreducible set of constraints that no g-weights within the bounds can meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse as sp

from l0_calibrate.survey.deadline import NEVER, Deadline
from l0_calibrate.survey.distances import Distance
from l0_calibrate.survey.newton import constraint_scale
from l0_calibrate.survey.sample import NAMED, Sample
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NOTHING = 1e-9
"""Part of the largest weight of a ray that a constraint has which is no part of it."""
_NEXT_TO_NOTHING = 1e-6
"""What weights may add to a combination of constraints that comes to nothing, in parts of what the totals come to."""
AMONG = 64
"""Constraints among which a conflict is looked for before all of them are."""
_MEETS = 1e-7
"""Relative miss that linear programmes (feasible to 1e-9 here) cannot tell from none."""
_INSIDE = 1e-6
"""How far from an end that cannot be reached a g-weight must stay, in parts of the way from it to 1 (to what its
totals allow, where that is less)."""


class ConflictingTotals(InputError):
    """No weights within the bounds meet these totals together; leaving out any one of them, the others can be met.

    (By weights of any sign, where more than 64 totals are combinations of one another.) ``columns`` has their names.
    """

    def __init__(self, message: str, columns: tuple[object, ...]) -> None:
        super().__init__(message)
        self.columns = columns


def at_the_edge(ratios: FloatArray, within: FloatArray, distance: Distance) -> bool:
    """Whether a g-weight has run into an end that it cannot reach: a sign of totals that only the end would meet."""
    lower, upper = _inner(distance)
    return distance.is_open and bool(((ratios < lower * within) | (ratios > upper)).any())


def _inner(distance: Distance) -> tuple[float, float]:
    """The bounds, a little inside where their ends cannot be reached."""
    lower, upper = distance.lower, distance.upper
    if distance.is_open:
        lower += _INSIDE * (1.0 - lower)
        upper -= _INSIDE * (upper - 1.0) if np.isfinite(upper) else 0.0
    return lower, upper


@attrs.frozen(eq=False)
class Clues:
    """Where constraints that fight are looked for, and how long.

    Parameters
    ----------
    rays
        Each of shape (constraints,), over their `constraint_scale` (see `Search.rays`): the constraints are tried in
        the order of each, twice as many each time, which takes far smaller programmes than all of them at once.
    most
        Look only among as many of the first ones of each ray.
    deadline
        `NotDecided` is raised where it passes before.
    """

    rays: Sequence[FloatArray] = ()
    most: int | None = None
    deadline: Deadline = NEVER


def conflicting(sample: Sample, within: FloatArray, distance: Distance, clues: Clues) -> IntArray:
    """Numbers of an irreducible set of constraints that cannot be met together; empty where none is found.

    An elastic linear programme gives a set by its duals (Farkas), a deletion filter (Chinneck & Dravnieks
    1991) makes it irreducible. Its variables are the g-weights over ``within`` (see `within_totals`).
    """
    design, x, totals = sample.design, sample.x, sample.totals
    scale = constraint_scale(design * within, x, totals)
    rows = sp.csr_array((sp.diags_array(1.0 / scale) @ x.T.multiply(design * within)).tocsr())
    target = totals / scale
    lower, top = _inner(distance)
    upper = top / within
    tried = np.empty(0, dtype=np.int64)
    for tried in _first_ones(clues.rays, totals.size, clues.most):
        miss, duals = _elastic(rows, target, tried, lower, upper, clues.deadline)
        if miss > _MEETS:
            break
    else:
        circuits = (_circuit(rows, target, ray) for ray in clues.rays)
        return next((found for found in circuits if found is not None), np.empty(0, dtype=np.int64))
    kept = tried[np.abs(duals) > 1e-9 * np.abs(duals).max(initial=0.0)]
    if _elastic(rows, target, kept, lower, upper, clues.deadline)[0] <= _MEETS:
        kept = tried
    for k in kept.tolist():
        rest = kept[kept != k]
        if rest.size and _elastic(rows, target, rest, lower, upper, clues.deadline)[0] > _MEETS:
            kept = rest
    return np.asarray(kept, dtype=np.int64)


def _circuit(rows: sp.csr_array, target: FloatArray, ray: FloatArray) -> IntArray | None:
    """The constraints of a ray, if it combines them to nothing and their totals to something: no weights meet those.

    Programmes that find as much of hundreds of constraints, two sets of margins say, take minutes. Where the ray is
    that of a total which repeats others that do not repeat one another, fewer of them can be met by weights of any
    sign.
    """
    size = np.abs(np.nan_to_num(ray))
    part = np.flatnonzero(size > _NOTHING * size.max(initial=0.0))
    if not part.size:
        return None
    combined = ray[part] / size.max()
    left = float(np.abs(rows[part].T @ combined).sum())
    apart = abs(float(combined @ target[part]))
    return part if apart > _MEETS and left <= _NEXT_TO_NOTHING * apart else None


def _first_ones(rays: Sequence[FloatArray], count: int, most: int | None) -> Iterator[IntArray]:
    """The first two constraints of each ray, the first four, ... up to ``most``; then all; ascending."""
    last = count if most is None else min(most, count)
    orders = [np.argsort(-np.abs(np.nan_to_num(ray)), kind="stable") for ray in rays]
    size = 2
    while size <= last and size < count:
        yield from (np.sort(order[:size]) for order in orders)
        size *= 2
    if last == count:
        yield np.arange(count)


def refuse_conflict(sample: Sample, within: FloatArray, distance: Distance, clues: Clues) -> None:
    """Raise the error that names the totals that fight, if any do."""
    names, target = sample.names, sample.totals
    fight = conflicting(sample, within, distance, clues)
    if not fight.size:
        return
    shown = ", ".join(f"{names[k]!r} (total {target[k]:g})" for k in fight[:NAMED])
    more = f" and {fight.size - NAMED} more" if fight.size > NAMED else ""
    which = "weights"
    if np.isfinite(distance.upper):
        which = f"g-weights between {distance.lower:g} and {distance.upper:g}"
    elif distance.is_open:
        which = "positive weights"
    elif np.isfinite(distance.lower):
        which = f"g-weights of at least {distance.lower:g}"
    tail = "together" if fight.size > 1 else "whatever the other totals"
    remedy = "change or leave out one of them" + (", or widen the bounds" if distance.can_be_widened else "")
    raise ConflictingTotals(
        f"no {which} meet {shown}{more} {tail}; {remedy}",
        tuple(names[k] for k in fight),
    )


def _elastic(
    rows: sp.csr_array, target: FloatArray, chosen: IntArray, lower: float, upper: FloatArray, deadline: Deadline
) -> tuple[float, FloatArray]:
    """The least sum of relative misses of some constraints, and its duals."""
    part, count = rows[chosen], chosen.size
    n = rows.shape[1]
    slack = sp.eye_array(count)
    found = scipy.optimize.linprog(
        np.concatenate((np.zeros(n), np.ones(2 * count))),
        A_eq=sp.csr_array(sp.hstack([part, slack, -slack])), b_eq=target[chosen],
        bounds=np.vstack((np.column_stack((np.full(n, lower), upper)), np.tile([0.0, np.inf], (2 * count, 1)))),
        method="highs", options=deadline.highs(),
    )  # fmt: skip
    deadline.check(found)
    if found.status != 0:
        return 0.0, np.zeros(count)
    return float(found.fun), np.asarray(found.eqlin.marginals)
