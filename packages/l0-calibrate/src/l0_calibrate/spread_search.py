"""The spread that gives an effective sample size: a search over mu with warm starts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.solvers.base import Solution, Start
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_STEP = 4.0
_LARGEST = 1e3
_SMALLEST = 1e-7
_HALVINGS = 6  # 4^(1 / 2^6): mu is found to about 2 %


def spread_for_ess(
    fit: Callable[[float, Start | None], Solution], wanted: float, reference: FloatArray, first: float
) -> tuple[Solution, float]:
    """The fit with (nearly) the least mu whose effective sample size is at least ``wanted``.

    The effective sample size grows with mu, so mu is multiplied until the fit has it, or divided until it
    has not, then the step in question is halved on the log scale. Every fit starts from the last.

    Raises
    ------
    InputError
        When no mu gives it; the text has the most that can be had.
    """

    def ess(solution: Solution) -> float:
        return effective_sample_size(solution.u * reference)

    mu = first
    solution = fit(mu, None)
    best = solution if ess(solution) >= wanted else None
    low = high = mu
    most = ess(solution)
    while best is None:
        low, mu = mu, mu * _STEP
        if mu > _LARGEST:
            raise InputError(
                f"ess_at_least={wanted:g} cannot be had: the most is about {most:.0f} "
                "on these records; ask for less, or keep more records"
            )
        solution = fit(mu, solution.start())
        most = max(most, ess(solution))
        if ess(solution) >= wanted:
            best, high = solution, mu
    while low == high:
        if mu < _SMALLEST:
            return best, high
        mu /= _STEP
        solution = fit(mu, solution.start())
        if ess(solution) >= wanted:
            best, low, high = solution, mu, mu
        else:
            low = mu
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        solution = fit(middle, best.start())
        if ess(solution) >= wanted:
            best, high = solution, middle
        else:
            low = middle
    return best, high
