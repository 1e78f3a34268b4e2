"""Pieces of work side by side: each once, outcomes in order, faults not lost."""

from __future__ import annotations

import pytest

from l0_calibrate.solvers.threads import Threads


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


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_in_any_piece_comes_out(count: int) -> None:
    threads = Threads(count)
    with pytest.raises(ZeroDivisionError):
        threads.all(5, lambda k: 1 // (k - 4))
    threads.close()
