"""Notices who keeps a hub: on the ticker's native thread, by what can be seen from there.

A stay is the time in which one green thread has the hub without a break.  The hub tells nobody who runs, for
that would cost every switch something.  But within one round of the ready queue (`Hub.turns`) each greenlet
runs once, and the outermost frame of the OS thread's stack tells one greenlet from another.  So a round that
stands still, with the same outermost frame, is one stay.

A thread that looks has to get the interpreter lock.  If C code keeps that, the look comes late, by as long
as it was kept; and at the very place, for the interpreter gives the lock to who waits for it as soon as that
call returns.  A busy machine makes looks late, too; but who waits for the lock wakes up again and again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from greenify.core import ticker
from greenify.core.blocking import wait_natively
from greenify.core.clock import monotonic as _monotonic
from greenify.core.entries import Mark
from greenify.core.native import get_native_id as _get_native_id
from greenify.watching import runners
from greenify.watching.kept import Alarm
from greenify.watching.kernel import SystemCall, cpu_time, queued, switches_here, system_call
from greenify.watching.stacks import Raw, capture, root_of

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Looker", "Stay"]

# How many of those that wait are named.
_NAMES = 5

# A look costs some 30 us of processor time: one for each hundredth of the time that counts is enough.
_FINENESS = 100

# How many looks pass before it is asked how long the threads had no processor.
_SELDOM = 10


@dataclass
class Stay:
    """One green thread keeps the hub for long, as it was seen; times in seconds.

    Attributes:
        begun: when it has begun, on the engine's clock.
        thread: who.
        stack: where, the innermost frame first.
        seconds: how long so far.
        cpu: how much of it was processor time; None if that is not known.
        queued: how much of it the machine had no processor for the OS thread.
        lock_kept: how long the interpreter lock was kept, 0 if it was not.
        system_call: what it sat in.
        ready: how many others were ready to run.
        waited: for how long the first of them.
        names: the names of some of them.
        news: whether the kernel had news for somebody.
        ended: whether it is over.
        told: whether it was reported while it went on.
    """

    begun: float
    thread: str
    stack: list[Raw]
    seconds: float
    cpu: float | None = None
    queued: float = 0.0
    lock_kept: float = 0.0
    system_call: SystemCall | None = None
    ready: int = 0
    waited: float = 0.0
    names: list[str] = field(default_factory=list)
    news: bool = False
    ended: bool = False
    told: bool = False

    @property
    def keeps_lock(self) -> bool:
        """Whether C code kept the interpreter lock: now and then anybody waits for it for a moment.

        On a busy machine a moment is a quarter of a short stay (seen on CPython 3.14).
        """
        return self.lock_kept > (self.seconds - self.queued) * 0.5

    @property
    def computed(self) -> bool:
        """Whether it used the processor, and has not waited.

        On a machine that is busy it may have got little of that.  So it needs to be half of the time only if
        there is a system call that speaks against it.
        """
        if self.cpu is None:
            return False
        waits = self.system_call is not None and self.system_call.name != "futex"
        return self.cpu > (self.seconds - self.queued) * (0.5 if waits else 0.1)


class Looker:
    """Looks at one hub; see `ticker.Looker`.

    Args:
        hub: whose.
        seconds: a stay that is longer is told.
        patience: one that goes on for longer is told while it does.
        alarm: one in which the interpreter lock is kept for so long has faulthandler write all stacks.
        tell: called on the ticker's thread with each `Stay`: when it has ended, and before if it goes on.
    """

    def __init__(
        self,
        hub: Hub,
        seconds: float,
        patience: float,
        alarm: float,
        tell: Callable[[Stay], object],
    ) -> None:
        self.hub = hub
        self.tick = max(0.001, min(ticker.TICK, seconds / 2))
        self._seconds = seconds
        self._every = min(seconds, alarm) / _FINENESS
        self._next = 0.0  # when to look again, unless the ticker comes late
        self._patience = max(patience, seconds)
        self._tell = tell
        self._turns = -1
        self._root = 0  # the identity of the outermost frame; 0 if it has not been looked for
        self._since = 0.0
        # The processor time of the hub's OS thread, at the last look and when the stay began.
        self._cpu = cpu_time(hub.native_id)
        self._cpu_begun: float | None = None
        # How long it had no processor; a few looks ago, for it costs 20 us.
        self._queued = 0.0
        self._queued_begun = 0.0
        self._looks = 0
        self._waiting = 0  # how many were ready then
        self._owner: greenlet | None = None  # None for a raw greenlet
        self._searched = False
        self._stay: Stay | None = None
        # Who had the hub at this look, and where, if it is late.
        self._sight: tuple[str, list[Raw]] | None = None
        self._flushes: list[Any] = []
        self._here = 0  # the native thread that looks
        self._switches = 0  # how many times it had waited at the last look
        self._alarm = Alarm(alarm)

    # What the ticker calls.

    def look(self, turns: int, still: bool, due: float) -> None:
        now = _monotonic()
        if now < self._next and now - due < self._seconds / 2 and not self._flushes:
            return
        self._next = now + self._every
        try:
            here = _get_native_id()
            if here != self._here:
                self._here = here
                self._switches = 0  # a new one
                self._alarm.prepare()
            self._look(due)
        except Exception:
            # It would end the thread, and with it the time slices.
            logging.getLogger("greenify").exception("error in the watch")

    def wakes(self, now: float) -> None:
        # A call of C code that keeps the interpreter may come first, and no look before its end.
        self._alarm.resume(now)

    def asleep(self) -> None:
        self._end(_monotonic())
        self._rest()
        self._answer()

    def idle(self) -> None:
        # Nobody is kept waiting.
        self._end(_monotonic())
        self._rest()

    def _rest(self) -> None:
        """There is nobody to look at.  What is measured from the last look on begins here."""
        self._next = 0.0
        self._turns = -1
        self._looks = 0
        self._alarm.stop()
        self._queued = queued(self.hub.native_id)
        self._cpu = cpu_time(self.hub.native_id)
        self._switches = switches_here() or 0

    # For other threads.

    def flush(self, patience: float) -> None:
        """Have the stay that is going on told as it is now, as ended.  Any OS thread.

        Args:
            patience: how many seconds to wait for that at most.
        """
        done: Any = ticker.native_lock()
        done.acquire()
        self._flushes.append(done)
        if ticker.ring(self.hub):
            done.acquire(True, patience)

    def close(self) -> None:
        """On the ticker's thread no more: give up what looking needs."""
        self._alarm.close()

    def _answer(self) -> None:
        while self._flushes:
            self._flushes.pop().release()

    def _look(self, due: float) -> None:
        hub = self.hub
        while hub.tasks:
            now = _monotonic()
            # First of all: what comes afterwards gives up the interpreter lock, and who has kept it goes on.
            self._watch_for_end(hub.turns, now, now - due)
            if self._looks % _SELDOM == 0:
                self._queued = queued(hub.native_id)
            self._alarm.put_off(_monotonic())
            self._looks += 1
            if _monotonic() - now < self._seconds / 2:
                break
            # Somebody has kept it in the middle of this look: look once more, at the place.
            due = now
        if self._flushes:
            self._end(_monotonic())
            self._turns = -1
            self._answer()

    def _lock_kept(self, late: float) -> float:
        """How long this look has waited for the interpreter lock, of the time by which it is late."""
        before = self._switches
        after = switches_here()
        self._switches = after or 0
        if late <= self._seconds / 2:
            return 0.0
        if after is None:
            return late
        # Who waits for it looks every few milliseconds whether to ask for it; who has no processor does not.
        return min(late, (after - before) * sys.getswitchinterval())

    def _watch_for_end(self, turns: int, now: float, late: float) -> None:
        hub = self.hub
        kept = self._lock_kept(late)
        frame = runners.current_frame(hub)
        # Before anything is told, which gives up the interpreter lock.
        self._sight = self._see(frame) if kept > self._seconds / 2 else None
        cpu = cpu_time(hub.native_id)
        root = id(root_of(frame)) if turns == self._turns and not hub.sleeping else 0
        if root and self._root in (0, root):
            self._root = root
            self._goes_on(frame, now, kept, cpu)
        else:
            self._end(now - late)
            if kept > self._seconds and not hub.sleeping:
                # It has begun since the last look, and ended a moment ago; nobody has run since.
                self._begin(turns, now - late, self._cpu)
                self._notice(frame, now, kept, cpu)
                self._end(now)
            self._begin(turns, now, cpu)
        self._cpu = cpu

    def _begin(self, turns: int, now: float, cpu: float | None) -> None:
        self._turns = turns
        self._root = 0
        self._since = now
        self._cpu_begun = cpu
        self._queued_begun = self._queued
        self._owner = None
        self._searched = False
        self._waiting = len(self.hub.ready)

    def _goes_on(self, frame: FrameType | None, now: float, kept: float, cpu: float | None) -> None:
        stay = self._stay
        seconds = now - self._since
        if stay is not None:
            self._measure(stay, now, cpu)
            stay.lock_kept += kept
            if seconds >= self._patience and not stay.told:
                stay.told = True
                self._tell(stay)
        elif kept > self._seconds / 2 and seconds >= self._seconds:
            self._notice(frame, now, kept, cpu)
        elif seconds >= self._seconds / 2:
            owner = self._owner
            if not self._searched:
                self._searched = True
                self._owner = runners.running(self.hub)
                # It counts from before the stay, by a few looks: more exactly from now on.
                self._queued_begun = queued(self.hub.native_id)
            elif owner is not None and not runners.runs(owner):
                # Another greenlet whose frame has come to lie at the same address.
                self._begin(self._turns, now, cpu)
            elif seconds >= self._seconds:
                self._notice(frame, now, kept, cpu)

    def _notice(self, frame: FrameType | None, now: float, kept: float, cpu: float | None) -> None:
        """A stay has become long."""
        hub = self.hub
        if frame is None or str(frame.f_globals.get("__name__")).startswith("greenify.watching."):
            return  # it waits for us, in `flush`
        thread, stack = self._sight or self._see(frame)
        stay = Stay(self._since, thread, stack, 0.0, lock_kept=kept)
        self._measure(stay, now, cpu)
        if stay.seconds - stay.queued < self._seconds:
            return  # the machine was busy
        if not kept:
            stay.system_call = system_call(hub.native_id)
            if stay.system_call is not None and stay.system_call.name == "futex" and stay.computed:
                stay.system_call = None  # it waits for us, who have the interpreter lock
        self._others(stay, now)
        self._stay = stay

    def _see(self, frame: FrameType | None) -> tuple[str, list[Raw]]:
        stack = capture(frame)
        return runners.name_of_frame(self.hub, frame), stack

    def _measure(self, stay: Stay, now: float, cpu: float | None) -> None:
        self._lasts(stay, now)
        stay.queued = max(0.0, queued(self.hub.native_id) - self._queued_begun)
        if cpu is not None and self._cpu_begun is not None:
            stay.cpu = cpu - self._cpu_begun

    def _lasts(self, stay: Stay, now: float) -> None:
        longer = now - self._since - stay.seconds
        if longer > 0:
            stay.seconds += longer
            if stay.waited:
                stay.waited += longer

    def _others(self, stay: Stay, now: float) -> None:
        hub = self.hub
        ready = [item for item in tuple(hub.ready) if item.__class__ is not Mark]
        due = [
            entry for entry in tuple(hub.timers.heap) if entry[0] <= now and entry[2] is not None
        ]
        stay.ready = len(ready) + len(due)
        since = [entry[0] for entry in due]
        if ready and self._waiting:
            since.append(self._since)
        stay.waited = max((now - max(begin, 0.0) for begin in since), default=0.0)
        who = (*ready, *(getattr(entry[2], "greenlet", None) for entry in due))
        stay.names = [
            runners.name(hub, item) for item in islice(who, _NAMES) if isinstance(item, greenlet)
        ]
        if hub.bare is None:
            stay.news = wait_natively(hub.descriptors.fileno(), False, now)

    def _end(self, now: float) -> None:
        stay = self._stay
        if stay is not None:
            self._stay = None
            self._lasts(stay, now)
            stay.ended = True
            self._tell(stay)
