"""Who has started whom: written down while somebody wants to know, and only from then on."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from greenlet import greenlet

from greenify.core import registry
from greenify.identity import current_thread_greenlet, get_ident
from greenify.inspect.frames import Place, place_of, user_frame
from greenify.inspect.names import name_of

__all__ = ["Start", "record", "start_of"]


class Start(NamedTuple):
    """How a thread or a task was started: by whom, and in which line of the user's."""

    ident: int
    name: str
    place: Place | None


_starts: dict[int, Start] = {}
_recording = False


def record() -> None:
    """Write down every start from now on, on all hubs.  Any thread may call it, more than once."""
    global _recording
    if not _recording:
        _recording = True
        registry.on_new_hub(_watch)
        for hub in tuple(registry.hubs):
            _watch(hub)


def start_of(g: greenlet) -> Start | None:
    """How the thread or task of `g` was started, if that has been written down."""
    return _starts.get(id(g))


def _watch(hub: Any) -> None:
    # In the hub's own dictionary, before its class's methods: those of other hubs cost nothing.
    start, finished = hub.start, hub.finished

    def noting_start(task: greenlet) -> None:
        frame = user_frame(sys._getframe(1))
        place = None if frame is None else place_of(frame)
        _starts[id(task)] = Start(get_ident(), name_of(current_thread_greenlet()), place)
        start(task)

    def noting_end(task: greenlet) -> None:
        _starts.pop(id(task), None)
        finished(task)

    hub.start = noting_start
    hub.finished = noting_end
