"""Queues for greenlets and OS threads, with the interfaces of the module `queue`.

`SimpleQueue` takes no lock, so that it is safe to use from finalisers; it is also the cooperative twin of the
native one.  `Queue` and its kin are for programs that are not patched: `queue.Queue` itself is written in
Python over threading's locks and needs no twin.
"""

from __future__ import annotations

import queue
import sys
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

from greenlet import getcurrent

from greenify import core
from greenify.condition import Condition
from greenify.core import HubWaiter
from greenify.locks import Lock, deadline_after

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


class _Getter(HubWaiter):
    """A thread's own greenlet that waits in a `SimpleQueue`."""

    __slots__ = ("gone", "hand")

    def __init__(self, hub: Any, me: Any) -> None:
        # Not by the constructor of HubWaiter: that would be another call for each wait.
        self.hub = hub
        self.greenlet = me
        self.woken = self._expired = False
        #: Set when it does not wait any more; it looks for items after that.
        self.gone = False
        #: Where the next item is put for it, after it has lost one to a newcomer.
        self.hand: list[Any] | None = None


class _OtherGetter:
    """Anybody else who waits in a `SimpleQueue`; the attributes are those of `_Getter`."""

    __slots__ = ("_waiter", "gone", "hand")

    def __init__(self) -> None:
        self._waiter = core.new_waiter()
        self.gone = False
        self.hand: list[Any] | None = None

    @property
    def woken(self) -> bool:
        return self._waiter.woken

    @property
    def alive(self) -> bool:
        return self._waiter.alive

    def wake(self) -> None:
        self._waiter.wake()

    def wait(self, deadline: float | None) -> bool:
        return self._waiter.wait(deadline)


class _Nobody:
    """Stands for the getter that has been woken last as long as there has been none."""

    gone = True
    alive = False


_NOBODY = _Nobody()


class SimpleQueue(Generic[T]):
    """An unbounded FIFO queue with the interface of `queue.SimpleQueue`.

    `put` never blocks and takes no lock, so a finaliser or a signal handler may call it at any moment.  Any
    thread may call any method, green or native.
    """

    __slots__ = ("__weakref__", "_coming", "_items", "_waiters")

    _empty = Empty

    def __init__(self) -> None:
        # The getter that has been woken last.  Until it has run nobody else is woken, for it may take all
        # items; when it leaves some, it wakes the next (100 getters, per item: 2.1 instead of 0.4 us).
        self._coming: _Getter | _OtherGetter | _Nobody = _NOBODY
        self._items: deque[T] = deque()
        self._waiters: deque[_Getter | _OtherGetter] = deque()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle '{type(self).__module__}.{type(self).__qualname__}' object")

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add `item` and wake one waiter.  `block` and `timeout` exist for likeness to `Queue` only."""
        self._items.append(item)
        if self._coming.gone and self._waiters:
            self._wake()

    def put_nowait(self, item: T) -> None:
        """Add `item`; the same as `put`."""
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
        items = self._items
        if items:
            try:
                return items.popleft()
            except IndexError:
                pass  # another OS thread was faster
        if not block:
            raise self._empty
        return self._wait(None if timeout is None else deadline_after(timeout))

    def _wait(self, deadline: float | None) -> T:
        items = self._items
        waiters = self._waiters
        queue_up = waiters.append
        hand: list[T] | None = None
        coming = self._coming
        if not coming.gone and not coming.alive:
            # It was woken just before a fork, and whoever waits now has come after that.
            self._coming = _NOBODY
        try:
            me: Any = getcurrent()
            hub: Any = getattr(me, "hub", None)
        except RuntimeError:
            me = hub = None  # the interpreter is being finalised
        green = hub is not None and deadline is None
        while True:
            getter: Any = _Getter(hub, me) if green else _OtherGetter()
            getter.hand = hand
            queue_up(getter)
            try:
                # A put that came before we queued saw nobody to wake.
                if items:
                    woken = True
                elif not green:
                    woken = getter.wait(deadline)
                else:
                    # `HubWaiter.wait`, written out (an item there and one back: 2.7 instead of 3.6 us).
                    if hub.next().switch():
                        hub.run_interrupts()
                    if not getter.woken:
                        getter.wait_longer()
                    woken = True
            except BaseException:
                self._leave(getter)
                raise
            if getter.woken:
                getter.gone = True
            else:
                self._leave(getter)
            try:
                item = hand.pop() if hand else items.popleft()
            except IndexError:
                if not woken:
                    raise self._empty from None
            else:
                if items and waiters:
                    self._wake()
                return item
            # A newcomer was faster: keep the place.
            queue_up = waiters.appendleft
            hand = []

    def _leave(self, getter: _Getter | _OtherGetter) -> None:
        # Whoever has taken it out and is about to wake it, on another OS thread, will see that it has gone.
        getter.gone = True
        self._put_back(getter.hand)
        try:
            self._waiters.remove(getter)
        except ValueError:
            # Woken at this very moment: somebody else has to have the item.
            if self._items:
                self._wake()

    def _wake(self) -> None:
        """Wake the first waiter, unless one is on its way."""
        waiters = self._waiters
        while waiters and self._coming.gone:
            try:
                getter = waiters.popleft()
            except IndexError:
                return
            if getter.gone:
                continue
            if getter.hand is None and getter.__class__ is _Getter:
                # `alive` and `wake`, written out.
                hub = getter.hub
                if hub.abandoned:
                    continue
                self._coming = getter
                getter.woken = True
                hub.ready.append(getter.greenlet)
                if hub.sleeping:
                    hub.interrupt()
            else:
                if not getter.alive:
                    continue
                if getter.hand is not None and not self._hand_over(getter, getter.hand):
                    if not self._items:
                        return
                    continue
                self._coming = getter
                getter.wake()
            # It may have left before it saw that: then others are looked for.
            if not getter.gone or not self._items:
                return

    def _hand_over(self, getter: _Getter | _OtherGetter, hand: list[Any]) -> bool:
        """Give an item to `getter`; False if there is none any more, or if it has left."""
        try:
            hand.append(self._items.popleft())
        except IndexError:
            self._waiters.appendleft(getter)
            return False
        if getter.gone:
            # It has left meanwhile, on another OS thread.
            self._put_back(hand)
            return False
        return True

    def _put_back(self, hand: list[T] | None) -> None:
        try:
            while hand:
                self._items.appendleft(hand.pop())
        except IndexError:
            pass  # another OS thread does the same

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
