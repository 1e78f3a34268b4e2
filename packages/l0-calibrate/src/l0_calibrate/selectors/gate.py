"""Any gate strategy as a selector."""

from __future__ import annotations

import attrs
import numpy as np

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.solvers.base import Machine
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import GateStrategy, InputError, Selection
from l0_core.selection import top_k


@attrs.frozen
class GateSelector(Selector):
    """Lets a gate strategy learn from the matrix and the targets, and keeps what it selects.

    Records that must be kept, must not be kept, or cannot get weight are honoured through the
    strategy's scores; a strategy without scores is refused when there are any.
    """

    strategy: GateStrategy

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Fit the strategy on the problem, then select exactly ``budget.keep`` records."""
        problem = budget.problem
        watch(Progress("select", 0, 0.0, None, None, problem.n_records, 0.0))
        self.strategy.fit(problem.matrix, problem.targets, reference=problem.initial_weights)
        selection = self.strategy.select(problem.n_records, keep=budget.keep, seed=machine.seed)
        if not isinstance(selection, Selection) or selection.total != problem.n_records:
            raise InputError(
                f"gate strategy {type(self.strategy).__name__} gave {selection!r} instead of a Selection "
                f"from {problem.n_records} records"
            )
        return Selected(_honour(selection, budget, machine.seed))


def _honour(selection: Selection, budget: Budget, seed: int) -> Selection:
    """The selection with must_keep, never_keep and weightless records respected."""
    banned = budget.system.reference <= 0
    if budget.never_keep is not None:
        banned = banned | budget.never_keep
    must = np.zeros_like(banned) if budget.must_keep is None else budget.must_keep
    mask = selection.mask
    if not (mask & banned).any() and not (must & ~mask).any():
        return selection
    if selection.scores is None:
        raise InputError(
            "this gate strategy gives no scores, so must_keep, never_keep and records without an initial weight "
            "cannot be honoured; use another selector or drop those records first"
        )
    scores = np.where(banned, -np.inf, np.where(must, np.inf, selection.scores))
    if int((~banned).sum()) < budget.keep or int(must.sum()) > budget.keep:
        raise InputError(
            f"keep={budget.keep} does not fit: {int(must.sum())} records must be kept and {int((~banned).sum())} may be"
        )
    return Selection(top_k(scores, budget.keep, seed), selection.total, scores=selection.scores)
