"""Pieces of work side by side: each once, outcomes in order, faults not lost."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import weakref

import numpy as np
import pytest
import scipy.sparse as sp

from l0_calibrate import system
from l0_calibrate.threads import Threads


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 4, 7])
def test_each_piece_is_done_once_and_told_in_order(count: int, pieces: int) -> None:
    threads, done = Threads(count), []

    def work(k: int) -> int:
        done.append(k)
        return k * k

    assert threads.all(pieces, work) == [k * k for k in range(pieces)]
    assert sorted(done) == list(range(pieces))
    threads.close()


@pytest.mark.parametrize("count", [2, 4])
def test_pieces_go_on_side_by_side(count: int) -> None:
    threads, all_here = Threads(count), threading.Barrier(count, timeout=30.0)
    threads.all(count, lambda _: all_here.wait())  # one after the other, they would wait for ever
    threads.close()


def test_who_is_free_takes_the_next_piece() -> None:
    with Threads(2) as threads:
        rest_done, done_by = threading.Event(), dict[int, int]()

        def work(k: int) -> None:
            done_by[k] = threading.get_ident()
            if k == 0:
                assert rest_done.wait(30.0)  # the other does all the rest meanwhile
            elif k == 5:
                rest_done.set()

        threads.all(6, work)
    assert len({done_by[k] for k in range(1, 6)}) == 1
    assert done_by[0] != done_by[1]


@pytest.mark.parametrize("count", [2, 3])
def test_after_a_fault_nothing_is_begun_any_more(count: int) -> None:
    begun: list[int] = []

    def work(k: int) -> None:
        begun.append(k)
        raise ZeroDivisionError

    with Threads(count) as threads, pytest.raises(ZeroDivisionError):
        threads.all(50, work)
    assert len(begun) <= count


@pytest.mark.parametrize("failing", [0, 1])
def test_a_fault_is_raised_when_what_has_been_begun_has_ended(failing: int) -> None:
    """Whoever goes on after it may use again what pieces write to."""
    both_begun, ended = threading.Barrier(2, timeout=30.0), list[int]()

    def work(k: int) -> None:
        both_begun.wait()
        if k == failing:
            raise ZeroDivisionError
        time.sleep(0.2)
        ended.append(k)

    with Threads(2) as threads:
        with pytest.raises(ZeroDivisionError):
            threads.all(2, work)
        assert ended == [1 - failing]


def test_no_more_threads_than_are_asked_for() -> None:
    by = set[int]()

    def work(_: int) -> None:
        by.add(threading.get_ident())
        time.sleep(0.01)

    with Threads(4) as threads:
        threads.all(12, work, most=2)
    assert len(by) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_in_any_piece_comes_out(count: int) -> None:
    threads = Threads(count)
    with pytest.raises(ZeroDivisionError):
        threads.all(5, lambda k: 1 // (k - 4))
    threads.close()


def test_threads_end_when_they_are_closed_or_forgotten() -> None:
    def others() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread not in known}

    known = set(threading.enumerate())
    with Threads(3) as closed:
        closed.all(3, lambda k: k)
        assert len(others()) == 2
    assert not others()
    forgotten = Threads(3)
    forgotten.all(3, lambda k: k)
    left = others()
    del forgotten
    for thread in left:
        thread.join(30.0)
    assert not others()


@pytest.mark.parametrize("used", [False, True])
def test_closed_threads_take_no_work(used: bool) -> None:
    threads = Threads(2)
    if used:
        threads.all(2, lambda k: k)
    threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        threads.all(2, lambda k: k)


def test_a_thread_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Threads(3) as threads:
        monkeypatch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start"):
            threads.all(3, lambda k: k)
        monkeypatch.undo()
        assert threads.all(3, lambda k: k) == [0, 1, 2]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_kept_of_what_was_worked_on(fails: bool) -> None:
    """Arrays are large, and threads may wait long for more work."""

    class Large:
        def use(self, k: int) -> int:
            assert self is not None
            return 1 // (0 if fails and k == 1 else 1)

    def go() -> weakref.ref[Large]:
        large, both_begun = Large(), threading.Barrier(2, timeout=30.0)

        def work(k: int) -> int:
            both_begun.wait()
            return large.use(k)

        with contextlib.suppress(ZeroDivisionError):
            threads.all(2, work)
        return weakref.ref(large)

    gc.disable()
    try:
        with Threads(2) as threads:
            kept = go()
            for _ in range(100):
                if kept() is None:
                    break
                time.sleep(0.01)  # the thread may not have put its work down yet
            assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("whole", [0, 10**9])
def test_a_scaled_problem_is_the_same_for_any_number_of_threads(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """... and, in parts or not, that of dense arithmetic: float32 entries where they are many, float64 where few."""
    random = np.random.default_rng(5)
    matrix = sp.random_array((60, 400), density=0.2, random_state=random, data_sampler=random.standard_normal).tocsr()
    matrix.sort_indices()
    weights = random.uniform(0.5, 2.0, 400) * (random.random(400) > 0.1)
    targets = matrix @ random.uniform(0.5, 2.0, 400) * 5.0
    monkeypatch.setattr(system, "_WHOLE", whole)
    monkeypatch.setattr(system, "_WORTH_PARTS", 1_000)
    scaled = [system.build_system(matrix, targets, weights, threads) for threads in (1, 2, 3)]
    monkeypatch.setattr(system, "_WORTH_PARTS", 10**9)
    scaled.append(system.build_system(matrix, targets, weights))
    exact = matrix.toarray() * weights / np.maximum(np.abs(targets), 1.0)[:, None]
    kind = np.float64 if whole else np.float32
    for one in scaled:
        c = one.columns
        assert c.values.dtype == kind
        dense = sp.csc_array((c.values, c.indices.astype(int), c.indptr.astype(int)), shape=exact.shape).toarray()
        np.testing.assert_allclose(dense, exact, rtol=2 * np.finfo(kind).eps)
        np.testing.assert_allclose(one.row_sums, np.abs(dense.astype(float)).sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(one.rounding, np.abs(dense - exact).sum(axis=0), rtol=1e-6, atol=1e-15)
        for name in ("column_sums", "rounding"):
            np.testing.assert_array_equal(getattr(one, name), getattr(scaled[0], name))
    for one in scaled[:3]:
        np.testing.assert_array_equal(one.row_sums, scaled[0].row_sums)
