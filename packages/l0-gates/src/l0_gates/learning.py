"""What strategies that learn have in common: a system to learn from, and what was learnt for each count."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, Self

import attrs
import numpy as np
import numpy.typing as npt

from l0_core.errors import InputError, UntrainedWarning
from l0_core.gates import GateStrategy
from l0_core.selection import Selection, check_count, check_seed, count_of, top_k
from l0_gates.system import LinearSystem

FloatArray = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Learnt:
    """What was learnt for one count.

    Parameters
    ----------
    scores
        Shape (items,), what the selection ranks by.
    detail
        The result of the method that learnt, or None.
    """

    scores: FloatArray
    detail: Any = None


class LearningStrategy(GateStrategy):
    """Learns scores from a linear system and keeps the largest; ties by the seed.

    What is worth keeping depends on how much is kept, so learning is for one count: that of the constructor
    at `fit`, and any other at the first `select` that asks for it (remembered).
    """

    def __init__(self, count: int | None, seed: int) -> None:
        self.seed = check_seed(seed)
        self._count = count
        self._system: LinearSystem | None = None
        self._learnt: dict[int, Learnt] = {}

    @abstractmethod
    def _learn(self, system: LinearSystem, keep: int) -> Learnt:
        """Scores of all items for the count."""

    def _check_system(self, system: LinearSystem) -> None:
        """InputError where this strategy cannot learn from the system."""

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Learn from a linear system which items matter (errors: `GateStrategy.fit`)."""
        system = LinearSystem(matrix, totals, reference)
        self._check_system(system)
        if self._count is not None:
            check_count(self._count, system.items)
        self._system, self._learnt = system, {}
        if self._count is not None:
            self.learnt(self._count)
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self._system is not None

    def learnt(self, keep: int) -> Learnt:
        """What is known for that count; learnt now where it has not been."""
        if self._system is None:
            raise InputError("nothing has been learnt: call fit first")
        if keep not in self._learnt:
            self._learnt[keep] = self._learn(self._system, keep)
        return self._learnt[keep]

    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        """Exactly ``keep`` items; before `fit` a random choice, with an `UntrainedWarning`."""
        total = count_of(data)
        wanted = self._count if keep is None else keep
        if wanted is None:
            raise InputError("no count to keep: give keep here or at construction")
        wanted = check_count(wanted, total)
        return self._choose(self._scores(total, wanted), wanted, self.seed if seed is None else seed)

    def _choose(self, scores: FloatArray, keep: int, seed: int) -> Selection:
        kinds = np.full(keep, "learned")
        return Selection(top_k(scores, keep, seed), scores.size, kinds=kinds, scores=scores)

    def _scores(self, total: int, keep: int) -> FloatArray:
        if self._system is None:
            warnings.warn(
                f"{type(self).__name__} has not been fitted: it has learnt nothing and keeps items at random",
                UntrainedWarning,
                stacklevel=3,
            )
            return np.zeros(total)
        if total != self._system.items:
            raise InputError(f"the strategy was fitted to {self._system.items} items, {total} are to be selected from")
        return self.learnt(keep).scores
