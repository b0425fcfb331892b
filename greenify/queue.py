"""Queues for greenlets and OS threads, with the interfaces of the module `queue`.

`SimpleQueue` has a file of its own.  `Queue` and its kin are for programs that are not patched: `queue.Queue`
itself is written in Python over threading's locks and needs no twin.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

from greenify.condition import Condition
from greenify.deadlines import deadline_after
from greenify.locks import Lock
from greenify.simple_queue import SimpleQueue

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]

T = TypeVar("T")

Empty = queue.Empty
Full = queue.Full

if sys.version_info >= (3, 13):
    ShutDown = queue.ShutDown
else:

    class ShutDown(Exception):
        """Raised by `Queue.put` and `Queue.get` after `Queue.shutdown`."""


class _End:
    """One end of a queue: where those wait who put, or those who get."""

    __slots__ = ("changed", "hungry")

    def __init__(self, changed: Condition) -> None:
        self.changed = changed
        # How many wait again because a newcomer was faster: no further newcomer shall be.
        self.hungry = 0

    def wait_for(self, available: Callable[[], float], deadline: float | None) -> bool:
        """With the lock held: wait until there is something for the caller; False if the time is up.

        Args:
            available: how much there is; what it raises is raised here.
        """
        starved = False
        try:
            while available() <= (0 if starved else self.hungry):
                if not self.changed._wait_until(deadline, first=starved):
                    return available() > (0 if starved else self.hungry)
                if not starved and available() <= self.hungry:
                    starved = True
                    self.hungry += 1
            return True
        finally:
            self.hungry -= starved


class Queue(queue.Queue[T]):
    """A queue with the interface of `queue.Queue`, `shutdown` (CPython 3.13) included on every version.

    Any thread may call any method, save from finalisers and signal handlers: `SimpleQueue` is for those.
    Nobody is overtaken more than once.

    Args:
        maxsize: how many items the queue takes before `put` waits; no limit if it is not positive.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._init(maxsize)
        lock: Any = Lock()
        self.mutex = lock
        conditions: list[Any] = [Condition(lock) for _ in range(3)]
        #: Threading's names, for those who wait on them directly.
        self.not_empty, self.not_full, self.all_tasks_done = conditions
        self._getters = _End(conditions[0])
        self._putters = _End(conditions[1])
        self.unfinished_tasks = 0
        self.is_shutdown = False

    def _items(self) -> float:
        number = self._qsize()
        if self.is_shutdown and not number:
            raise ShutDown
        return number

    def _room(self) -> float:
        if self.is_shutdown:
            raise ShutDown
        return self.maxsize - self._qsize() if self.maxsize > 0 else float("inf")

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add `item`, waiting for room if need be.

        Args:
            block: False to raise at once when the queue is full.
            timeout: seconds to wait at most, None for no limit.

        Raises:
            queue.Full: there was no room in time.
            ShutDown: the queue has been shut down, before or meanwhile.
            ValueError: a negative time-out.
        """
        deadline = _deadline(block, timeout)
        with self.mutex:
            if block:
                if not self._putters.wait_for(self._room, deadline):
                    raise Full
            elif self._room() <= self._putters.hungry:
                raise Full
            self._put(item)
            self.unfinished_tasks += 1
            self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item, waiting for one if need be.

        Args:
            block: False to raise at once when there is none.
            timeout: seconds to wait at most, None for no limit.

        Raises:
            queue.Empty: nothing came in time.
            ShutDown: the queue is empty and has been shut down, before or meanwhile.
            ValueError: a negative time-out.
        """
        deadline = _deadline(block, timeout)
        with self.mutex:
            if block:
                if not self._getters.wait_for(self._items, deadline):
                    raise Empty
            elif self._items() <= self._getters.hungry:
                raise Empty
            item = self._get()
            self.not_full.notify()
            return item

    def put_nowait(self, item: T) -> None:
        """``put(item, block=False)``."""
        self.put(item, False)

    def get_nowait(self) -> T:
        """``get(block=False)``."""
        return self.get(False)

    def task_done(self) -> None:
        """Say that one item that was taken out has been dealt with; see `join`.

        Raises:
            ValueError: it was called more often than there were items.
        """
        with self.mutex:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self.unfinished_tasks -= 1
            if not self.unfinished_tasks:
                self.all_tasks_done.notify_all()

    def join(self) -> None:
        """Wait until `task_done` has been called for every item that was put.  There is no time limit."""
        with self.mutex:
            while self.unfinished_tasks:
                self.all_tasks_done.wait()

    def qsize(self) -> int:
        """The number of items now."""
        with self.mutex:
            return self._qsize()

    def empty(self) -> bool:
        """Whether the queue is empty now; it may not be by the time the caller looks at the answer."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether the queue is full now; see `empty`."""
        return 0 < self.maxsize <= self.qsize()

    def shutdown(self, immediate: bool = False) -> None:
        """Let `put` raise `ShutDown` from now on, and `get` as soon as the queue is empty.

        Whoever waits in them is woken.

        Args:
            immediate: drop the items that are there, and count them as done.
        """
        with self.mutex:
            self.is_shutdown = True
            if immediate:
                while self._qsize():
                    self._get()
                    if self.unfinished_tasks > 0:
                        self.unfinished_tasks -= 1
                # Also those who wait for items that somebody has taken out: see CPython 3.13.
                self.all_tasks_done.notify_all()
            self.not_empty.notify_all()
            self.not_full.notify_all()


def _deadline(block: bool, timeout: float | None) -> float | None:
    if not block or timeout is None:
        return None
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return deadline_after(timeout)


class LifoQueue(Queue[T]):
    """A `Queue` that gives back the newest item first; `maxsize` is as there."""

    def _init(self, maxsize: int) -> None:
        self.queue: list[T] = []

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        return self.queue.pop()


class PriorityQueue(Queue[T]):
    """A `Queue` that gives back the smallest item first; `maxsize` is as there.

    Items have to be comparable: pairs of a number and something else often are.
    """

    def _init(self, maxsize: int) -> None:
        self.queue: list[Any] = []

    def _put(self, item: T) -> None:
        heappush(self.queue, item)

    def _get(self) -> T:
        item: T = heappop(self.queue)
        return item
