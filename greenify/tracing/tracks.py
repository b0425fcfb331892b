"""Tracks: the lines of the picture, one for each loop, each thread and task, each native thread."""

from __future__ import annotations

import os
import threading
from itertools import count
from types import FrameType
from typing import Any

from greenlet import greenlet

from greenify.inspect.frames import is_library, place_of
from greenify.inspect.names import function_name, name_of
from greenify.tracing import wire

__all__ = [
    "LOOP",
    "NATIVE",
    "QUEUED",
    "RUNNING",
    "WAITING",
    "Track",
    "name_of_started",
    "stack_text",
    "thread_of",
]

#: What a track's ``queued`` says besides the time since when it is ready.
RUNNING, WAITING, QUEUED = -1, 0, 1

#: What there is beside the threads of a loop.
LOOP, NATIVE = "loop", "native thread"

# How many lines of the stack of a start are written down, and how long a name may be.
_DEPTH = 16
_LONGEST = 200

# Of how many waits a track keeps the bytes.
_KEPT = 64

_numbers = count(1)


class Track:
    """One line of the picture, and the heads of the events that happen there again and again.

    Args:
        kind: what a viewer says of it: `LOOP`, `NATIVE`, or of which loop it is a thread.
        process: the number of the process's track.

    Attributes:
        uuid: its number in the trace.
        name: as shown.
        queued: `RUNNING`; `WAITING`; `QUEUED`: ready since the next switch; else the time in nanoseconds
            since when it is ready.
        since: when it has stopped running last.
        thread: what tells the OS thread that it runs on: the hub, or the track itself if it has none.
        loop: whether it is a hub's own.
        described: the packet that describes it.
        over: when it has come to its end, or 0.
    """

    __slots__ = (
        "_waits",
        "described",
        "end",
        "loop",
        "name",
        "over",
        "queued",
        "ready",
        "run",
        "since",
        "thread",
        "uuid",
    )

    def __init__(self, name: str, kind: str, process: int, thread: Any = None) -> None:
        # Others' traces may be shown beside this one.
        self.uuid = os.getpid() << 32 | next(_numbers)
        self.name = name[:_LONGEST]
        self.queued = WAITING
        self.since = 0
        self.thread = self if thread is None else thread
        self.loop = loop = kind == LOOP
        self.over = 0
        self.described = wire.descriptor(self.uuid, self.name, process, kind)
        self.end = wire.head(wire.END, self.uuid)
        self.run = wire.head(wire.BEGIN, self.uuid, "loop" if loop else "running")
        self.ready = wire.head(wire.BEGIN, self.uuid, "ready")
        self._waits: dict[str, bytes] = {}

    def wait(self, text: str) -> bytes:
        """The head of the beginning of a wait."""
        found = self._waits.get(text)
        if found is None:
            if len(self._waits) >= _KEPT:
                self._waits.clear()
            found = wire.head(wire.BEGIN, self.uuid, text[:_LONGEST])
            self._waits[text] = found
        return found


def thread_of(g: Any) -> Any:
    """The greenlet of the thread or task that a greenlet is a part of; see `greenify.identity`."""
    while not hasattr(g, "hub"):
        parent = g.parent
        if parent is None:
            return g
        adopt = getattr(parent, "greenify_adopt", None)
        if adopt is not None and adopt(g):
            return g
        g = parent
    return g


def name_of_started(g: greenlet) -> str:
    """What a thread is called that has not begun yet, and is unknown to `threading`."""
    function = getattr(g, "_function", None)
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        name = vars(thread).get("_name")
        if isinstance(name, str):
            return name
    if function is not None and getattr(g, "task", None) is None:
        return f"thread of {function_name(function)}"
    return name_of(g)


def stack_text(frame: FrameType | None) -> str:
    """The user's lines among `frame` and its callers, the innermost first."""
    lines: list[str] = []
    while frame is not None and len(lines) < _DEPTH:
        if not is_library(frame):
            place = place_of(frame)
            lines.append(f"{place.filename}:{place.line} {place.function}")
        frame = frame.f_back
    return "\n".join(lines)
