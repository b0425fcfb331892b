"""What is written down while a program runs: switches, wake-ups, sleeps of the loop, starts.

Nothing of this is there while no trace is on.  A trace gives greenlet a function to call at every switch of
an OS thread, and puts a `_Recorder` in the place of ``hub.ready``, through which all that wake go; the hub
itself takes from the same queue as ever.  Another OS thread that has just read the attribute wakes as before,
and nothing is lost but a record.

An event is the heads of its packets joined by its time, on one list, `Record.out`, which `sinks` empties.
Appending to a list is one operation, so any thread may.  No signal handler runs in the middle of this file
(`core.signals`), and what wakes is done before it is written down: whatever goes wrong here, nobody stays
asleep.
"""

from __future__ import annotations

import logging
import sys
import weakref
from _thread import get_native_id
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import greenlet as greenlets
from greenlet import getcurrent, greenlet

from greenify.core.clock import monotonic_ns as _clock
from greenify.core.cycle import END
from greenify.core.entries import Throw
from greenify.core.hub import Hub
from greenify.core.registry import _get_ident
from greenify.green._threads.thread import GreenThread
from greenify.green.time import sleep as _sleep
from greenify.inspect.names import name_by_ident, name_of
from greenify.tracing import wire
from greenify.tracing.tracks import (
    LOOP,
    NATIVE,
    QUEUED,
    RUNNING,
    WAITING,
    Track,
    name_of_started,
    stack_text,
    thread_of,
)
from greenify.tracing.waiting import Waits

__all__ = ["Record", "Watched"]

# Nanoseconds between two looks at the counters.
_TICK = 10_000_000

# Where the track of a greenlet is kept.  A new thread of a greenlet that is used again begins without
# (`GreenThread.become`).
_ATTRIBUTE = "greenify_track"

_LOW = wire.Stamps.LOW
_high = wire.Stamps.high
_stamp = wire.Stamps.of
_LIFE = GreenThread.run.__code__
# Who waits in these is on the ready queue; they go past the recorder.
_PAUSES = frozenset({Hub.pause.__code__, _sleep.__func__.__code__})


