"""One iteration of the primal-dual solver beside SciPy's two products with the same matrix (pytest-benchmark).

    pytest benchmarks/test_solver_iteration.py --benchmark-json=benchmarks/results/solver_iteration.json

The iteration does both products, the proximal steps, the averages and the residual. Ten iterations make a round; those
of 3,000 records are the size of an inner fit of a selector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Task
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.iteration import Opening
from l0_calibrate.solvers.primal_dual import FusedIteration
from l0_calibrate.system import ScaledSystem, build_system

TARGETS, RECORDS, PER_RECORD = 2_000, 40_000, 30
REPEATS = 10


@pytest.fixture(scope="module")
def system() -> ScaledSystem:
    random = np.random.default_rng(0)
    columns = np.repeat(np.arange(RECORDS), PER_RECORD)
    rows = random.integers(0, TARGETS, columns.size)
    matrix = sp.csr_array((random.gamma(1.0, 1.0, columns.size), (rows, columns)), shape=(TARGETS, RECORDS))
    matrix.sum_duplicates()
    weights = np.ones(RECORDS)
    return build_system(matrix, (matrix @ weights) * random.uniform(0.7, 1.3, TARGETS), weights)


@pytest.mark.parametrize("records", [RECORDS, 3_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_iteration(benchmark: Any, system: ScaledSystem, threads: int, records: int) -> None:
    price, support = RowPrice.absolute(np.ones(system.targets)), np.arange(records)
    bounds = np.zeros(records), np.full(records, 10.0)
    fit = Fit.of(Task(system, price, support, *bounds, np.zeros(records), 1.0))
    run = FusedIteration(fit, Opening.of(fit, None), threads, hold=False)

    def rounds() -> None:
        last = run.rule.total + REPEATS
        while run.rule.total < last:
            if run.rule.due(run.step(last - run.rule.total)):
                run.restart()

    benchmark(rounds)
    run.close()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scipy_matvec_and_rmatvec(benchmark: Any, system: ScaledSystem, dtype: str) -> None:
    c = system.columns
    indices, indptr = c.indices.astype(np.int32), c.indptr.astype(np.int32)
    by_columns = sp.csc_array((c.values.astype(dtype), indices, indptr), shape=(c.rows, c.count))
    by_rows = by_columns.tocsr()
    transpose = by_columns.T  # by rows: reads, where its product from by_rows would scatter
    u, y = np.ones(c.count, dtype), np.ones(c.rows, dtype)

    def rounds() -> None:
        for _ in range(REPEATS):
            by_rows @ u
            transpose @ y

    benchmark(rounds)
