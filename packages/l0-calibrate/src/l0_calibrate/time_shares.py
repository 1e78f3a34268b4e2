"""A time limit over several runs, one after the other."""

from __future__ import annotations

import time

import attrs

LEAST = 0.01
"""Seconds that a run gets even where nothing is left: it then ends with the first point that it has."""


@attrs.define
class Shares:
    """Gives each run an equal part of what the runs before it left of a limit; None where there is none.

    Parameters
    ----------
    limit
        Seconds for all of them.
    runs
        How many there are.
    spent
        Seconds of the limit that were spent before.
    """

    limit: float | None
    runs: int
    spent: float = 0.0
    _began: float = attrs.field(factory=time.perf_counter, init=False)

    def following(self) -> float | None:
        """Seconds for the next run."""
        runs, self.runs = max(self.runs, 1), self.runs - 1
        if self.limit is None:
            return None
        return max((self.limit - self.spent - (time.perf_counter() - self._began)) / runs, LEAST)
