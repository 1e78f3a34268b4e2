"""The spread that gives an effective sample size: a search over mu with warm starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from l0_calibrate.result.diagnostics import effective_sample_size
from l0_calibrate.solvers.base import Solution, Start
from l0_core import InputError

FloatArray = npt.NDArray[np.float64]

_STEP = 4.0
_LARGEST = 1e3
_SMALLEST = 1e-7
_SURPLUS = 0.01
"""An effective sample size above the one wanted by less than this part of it is not worth another fit."""
_TRIES = 4
_INSIDE = 0.1
"""A guess stays that part of the interval away from its ends."""


def spread_for_ess(
    fit: Callable[[float, Start | None], Solution],
    wanted: float,
    reference: FloatArray,
    first: float,
    is_late: Callable[[], bool] = lambda: False,
    even_fit: Callable[[float, Start | None], Solution] | None = None,
) -> tuple[Solution, float]:
    """The fit with (nearly) the least mu whose effective sample size is at least ``wanted``.

    The effective sample size grows with mu as a rule, so mu is multiplied until the fit has it, or divided until it
    has not; then logarithms are interpolated between the last two. Every fit starts from the last. A fit that is drawn
    towards initial weights that are very unequal may never have it: then it is looked for by ``even_fit``, whose mu
    draws weights towards one another.

    Once it is late, the first fit that has the sample size is taken, whatever its mu: larger ones are tried until one
    has it, as the fits of a limit that is spent end at once.

    Raises
    ------
    InputError
        When no mu gives it, or none did before it was late; the text has the most that can be had.
    """

    def ess(solution: Solution) -> float:
        return effective_sample_size(solution.u * reference)

    mu = first
    solution = fit(mu, None)
    size = ess(solution)
    low = high = (mu, size)
    best = solution if size >= wanted else None
    most = size
    while best is None:
        low, mu = (mu, size), mu * _STEP
        if mu > _LARGEST:
            if even_fit is None:
                _refuse(wanted, most, is_late())
            return spread_for_ess(even_fit, wanted, reference, first, is_late)
        solution = fit(mu, solution.start())
        size = ess(solution)
        most = max(most, size)
        if size >= wanted:
            best, high = solution, (mu, size)
    while low == high and high[1] > wanted * (1 + _SURPLUS):
        if mu < _SMALLEST or is_late():
            return best, high[0]
        mu /= _STEP
        solution = fit(mu, solution.start())
        size = ess(solution)
        if size >= wanted:
            best, low, high = solution, (mu, size), (mu, size)
        else:
            low = (mu, size)
    for _ in range(_TRIES):
        if high[1] <= wanted * (1 + _SURPLUS) or is_late():
            break
        mu = _between(low, high, wanted * (1 + 0.5 * _SURPLUS))
        solution = fit(mu, best.start())
        size = ess(solution)
        if size >= wanted:
            best, high = solution, (mu, size)
        else:
            low = (mu, size)
    return best, high[0]


def _refuse(wanted: float, most: float, is_late: bool) -> NoReturn:
    if is_late:
        raise InputError(
            f"ess_at_least={wanted:g} was not reached within the time limit, but {most:.6g}; give more time, or ask "
            "for less"
        )
    raise InputError(
        f"ess_at_least={wanted:g} cannot be had: the most that a spread gives on these records is about {most:.6g}; "
        "ask for less, or keep more records"
    )


def _between(low: tuple[float, float], high: tuple[float, float], wanted: float) -> float:
    """The spread at which the line through two points (spread, sample size), in logarithms, has the size wanted."""
    part = np.log(wanted / low[1]) / np.log(high[1] / low[1]) if high[1] > low[1] > 0.0 else 0.5
    part = min(max(part, _INSIDE), 1.0 - _INSIDE)
    return float(low[0] * (high[0] / low[0]) ** part)
