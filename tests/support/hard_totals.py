"""Calibrations that some g-weights solve, with columns as survey data have them at their worst."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

METHODS: dict[str, tuple[Any, tuple[float, float] | None]] = {
    "linear": ("linear", None),
    "bounded linear": ("linear", (0.2, 4.0)),
    "raking": ("raking", None),
    "bounded raking": ("raking", (0.2, 4.0)),
    "logit": ("logit", (0.2, 4.0)),
    "tight logit": ("logit", (0.5, 2.0)),
}


class HardTotals(NamedTuple):
    """Design weights, X of shape (records, constraints), totals, and q or None."""

    design: np.ndarray
    x: np.ndarray
    totals: np.ndarray
    q: np.ndarray | None


def hard_totals(seed: int, bounds: tuple[float, float] | None) -> HardTotals:
    """Up to 19 constraints on up to 199 records: heavy tails, rare flags, units of 1e-6 to 1e9, near copies.

    The totals are those of g-weights that spread widely or, within bounds, crowd at both ends.
    """
    g = np.random.default_rng(seed)
    n = int(g.integers(5, 200))
    design = g.lognormal(3, g.choice([0.3, 1.0, 2.5]), n)
    columns = [np.ones(n)]
    for kind in g.integers(6, size=int(g.integers(0, min(n, 20) - 1))):
        near = columns[g.integers(len(columns))] + 10.0 ** g.uniform(-9, -2) * g.normal(size=n)
        columns.append(
            (
                g.lognormal(0, g.choice([0.5, 2.0, 4.0]), n),
                (g.random(n) < g.choice([0.02, 0.3])) * 1.0,
                g.standard_cauchy(n),
                near,
                g.normal(size=n) * 10.0 ** g.uniform(-6, 9),
                g.pareto(0.7, n),
            )[kind]
        )
    x = np.column_stack(columns)
    if bounds is None:
        ratios = g.lognormal(0, g.choice([0.1, 0.7, 2.0]), n)
    else:
        edge, low, high = float(g.choice([1e-3, 0.3])), *bounds
        ends = 0.3 if edge < 0.3 else 2.0
        ratios = low + (high - low) * (edge / 2 + (1 - edge) * g.beta(ends, ends, n))
    return HardTotals(design, x, x.T @ (design * ratios), None if g.random() < 0.6 else 10.0 ** g.uniform(-2, 2, n))
