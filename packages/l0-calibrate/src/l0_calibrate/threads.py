"""Pieces of work side by side, on the caller's thread and some more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Outcome = TypeVar("Outcome")


class Threads:
    """So many threads, the caller's among them; which of them does which piece depends on their number alone."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    def all(self, pieces: int, work: Callable[[int], Outcome]) -> list[Outcome]:
        """``work(k)`` for each k below ``pieces``; what they return, in order."""
        lanes = min(self.count, pieces)
        if self._pool is None or lanes <= 1:
            return [work(k) for k in range(pieces)]

        def lane(t: int) -> list[Outcome]:
            return [work(k) for k in range(t, pieces, lanes)]

        jobs = [self._pool.submit(lane, t) for t in range(1, lanes)]
        done = [lane(0), *(job.result() for job in jobs)]
        return [done[k % lanes][k // lanes] for k in range(pieces)]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
