"""Which records a budget may, must and must not keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.problem.labels import Labels, naming
from l0_calibrate.selectors.base import Budget
from l0_calibrate.selectors.groups import check_count, whole
from l0_core import InputError

BoolArray = npt.NDArray[np.bool_]


def refuse_fewer_than_must(keep: int, must: BoolArray) -> None:
    """InputError where more records must be kept than may be."""
    if int(must.sum()) > keep:
        raise InputError(f"{int(must.sum())} records must be kept, more than keep={keep}")


def refuse_contradictions(must: BoolArray, unusable: dict[str, BoolArray], ids: Labels, grouped: bool) -> None:
    """InputError where records that must be kept cannot be: how many for each reason, and the first of them.

    Parameters
    ----------
    must
        Shape (n,).
    unusable
        Flags of shape (n,) by what stands against those records, in words that follow a count: "without ...".
    grouped
        Whether a record may be flagged because of another of its group.
    """
    clashes = {what: ids[must & flags] for what, flags in unusable.items() if (must & flags).any()}
    if clashes:
        count = int((must & np.any(list(unusable.values()), axis=0)).sum())
        reasons = ", ".join(f"{len(these):,} {what} ({naming(these)})" for what, these in clashes.items())
        raise InputError(
            f"{count:,} of the {int(must.sum()):,} records that must be kept cannot be: {reasons}"
            + ("; a record that cannot be kept takes its whole group with it" if grouped else "")
            + "; take them out of must_keep, or lift what stands against them"
        )


def usable_records(budget: Budget) -> BoolArray:
    """Records that can get weight and are not ruled out, shape (n,).

    Raises
    ------
    InputError
        When fewer than ``keep`` are left, or more than ``keep`` must be kept, or one both must and must not, or
        no whole groups have ``keep`` records. A record whose bounds contradict each other is none that can be kept.

    Notes
    -----
    A record that cannot get weight takes its whole group with it: the group could not be kept whole.
    """
    unusable = {"without an initial weight": budget.system.reference <= 0}
    if budget.caps is not None:
        pinched = budget.lower_ratio * budget.scale_up > budget.caps
        unusable["with no weight between min_weight_ratio and max_weight"] = pinched
    if budget.groups is not None:
        unusable = {why: whole(budget.groups, flags) for why, flags in unusable.items()}
    if budget.never_keep is not None:
        unusable = {"ruled out by never_keep": budget.never_keep} | unusable
    if budget.must_keep is not None:
        refuse_contradictions(budget.must_keep, unusable, budget.problem.record_ids, budget.groups is not None)
        refuse_fewer_than_must(budget.keep, budget.must_keep)
    usable: BoolArray = ~np.any(list(unusable.values()), axis=0)
    if int(usable.sum()) < budget.keep:
        raise InputError(
            f"keep={budget.keep} is above the {int(usable.sum())} records that have an initial weight "
            "and are not ruled out"
            + ("" if budget.caps is None or budget.lower_ratio == 0.0 else " (by min_weight_ratio and max_weight)")
        )
    if budget.groups is not None:
        check_count(budget, usable)
    return usable
