"""Any gate strategy as a selector."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from l0_calibrate.selectors.base import Budget, Selected, Selector
from l0_calibrate.selectors.groups import largest_whole
from l0_calibrate.selectors.records import usable_records
from l0_calibrate.solvers.base import Machine
from l0_calibrate.watch import Progress, Watch, unwatched
from l0_core import GateStrategy, InputError, Selection
from l0_core.selection import top_k

IntArray = npt.NDArray[np.int64]


@attrs.frozen
class GateSelector(Selector):
    """Lets a gate strategy learn from the matrix and the targets, and keeps what it selects.

    The strategy sees the records that may be kept and no others. Records that must be kept come before all by
    the scores of a strategy that learns; a design draws the rest of the budget from the other records. With groups,
    a design draws whole ones, and of a strategy that ranks those come first whose records rank high.
    """

    takes_groups: ClassVar[bool] = True

    strategy: GateStrategy

    def select(self, budget: Budget, machine: Machine, watch: Watch = unwatched) -> Selected:
        """Fit the strategy on the problem, then select exactly ``budget.keep`` records."""
        usable = np.flatnonzero(usable_records(budget)).astype(np.int64)
        watch(Progress("select", 0, 0.0, None, None, usable.size, 0.0))
        must = np.zeros(budget.problem.n_records, bool) if budget.must_keep is None else budget.must_keep
        first = int(must.sum())
        if first == budget.keep:
            return Selected(Selection(np.flatnonzero(must), must.size, kinds=np.full(first, "must")))
        if self.strategy.draws:
            usable = usable[~must[usable]]
            drawn = self._chosen(budget, usable, budget.keep - first, machine)
            return Selected(_spread_out(drawn, usable, must))
        chosen = self._chosen(budget, usable, budget.keep, machine)
        ranks = chosen.scores if chosen.inclusion_probabilities is None else None
        if budget.groups is not None:
            if ranks is None:
                raise InputError(
                    f"gate strategy {type(self.strategy).__name__} neither ranks records nor draws them by a design, "
                    "so that it cannot keep groups whole; use another, or leave out groups"
                )
            levels = np.unique(ranks, return_inverse=True)[1] + 1.0  # of scores only the order means something
            indices = largest_whole(budget, usable, levels / levels.max(), budget.keep)
            chosen = _learned(indices, ranks)
        elif first and ranks is not None:
            indices = top_k(np.where(must[usable], np.inf, ranks), budget.keep, machine.seed)
            chosen = _learned(indices, ranks)
        elif first:
            usable = usable[~must[usable]]
            chosen = self._chosen(budget, usable, budget.keep - first, machine)
        return Selected(_spread_out(chosen, usable, must))

    def _chosen(self, budget: Budget, among: IntArray, keep: int, machine: Machine) -> Selection:
        """What the strategy selects from some of the records, by their positions among these."""
        problem = budget.problem
        matrix = problem.matrix if among.size == problem.n_records else problem.matrix[:, among]
        if self.strategy.draws and budget.groups is not None:
            self.strategy.keep_together(budget.groups[among])
        self.strategy.fit(matrix, problem.targets, reference=problem.initial_weights[among])
        selection = self.strategy.select(among.size, keep=keep, seed=machine.seed)
        if not isinstance(selection, Selection) or selection.total != among.size:
            raise InputError(
                f"gate strategy {type(self.strategy).__name__} gave {selection!r} instead of a Selection "
                f"from {among.size} records"
            )
        return selection


def _learned(indices: IntArray, scores: npt.NDArray[np.float64]) -> Selection:
    return Selection(indices, scores.size, kinds=np.full(indices.size, "learned"), scores=scores)


def _spread_out(part: Selection, among: IntArray, must: npt.NDArray[np.bool_]) -> Selection:
    """A selection from some of the records as one from all, with those that must be kept."""
    total = must.size
    mask = must.copy()
    mask[among[part.indices]] = True
    indices = np.flatnonzero(mask)
    kinds = scores = chances = None
    if part.kinds is not None:
        labels = np.full(total, "must", dtype=np.promote_types(part.kinds.dtype, "<U4"))
        labels[among[part.indices]] = part.kinds
        kinds = np.where(must[indices], "must", labels[indices])
    if part.scores is not None:
        scores = np.full(total, -np.inf)
        scores[among] = part.scores
    if part.inclusion_probabilities is not None:
        chances = np.where(must, 1.0, 0.0)
        chances[among] = np.where(must[among], 1.0, part.inclusion_probabilities)
    return Selection(indices, total, kinds=kinds, scores=scores, inclusion_probabilities=chances)
