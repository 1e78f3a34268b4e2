"""When a restarted primal-dual method restarts, and the primal weight it goes on with.

Plain numbers in and out, so that every backend follows one rule (restarts after Applegate et al. 2021,
PDLP, section 4, for the reflected Halpern iteration of Lu & Yang 2024).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import attrs

from l0_gates.jit import inner_jit, jit

SUFFICIENT = 0.2
"""Restart when the residual has fallen to this part of the first since the restart."""
NECESSARY = 0.8
"""... or to this part, and it has begun to grow again."""
ARTIFICIAL = 0.36
"""... or when the stretch since the restart is this part of all iterations of the fit."""
SHORTEST = 200
"""Iterations before the last rule applies."""
FOLLOWED = 0.7
"""Part of the way, on the log scale, that omega goes to the ratio of the travels. At 0.5 a fit of nested problems takes
a fifth more iterations, at 0.99 one of `us_state_soi_medium` half as many again."""
ROUNDING = 1e-10
"""Travel of that part of the point's own size is none."""
ALONE = 4.0
"""Factor of omega when only one side travels ..."""
SMALLEST_WEIGHT = 1e-9
"""... as far as this, or its inverse."""
COLD_WEIGHT = 4.0
"""Primal weight (omega) of a cold start."""


class Travel(NamedTuple):
    """How far a point is from its anchor, and how large it is, in the same weighted norm.

    For u ``|v|_T = sqrt(sum v_j^2 / T_j)``, for y the same with R.
    """

    length: float
    size: float


@inner_jit
def is_real(length: float, size: float) -> bool:
    """Whether a travel is more than rounding (a ratio of roundings would send omega anywhere)."""
    return length > ROUNDING * size and length > 0.0


@jit
def next_weight(omega: float, primal: tuple[float, float], dual: tuple[float, float]) -> float:
    """Omega after a restart: most of the way (`FOLLOWED`) to the ratio of the travels since the last one.

    Travels are as `Travel` has them. Where only one side travels (the other sits at its bounds), that side gets longer
    steps.
    """
    primal_is_real, dual_is_real = is_real(primal[0], primal[1]), is_real(dual[0], dual[1])
    if primal_is_real and dual_is_real:
        old = math.log(omega)
        return math.exp(old + FOLLOWED * (math.log(primal[0] / dual[0]) - old))
    if primal_is_real:
        return min(omega * ALONE, 1.0 / SMALLEST_WEIGHT)
    if dual_is_real:
        return max(omega / ALONE, SMALLEST_WEIGHT)
    return omega


@jit
def halpern(since: int) -> float:
    """Weight of the new point in its average, ``k / (k + 1)``, k iterations after a restart."""
    return since / (since + 1.0)


@jit
def is_due(residual: float, since: int, total: int, first: float, previous: float) -> bool:
    """Whether to restart: residuals of this iteration, of the first since the last restart, and of the one before."""
    if since == 1:
        return residual == 0.0
    return (
        residual <= SUFFICIENT * first
        or (residual <= NECESSARY * first and residual > previous)
        or (since > SHORTEST and since >= ARTIFICIAL * total)
    )


@jit
def remembered(residual: float, since: int, first: float) -> tuple[float, float]:
    """The first residual and the one before, as the next iteration sees them."""
    return (residual if since == 1 else first), residual


@attrs.define
class RestartRule:
    """Counts iterations since the last restart and says when the next is due."""

    omega: float = COLD_WEIGHT
    since: int = 0
    total: int = 0
    first: float = math.inf
    previous: float = math.inf

    def begin(self) -> float:
        """Count an iteration; the weight of the new point in its Halpern average."""
        self.since += 1
        self.total += 1
        return halpern(self.since)

    def go_on(self, iterations: int, since: int, omega: float, first: float, previous: float) -> None:
        """Count iterations that were asked about, and restarted after, but for the last; the state that they left."""
        self.total += iterations
        self.since, self.omega, self.first, self.previous = since, omega, first, previous

    def due(self, residual: float) -> bool:
        """Whether to restart after an iteration with this fixed-point residual."""
        due = is_due(residual, self.since, self.total, self.first, self.previous)
        self.first, self.previous = remembered(residual, self.since, self.first)
        return due

    def restart(self, primal: Travel, dual: Travel) -> None:
        """Start anew, with the next omega (see `next_weight`)."""
        self.since, self.omega = 0, next_weight(self.omega, (primal.length, primal.size), (dual.length, dual.size))
