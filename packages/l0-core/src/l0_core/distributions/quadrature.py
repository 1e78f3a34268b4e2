"""Gauss-Legendre rules in panels, for the moments of gates."""

from __future__ import annotations

from functools import lru_cache

from l0_core.errors import InputError

Nodes = tuple[tuple[float, float], ...]
"""(node, weight) pairs."""

_MOST_PANELS = 10_000
"""Seconds for one moment; laws that need more have no practical use, and would fill the memory with nodes."""


@lru_cache(maxsize=64)
def gauss_legendre(low: float, high: float, panels: int, order: int) -> Nodes:
    """Nodes and weights of the rule of that order in each of equal panels of [low, high].

    The error falls as ``rho ** (-2 order)``, rho the sum of the half axes of the largest ellipse with
    foci at the ends of a panel (scaled to [-1, 1]) inside which the integrand is analytic.

    Raises
    ------
    InputError
        More than ten thousand panels.
    """
    if panels > _MOST_PANELS:
        raise InputError(
            f"the moments of this gate would need {panels:,} panels of nodes; use a larger sigma, or a smaller "
            "temperature"
        )
    import numpy as np

    roots, weights = np.polynomial.legendre.leggauss(order)
    half = (high - low) / (2 * panels)
    centres = low + half * (2 * np.arange(panels) + 1)
    nodes = (centres[:, None] + half * roots).ravel()
    return tuple(zip(nodes.tolist(), np.tile(half * weights, panels).tolist(), strict=True))
