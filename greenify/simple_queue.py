"""SimpleQueue, which takes no lock, so that it is safe to use from finalisers.

It is also the cooperative twin of the native one.
"""

from __future__ import annotations

import _thread
import queue
import sys
import time
from _queue import SimpleQueue as _NativeQueue
from collections import deque
from typing import Any, Generic, TypeVar

from greenlet import getcurrent

from greenify import core
from greenify.core import HubWaiter
from greenify.deadlines import deadline_after
from greenify.pickling import refuse_to_pickle

__all__ = ["SimpleQueue"]

T = TypeVar("T")

_get_ident = _thread.get_ident
_is_finalizing = sys.is_finalizing
_monotonic = time.monotonic
_native_sleep = time.sleep


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

    @property
    def hub(self) -> Any:
        """The hub of its OS thread, or None."""
        return getattr(self._waiter, "hub", None)

    def wake(self) -> None:
        self._waiter.wake()

    def wait(self, deadline: float | None) -> bool:
        try:
            return self._waiter.wait(deadline)
        except RuntimeError:
            if deadline is None or not _is_finalizing():
                raise
            # While it is finalised, CPython 3.15 refuses to wait for a lock, but not for its own SimpleQueue.
            _native_sleep(max(0.0, deadline - _monotonic()))
            return self._waiter.woken


class _Nobody:
    """Stands for the getter that has been woken last as long as there has been none."""

    gone = True
    alive = False
    hub = None


_NOBODY = _Nobody()


class SimpleQueue(Generic[T]):
    """An unbounded FIFO queue with the interface of `queue.SimpleQueue`.

    `put` never blocks and takes no lock, so a finaliser or a signal handler may call it at any moment.  Any
    thread may call any method, green or native.
    """

    # Where users find it.
    __module__ = "greenify.queue"

    __slots__ = (
        "__weakref__",
        "_also_coming",
        "_coming",
        "_homes",
        "_items",
        "_several",
        "_waiters",
    )

    _empty = queue.Empty

    def __init__(self) -> None:
        # The getter that has been woken last.  Until it has run nobody else is woken, for it may take all
        # items; when it leaves some, it wakes the next (100 getters, per item: 2.1 instead of 0.4 us).
        self._coming: _Getter | _OtherGetter | _Nobody = _NOBODY
        self._items: deque[T] = deque()
        self._waiters: deque[_Getter | _OtherGetter] = deque()
        # Whether getters of several OS threads have waited here.  One of these threads may be blocked, and so
        # may the getter that is on its way in it; then there is one on its way in each of them.
        self._several = False
        self._homes: list[int] = []  # the identifier of the first getter's OS thread
        self._also_coming: tuple[_Getter | _OtherGetter, ...] = ()

    __reduce_ex__ = refuse_to_pickle

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add `item` and wake one waiter.  `block` and `timeout` exist for likeness to `Queue` only."""
        self._items.append(item)
        if self._waiters and (self._coming.gone or self._several):
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
            if (timeout.__class__ is not float and timeout.__class__ is not int) or timeout < 0:
                # A native one says what is wrong, in its own words.
                native: Any = _NativeQueue()
                native.put(None)
                native.get(True, timeout)
                timeout = max(0.0, float(timeout))  # it rounds
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
        homes = self._homes
        if not self._several and (hub is None or not homes or homes[0] != hub.ident):
            # Whoever appends first is the first, whatever other OS threads do meanwhile.
            here = _get_ident()
            homes.append(here)
            del homes[1:]
            self._several = homes[0] != here
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
        if self._several:
            self._wake_elsewhere()
            return
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

    def _wake_elsewhere(self) -> None:
        """Wake the first waiter in whose OS thread none is on its way."""
        coming = tuple(
            each for each in (self._coming, *self._also_coming) if not each.gone and each.alive
        )
        self._coming = _NOBODY
        self._also_coming = coming  # type: ignore[assignment]
        # Each OS thread without a hub (None) has one getter.
        busy = {each.hub for each in coming} - {None}
        for getter in tuple(self._waiters):
            if getter.hub in busy:
                continue
            try:
                self._waiters.remove(getter)
            except ValueError:
                continue  # another OS thread wakes it, or it has left
            if getter.gone or not getter.alive:
                continue
            if getter.hand is not None and not self._hand_over(getter, getter.hand):
                if not self._items:
                    return
                continue
            self._also_coming += (getter,)
            getter.wake()
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
