"""Who runs on a hub, asked from another native thread, which may lose the interpreter at any moment."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from greenify.core.registry import home_hub
from greenify.inspect.frames import frames_of
from greenify.inspect.names import name_by_ident, name_in, name_of
from greenify.patches import original
from greenify.watching.stacks import root_of

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["current_frame", "name", "name_of_frame", "running", "runs"]

_current_frames = original(sys, "_current_frames")  # not the one that shows green threads


def current_frame(hub: Hub) -> FrameType | None:
    """The innermost frame of the hub's OS thread."""
    frame: FrameType | None = _current_frames().get(hub.ident)
    return frame


def runs(g: greenlet) -> bool:
    """Whether the greenlet is the one that has the OS thread."""
    return bool(g) and g.gr_frame is None


def running(hub: Hub) -> greenlet | None:
    """The thread that runs on the hub; None if that is a raw greenlet in one of them."""
    for g in (hub.main, hub.greenlet, *tuple(hub.tasks)):
        if runs(g):
            return g
    return None


def name(hub: Hub, g: Any) -> str:
    """What the program calls the thread."""
    if g is None:
        return "a greenlet in one of the threads"
    if g is hub.greenlet:
        return "the hub (a callback)"
    if g is not hub.main:
        return name_of(g)
    unknown = "MainThread" if home_hub() is hub else f"native thread {hub.native_id}"
    return name_by_ident(hub.ident) or unknown


def name_of_frame(hub: Hub, frame: FrameType | None) -> str:
    """What the program calls the thread that `frame` is of: one that was running a moment ago.

    It may have gone on since, and others may run by now: a machine that is busy can stop the thread that
    looks for longer than the interpreter leaves it to anybody.
    """
    g = running(hub)
    # The frames are kept here: no other one can have got the address of such a root.
    root = root_of(frame)
    if root_of(current_frame(hub)) is root:
        return name(hub, g)
    for g in (hub.main, hub.greenlet, *tuple(hub.tasks)):
        if root_of(g.gr_frame) is root:
            return name(hub, g)
    # However deep: it is the outermost that have it.
    return name_in(frames_of(frame, sys.maxsize)) or "a thread that has ended"
