"""What is written down while a program runs: switches and sleeps of the loop; `wakes` has the wake-ups.

Nothing of this is there while no trace is on.  A trace gives greenlet a function to call at every switch of
an OS thread, and puts a recorder in the place of ``hub.ready`` (`greenify.inspect.wakes`).  No signal handler
runs in the middle of this file (`core.signals`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import greenlet as greenlets
from greenlet import getcurrent

from greenify.core.clock import monotonic_ns as _clock
from greenify.core.cycle import END
from greenify.core.hub import Hub
from greenify.inspect.since import PAUSES, queue_of
from greenify.inspect.wakes import Recorder
from greenify.tracing import wakes, wire
from greenify.tracing.record import ATTRIBUTE, LIFE, Record, forget, log
from greenify.tracing.tracks import LOOP, QUEUED, RUNNING, WAITING, Track, thread_of
from greenify.tracing.waiting import Waits

__all__ = ["Watched"]

# Nanoseconds between two looks at the counters.
_TICK = 10_000_000

_LOW = wire.Stamps.LOW
_high = wire.Stamps.high
_stamp = wire.Stamps.of


class Watched:
    """A hub that is being traced.  Made in the hub's own OS thread."""

    def __init__(self, record: Record, hub: Hub) -> None:
        self.record = record
        self.hub = hub
        self.loop = record.loop_of(hub)
        self._waits = Waits()
        self.in_kernel = False
        self.on = True
        self._counters = self._describe_counters()
        for g in (hub.main, *tuple(hub.tasks)):
            if not g.dead:
                self._describe(g)
        self._chained = greenlets.gettrace()
        self.function = self._switched()
        greenlets.settrace(self.function)
        queue = hub._queue
        recorder = Recorder(
            queue, wakes.append(self, hub, queue.append), wakes.pop(self, queue.pop)
        )
        hub.ready = recorder  # type: ignore[assignment]
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
        self.on = False
        hub = self.hub
        hub.ready = queue_of(hub)
        vars(hub).pop("poll", None)
        vars(hub).pop("_sleep", None)
        for g in (hub.main, hub.greenlet, *tuple(hub.tasks), *tuple(hub.spares)):
            forget(g)

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
                if self.on:
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
            old = getattr(origin, ATTRIBUTE, None)
            new = getattr(target, ATTRIBUTE, None) or self.record.track_of(target)
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
            log("a switch cannot be traced")

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
        if frame is not None and frame.f_code is LIFE and g._function is None:
            # It may become another thread.
            track.over = now
            forget(g)
            return b""
        if frame is not None and frame.f_code in PAUSES:
            # What the kernel had news of stands behind it.
            track.queued = now
            return track.ready
        try:
            return track.wait(self._waits.text(frame))
        except Exception:
            log("a wait cannot be described")
            return track.wait("waiting")

    def waits_on(self, track: Track, g: Any) -> None:
        """A thread that was ready and has not run waits again."""
        self.record.put(_stamp(_clock()), track.end, track.wait(self._waits.text(g.gr_frame)))

    # The loop.

    def _poll(self) -> None:
        self.in_kernel = True
        try:
            Hub.poll(self.hub)
        finally:
            self.in_kernel = False

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
