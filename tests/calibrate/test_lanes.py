"""Threads that meet inside one compiled call, and stretches of iterations on them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import Machine, Stop, Task, lanes
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.fused import FusedIteration
from l0_calibrate.solvers.iteration import Opening
from l0_calibrate.solvers.lanes import Lane, Lanes, meet
from l0_calibrate.solvers.primal_dual import PrimalDualSolver
from l0_calibrate.system import build_system
from l0_calibrate.threads import Threads
from l0_gates.jit import jit


def halves(count: int, rows: int) -> tuple[Threads, Lanes]:
    workers = Threads(count)
    return workers, Lanes.of(workers, [(10 * t, 10 * t + 10) for t in range(count)], rows)


@pytest.mark.parametrize(("count", "rows"), [(1, 5), (2, 5), (3, 2), (4, 0)])
def test_every_row_belongs_to_one_lane(count: int, rows: int) -> None:
    workers, shared = halves(count, rows)
    assert [row for lane in shared.lanes for row in range(lane.top, lane.bottom)] == list(range(rows))
    assert [(lane.first, lane.last) for lane in shared.lanes] == [(10 * t, 10 * t + 10) for t in range(count)]
    workers.close()


@jit
def _counts(lane: Lane, gate: np.ndarray, numbers: np.ndarray, times: int) -> int:
    """Each lane counts up its number, and looks after each meeting whether all the others have the same."""
    apart = 0
    for k in range(times):
        numbers[lane.number] = k
        meet(gate, lane.lanes)
        for t in range(lane.lanes):
            apart += numbers[t] != k
        meet(gate, lane.lanes)
    return apart


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nobody_leaves_before_all_have_come(count: int) -> None:
    workers, shared = halves(count, 1)
    numbers = np.zeros(count, dtype=np.int64)
    found: list[int] = []
    shared.run(lambda lane: found.append(_counts(lane, shared.board.gate, numbers, 20_000)))
    assert found == [0] * count
    workers.close()


def test_an_interrupt_before_the_gate_lets_the_others_go() -> None:
    workers, shared = halves(3, 1)
    waiting, left = threading.Event(), []

    def work(lane: Lane) -> None:
        if lane.number == 0:
            assert waiting.wait(30)
            raise KeyboardInterrupt
        waiting.set()
        left.append(meet(shared.board.gate, lane.lanes))

    with pytest.raises(KeyboardInterrupt):
        shared.run(work)
    workers.close()  # waits for the two
    assert left == [False, False]


@pytest.mark.parametrize("failing", [0, 2])
def test_a_fault_of_one_lets_the_others_go(failing: int) -> None:
    workers, shared = halves(3, 1)
    left: list[bool] = []

    def work(lane: Lane) -> None:
        if lane.number == failing:
            raise RuntimeError("no memory")
        left.append(meet(shared.board.gate, lane.lanes))

    with pytest.raises(RuntimeError, match="no memory"):
        shared.run(work)
    workers.close()
    assert left == [False, False]


def task(n: int = 600, m: int = 40, upper: float = 3.0) -> Task:
    random = np.random.default_rng(1)
    matrix = sp.random_array((m, n), density=0.2, random_state=random, data_sampler=random.standard_exponential)
    system = build_system(matrix.tocsr(), (matrix @ np.ones(n)) * random.uniform(0.5, 2.0, m), np.ones(n))
    return Task(system, RowPrice.absolute(np.ones(m)), None, np.zeros(n), np.full(n, upper), np.full(n, 1e-4), 1.0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("hold", [True, False])
def test_a_stretch_is_its_iterations_one_by_one(threads: int, hold: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    fit = Fit.of(task())
    far, near = (FusedIteration(fit, Opening.of(fit, None), threads, hold) for _ in range(2))
    longest = 0
    while far.rule.total < 600:
        before = far.rule.total
        residual = far.step(100)
        longest = max(longest, far.rule.total - before)
        while near.rule.total < far.rule.total:
            alone = near.step()
            due = near.rule.due(alone)
            assert not due or near.rule.total == far.rule.total  # a stretch ends where a restart is due
        assert alone == residual
        assert far.rule.due(residual) == due
        assert far.rule == near.rule
        if due:
            far.restart()
            near.restart()
    for one, other in zip(far.point(), near.point(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert longest > 10
    far.close()
    near.close()


def test_a_stretch_ends_where_nothing_moves() -> None:
    fit = Fit.of(task())
    run = FusedIteration(fit, Opening.of(fit, None), 1, hold=False)
    run.step()
    assert run.step(30, still=np.inf) > 0.0
    assert run.rule.total == 2
    run.close()


def test_the_clock_is_looked_at_within_a_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a large matrix an iteration is long: a limit of time, or an interrupt, does not wait for many of them."""
    from l0_calibrate.solvers import fused

    monkeypatch.setattr(fused, "_ENTRIES_AT_ONCE", 3 * Fit.of(task()).columns.nnz)
    fit = Fit.of(task())
    run = FusedIteration(fit, Opening.of(fit, None), 1)
    run.step()
    run.step(30)
    assert run.rule.total <= 4
    run.close()


def test_threads_agree_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    solutions = [
        PrimalDualSolver().solve(task(), Stop(iterations=200, certify=False), None, Machine(threads=threads))
        for threads in (1, 2, 4)
    ]
    for other in solutions[1:]:
        assert other.objective == pytest.approx(solutions[0].objective, rel=1e-9)
        np.testing.assert_allclose(other.u, solutions[0].u, atol=1e-8)
