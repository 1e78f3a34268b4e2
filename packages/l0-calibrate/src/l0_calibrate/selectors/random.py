"""A random subset: the baseline that a selector must beat."""

from __future__ import annotations

import attrs
import numpy as np

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.groups import largest_whole
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine
from l0_calibrate.watch import Watch, unwatched
from l0_core import Selection


@attrs.frozen
class RandomSelector(Selector):
    """A simple random sample without replacement of the usable records, those that must be kept among them.

    With groups, groups in random order as long as they fit, then the exchanges that make the count exact.
    """

    takes_groups = True

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        usable = usable_records(budget)
        must = np.zeros_like(usable) if budget.must_keep is None else budget.must_keep
        random = np.random.default_rng(machine.seed)
        if budget.groups is not None:
            support = np.flatnonzero(usable)
            worth = random.random(int(budget.groups.max()) + 1)[budget.groups[support]]
            chosen = support[largest_whole(budget, support, worth, budget.keep)]
            return Selected(Selection(chosen, budget.system.records))
        free = np.flatnonzero(usable & ~must)
        drawn = random.choice(free, size=budget.keep - int(must.sum()), replace=False)
        indices = np.sort(np.concatenate((np.flatnonzero(must), drawn))).astype(np.int64)
        return Selected(Selection(indices, budget.system.records))
