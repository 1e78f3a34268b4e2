"""How long linear programmes may be solved for."""

from __future__ import annotations

import time
from typing import Any

import attrs

from l0_core import InputError

CLOSE = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
"""How nearly HiGHS is asked to meet constraints."""

_CUT_OFF = 1
"""Status of a linear programme (SciPy) that a limit ended."""


class NotDecided(InputError):
    """The time was spent before it was known whether totals can be met."""


@attrs.frozen
class Deadline:
    """So many seconds from now; ``inf`` for ever."""

    seconds: float = float("inf")
    _began: float = attrs.field(factory=time.perf_counter)

    def check(self, found: Any = None) -> None:
        """Raise `NotDecided` once it has passed, or where it cut off the programme of which this was found."""
        cut_off = found is not None and found.status == _CUT_OFF and self.seconds < float("inf")
        if cut_off or time.perf_counter() - self._began >= self.seconds:
            raise NotDecided(f"not decided within {self.seconds:g} s")

    def highs(self) -> dict[str, Any]:
        """Options of a linear programme that ends by then (`check` what was found)."""
        self.check()
        if self.seconds == float("inf"):
            return dict(CLOSE)
        return {**CLOSE, "time_limit": max(self.seconds - (time.perf_counter() - self._began), 0.0)}


NEVER = Deadline()
