"""The hot methods of `queue.Queue`, in their cooperative form.

The class stays the standard library's own, and so do its attributes: subclasses and programs that use
``mutex``, ``not_empty``, ``queue`` or ``unfinished_tasks`` find what they know.  `put` and `get` are written
out for the case that counts, an unaltered mutex and no time-out; all else is left to the originals.

They save two things: the conditions' own calls where nobody waits (an item there and one back: 67 calls), and
needless wake-ups.  The originals wake one getter per item, though the first that runs may take all of them.
Here one getter at a time is on its way; when it has taken an item and left others, it wakes the next (100
getters: 0.04 switches for an item instead of 2).

Who comes while a getter is on its way takes the item, as with threads.  Where a pool has fewer items than
users, some would wait for half a second behind newcomers.  So when a getter has waited for long and finds
that its item is gone, it and those behind it are handed the next ones, which nobody else gets to see.
"""

from __future__ import annotations

import _thread
import queue
import sys
import threading
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent

from greenify.core import HubWaiter
from greenify.green._threads.primitives import Lock

__all__ = ["QUEUE_ATTRIBUTES", "QUEUE_METHODS"]

_Queue: Any = queue.Queue
_Condition: Any = threading.Condition
_native_put = _Queue.put
_native_get = _Queue.get
_get_ident = _thread.get_ident

# Rounds of the hub that a getter has waited when it may be handed an item; to ask the clock would be a call
# for each wait.
_LONG = 4

# How many getters are handed an item at most, each at the price of a switch, until one finds its item gone
# again.
_MANY = 100

_HAS_SHUTDOWN = sys.version_info >= (3, 13)


# Stands for an item that has not been handed over.
_NONE: Any = object()


class _Getter(HubWaiter):
    """A getter that waits, in the list of the condition ``not_empty``."""

    __slots__ = ("begun", "item")

    def __init__(self, hub: Any, me: Any, begun: int) -> None:
        # Not by the constructor of HubWaiter: that would be another call for each wait.
        self.hub = hub
        self.greenlet = me
        self.woken = self._expired = False
        self.begun = begun  # in which round
        self.item: Any = _NONE  # what it has been handed


# Stands for the getter that is on its way when there is none.
_NOBODY = SimpleNamespace(hub=SimpleNamespace(abandoned=True))


def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
    """Put an item into the queue; see `queue.Queue.put`."""
    not_empty = self.not_empty
    try:
        if (
            self.__class__ is _Queue
            and self.maxsize <= 0
            and not (_HAS_SHUTDOWN and self.is_shutdown)
        ):
            # With the mutex free and nobody to wake, it need not be taken (put and get: 285 ns with it, 150
            # without): no other thread comes in between, for there is no call up to the end of `append`, and
            # after the look at the mutex no jump, where CPython 3.10 would switch.
            if not_empty._lock._box and not not_empty._waiters:
                self.unfinished_tasks += 1
                self.queue.append(item)
                return
            if (
                not_empty._lock._box
                and not self._greenify_coming.hub.abandoned
                and not self._greenify_several
            ):
                self.unfinished_tasks += 1
                self.queue.append(item)
                return
    except AttributeError:
        pass  # somebody has put another object in a place
    mutex = self.mutex
    if (
        mutex.__class__ is not Lock
        or not_empty.__class__ is not _Condition
        or not_empty._lock is not mutex
        or (_HAS_SHUTDOWN and self.is_shutdown)
    ):
        _native_put(self, item, block, timeout)
        return
    # The methods of the lock are written out, here and below: 51 calls instead of 85 for an item there and
    # one back.
    taken = True
    try:
        mutex._take()
    except IndexError:
        taken = False
    if not taken:
        mutex.acquire()
    left = False
    try:
        if 0 < self.maxsize <= self._qsize() or (_HAS_SHUTDOWN and self.is_shutdown):
            left = True
        elif timeout is not None and block and self.maxsize > 0 and not _fits(timeout):
            left = True
        else:
            if self.__class__ is _Queue:
                self.queue.append(item)
            else:
                self._put(item)
            self.unfinished_tasks += 1
            if not_empty._waiters:
                _wake_getter(self, not_empty, 1)
    finally:
        mutex._box.append(None)
        if mutex._turns:
            mutex._wake()
    if left:
        _native_put(self, item, block, timeout)


