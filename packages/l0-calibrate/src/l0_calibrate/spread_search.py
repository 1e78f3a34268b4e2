"""The spread that gives an effective sample size: a search over mu with warm starts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.solvers.base import Solution, Start
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_GROWTH = 4.0
_LARGEST = 1e3
_HALVINGS = 6  # 4^(1 / 2^6): mu is found to about 2 %


def spread_for_ess(
    fit: Callable[[float, Start | None], Solution], wanted: float, reference: FloatArray, first: float
) -> tuple[Solution, float]:
    """The fit with (nearly) the least mu whose effective sample size is at least ``wanted``.

    The effective sample size grows with mu, so mu is multiplied until the fit has it, then the
    step before is halved on the log scale. Every fit starts from the last.

    Raises
    ------
    InputError
        When no mu gives it; the text has the most that can be had.
    """

    def ess(solution: Solution) -> float:
        return effective_sample_size(solution.u * reference)

    low, mu = None, first
    solution = fit(mu, None)
    while ess(solution) < wanted:
        low, mu = mu, mu * _GROWTH
        if mu > _LARGEST:
            raise InputError(
                f"ess_at_least={wanted:g} cannot be had: the most is about {ess(solution):.0f} "
                "(equal weights for all kept records would be needed beyond); ask for less, or keep more records"
            )
        solution = fit(mu, Start(solution.u, solution.y))
    if low is None:
        return solution, mu
    best, high = solution, mu
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        solution = fit(middle, Start(best.u, best.y))
        if ess(solution) >= wanted:
            best, high = solution, middle
        else:
            low = middle
    return best, high