class Record:
    """What one trace has written down in one process and nobody has taken yet.

    Args:
        process: the number of the process's track.
    """

    def __init__(self, process: int) -> None:
        #: Packets, one or several in a piece.  Whoever takes some away takes them from the front.
        self.out: list[bytes] = []
        self.process = process
        self.tracks: dict[int, Track] = {}
        #: Called when there is much to be taken.
        self.on_much: Callable[[], object] = int
        self._flows = count(1)
        self._loose: weakref.WeakSet[Any] = weakref.WeakSet()
        self._on = True

    def close(self) -> None:
        """Nothing is written down from now on."""
        self._on = False
        for g in tuple(self._loose):
            _forget(g)

    def put(self, stamp: bytes, *heads: bytes) -> None:
        """Write down events of one moment."""
        self.out.append(stamp.join((*heads, b"")))

    # Tracks.

    def add(self, track: Track) -> Track:
        """A new track, whose first event comes next."""
        self.tracks[track.uuid] = track
        if self._on:
            self.out.append(track.described)
        return track

    def track_of(self, g: Any) -> Track:
        """The track of a greenlet that has none yet: that of its thread, or a new one."""
        thread = thread_of(g)
        found: Track | None = getattr(thread, _ATTRIBUTE, None)
        if found is None:
            hub = getattr(thread, "hub", None)
            if hub is None:
                name = name_by_ident(_get_ident()) or f"native thread {get_native_id()}"
                found = Track(name, NATIVE, self.process)
                found.queued = RUNNING
            else:
                found = self.thread(name_of(thread), hub)
            self.add(found)
            setattr(thread, _ATTRIBUTE, found)
            if hub is None:
                # Its calls alone are shown, for nobody sees it switched.
                self._loose.add(thread)
            else:
                self.put(_stamp(_clock()), found.wait("waiting"))
        if thread is not g:
            setattr(g, _ATTRIBUTE, found)
            self._loose.add(g)
        return found

    def loop_of(self, hub: Hub) -> Track:
        """The track of a hub itself."""
        found: Track | None = getattr(hub.greenlet, _ATTRIBUTE, None)
        if found is None:
            name = name_by_ident(hub.ident) or f"thread {hub.ident}"
            found = self.add(Track(f"loop of {name}", LOOP, self.process, hub))
            setattr(hub.greenlet, _ATTRIBUTE, found)
            self.put(_stamp(_clock()), found.wait("threads"))
        return found

    def thread(self, name: str, hub: Hub) -> Track:
        """A new track of a thread or a task."""
        return Track(name, f"thread, {self.loop_of(hub).name}", self.process, hub)

    # Events that are rare enough for a function of their own.

    def begins(self, g: Any, me: Any) -> None:
        """`g` is a new thread or task, which is ready now; `me` has started it."""
        now = _clock()
        hub = g.hub
        track = self.thread(name_of_started(g), hub)
        self.add(track)
        setattr(g, _ATTRIBUTE, track)
        track.queued = now
        starter = getattr(me, _ATTRIBUTE, None) or self.track_of(me)
        flow = next(self._flows)
        notes = {"started by": starter.name, "at": stack_text(sys._getframe(1))}
        self.put(
            _stamp(now),
            wire.head(wire.INSTANT, starter.uuid, f"starts {track.name}", flow=flow),
            wire.head(wire.BEGIN, track.uuid, "ready", ends_flow=flow, notes=notes),
        )

    def woken(self, track: Track, by: Track, kernel: bool) -> None:
        """A thread that waits is ready from now on."""
        now = track.queued = _clock()
        stamp = _LOW[now >> 7 & 0x7F] + _high(now >> 14)
        if by.loop or kernel:
            # By news of the kernel, a timer or a callback: an arrow from there would say nothing.
            self.put(stamp, track.end, track.ready)
            return
        flow = next(self._flows)
        self.put(
            stamp,
            wire.head(wire.INSTANT, by.uuid, f"wakes {track.name}", flow=flow),
            track.end,
            wire.head(wire.BEGIN, track.uuid, "ready", ends_flow=flow, notes={"woken by": by.name}),
        )

    def call(self, name: str, caller: str, function: Callable[[], Any]) -> Any:
        """On a native thread: call ``function()``, and show that as a slice."""
        g = getcurrent()
        track: Track | None = getattr(g, _ATTRIBUTE, None)
        if track is None:
            track = self.track_of(g)
        self.put(_stamp(_clock()), wire.head(wire.BEGIN, track.uuid, name, notes={"for": caller}))
        try:
            return function()
        finally:
            self.put(_stamp(_clock()), track.end)