def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
    """Remove and return an item from the queue; see `queue.Queue.get`."""
    not_empty = self.not_empty
    try:
        # As in `put`.
        if (
            self.__class__ is _Queue
            and not_empty._lock._box
            and self.queue
            and not self.not_full._waiters
            and (timeout is None or not block or _fits(timeout))
        ):
            return self.queue.popleft()
    except AttributeError:
        pass
    mutex = self.mutex
    if (
        mutex.__class__ is not Lock
        or not_empty.__class__ is not _Condition
        or not_empty._lock is not mutex
    ):
        return _native_get(self, block, timeout)
    taken = True
    try:
        mutex._take()
    except IndexError:
        taken = False
    if not taken:
        mutex.acquire()
    item = _NONE
    try:
        plain = self.__class__ is _Queue
        if timeout is not None and block and not _fits(timeout):
            pass  # the original says what is wrong
        elif self.queue if plain else self._qsize():
            item = self.queue.popleft() if plain else self._get()
        elif block and timeout is None:
            item = _wait(self, mutex, not_empty)
        if item is not _NONE and self.not_full._waiters:
            self.not_full.notify()
    finally:
        mutex._box.append(None)
        if mutex._turns:
            mutex._wake()
    if item is not _NONE:
        return item
    if block:
        _note_getter(self)
    return _native_get(self, block, timeout)


def _fits(timeout: Any) -> bool:
    """Whether a time-out is right; of others the originals say what is wrong, though nobody waits."""
    return (timeout.__class__ is float or timeout.__class__ is int) and timeout >= 0


def _note_getter(self: Any) -> None:
    """Somebody is going to wait for an item: see whether getters of several OS threads have."""
    here = _get_ident()
    # Atomic, for two OS threads may be the first at once.
    if vars(self).setdefault("_greenify_home", here) != here:
        self._greenify_several = True


def _wake_getter(self: Any, not_empty: Any, items: int) -> None:
    """With the mutex held: wake somebody for the last `items` in the queue unless a getter is on its way."""
    coming = getattr(self, "_greenify_coming", _NOBODY)
    if coming is not _NOBODY:
        if not coming.hub.abandoned:
            if getattr(self, "_greenify_several", False):
                _wake_elsewhere(not_empty, coming.hub, items)
            return
        items = self._qsize()
    waiters = not_empty._waiters
    while waiters and items > 0:
        waiter = waiters.popleft()
        if waiter.__class__ is _Getter:
            hub = waiter.hub
            if hub.abandoned:
                continue
            try:
                owed = self._greenify_owed
            except AttributeError:
                owed = 0
            if not owed or not _hand_over(self, waiter):
                self._greenify_coming = waiter
            # `wake`, written out.
            waiter.woken = True
            hub.ready.append(waiter.greenlet)
            if hub.sleeping:
                hub.interrupt()
            return
        if getattr(waiter, "alive", True):
            # It waits with the original code (native threads, time-outs) or directly on the condition: it
            # takes one item and wakes nobody for the others.
            waiter.release()
            items -= 1


def _hand_over(self: Any, waiter: _Getter) -> bool:
    """With the mutex held, an item there, and getters owed one: give it to one that has waited for long.

    Not where other OS threads wait, too: this one's may be blocked.
    """
    rounds = waiter.hub.turns - waiter.begun
    if rounds < _LONG or getattr(self, "_greenify_several", False):
        self._greenify_owed = 0
        return False
    self._greenify_owed -= 1
    waiter.item = self._get()
    return True


