"""Gauss-Legendre rules in panels, for the moments of gates."""

from __future__ import annotations

from functools import lru_cache

Nodes = tuple[tuple[float, float], ...]
"""(node, weight) pairs."""


@lru_cache(maxsize=64)
def gauss_legendre(low: float, high: float, panels: int, order: int) -> Nodes:
    """Nodes and weights of the rule of that order in each of equal panels of [low, high].

    The error falls as ``rho ** (-2 order)``, rho the sum of the half axes of the largest ellipse with
    foci at the ends of a panel (scaled to [-1, 1]) inside which the integrand is analytic.
    """
    import numpy as np

    roots, weights = np.polynomial.legendre.leggauss(order)
    half = (high - low) / (2 * panels)
    centres = low + half * (2 * np.arange(panels) + 1)
    nodes = (centres[:, None] + half * roots).ravel()
    return tuple(zip(nodes.tolist(), np.tile(half * weights, panels).tolist(), strict=True))
