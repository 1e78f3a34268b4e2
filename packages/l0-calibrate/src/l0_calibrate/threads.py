"""Pieces of work side by side, on the caller's thread and some more, and how work is shared out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Outcome = TypeVar("Outcome")


def useful(threads: int, work: int, least: int) -> int:
    """How many of the threads at hand are worth using: each is to have at least ``least`` of the work."""
    return max(1, min(threads, work // least))


def even_shares(size: int, count: int) -> list[tuple[int, int]]:
    """``count`` ranges of about equal length, one after another, from 0 to ``size``."""
    return list(itertools.pairwise(size * t // count for t in range(count + 1)))


class Threads:
    """So many threads, the caller's among them; which of them does which piece depends on their number alone.

    They end with `close`, or with a ``with`` statement.
    """

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

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
