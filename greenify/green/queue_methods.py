"""The hot methods of `queue.Queue`, in their cooperative form.

The class stays the standard library's own, and so do its attributes: subclasses and programs that use
``mutex``, ``not_empty``, ``queue`` or ``unfinished_tasks`` find what they know.  `put` and `get` are written
out for the case that counts, an unaltered mutex and no time-out; all else is left to the originals.

They save two things (ping-pong 5.6 instead of 3.5 us, 100 consumers 2.9 instead of 0.8 us): the conditions'
own calls where nobody waits, and needless wake-ups.  The originals wake one getter per item, though the first
that runs may take all of them.  Here one getter at a time is on its way; when it has taken an item and left
others, it wakes the next.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from greenlet import getcurrent

from greenify.core import HubWaiter
from greenify.locks import Lock

__all__ = ["QUEUE_METHODS"]

_Queue: Any = queue.Queue
_Condition: Any = threading.Condition
_native_put = _Queue.put
_native_get = _Queue.get

# The name of the attribute that holds the getter which is on its way.
_COMING = "_greenify_coming"


class _Getter(HubWaiter):
    """A getter that waits, in the list of the condition ``not_empty``."""

    __slots__ = ()


def _usable(self: Any, mutex: Any, condition: Any) -> bool:
    # Somebody may have put other objects in their places.
    return (
        mutex.__class__ is Lock
        and condition.__class__ is _Condition
        and condition._lock is mutex
        and not getattr(self, "is_shutdown", False)
    )


def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
    """Put an item into the queue; see `queue.Queue.put`."""
    mutex = self.mutex
    not_empty = self.not_empty
    if not _usable(self, mutex, not_empty):
        _native_put(self, item, block, timeout)
        return
    mutex.acquire()
    try:
        full = 0 < self.maxsize <= self._qsize() or getattr(self, "is_shutdown", False)
        if not full:
            if self.__class__ is _Queue:
                self.queue.append(item)
            else:
                self._put(item)
            self.unfinished_tasks += 1
            if not_empty._waiters:
                _wake_getter(self, not_empty)
    finally:
        mutex.release()
    if full:
        _native_put(self, item, block, timeout)


def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
    """Remove and return an item from the queue; see `queue.Queue.get`."""
    mutex = self.mutex
    not_empty = self.not_empty
    if not _usable(self, mutex, not_empty):
        return _native_get(self, block, timeout)
    mutex.acquire()
    try:
        found = self._qsize() or (block and timeout is None and _wait(self, mutex, not_empty))
        if found:
            item = self.queue.popleft() if self.__class__ is _Queue else self._get()
            if self.not_full._waiters:
                self.not_full.notify()
    finally:
        mutex.release()
    return item if found else _native_get(self, block, timeout)


def _wake_getter(self: Any, not_empty: Any) -> None:
    """With the mutex held, and an item in the queue: wake a getter unless one is on its way."""
    coming = self.__dict__.get(_COMING)
    if coming is not None and coming.alive:
        return
    waiters = not_empty._waiters
    while waiters:
        waiter = waiters.popleft()
        if waiter.__class__ is _Getter:
            if waiter.hub.abandoned:
                continue
            self.__dict__[_COMING] = waiter
        elif not getattr(waiter, "alive", True):
            continue
        # Others wait with the original code, or directly on the condition: one wake-up each, as ever.
        waiter.release()
        return


def _wait(self: Any, mutex: Lock, not_empty: Any) -> bool:
    """With the mutex held: wait until there is an item; False if it must be done otherwise."""
    me: Any = getcurrent()
    hub = getattr(me, "hub", None)
    if hub is None:
        return False
    waiters = not_empty._waiters
    queue_up = waiters.append
    while True:
        waiter = _Getter(hub)
        queue_up(waiter)
        mutex.release()
        try:
            try:
                waiter.wait()
            finally:
                if waiter.woken and self.__dict__.get(_COMING) is waiter:
                    self.__dict__[_COMING] = None
                mutex._take_uninterrupted()
        except BaseException:
            _give_up(self, mutex, not_empty, waiter)
            raise
        number = self._qsize()
        if number:
            if number > 1 and waiters:
                _wake_getter(self, not_empty)
            return True
        if getattr(self, "is_shutdown", False):
            return False
        # A newcomer was faster: keep the place.
        queue_up = waiters.appendleft


def _give_up(self: Any, mutex: Lock, not_empty: Any, waiter: _Getter) -> None:
    # With the mutex held, but for a greenlet that is being collected.
    if not waiter.woken:
        try:
            not_empty._waiters.remove(waiter)
        except ValueError:
            pass  # somebody has cleared the list
    elif not_empty._waiters and self._qsize():
        _wake_getter(self, not_empty)


QUEUE_METHODS: dict[str, Any] = {"put": put, "get": get}
