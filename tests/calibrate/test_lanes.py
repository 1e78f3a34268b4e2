"""Threads that meet inside one compiled call, and stretches of iterations on them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from l0_calibrate.losses import RowPrice
from l0_calibrate.solvers import fused, lanes
from l0_calibrate.solvers.fit import Fit
from l0_calibrate.solvers.fused import FusedIteration
from l0_calibrate.solvers.iteration import Opening
from l0_calibrate.solvers.lanes import Board, Lane, Lanes, meet, piece, take
from l0_calibrate.testing.tasks import boxed, random_system
from l0_calibrate.threads import Threads
from l0_gates.jit import jit


def halves(count: int, rows: int, own: int = 1) -> tuple[Threads, Lanes]:
    workers = Threads(count)
    return workers, Lanes.of(workers, count, [(10 * k, 10 * k + 10) for k in range(own * count)], rows)


@pytest.mark.parametrize(("count", "rows"), [(1, 5), (2, 5), (3, 2), (4, 0)])
def test_every_row_belongs_to_one_lane(count: int, rows: int) -> None:
    workers, shared = halves(count, rows)
    assert [row for lane in shared.lanes for row in range(lane.top, lane.bottom)] == list(range(rows))
    assert [(lane.first, lane.last) for lane in shared.lanes] == [(t, t + 1) for t in range(count)]
    workers.close()


@pytest.mark.parametrize(("count", "own"), [(1, 1), (2, 1), (2, 3), (4, 2)])
def test_a_lane_asks_for_every_piece_once_its_own_first(count: int, own: int) -> None:
    workers, shared = halves(count, 5, own)
    for lane in shared.lanes:
        asked = [piece(lane, turn) for turn in range(own * count)]
        assert asked[:own] == list(range(lane.first, lane.last))
        assert sorted(asked) == list(range(own * count))
    assert {piece(lane, own * count - 1) for lane in shared.lanes} == {own * t for t in range(count)}  # begun long ago
    workers.close()


@pytest.mark.parametrize("slow", [False, True])
def test_each_piece_is_taken_once_an_iteration_whoever_is_slow(slow: bool) -> None:
    workers, shared = halves(3, 5, 3)
    board, taken, latest = shared.board, [list[int](), list[int](), list[int]()], time.monotonic() + 60.0

    def work(lane: Lane) -> None:
        for iteration in (1, 2, 3):
            if slow and lane.number == 1:
                while len(taken[0]) + len(taken[2]) < 9 * iteration and time.monotonic() < latest:
                    time.sleep(0.001)
            mine = (piece(lane, turn) for turn in range(9))
            taken[lane.number] += [k for k in mine if take(board, lane, k, iteration)]
            meet(board, lane)

    for _ in range(2):  # a run does not see the one before
        shared.run(work)
        assert sorted(k for those in taken for k in those) == sorted(3 * list(range(9)))
        assert not (slow and taken[1])
        for those in taken:
            those.clear()
    workers.close()


def test_the_pieces_of_small_work_are_one_for_each_lane() -> None:
    assert lanes.shares(1, 10**9, 5).tolist() == [0.0, 1.0]
    assert lanes.shares(2, 100, 1_000).tolist() == [0.0, 0.5, 1.0]
    assert lanes.shares(2, 10**6, 1_000) == pytest.approx([0.0, 0.3, 0.4, 0.5, 0.8, 0.9, 1.0])


@jit
def _counts(lane: Lane, board: Board, numbers: np.ndarray, times: int) -> int:
    """Each lane counts up its number, and looks after each meeting whether all the others have the same."""
    apart = 0
    for k in range(times):
        numbers[lane.number] = k
        meet(board, lane)
        for t in range(lane.lanes):
            apart += numbers[t] != k
        meet(board, lane)
    return apart


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nobody_leaves_before_all_have_come(count: int) -> None:
    workers, shared = halves(count, 1)
    numbers = np.zeros(count, dtype=np.int64)
    found: list[int] = []
    shared.run(lambda lane: found.append(_counts(lane, shared.board, numbers, 20_000)))
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
        left.append(meet(shared.board, lane))

    with pytest.raises(KeyboardInterrupt):
        shared.run(work)
    workers.close()  # waits for those who have begun
    assert not any(left)


@pytest.mark.parametrize("failing", [0, 2])
def test_a_fault_of_one_lets_the_others_go(failing: int) -> None:
    workers, shared = halves(3, 1)
    left: list[bool] = []

    def work(lane: Lane) -> None:
        if lane.number == failing:
            raise RuntimeError("no memory")
        left.append(meet(shared.board, lane))

    with pytest.raises(RuntimeError, match="no memory"):
        shared.run(work)
    workers.close()
    assert len(left) <= 2  # who has not begun need not
    assert not any(left)


def test_who_waits_in_vain_looks_less_often_the_next_time() -> None:
    workers, shared = halves(2, 1)
    board = shared.board

    def work(lane: Lane) -> None:
        if lane.number == 1:
            while board.gate[0] == 0:  # the other has not come yet
                time.sleep(0.001)
            time.sleep(0.1)
        meet(board, lane)

    shared.run(work)
    assert board.patience[:, 0].tolist() == [lanes._MOST_LOOKS // 2, lanes._MOST_LOOKS]
    board.patience[0, 0] = lanes._FEWEST_LOOKS
    shared.run(work)
    assert board.patience[0, 0] == lanes._FEWEST_LOOKS
    workers.close()


@pytest.fixture
def fit() -> Fit:
    system = random_system(1, 40, 600)
    return Fit.of(boxed(system, RowPrice.absolute(np.ones(40)), upper=3.0))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("hold", [True, False])
def test_a_stretch_is_its_iterations_one_by_one(
    threads: int, hold: bool, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WORTH", 100)
    far, near = (FusedIteration(fit, Opening.of(fit, None), threads, hold) for _ in range(2))
    longest = within = 0
    while far.rule.total < 600:
        before = far.rule.total
        residual = far.step(100)
        longest = max(longest, far.rule.total - before)
        while near.rule.total < far.rule.total:
            alone = near.step()
            due = near.rule.due(alone)
            if due and near.rule.total < far.rule.total:  # after its last iteration a stretch does not ask
                near.restart()
                within += 1
        assert alone == residual
        assert far.rule.due(residual) == due
        assert far.rule == near.rule
        if due:
            far.restart()
            near.restart()
            assert far.rule == near.rule
    assert within > 3
    for one, other in zip(far.point(), near.point(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert longest > 10
    far.close()
    near.close()


def test_a_stretch_ends_where_nothing_moves(fit: Fit) -> None:
    run = FusedIteration(fit, Opening.of(fit, None), 1, hold=False)
    run.step()
    assert run.step(30, still=np.inf) > 0.0
    assert run.rule.total == 2
    run.close()


@pytest.mark.parametrize(("at_once", "made"), [(3, 4), (20, 21)])
def test_the_clock_is_looked_at_within_a_stretch(
    at_once: int, made: int, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a large matrix an iteration is long: a limit of time, or an interrupt, does not wait for many of them."""
    monkeypatch.setattr(fused, "_ENTRIES_AT_ONCE", at_once * fit.columns.nnz)
    run = FusedIteration(fit, Opening.of(fit, None), 1)
    run.step()
    run.rule.first = 0.0  # no restart is due
    run.step(30)
    assert run.rule.total == made
    run.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the interrupts of this test are those of POSIX")
def test_an_interrupt_that_waits_for_the_end_of_a_call_is_raised_behind_it() -> None:
    """In a process of its own: compiled code in which it is raised ends that with a crash."""
    code = (
        "import signal\n"
        "import numpy as np\n"
        "from l0_calibrate.losses import RowPrice\n"
        "from l0_calibrate.solvers.fit import Fit\n"
        "from l0_calibrate.solvers.fused import FusedIteration\n"
        "from l0_calibrate.solvers.iteration import Opening\n"
        "from l0_calibrate.testing.tasks import boxed, random_system\n"
        "fit = Fit.of(boxed(random_system(1, 40, 6000), RowPrice.absolute(np.ones(40))))\n"
        "run = FusedIteration(fit, Opening.of(fit, None), 1)\n"
        "run.step()\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "heard = 0\n"
        "for k in range(200):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.002)\n"
        "        while True:\n"
        "            run.step(30)\n"
        "    except KeyboardInterrupt:\n"
        "        heard += 1\n"
        "print(heard)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "200"), done.stderr
