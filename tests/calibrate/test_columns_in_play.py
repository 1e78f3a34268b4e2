"""Columns held at a bound: what the others are swept without them must be what a sweep of all would give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize as so
import scipy.sparse as sp

from l0_calibrate.losses.base import RowPrice
from l0_calibrate.solvers import Machine, Start, Stop, Task, lanes
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.fused import FusedIteration
from l0_calibrate.solvers.iteration import Opening
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.solvers.sparse_map import ColumnMap
from l0_calibrate.system import build_system
from l0_calibrate.threads import Threads


def bounded_task(lower: float, upper: float, kappa: float = 0.0, seed: int = 0) -> Task:
    random = np.random.default_rng(seed)
    matrix = sp.random_array((90, 200), density=0.1, random_state=random, data_sampler=random.standard_exponential)
    matrix = sp.vstack((matrix, matrix[:50]))  # the same totals twice, with targets that disagree
    weights = random.uniform(0.5, 2.0, 200)
    system = build_system(matrix.tocsr(), (matrix @ weights) * random.uniform(0.2, 3.0, 140), weights)
    n = system.records
    price = RowPrice.absolute(np.ones(system.targets))
    return Task(system, price, None, np.full(n, lower), np.full(n, upper), np.full(n, kappa), 1.0)


def entries(task: Task) -> sp.csc_array:
    c = task.system.columns
    return sp.csc_array((c.values.astype(float), c.indices.astype(int), c.indptr.astype(int)), shape=(c.rows, c.count))


def optimum(task: Task) -> float:
    a = entries(task).toarray()
    m, n = a.shape
    b = task.system.b
    found = so.linprog(
        np.concatenate((np.zeros(n), np.ones(m))),
        np.vstack((np.hstack((a, -np.eye(m))), np.hstack((-a, -np.eye(m))))),
        np.concatenate((b, -b)),
        bounds=[*zip(task.lower, task.upper, strict=True), *[(0, None)] * m],
    )
    assert found.status == 0, found.message
    return float(found.fun)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, np.inf), (0.0, 2.0), (0.3, 1.5), (0.9, 1.1)])
def test_products_are_those_of_all_columns(
    lower: float, upper: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any step ``A u1`` is that of the whole point, and held columns are where the bounds are."""
    monkeypatch.setattr(lanes, "WORTH", 100)
    task = bounded_task(lower, upper)
    fit, a = Fit.of(task), entries(task)
    run = FusedIteration(fit, Opening.of(fit, None), threads)
    apart = 0
    for _ in range(1_000):
        residual = run.step()
        u, _, product = run.point()
        np.testing.assert_allclose(product, a @ u, rtol=1e-12, atol=1e-12)
        # The products of the average and of the anchor are carried along by linearity alone.
        primal, carried = run._whole.primal, run._products
        np.testing.assert_allclose(carried.current, a @ primal.u, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(carried.anchor, a @ primal.anchor, rtol=1e-9, atol=1e-9)
        if not run.is_whole:
            apart += 1
            held = np.delete(u, run._now.ids)
            assert held.size > 0
            assert np.isin(held, (lower, upper)).all()
        if run.rule.due(residual):
            run.restart()
            restarted, _, _ = run.point()
            np.testing.assert_array_equal(restarted, u)
    run.close()
    assert apart > 100


def test_looking_at_the_point_changes_nothing() -> None:
    fit, apart = Fit.of(bounded_task(0.0, 2.0)), 0
    watched, alone = (FusedIteration(fit, Opening.of(fit, None), 1) for _ in range(2))
    for _ in range(1_000):
        for run in (watched, alone):
            residual = run.step()
            apart += not run.is_whole
            if run.rule.due(residual):
                run.restart()
        watched.point()
    for ours, others in zip(watched.point(), alone.point(), strict=True):
        np.testing.assert_array_equal(ours, others)
    assert apart > 100
    watched.close()
    alone.close()


@pytest.mark.parametrize(("lower", "upper"), [(0.0, np.inf), (0.0, 2.0), (0.3, 1.5)])
def test_the_optimum_is_that_of_a_linear_programme(lower: float, upper: float) -> None:
    task = bounded_task(lower, upper)
    solution = PrimalDualSolver().solve(task, Stop(tolerance=1e-6))
    best = optimum(task)
    assert solution.status == "optimal"
    assert solution.bound <= best * (1 + 1e-9)
    assert best * (1 - 1e-9) <= solution.objective <= best * (1 + 1.1e-6)


def test_a_held_column_comes_back_when_it_is_needed() -> None:
    """Begun with everything at a bound where nothing belongs: the way out leads through the reviews."""
    task = bounded_task(0.0, 2.0)
    far = PrimalDualSolver().solve(
        task, Stop(tolerance=1e-6), Start(np.zeros(task.count), -np.ones(task.system.targets))
    )
    assert far.status == "optimal"
    assert far.objective <= optimum(task) * (1 + 1.1e-6)


def test_bits_are_equal_for_equal_threads_and_close_across(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    task, stop = bounded_task(0.0, 2.0), Stop(tolerance=1e-4)
    one, two, again = (PrimalDualSolver().solve(task, stop, machine=Machine(threads=k)) for k in (1, 2, 2))
    np.testing.assert_array_equal(two.u, again.u)
    np.testing.assert_array_equal(two.y, again.y)
    assert two.bound == again.bound
    assert one.objective == pytest.approx(two.objective, rel=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_restricted_map_is_that_of_its_columns(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    task, random = bounded_task(0.0, 2.0), np.random.default_rng(1)
    a, columns = entries(task), task.system.columns
    workers = Threads(threads)
    whole = ColumnMap(columns, workers)
    assert whole.threads == threads
    for share in (0.5, 0.1, 0.9, 0.0):  # one after another in the same room
        chosen = np.flatnonzero(random.random(columns.count) < share)
        part = whole.restricted(chosen, random.random(chosen.size) < 0.5)
        u, y = random.random(chosen.size), random.normal(size=columns.rows)
        np.testing.assert_allclose(part.matvec(u), a[:, chosen] @ u, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(part.rmatvec(y), a[:, chosen].T @ y, rtol=1e-12, atol=1e-12)
    workers.close()
