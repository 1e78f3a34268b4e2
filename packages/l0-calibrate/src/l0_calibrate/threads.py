"""Pieces of work side by side, on the caller's thread and some more, and how work is shared out."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
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


Job = Callable[[], None]
Inbox = SimpleQueue[Job | None]


def _attend(inbox: Inbox) -> None:
    """Do what comes in, one after another, until it is None."""
    while (job := inbox.get()) is not None:
        job()
        del job  # what it worked on is not kept while nothing comes


def _wait(ended: SimpleQueue[BaseException | None], count: int) -> list[BaseException | None]:
    """What so many jobs have come to, when they have ended."""
    return [ended.get() for _ in range(count)]


def _dismiss(inboxes: list[Inbox]) -> None:
    for inbox in inboxes:
        inbox.put(None)


class Threads:
    """So many threads, the caller's among them; whichever is free takes the next piece of work.

    Processors are not equally fast, nor equally free: of fixed shares the slowest would decide. What a piece comes to
    must not depend on the thread that does it. They end with `close`, or with a ``with`` statement, when they have done
    what they have begun. Pieces often take less than a millisecond, and an executor's futures tens of microseconds for
    each: here each thread has a queue.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._others: list[threading.Thread] = []
        self._inboxes: list[Inbox] = []
        self._dismissed = weakref.finalize(self, _dismiss, self._inboxes)

    @property
    def shares(self) -> int:
        """How many pieces to make of work that can be cut anywhere."""
        return 1 if self.count == 1 else _PIECES * self.count

    def all(self, pieces: int, work: Callable[[int], Outcome], most: int | None = None) -> list[Outcome]:
        """``work(k)`` for each k below ``pieces``, on ``most`` threads at most, all begun; what they return, in order.

        After a fault in a piece no more are begun, and it is raised when those that had been begun have ended. An
        interrupt does not wait for them. Not to be asked for within a piece: the threads are busy with pieces.

        Raises
        ------
        RuntimeError
            They have been closed, or no further thread can be had.
        """
        lanes = min(self.count, pieces, most or pieces)
        if lanes <= 1:
            return [work(k) for k in range(pieces)]
        inboxes = self._begun(lanes - 1)
        ahead, done = deque(range(pieces)), dict[int, Outcome]()
        ended: SimpleQueue[BaseException | None] = SimpleQueue()

        def lane() -> None:
            try:
                for k in _taken(ahead):
                    done[k] = work(k)
            except BaseException:
                ahead.clear()  # nobody will ask for the rest
                raise

        def job() -> None:
            try:
                lane()
            except BaseException as fault:
                ended.put(fault)
            else:
                ended.put(None)

        try:
            for inbox in inboxes:
                inbox.put(job)
            lane()
        except Exception:
            _wait(ended, lanes - 1)
            raise
        except BaseException:
            ahead.clear()
            raise
        faults = [fault for fault in _wait(ended, lanes - 1) if fault is not None]
        if faults:
            try:
                raise faults[0]
            finally:
                faults.clear()  # the fault knows this frame: what was worked on would be kept by what it knows
        return [done[k] for k in range(pieces)]

    def _begun(self, count: int) -> list[Inbox]:
        """Where so many threads beside the caller's wait for work."""
        if not self._dismissed.alive:
            raise RuntimeError("these threads have been closed")
        while len(self._inboxes) < count:
            inbox: Inbox = SimpleQueue()
            other = threading.Thread(target=_attend, args=(inbox,), daemon=True)
            other.start()
            self._others.append(other)
            self._inboxes.append(inbox)
        return self._inboxes[:count]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads, when they have done what they have begun."""
        self._dismissed()
        for other in self._others:
            other.join()
