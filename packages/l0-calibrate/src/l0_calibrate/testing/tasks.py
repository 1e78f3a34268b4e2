"""Small tasks of every form that the calibrator makes, for the contract of solvers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import attrs
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers.base import Task
from l0_calibrate.system import ScaledSystem, build_system
from l0_calibrate.testing.optimum import Optimum, optimum

FloatArray = npt.NDArray[np.float64]

TARGETS, RECORDS = 7, 10
LARGEST = 6.0
"""Upper bound of the ratios of an ordinary task."""


# ---------------------------------------------------------------------- prices


def _weights(m: int) -> FloatArray:
    return np.resize([1.0, 0.5, 3.0, 1.0, 0.0, 2.0, 1.0], m)


def _weighed(m: int) -> RowPrice:
    zone = np.resize([0.0, 0.1, 0.02], m)
    return RowPrice(_weights(m), zone, np.zeros(m))


def _huber(m: int) -> RowPrice:
    c = _weights(m)
    return RowPrice(c, np.zeros(m), np.divide(0.05, c, out=np.zeros(m), where=c > 0))


def _squared(m: int) -> RowPrice:
    c = _weights(m)
    return RowPrice(
        np.where(c > 0, np.inf, 0.0), np.resize([0.0, 0.05], m), np.divide(0.5, c, out=np.zeros(m), where=c > 0)
    )


def _mixed(m: int) -> RowPrice:
    return RowPrice(np.resize([1.0, 2.0, np.inf], m), np.resize([0.0, 0.1], m), np.resize([0.0, 0.3, 1.0], m))


PRICES: dict[str, Callable[[int], RowPrice]] = {
    "absolute": lambda m: RowPrice.absolute(np.ones(m)),
    "weighed": _weighed,
    "huber": _huber,
    "squared": _squared,
    "mixed": _mixed,
}
"""The price of each of m targets."""


# ---------------------------------------------------------------------- shapes


def _system(matrix: FloatArray, targets: FloatArray, reference: FloatArray) -> ScaledSystem:
    return build_system(sp.csr_array(matrix), targets, reference)


def random_system(seed: int = 0, m: int = TARGETS, n: int = RECORDS, negative: bool = False) -> ScaledSystem:
    """Totals that weights near the reference weights meet, but for some that they miss by far."""
    rng = np.random.default_rng(seed)
    matrix = rng.gamma(1.0, 1.0, (m, n)) * (rng.random((m, n)) < 0.6)
    if negative:
        matrix *= rng.choice([1.0, 1.0, -1.0], (m, n))
    reference = rng.uniform(0.5, 3.0, n)
    return _system(matrix, (matrix @ reference) * rng.uniform(0.4, 1.8, m), reference)


def boxed(system: ScaledSystem, price: RowPrice, lower: float = 0.0, upper: float = LARGEST) -> Task:
    """All columns, equal bounds, no spread."""
    n = system.records
    return Task(system, price, None, np.full(n, lower), np.full(n, upper), np.zeros(n), 1.0)


def _pinched(task: Task) -> Task:
    free = np.arange(task.count) % 3 == 0
    return attrs.evolve(task, lower=np.where(free, 0.0, 0.8), upper=np.where(free, LARGEST, 0.8))


def _with_mass(task: Task, spread: float = 0.0) -> Task:
    mass = 1.1 * float(task.system.reference.sum())
    return attrs.evolve(task, mass=mass, spread=np.full(task.count, spread))


def _on_support(task: Task) -> Task:
    support = np.array([0, 2, 3, 7, 9])
    k = support.size
    return attrs.evolve(
        task,
        support=support,
        lower=np.full(k, 0.05),
        upper=np.full(k, 2.0 * LARGEST),
        spread=np.full(k, 0.02),
        centre=0.0,
    )


SHAPES: dict[str, Callable[[Callable[[int], RowPrice]], Task]] = {
    "box": lambda price: boxed(random_system(0), price(TARGETS)),
    "no upper bounds": lambda price: boxed(random_system(1), price(TARGETS), upper=np.inf),
    "lower bounds": lambda price: boxed(random_system(2), price(TARGETS), lower=0.5, upper=2.0),
    "pinched bounds": lambda price: _pinched(boxed(random_system(3), price(TARGETS))),
    "negative entries": lambda price: boxed(random_system(4, m=14, n=8, negative=True), price(14)),
    "more targets than records": lambda price: boxed(random_system(5, m=15, n=4), price(15)),
    "spread": lambda price: attrs.evolve(
        boxed(random_system(6), price(TARGETS), upper=np.inf), spread=np.linspace(0.0, 0.3, RECORDS)
    ),
    "support": lambda price: _on_support(boxed(random_system(7), price(TARGETS))),
    "mass": lambda price: _with_mass(boxed(random_system(8, m=14), price(14))),
    "mass and spread": lambda price: _with_mass(boxed(random_system(9), price(TARGETS)), spread=0.05),
}
"""Tasks at a price: bounds, spread, support, mass, signs and numbers of rows and columns."""


@lru_cache
def task(price: str, shape: str) -> Task:
    """One of `SHAPES` at one of `PRICES`."""
    return SHAPES[shape](PRICES[price])


@lru_cache
def optimum_of(price: str, shape: str) -> Optimum:
    """The optimum of `task`."""
    return optimum(task(price, shape))


# ---------------------------------------------------------------------- ends of the range


def _flat(matrix: list[list[float]], targets: list[float], reference: list[float]) -> ScaledSystem:
    return _system(np.array(matrix), np.array(targets), np.array(reference))


def _gaps() -> ScaledSystem:
    rng = np.random.default_rng(3)
    matrix = rng.uniform(0.5, 2.0, (4, 6))
    matrix[1], matrix[:, [2, 5]] = 0.0, 0.0
    return _system(matrix, np.array([5.0, 7.0, 9.0, 3.0]), np.ones(6))


DEGENERATE: dict[str, tuple[Callable[[], ScaledSystem], float, float]] = {
    "empty rows and columns": (_gaps, 0.0, LARGEST),
    "all targets met": (lambda: _flat([[1, 0], [0, 1]], [5, 6], [5, 6]), 0.0, LARGEST),
    "all targets met away from the reference": (lambda: _flat([[1, 0], [0, 1]], [10, 3], [5, 6]), 0.0, LARGEST),
    "no record can get weight": (lambda: _flat([[1, 1], [1, 1]], [10, 8], [0, 0]), 0.0, LARGEST),
    "some records cannot get weight": (lambda: _flat([[1, 1, 2], [1, 0, 1]], [10, 8], [0, 2, 1]), 0.0, LARGEST),
    "one record": (lambda: _flat([[1], [1], [1]], [1, 2, 4], [1]), 0.0, LARGEST),
    "one target": (lambda: _flat([[1, 2, 0.5]], [30], [1, 1, 1]), 0.0, LARGEST),
    "the same column twice": (lambda: _flat([[1, 1, 0], [2, 2, 1]], [7, 3], [1, 1, 1]), 0.0, LARGEST),
    "the same row twice, at odds": (lambda: _flat([[1, 2], [1, 2], [1, 2]], [1, 6, 60], [1, 1]), 0.0, LARGEST),
    "targets of 0": (lambda: _flat([[1, 2], [0, 1]], [0, 0], [1, 1]), 0.1, LARGEST),
    "a target below all reach": (lambda: _flat([[1, 1], [1, 2]], [-4, 5], [1, 1]), 0.0, LARGEST),
    "all bounds pinched": (lambda: _flat([[1, 2], [3, 1]], [9, 2], [1, 1]), 1.0, 1.0),
    "no bound, nothing to push": (lambda: _flat([[1, 0], [1, 0]], [10, 20], [1, 1]), 0.0, np.inf),
}
"""System, lower and upper bound of tasks at the ends of what can be asked."""


@lru_cache
def degenerate_task(name: str, price: str) -> Task:
    """One of `DEGENERATE` at one of `PRICES`."""
    made, lower, upper = DEGENERATE[name]
    system = made()
    return boxed(system, PRICES[price](system.targets), lower, upper)