def _wake_elsewhere(not_empty: Any, hub: Any, items: int) -> None:
    """Wake a getter for each item in other OS threads than that of `hub`, which may be blocked."""
    for waiter in tuple(not_empty._waiters):
        if items <= 0:
            return
        if getattr(waiter, "hub", None) is not hub:
            not_empty._waiters.remove(waiter)
            if getattr(waiter, "alive", True):
                waiter.release()
                items -= 1


def _wait(self: Any, mutex: Lock, not_empty: Any) -> Any:
    """With the mutex held: wait for an item, and take it; `_NONE` if it must be done otherwise."""
    try:
        me: Any = getcurrent()
    except RuntimeError:
        return _NONE  # the interpreter is being finalised
    hub = getattr(me, "hub", None)
    if hub is None or (_HAS_SHUTDOWN and self.is_shutdown):
        return _NONE
    try:
        noted = self._greenify_home == hub.ident
    except AttributeError:
        noted = False  # the patch has been undone meanwhile
    if not noted:
        _note_getter(self)
    waiters = not_empty._waiters
    queue_up = waiters.append
    begun = hub.turns
    while True:
        waiter = _Getter(hub, me, begun)
        queue_up(waiter)
        mutex._box.append(None)
        if mutex._turns:
            mutex._wake()
        try:
            try:
                # `HubWaiter.wait`, written out.
                if not waiter.woken:
                    if hub.next().switch():
                        hub.run_interrupts()
                    if not waiter.woken:
                        waiter.wait_longer()
            finally:
                taken = False
                if mutex._box:
                    try:
                        mutex._take()
                        taken = True
                    except IndexError:
                        pass  # another OS thread was faster
                if not taken:
                    mutex._take_uninterrupted()
        except BaseException:
            _give_up(self, mutex, not_empty, waiter)
            raise
        # Not before the mutex is ours: a put that comes while we wait for it need not wake anybody else.
        # The class has the attribute no more if the patch has been undone meanwhile.
        if getattr(self, "_greenify_coming", _NOBODY) is waiter:
            self._greenify_coming = _NOBODY
        number = len(self.queue) if self.__class__ is _Queue else self._qsize()
        item = waiter.item
        if item is _NONE and number:
            item = self.queue.popleft() if self.__class__ is _Queue else self._get()
            number -= 1
        if item is not _NONE:
            if number and waiters:
                _wake_getter(self, not_empty, number)
            return item
        if _HAS_SHUTDOWN and self.is_shutdown:
            return _NONE
        # A newcomer was faster: keep the place.
        queue_up = waiters.appendleft
        if hub.turns - begun >= _LONG:
            self._greenify_owed = min(1 + len(waiters), _MANY)


def _give_up(self: Any, mutex: Lock, not_empty: Any, waiter: _Getter) -> None:
    # With the mutex held, but for a greenlet that is being collected.  It may have been woken after it was
    # interrupted, while it waited for the mutex.
    if getattr(self, "_greenify_coming", _NOBODY) is waiter:
        self._greenify_coming = _NOBODY
    if not waiter.woken:
        try:
            not_empty._waiters.remove(waiter)
        except ValueError:
            pass  # somebody has cleared the list
        return
    if waiter.item is not _NONE:
        # Back to where it was.
        item, waiter.item = waiter.item, _NONE
        if self.__class__ is _Queue:
            self.queue.appendleft(item)
        else:
            self._put(item)
    if not_empty._waiters:
        _wake_getter(self, not_empty, self._qsize())


QUEUE_METHODS: dict[str, Any] = {"put": put, "get": get}
#: The getter that is on its way; the OS thread whose getters have waited first, and whether others' have;
#: how many of those that wait are to be handed an item.
QUEUE_ATTRIBUTES: dict[str, Any] = {
    "_greenify_coming": _NOBODY,
    "_greenify_home": 0,
    "_greenify_several": False,
    "_greenify_owed": 0,
}
