"""Which records a budget may, must and must not keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from l0_calibrate.selectors.base import Budget
from l0_calibrate.selectors.groups import check_count, whole
from l0_core import InputError

BoolArray = npt.NDArray[np.bool_]


def refuse_fewer_than_must(keep: int, must: BoolArray) -> None:
    """InputError where more records must be kept than may be."""
    if int(must.sum()) > keep:
        raise InputError(f"{int(must.sum())} records must be kept, more than keep={keep}")


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
    usable = budget.system.reference > 0
    if budget.caps is not None:
        usable &= budget.lower_ratio * budget.scale_up <= budget.caps
    if budget.groups is not None:
        usable = ~whole(budget.groups, ~usable)
    must, never = budget.must_keep, budget.never_keep
    if never is not None:
        usable = usable & ~never
    if must is not None:
        clash = np.flatnonzero(must & ~usable)
        if clash.size:
            raise InputError(
                f"record {budget.problem.record_ids[clash[0]]} must be kept, yet is ruled out by never_keep, "
                "has no initial weight, or can have no weight between min_weight_ratio and max_weight"
                + ("" if budget.groups is None else ", it or a record of its group")
            )
        refuse_fewer_than_must(budget.keep, must)
    if int(usable.sum()) < budget.keep:
        raise InputError(
            f"keep={budget.keep} is above the {int(usable.sum())} records that have an initial weight "
            "and are not ruled out"
            + ("" if budget.caps is None or budget.lower_ratio == 0.0 else " (by min_weight_ratio and max_weight)")
        )
    if budget.groups is not None:
        check_count(budget, usable)
    return usable