class Watched:
    """A hub that is being traced.  Made in the hub's own OS thread."""

    def __init__(self, record: Record, hub: Hub) -> None:
        self.record = record
        self.hub = hub
        self.loop = record.loop_of(hub)
        self._waits = Waits()
        self._in_kernel = False
        self._on = True
        self._counters = self._describe_counters()
        for g in (hub.main, *tuple(hub.tasks)):
            if not g.dead:
                self._describe(g)
        self._chained = greenlets.gettrace()
        self.function = self._switched()
        greenlets.settrace(self.function)
        hub.ready = _Recorder(self, hub)  # type: ignore[assignment]
        # In the place of methods of the hub.
        vars(hub)["poll"] = self._poll
        vars(hub)["_sleep"] = self._sleep

    def detach(self) -> None:
        """Undo all that.  In the hub's own OS thread, if there still is one; `leave` does what others may."""
        self.leave()
        if greenlets.gettrace() is self.function:
            greenlets.settrace(self._chained)

    def leave(self) -> None:
        """Have nothing written down any more.  Any OS thread."""
        self._on = False
        hub = self.hub
        hub.ready = hub._queue
        vars(hub).pop("poll", None)
        vars(hub).pop("_sleep", None)
        for g in (hub.main, hub.greenlet, *tuple(hub.tasks), *tuple(hub.spares)):
            _forget(g)

    def _describe(self, g: Any) -> None:
        # What it does when the trace begins.
        track = self.record.track_of(g)
        now = _clock()
        current = thread_of(getcurrent())
        if g is current:
            track.queued = RUNNING
            state = track.run
        elif g in self.hub._queue:
            track.queued = now
            state = track.ready
        else:
            state = track.wait(self._waits.text(g.gr_frame))
        self.record.put(_stamp(now), track.end, state)
        if g is current:
            self.loop.queued = WAITING

    # Switches.

    def _switched(self) -> Callable[[Any, Any], None]:
        """The function that greenlet is given.  What it uses is at hand without a look-up of an attribute."""
        put = self.record.out.append
        clock = _clock
        low = _LOW
        queue = self.hub._queue
        chained = self._chained
        # The last switch was within 16 us from `begun` on; the bytes of a time that are the same in these.
        begun = 0
        high = b""
        tick = 0
        worst = 0
        # Who is ready since before this has waited longest: as exact as that window.
        longest = 0

        def switched(event: Any, args: Any) -> None:
            nonlocal begun, high, tick, worst, longest
            now = clock()
            origin, target = args
            try:
                old = origin.greenify_track
                new = target.greenify_track
            except AttributeError:
                if self._on:
                    self._strange(origin, target, now)
                if chained is not None:
                    chained(event, args)
                return
            if old is not new:
                part = now - begun
                if part > 0x3FFF:
                    part = now & 0x3FFF
                    begun = now - part
                    high = _high(now >> 14)
                    if now > tick:
                        tick = now + _TICK
                        self._count(low[part >> 7] + high, worst)
                        worst = 0
                    longest = begun - worst
                stamp = low[part >> 7] + high
                queued = old.queued
                if queued == RUNNING:
                    # Nobody has woken it.  Has it put itself back, to let the others run?
                    last = queue[-1] if queue else None
                    if last is origin or (
                        last is END and queue[0] is not END and queue[-2] is origin
                    ):
                        old.queued = now
                        after = old.ready
                    else:
                        old.queued = WAITING
                        old.since = now
                        after = self._after(old, origin, now)
                elif queued == QUEUED:
                    old.queued = now
                    after = old.ready
                elif queued > QUEUED:
                    after = old.ready
                else:
                    old.since = now
                    after = self._after(old, origin, now)
                if QUEUED < new.queued < longest:
                    worst = now - new.queued
                    longest = begun - worst
                new.queued = RUNNING
                # The time behind each head, and behind nothing.
                if after:
                    put(stamp.join((old.end, after, new.end, new.run, b"")))
                else:
                    put(stamp.join((old.end, new.end, new.run, b"")))
            if chained is not None:
                chained(event, args)

        return switched

    def _strange(self, origin: Any, target: Any, now: int) -> None:
        # One of them is a greenlet that has not been seen before; or the trace has ended on its way here.
        try:
            old = getattr(origin, _ATTRIBUTE, None)
            new = getattr(target, _ATTRIBUTE, None) or self.record.track_of(target)
            if old is None and not origin.dead:
                old = self.record.track_of(origin)
            if old is new:
                return
            stamp = _stamp(now)
            if old is not None:
                if old.queued == QUEUED:
                    old.queued = now
                after = old.ready
                if old.queued <= WAITING:
                    old.queued = WAITING
                    old.since = now
                    after = self._after(old, origin, now)
                self.record.put(stamp, old.end, *((after,) if after else ()))
            new.queued = RUNNING
            self.record.put(stamp, new.end, new.run)
        except Exception:
            _log("a switch cannot be traced")

    def _after(self, track: Track, g: Any, now: int) -> bytes:
        """The head of what a thread that has stopped to run does next; none if it has ended."""
        if track.loop:
            return track.wait("threads")
        if g.dead:
            if thread_of(g) is not g:
                return track.ready  # a raw greenlet inside of a thread, which goes on
            track.over = now
            return b""
        frame = g.gr_frame
        if frame is not None and frame.f_code is _LIFE and g._function is None:
            # It may become another thread.
            track.over = now
            _forget(g)
            return b""
        if frame is not None and frame.f_code in _PAUSES:
            # What the kernel had news of stands behind it.
            track.queued = now
            return track.ready
        try:
            return track.wait(self._waits.text(frame))
        except Exception:
            _log("a wait cannot be described")
            return track.wait("waiting")

    # The loop.

    def _poll(self) -> None:
        self._in_kernel = True
        try:
            Hub.poll(self.hub)
        finally:
            self._in_kernel = False

    def _sleep(self) -> None:
        loop = self.loop
        put = self.record.put
        put(_stamp(_clock()), loop.end, loop.wait("sleeping"))
        try:
            Hub._sleep(self.hub)
        finally:
            put(_stamp(_clock()), loop.end, loop.run)

    def _describe_counters(self) -> tuple[int, int, int]:
        found = []
        for name, unit in _COUNTERS:
            whole = f"{self.loop.name}: {name}"
            track = Track(whole, LOOP, self.record.process)
            track.described = wire.descriptor(
                track.uuid, whole, self.record.process, name, counter=unit
            )
            found.append(self.record.add(track).uuid)
        ready, threads, delay = found
        return ready, threads, delay

    def _count(self, stamp: bytes, worst: int) -> None:
        ready, threads, delay = self._counters
        out = self.record.out
        hub = self.hub
        for uuid, value in ((ready, len(hub._queue)), (threads, len(hub.tasks)), (delay, worst)):
            out.append(wire.head(wire.COUNTER, uuid, value=value) + stamp)
        if len(out) > _MUCH:
            self.record.on_much()


