"""SimpleQueue: an unbounded queue for greenlets and OS threads, safe to use from finalisers.

`queue.Queue` and its kin are written in Python over threading's locks and need no twin.
"""

from __future__ import annotations

import queue
from collections import deque
from typing import Any, Generic, TypeVar

from greenify import core
from greenify.core import Waiter
from greenify.locks import deadline_after

__all__ = ["Empty", "SimpleQueue"]

T = TypeVar("T")

Empty = queue.Empty


class SimpleQueue(Generic[T]):
    """An unbounded FIFO queue with the interface of `queue.SimpleQueue`.

    `put` never blocks and takes no lock, so a finaliser or a signal handler may call it at any moment.
    """

    __slots__ = ("__weakref__", "_items", "_waiters")

    _empty = Empty

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiters: deque[Waiter] = deque()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle '{type(self).__module__}.{type(self).__qualname__}' object")

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add `item` and wake one waiter.  The other arguments exist for likeness to `queue.Queue`."""
        self._items.append(item)
        if self._waiters:
            self._wake()

    def put_nowait(self, item: T) -> None:
        """`put`."""
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the oldest item, waiting for one if need be.

        Args:
            block: False to raise at once when there is none.
            timeout: seconds to wait at most, None for no limit.

        Raises:
            queue.Empty: nothing came.
            ValueError: a negative time-out.
        """
        if timeout is not None and block:
            if timeout < 0:
                raise ValueError("'timeout' must be a non-negative number")
            deadline_after(timeout)  # raises if it is too large
        try:
            return self._items.popleft()
        except IndexError:
            pass
        if not block:
            raise self._empty
        return self._wait(deadline_after(timeout))

    def _wait(self, deadline: float | None) -> T:
        items = self._items
        waiters = self._waiters
        queue_up = waiters.append
        while True:
            waiter = core.new_waiter()
            queue_up(waiter)
            try:
                # A put that came before we queued saw nobody to wake.
                woken = bool(items) or waiter.wait(deadline)
            except BaseException:
                self._leave(waiter)
                raise
            if not waiter.woken:
                self._leave(waiter)
            try:
                return items.popleft()
            except IndexError:
                if not woken:
                    raise self._empty from None
            # A newcomer was faster: keep the place.
            queue_up = waiters.appendleft

    def _leave(self, waiter: Waiter) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            # Woken at this very moment: somebody else has to have the item.
            if self._items:
                self._wake()

    def _wake(self) -> None:
        waiters = self._waiters
        while waiters:
            try:
                waiter = waiters.popleft()
            except IndexError:
                return
            if waiter.alive:
                waiter.wake()
                return

    def get_nowait(self) -> T:
        """``get(block=False)``."""
        return self.get(False)

    def empty(self) -> bool:
        """Whether the queue is empty now; it may not be by the time the caller looks at the answer."""
        return not self._items

    def qsize(self) -> int:
        """The number of items now."""
        return len(self._items)

    def _put_all(self, items: list[Any]) -> None:
        self._items.extend(items)
