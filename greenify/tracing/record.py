"""The events that one trace has written down in one process, and the tracks that they are on.

An event is the heads of its packets joined by its time, on one list, `Record.out`, which `sinks` empties.
Appending to a list is one operation, so any thread may.  No signal handler runs in the middle of this file
(`core.signals`).
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

from greenlet import getcurrent

from greenify.core.clock import monotonic_ns as _clock
from greenify.core.hub import Hub
from greenify.core.native import get_native_id
from greenify.core.registry import _get_ident
from greenify.green._threads.green_thread import GreenThread
from greenify.inspect.names import name_by_ident, name_of
from greenify.tracing import wire
from greenify.tracing.tracks import (
    LOOP,
    NATIVE,
    RUNNING,
    Track,
    name_of_started,
    stack_text,
    thread_of,
)

__all__ = ["ATTRIBUTE", "LIFE", "Record", "forget", "log"]

#: Where the track of a greenlet is kept.  A new thread of a greenlet that is used again begins without.
ATTRIBUTE = "greenify_track"

#: In it a greenlet waits whose thread has ended, or has not begun.
LIFE = GreenThread.run.__code__

_LOW = wire.Stamps.LOW
_high = wire.Stamps.high
_stamp = wire.Stamps.of


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
            forget(g)

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
        found: Track | None = getattr(thread, ATTRIBUTE, None)
        if found is None:
            hub = getattr(thread, "hub", None)
            if hub is None:
                name = name_by_ident(_get_ident()) or f"native thread {get_native_id()}"
                found = Track(name, NATIVE, self.process)
                found.queued = RUNNING
            else:
                found = self.thread(name_of(thread), hub)
            self.add(found)
            setattr(thread, ATTRIBUTE, found)
            if hub is None:
                # Its calls alone are shown, for nobody sees it switched.
                self._loose.add(thread)
            else:
                self.put(_stamp(_clock()), found.wait("waiting"))
        if thread is not g:
            setattr(g, ATTRIBUTE, found)
            self._loose.add(g)
        return found

    def loop_of(self, hub: Hub) -> Track:
        """The track of a hub itself."""
        found: Track | None = getattr(hub.greenlet, ATTRIBUTE, None)
        if found is None:
            name = name_by_ident(hub.ident) or f"thread {hub.ident}"
            found = self.add(Track(f"loop of {name}", LOOP, self.process, hub))
            setattr(hub.greenlet, ATTRIBUTE, found)
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
        setattr(g, ATTRIBUTE, track)
        track.queued = now
        starter = getattr(me, ATTRIBUTE, None) or self.track_of(me)
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
        track: Track | None = getattr(g, ATTRIBUTE, None)
        if track is None:
            track = self.track_of(g)
        self.put(_stamp(_clock()), wire.head(wire.BEGIN, track.uuid, name, notes={"for": caller}))
        try:
            return function()
        finally:
            self.put(_stamp(_clock()), track.end)


def forget(g: Any) -> None:
    """Take its track from a greenlet."""
    try:
        delattr(g, ATTRIBUTE)
    except AttributeError:
        pass


def log(text: str) -> None:
    logging.getLogger("greenify").exception(text)
