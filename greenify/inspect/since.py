"""Since when somebody waits or is ready: noted while the process can be asked, and only from then on.

Who begins to wait calls ``hub.next``, and who wakes ``hub.ready.append``.  While somebody wants to know, both
are functions of this file, in the hub's own dictionary, which note the time on the greenlet concerned.  So it
costs nothing before, and a fraction of a microsecond for each wait afterwards.

A note is believed only where it fits what the greenlet is seen in: one that has switched away by itself, as
gevent's do, has an older one.  No signal handler runs in the middle of this file (`core.signals`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from greenify.core import registry
from greenify.core.clock import monotonic as _clock
from greenify.core.hub import Hub
from greenify.green.time import sleep as _sleep
from greenify.inspect.frames import OWN, kind_of
from greenify.inspect.wakes import Recorder

__all__ = ["PAUSES", "forget", "note", "noted", "queue_of", "since_of", "switches"]

#: Who is ready in these has put itself back, past what stands in the place of ``hub.ready``.
PAUSES: frozenset[CodeType] = frozenset({Hub.pause.__code__, _sleep.__func__.__code__})

# The frames of another scheduler's loop, which switch without `Hub.next`.
_GUESTS = "greenify.integrations."


class _Notes(NamedTuple):
    """What `note` has put into a hub.

    Attributes:
        ready: the recorder.
        before: what was there in the place of `next`.
        switches: how many times a thread or task has given way since then.
    """

    ready: Recorder
    before: Any
    switches: Callable[[], int]


_notes: dict[Hub, _Notes] = {}

# Since when notes are made, or None.  Older ones are of another time.
_begun: float | None = None

# The switches of hubs that have gone since then.
_gone = 0


def note() -> None:
    """Note from now on since when threads and tasks wait, on all hubs.  Any thread; more than once."""
    global _begun, _gone
    if _begun is None:
        _begun = _clock()
        _gone = 0
        for hub in tuple(registry.hubs):
            _watch(hub)


def forget() -> None:
    """Note nothing any more.  Any thread."""
    global _begun
    _begun = None
    while _notes:
        hub, notes = _notes.popitem()
        if notes.before is None:
            vars(hub).pop("next", None)
        else:
            vars(hub)["next"] = notes.before
        ready: Any = hub.ready
        if ready is notes.ready:  # else a trace's stands there, and puts the right one back
            hub.ready = hub._queue


def noted() -> bool:
    """Whether notes are made now."""
    return _begun is not None


def switches() -> int | None:
    """How many times threads and tasks have given way to others since notes are made.  Any thread.

    Returns:
        None while no notes are made.
    """
    if _begun is None:
        return None
    # The number of those that have gone first: it is added to after they have left the others.
    gone = _gone
    return gone + sum(notes.switches() for notes in tuple(_notes.values()))


def queue_of(hub: Hub) -> Any:
    """What stands in the place of the ready queue of `hub` while there is no trace."""
    notes = _notes.get(hub)
    return hub._queue if notes is None else notes.ready


def _watch(hub: Hub) -> None:
    if _begun is None:
        return
    queue = hub._queue
    next, switches = _next(hub.next)
    notes = _notes[hub] = _Notes(
        Recorder(queue, _append(queue.append), _pop(queue.pop)), vars(hub).get("next"), switches
    )
    vars(hub)["next"] = next
    if hub.ready is queue:
        hub.ready = notes.ready  # type: ignore[assignment]


def _next(following: Callable[[], greenlet]) -> tuple[Callable[[], greenlet], Callable[[], int]]:
    clock = _clock
    current: Callable[[], Any] = getcurrent
    number = 0

    def next() -> greenlet:
        nonlocal number
        number += 1
        current().greenify_waits = clock()
        return following()

    return next, lambda: number


def _append(put: Callable[[Any], None]) -> Callable[[Any], None]:
    clock = _clock

    def append(item: Any) -> None:
        # Before: from then on somebody may look.
        try:
            if item.greenify_woken < item.greenify_waits:
                item.greenify_woken = clock()
        except AttributeError:
            if isinstance(item, greenlet):
                _first(item)
        put(item)

    return append


def _first(g: Any) -> None:
    g.greenify_woken = _clock()
    if not hasattr(g, "greenify_waits"):
        g.greenify_waits = 0.0


def _pop(take: Callable[[], Any]) -> Callable[[], Any]:
    def pop() -> Any:
        item = take()
        if hasattr(item, "greenify_woken"):
            item.greenify_woken = 0.0
        return item

    return pop


def since_of(g: Any, frame: FrameType | None, state: str, queued: bool) -> float | None:
    """Since when a greenlet is in its state, or None.

    Args:
        g: the greenlet that has begun to wait: a thread's own, or the raw one that waits in its place.
        frame: its innermost frame.
        state: ``ready``, ``waiting`` or ``new``.
        queued: whether it is on the ready queue.
    """
    begun = _begun
    if begun is None:
        return None
    waits: float = getattr(g, "greenify_waits", -1.0)
    woken: float = getattr(g, "greenify_woken", -1.0)
    if state == "new":
        return woken if woken >= begun and woken > waits else None
    if frame is None:
        return None
    code = frame.f_code
    known = _codes.get(id(code))
    if known is None or known[0] is not code:
        known = _learn(frame)
    if not known[1]:
        return None
    if state == "ready":
        if queued and woken > waits:
            return woken if woken >= begun else None
        if code not in PAUSES:
            return None
    return waits if waits >= begun else None


# By the identity of a code object: that, and whether who is in it has switched away by `Hub.next`.
_codes: dict[int, tuple[CodeType, bool]] = {}
_MOST_CODES = 1_000


def _learn(frame: FrameType) -> tuple[CodeType, bool]:
    code = frame.f_code
    guest = str(frame.f_globals.get("__name__")).startswith(_GUESTS)
    if len(_codes) >= _MOST_CODES:
        _codes.clear()
    known = _codes[id(code)] = (code, kind_of(code) == OWN and not guest)
    return known


def _closing(hub: Hub) -> None:
    global _gone
    notes = _notes.pop(hub, None)
    if notes is not None:
        _gone += notes.switches()


registry.on_new_hub(_watch)
registry.before_close(_closing)
