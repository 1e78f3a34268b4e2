"""Problems whose numbers are as ugly as they come, and the objective of a point in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from l0_calibrate.solvers import Task


def hostile_numbers(g: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix of at most 8 x 11 with entries of 1e-9 to 1e12 of both signs, targets, weights of 1e-6 to 1e3."""
    m, n = int(g.integers(1, 9)), int(g.integers(1, 12))
    sizes = 10.0 ** g.uniform(-9, 12, (m, n) if g.random() < 0.4 else (m, 1))
    signs = g.choice([1.0, 1.0, -1.0], (m, n) if g.random() < 0.5 else (1, 1))
    matrix = (g.random((m, n)) < g.choice([0.3, 0.6, 1.0])) * sizes * signs * g.uniform(0.5, 2, (m, n))
    w = 10.0 ** g.uniform(-6, 3, n) if g.random() < 0.5 else np.ones(n)
    return matrix, (matrix @ w) * g.choice([1.0, 2.0, 0.1, 1 + 1e-9], m), w


def exact_objective(task: Task, u: np.ndarray) -> Fraction:
    """The objective at a point of the stored numbers, without rounding."""
    c, price = task.system.columns, task.price
    residuals = [-Fraction(float(x)) for x in task.system.b]
    indptr = c.indptr.astype(np.int64)
    for j in np.flatnonzero(u):
        for p in range(indptr[j], indptr[j + 1]):
            residuals[int(c.indices[p])] += Fraction(float(c.values[p])) * Fraction(float(u[j]))
    total = Fraction(0)
    for r, cap, zone, bend in zip(residuals, price.cap, price.dead_zone, price.curvature, strict=True):
        excess, q = abs(r) - Fraction(float(zone)), Fraction(float(bend))
        if excess <= 0:
            continue
        if q > 0 and (np.isinf(cap) or excess <= q * Fraction(float(cap))):
            total += excess**2 / (2 * q)
        else:
            c_i = Fraction(float(cap))
            total += c_i * excess - q * c_i**2 / 2
    for j in np.flatnonzero(task.spread):
        distance = Fraction(float(u[j])) - Fraction(float(task.centre))
        total += Fraction(float(task.spread[j])) * distance**2 / 2
    return total
