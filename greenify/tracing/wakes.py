"""What is written down of wake-ups: who is ready from now on, and who has done that.

What wakes is done before it is written down: whatever goes wrong here, nobody stays asleep.  No signal
handler runs in the middle of this file (`core.signals`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from greenify.core.entries import Throw
from greenify.core.hub import Hub
from greenify.green._threads.green_thread import GreenThread
from greenify.tracing.record import ATTRIBUTE, LIFE, log
from greenify.tracing.tracks import QUEUED, RUNNING, WAITING, Track

if TYPE_CHECKING:
    from greenify.tracing.recording import Watched

__all__ = ["append", "pop"]


def append(watched: Watched, hub: Hub, put: Callable[[Any], None]) -> Callable[[Any], None]:
    record = watched.record

    def recorded(item: Any) -> None:
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
            record.woken(track, mine, watched.in_kernel)
        elif queued == RUNNING:
            track.queued = QUEUED

    return recorded


def pop(watched: Watched, take: Callable[[], Any]) -> Callable[[], Any]:
    """The one that came last is taken back: who was woken for a lock that somebody has taken meanwhile."""

    def taken_back() -> Any:
        item = take()
        track: Track | None = getattr(item, ATTRIBUTE, None)
        if track is not None and track.queued > QUEUED and watched.on:
            track.queued = WAITING
            watched.waits_on(track, item)
        return item

    return taken_back


def _unknown(watched: Watched, item: Any, me: Any) -> None:
    # Not a greenlet with a track, or by one without.
    record = watched.record
    if not watched.on:
        return
    try:
        if item.__class__ is Throw:
            item = item.target
        if not isinstance(item, greenlet) or item is watched.hub.greenlet:
            return
        track: Track | None = getattr(item, ATTRIBUTE, None)
        if track is None:
            if hasattr(item, "hub") and not item.dead and (not item or _reused(item)):
                record.begins(item, me)
                return
            track = record.track_of(item)
        mine: Track = getattr(me, ATTRIBUTE, None) or record.track_of(me)
        if track.queued == WAITING and track is not mine:
            record.woken(track, mine, watched.in_kernel)
    except Exception:
        log("a wake-up cannot be traced")


def _reused(g: Any) -> bool:
    """Whether a greenlet that was another thread's is about to begin as a new one."""
    frame = g.gr_frame
    return isinstance(g, GreenThread) and frame is not None and frame.f_code is LIFE
