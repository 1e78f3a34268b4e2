"""A random subset: the baseline that a selector must beat."""

from __future__ import annotations

import attrs
import numpy as np

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine
from l0_calibrate.watch import Watch, unwatched
from l0_core import Selection


@attrs.frozen
class RandomSelector(Selector):
    """A simple random sample without replacement of the usable records, those that must be kept among them."""

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Choose exactly ``budget.keep`` records."""
        usable = usable_records(budget)
        must = np.zeros_like(usable) if budget.must_keep is None else budget.must_keep
        free = np.flatnonzero(usable & ~must)
        random = np.random.default_rng(machine.seed)
        drawn = random.choice(free, size=budget.keep - int(must.sum()), replace=False)
        indices = np.sort(np.concatenate((np.flatnonzero(must), drawn))).astype(np.int64)
        return Selected(Selection(indices, budget.system.records))
