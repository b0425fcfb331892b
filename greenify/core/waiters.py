"""A waiter: who is to be woken, whichever kind of thread it is.

Every lock, event and queue of greenify parks its callers through `new_waiter`.  A waiter is a greenlet of
some hub (`HubWaiter`), or, on an OS thread that runs no hub, the thread itself (`ThreadWaiter`, a native
lock it sleeps on).  `wake` may be called from any OS thread, from a finaliser, or before `wait`; it never
blocks, and a wake-up is never lost.
"""

from __future__ import annotations

import _thread
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greenify.core.clock import monotonic as _monotonic
from greenify.core.timers import Entry
from greenify.core.tracebacks import leave_out_wait

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["HubWaiter", "ThreadWaiter", "Waiter", "give_back"]

# Counts the forks this process descends from: a native thread that waited before a fork is not in the child.
generation = 0

_native_lock = _thread.allocate_lock

# The longest time-out a native lock accepts (`threading.TIMEOUT_MAX`).
_LONGEST: float = _thread.TIMEOUT_MAX


class HubWaiter:
    """The current greenlet, parked on its hub."""

    __slots__ = ("_expired", "greenlet", "hub", "woken")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.greenlet: Any = getcurrent()
        self.woken = False
        self._expired = False

    def wake(self) -> None:
        """Let `wait` return True.  Any OS thread; a second call does nothing."""
        if self.woken:
            return
        self.woken = True
        if self._expired:
            # It is on the ready queue already, or waits no more: there, a second entry could be taken for
            # the answer of a raw greenlet that it has called since.
            return
        hub = self.hub
        hub.ready.append(self.greenlet)
        if hub.sleeping:
            hub.interrupt()

    # The name that threading.Condition knows its waiters' wake-up by.
    release = wake

    def due(self) -> None:
        if not self.woken:
            self._expired = True
            self.hub.ready.append(self.greenlet)

    def wait(self, deadline: float | None = None) -> bool:
        """Park until woken.

        Args:
            deadline: a `time.monotonic` time in seconds, or None.

        Returns:
            False if the deadline passed and nobody had woken us.
        """
        hub = self.hub
        self._expired = False
        if self.woken:
            return True
        entry: Entry | None = None
        if deadline is not None:
            entry = hub.timers.add(deadline, self)
        try:
            if getattr(self.greenlet, "hub", None) is hub:
                # As `Hub.park`, without its frame: from CPython 3.12 on each one costs greenlet 200 bytes.
                if not self.woken and hub.next().switch():
                    hub.run_interrupts()
            elif not self.woken:
                hub.park()
            if not (self.woken or self._expired):
                self.wait_longer()
        except BaseException:
            self._give_up(entry)
            leave_out_wait()
            raise
        if not self.woken and self._expired:
            return False
        if entry is not None:
            hub.timers.cancel(entry)
        return True

    def wait_longer(self) -> None:
        """Go on with a wait in which something else has switched to the greenlet.

        It may have been the wake-up of a wait below this one on the stack.  There may be several, and each
        gets its own back.  For `wait`, and for those who have written it out.
        """
        hub = self.hub
        taken = 1
        while True:
            hub.park()
            if self.woken or self._expired:
                break
            taken += 1
        give_back(hub, self.greenlet, taken)

    def _give_up(self, entry: Entry | None) -> None:
        if entry is not None and not self._expired:
            self.hub.timers.cancel(entry)
        self._expired = True

    @property
    def alive(self) -> bool:
        """Whether a wake-up can still reach anybody: not after a fork that left the waiter behind."""
        return not self.hub.abandoned


def give_back(hub: Hub, greenlet: Any, taken: int) -> None:
    """Return wake-ups that a wait of `greenlet` has taken before its own, if others wait below it."""
    if _within_a_wait():
        hub.ready.extend([greenlet] * taken)


def _within_a_wait() -> bool:
    """Whether a signal handler or a finaliser waits which has interrupted a wait of the same greenlet.

    It may have come between that wait's look at its flag and its switch, and taken its wake-up.  To be asked
    by the inner wait.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _waits(frame):
        frame = frame.f_back  # the inner wait itself
    while frame is not None and not _waits(frame):
        frame = frame.f_back
    return frame is not None


def _waits(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return name in _WAITING or (name in _WRITTEN_OUT and frame.f_code.co_name in _WAITS)


_WAITING = frozenset(
    {
        "greenify.core.cycle",
        "greenify.core.descriptor_set",
        "greenify.core.descriptors",
        "greenify.core.hub",
        "greenify.core.waiters",
    }
)
# Modules that wait by others' functions, too.
_WRITTEN_OUT = frozenset(
    {
        "greenify.green._threads.conditions",
        "greenify.green._threads.queue_methods",
        "greenify.simple_queue",
    }
)
_WAITS = frozenset({"_event_wait", "_wait"})


class ThreadWaiter:
    """The current OS thread, which runs no hub."""

    __slots__ = ("_generation", "_lock", "woken")

    def __init__(self) -> None:
        self._lock = _native_lock()
        self._lock.acquire()
        self._generation = generation
        self.woken = False

    def wake(self) -> None:
        """Let `wait` return True.  Any OS thread; a second call does nothing."""
        if self.woken:
            return
        self.woken = True
        try:
            self._lock.release()
        except RuntimeError:
            # Two wakers at once: the first has released it.
            pass

    release = wake

    def wait(self, deadline: float | None = None) -> bool:
        """Block this OS thread until woken; see `HubWaiter.wait`."""
        while not self.woken:
            if deadline is None:
                self._lock.acquire()
                continue
            remaining = deadline - _monotonic()
            if remaining <= 0.0:
                return self.woken
            self._lock.acquire(True, min(remaining, _LONGEST))
        return True

    @property
    def alive(self) -> bool:
        """See `HubWaiter.alive`."""
        return self._generation == generation


Waiter = HubWaiter | ThreadWaiter