# What is counted of each loop, and in what.
_COUNTERS = (("ready", "threads"), ("threads", "threads"), ("delay", "ns"))

# How many pieces are left to the next round of whoever takes them.
_MUCH = 100_000


class _Recorder:
    """Stands in for the ready queue of a hub, for those that wake and those that look."""

    __slots__ = (
        "_queue",
        "append",
        "appendleft",
        "clear",
        "extend",
        "extendleft",
        "pop",
        "popleft",
        "remove",
        "rotate",
    )

    def __init__(self, watched: Watched, hub: Hub) -> None:
        queue = self._queue = hub._queue
        self.append = _append(watched, hub, queue.append)
        self.appendleft = queue.appendleft
        self.clear = queue.clear
        self.extend = queue.extend
        self.extendleft = queue.extendleft
        self.pop = queue.pop
        self.popleft = queue.popleft
        self.remove = queue.remove
        self.rotate = queue.rotate

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue)

    def __contains__(self, item: object) -> bool:
        return item in self._queue

    def __getitem__(self, index: int) -> Any:
        return self._queue[index]


def _append(watched: Watched, hub: Hub, put: Callable[[Any], None]) -> Callable[[Any], None]:
    record = watched.record

    def append(item: Any) -> None:
        me: Any = getcurrent()
        if me is item:
            # It lets the others run, and goes on.  The switch has the time.
            put(item)
            try:
                me.greenify_track.queued = QUEUED
            except AttributeError:
                pass  # it has not been seen before; then its switch is strange, too
            return
        try:
            mine = me.greenify_track
            track = item.greenify_track
        except AttributeError:
            put(item)
            _unknown(watched, item, me)
            return
        if mine.thread is not hub:
            # Before it runs there, maybe at once.
            if track.queued == WAITING:
                record.woken(track, mine, False)
            elif track.queued == RUNNING:
                track.queued = QUEUED
            put(item)
            return
        put(item)
        queued = track.queued
        if queued == WAITING:
            record.woken(track, mine, watched._in_kernel)
        elif queued == RUNNING:
            track.queued = QUEUED

    return append


def _unknown(watched: Watched, item: Any, me: Any) -> None:
    # Not a greenlet with a track, or by one without.
    record = watched.record
    if not watched._on:
        return
    try:
        if item.__class__ is Throw:
            item = item.target
        if not isinstance(item, greenlet) or item is watched.hub.greenlet:
            return
        track: Track | None = getattr(item, _ATTRIBUTE, None)
        if track is None:
            if hasattr(item, "hub") and not item.dead and (not item or _reused(item)):
                record.begins(item, me)
                return
            track = record.track_of(item)
        mine: Track = getattr(me, _ATTRIBUTE, None) or record.track_of(me)
        if track.queued == WAITING and track is not mine:
            record.woken(track, mine, watched._in_kernel)
    except Exception:
        _log("a wake-up cannot be traced")


def _reused(g: Any) -> bool:
    """Whether a greenlet that was another thread's is about to begin as a new one."""
    frame = g.gr_frame
    return isinstance(g, GreenThread) and frame is not None and frame.f_code is _LIFE


def _forget(g: Any) -> None:
    """Take its track from a greenlet."""
    try:
        delattr(g, _ATTRIBUTE)
    except AttributeError:
        pass


def _log(text: str) -> None:
    logging.getLogger("greenify").exception(text)
