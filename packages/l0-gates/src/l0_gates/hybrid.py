"""The strategy that keeps some records for what was learnt and the others at random."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from l0_core.errors import InputError
from l0_core.gates import GateStrategy
from l0_core.plugins import get_gate
from l0_core.real_numbers import is_number
from l0_core.selection import Selection, check_count, check_seed, count_of, share_out
from l0_core.whole_numbers import check_whole
from l0_gates.learning import LearningStrategy
from l0_gates.system import LinearSystem


class HybridStrategy(GateStrategy):
    """A learned part that is kept with certainty, and a random part from all others.

    The learned part has inclusion probability 1 and the others that of the design, so that
    Horvitz-Thompson totals over both parts are unbiased given what was learnt. Counts are exact.

    Parameters
    ----------
    target
        How many items in all; ``None`` leaves it to each `select`.
    l0_fraction
        Share of the learned part, in 0..1.
    random_fraction
        Share of the random part; ``None`` is the rest. Both must add up to 1.
    learner
        Strategy that gives the scores: a fitted or unfitted one, or its name in the registry.
    design
        Name of the design that draws the random part.
    seed
        Of ties and of the draw.
    """

    def __init__(
        self,
        target: int | None = None,
        l0_fraction: float = 0.25,
        random_fraction: float | None = None,
        learner: str | GateStrategy = "sample",
        design: str = "random",
        seed: int = 0,
    ) -> None:
        for name, share in (("l0_fraction", l0_fraction), ("random_fraction", random_fraction)):
            if not (is_number(share) or (name == "random_fraction" and share is None)):
                raise InputError(f"{name} must be a number, got {share!r}")
        rest = 1.0 - l0_fraction if random_fraction is None else random_fraction
        # 1e-9: fractions such as 0.3 and 0.7 add up to 1 but for rounding.
        if not (0.0 <= l0_fraction <= 1.0 and 0.0 <= rest <= 1.0 and abs(l0_fraction + rest - 1.0) <= 1e-9):
            raise InputError(
                f"l0_fraction and random_fraction must lie in 0..1 and add up to 1, got {l0_fraction} and {rest}"
            )
        self.target = None if target is None else check_whole(target, 1, "target")
        self.l0_fraction, self.random_fraction = float(l0_fraction), float(rest)
        self.learner = get_gate(learner) if isinstance(learner, str) else learner
        if not isinstance(self.learner, GateStrategy):
            raise InputError(f"learner must be a gate strategy or the name of one, got {learner!r}")
        if not get_gate(design).draws:
            raise InputError(f"design must be the name of a sampling design, {design!r} learns")
        self.design = design
        self.seed = check_seed(seed)
        self._system: LinearSystem | None = None

    def parts(self, keep: int) -> tuple[int, int]:
        """(learned, random) counts, which add up to ``keep``."""
        learned, random = share_out(keep, (self.l0_fraction, self.random_fraction))
        return learned, random

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None) -> Self:
        """Let the learner learn from the system (errors: `GateStrategy.fit`)."""
        self._system = LinearSystem(matrix, totals, reference)
        if self.target is not None:
            check_count(self.target, self._system.items)
        self.learner.fit(matrix, totals, reference=reference)
        learned = 0 if self.target is None else self.parts(self.target)[0]
        if learned and isinstance(self.learner, LearningStrategy):
            self.learner.learnt(learned)
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self._system is not None

    def select(self, data: Any, *, keep: int | None = None, seed: int | None = None) -> Selection:
        """Exactly ``keep`` items of kinds ``"l0"`` and ``"random"``; inclusion probabilities given the learned part."""
        total = count_of(data)
        wanted = self.target if keep is None else keep
        if wanted is None:
            raise InputError("no count to keep: give keep here or at construction")
        learned, random = self.parts(check_count(wanted, total))
        if self._system is not None and total != self._system.items:
            raise InputError(f"the strategy was fitted to {self._system.items} items, {total} are to be selected from")
        chosen_seed = self.seed if seed is None else check_seed(seed)
        kinds = np.full(total, "", dtype="<U6")
        chances = np.zeros(total)
        scores = None
        if learned:
            first = self.learner.select(total, keep=learned, seed=chosen_seed)
            scores = first.scores
            kinds[first.indices], chances[first.indices] = "l0", 1.0
        if random:
            others = np.flatnonzero(kinds == "")
            design, system = get_gate(self.design), self._system
            if system is not None and system.reference[others].any():
                # Sizes, and what is balanced on, are those of the items that are left.
                design.fit(system.columns[:, others], system.totals, reference=system.reference[others])
            # Another stream than that of the ties, so that the two do not go together.
            drawn = design.select(
                others.size, keep=random, seed=int(np.random.SeedSequence([chosen_seed, 1]).generate_state(1)[0])
            )
            assert drawn.inclusion_probabilities is not None
            kinds[others[drawn.indices]] = "random"
            chances[others] = drawn.inclusion_probabilities
        indices = np.flatnonzero(kinds != "")
        return Selection(indices, total, kinds=kinds[indices], scores=scores, inclusion_probabilities=chances)
