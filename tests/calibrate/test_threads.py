"""Pieces of work side by side: each once, outcomes in order, faults not lost."""

from __future__ import annotations

import threading

import pytest

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


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_in_any_piece_comes_out(count: int) -> None:
    threads = Threads(count)
    with pytest.raises(ZeroDivisionError):
        threads.all(5, lambda k: 1 // (k - 4))
    threads.close()
