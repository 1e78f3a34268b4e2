"""Pieces of work side by side, on the caller's thread and some more, and how work is shared out."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


def _ended(jobs: list[Future[None]]) -> list[Future[None]]:
    """Those that have begun, when they have ended: one that has not has nothing left to do."""
    begun = [job for job in jobs if not job.cancel()]
    for job in begun:
        job.exception()
    return begun


class Threads:
    """So many threads, the caller's among them; whichever is free takes the next piece of work.

    Processors are not equally fast, nor equally free: of fixed shares the slowest would decide. What a piece comes to
    must not depend on the thread that does it. They end with `close`, or with a ``with`` statement.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None
        self._started = False

    @property
    def shares(self) -> int:
        """How many pieces to make of work that can be cut anywhere."""
        return 1 if self.count == 1 else _PIECES * self.count

    def all(self, pieces: int, work: Callable[[int], Outcome], most: int | None = None) -> list[Outcome]:
        """``work(k)`` for each k below ``pieces``, on ``most`` threads at most; what they return, in order.

        After a fault in a piece no more are begun, and it is raised when those that had been begun have ended. An
        interrupt does not wait for them.
        """
        lanes = min(self.count, pieces, most or pieces)
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

        try:
            if lanes > 2:
                self._start()
            jobs = [self._pool.submit(lane) for _ in range(1, lanes)]
        except BaseException:
            ahead.clear()
            raise
        try:
            lane()
        except Exception:
            _ended(jobs)
            raise
        for job in _ended(jobs):
            job.result()
        return [done[k] for k in range(pieces)]

    def _start(self) -> None:
        """Begin all threads, so that as many pieces can wait for one another.

        An executor begins a thread where it knows of none that is idle, and may take one for idle that has work.
        """
        if self._started or self._pool is None:
            return
        here = threading.Barrier(self.count)
        try:
            for _ in range(1, self.count):
                self._pool.submit(here.wait)
            here.wait()
        except BaseException:
            here.abort()
            raise
        self._started = True

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
