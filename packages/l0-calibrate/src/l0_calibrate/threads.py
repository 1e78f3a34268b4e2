"""Pieces of work side by side, on the caller's thread and some more, and how work is shared out."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Outcome = TypeVar("Outcome")

_PIECES = 3
"""Pieces of work for each thread: more wait less for the slowest, and are handed out more often."""


def useful(threads: int, work: int, least: int) -> int:
    """How many of the threads at hand are worth using: each is to have at least ``least`` of the work."""
    return max(1, min(threads, work // least))


def even_shares(size: int, count: int) -> list[tuple[int, int]]:
    """``count`` ranges of about equal length, one after another, from 0 to ``size``."""
    return list(itertools.pairwise(size * t // count for t in range(count + 1)))


def _taken(ahead: deque[int]) -> Iterator[int]:
    """What is ahead, one after another, each to one thread only."""
    while True:
        try:
            k = ahead.popleft()
        except IndexError:
            return
        yield k


class Threads:
    """So many threads, the caller's among them; whichever is free takes the next piece of work.

    Processors are not equally fast, nor equally free: of fixed shares the slowest would decide. What a piece comes to
    must not depend on the thread that does it. They end with `close`, or with a ``with`` statement.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    @property
    def shares(self) -> int:
        """How many pieces to make of work that can be cut anywhere."""
        return 1 if self.count == 1 else _PIECES * self.count

    def all(self, pieces: int, work: Callable[[int], Outcome]) -> list[Outcome]:
        """``work(k)`` for each k below ``pieces``; what they return, in order."""
        lanes = min(self.count, pieces)
        if self._pool is None or lanes <= 1:
            return [work(k) for k in range(pieces)]
        ahead, done = deque(range(pieces)), dict[int, Outcome]()

        def lane() -> None:
            try:
                for k in _taken(ahead):
                    done[k] = work(k)
            except BaseException:
                ahead.clear()  # nobody will ask for the rest
                raise

        jobs = [self._pool.submit(lane) for _ in range(1, lanes)]
        lane()
        for job in jobs:
            if not job.cancel():  # one that has not begun has nothing left to do
                job.result()
        return [done[k] for k in range(pieces)]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
