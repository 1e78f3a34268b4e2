"""The designs: each draws a sample whose first-order inclusion probabilities are those asked for, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from l0_gates.designs.conditional_poisson import draw_given_size, maximum_entropy_parameters, with_expected_size
from l0_gates.designs.probabilities import BoolArray, FloatArray, check_probabilities


def poisson(probabilities: Any, rng: np.random.Generator) -> BoolArray:
    """Each unit by itself with its probability; the size of the sample is random."""
    values = check_probabilities(probabilities, fixed_size=False)
    return np.asarray(rng.random(values.size) < values)


def systematic(probabilities: Any, rng: np.random.Generator, *, shuffle: bool = False) -> BoolArray:
    """Every whole step on the cumulated probabilities from a random start (Madow 1949).

    In the given order (which stratifies by it), or after a shuffle.
    """
    values = check_probabilities(probabilities, fixed_size=True)
    order = rng.permutation(values.size) if shuffle else np.arange(values.size)
    steps = np.cumsum(values[order])
    # The last step is whole but for rounding, which must not add or lose a unit.
    steps = np.minimum(steps, round(float(values.sum())))
    steps[-1:] = round(float(values.sum()))
    passed = np.ceil(steps - rng.random())
    drawn = np.zeros(values.size, dtype=bool)
    drawn[order] = np.diff(passed, prepend=0.0) > 0.0
    return drawn


def _uncertain(values: FloatArray) -> tuple[BoolArray, BoolArray, int]:
    """(certain, still open, how many of the open ones are drawn)."""
    certain = values >= 1.0
    uncertain = (values > 0.0) & ~certain
    return certain, uncertain, round(float(values[uncertain].sum()))


def sampford(probabilities: Any, rng: np.random.Generator) -> BoolArray:
    """Sampford's design (1967) of fixed size.

    ``P(s)`` is proportional to ``sum_k in s pi_k  prod_{l in s, l != k} pi_l / (1 - pi_l)``. Drawn as the
    pair it is the sum over: k in proportion to ``pi_k (1 - pi_k)``, then Poisson sampling of the others until
    n - 1 come out.
    Unlike the classical rejection of repeated units, this stays quick for samples of tens of thousands.
    """
    values = check_probabilities(probabilities, fixed_size=True)
    drawn, uncertain, n = _uncertain(values)
    if n:
        p = values[uncertain]
        chances = p * (1.0 - p)
        while True:
            first = rng.choice(p.size, p=chances / chances.sum())
            others = rng.random(p.size) < p
            others[first] = False
            if np.count_nonzero(others) == n - 1:
                break
        others[first] = True
        drawn[uncertain] = others
    return drawn


def max_entropy(probabilities: Any, rng: np.random.Generator, *, parameters: FloatArray | None = None) -> BoolArray:
    """The design of maximum entropy among those of fixed size with these probabilities (conditional Poisson).

    Parameters
    ----------
    parameters
        `maximum_entropy_parameters` of the probabilities strictly between 0 and 1, where many samples are drawn.
    """
    values = check_probabilities(probabilities, fixed_size=True)
    drawn, uncertain, n = _uncertain(values)
    if n:
        if parameters is None:
            parameters = maximum_entropy_parameters(values[uncertain], n)
        drawn[uncertain] = draw_given_size(parameters, n, rng)
    return drawn


def rejective(probabilities: Any, rng: np.random.Generator) -> BoolArray:
    """Poisson sampling given its expected size (Hájek 1964); its own inclusion probabilities differ a little.

    They are `conditional_probabilities` of the uncertain units.
    """
    values = check_probabilities(probabilities, fixed_size=True)
    drawn, uncertain, n = _uncertain(values)
    if n:
        p = values[uncertain]
        drawn[uncertain] = draw_given_size(with_expected_size(np.log(p) - np.log1p(-p), n), n, rng)
    return drawn


def simple_random(total: int, n: int, rng: np.random.Generator) -> BoolArray:
    """``n`` of ``total`` units, every set of that size alike."""
    drawn = np.zeros(total, dtype=bool)
    drawn[rng.permutation(total)[:n]] = True
    return drawn
