"""Who keeps a signal from the main thread, in words."""

from __future__ import annotations

import dis
import signal
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["called", "name_of", "running", "stack", "who"]


def name_of(signum: int) -> str:
    """What a signal is called."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"  # a real-time signal without a name


def who(hub: Hub, g: Any) -> str:
    """What the greenlet `g` of `hub` is to the program: a thread with a name, a task, a callback."""
    if g is hub.greenlet:
        return "a callback or a finaliser"
    while g is not None and not hasattr(g, "ident"):
        g = g.parent
    threading: Any = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(getattr(g, "ident", None))
    return "a task" if thread is None else f"the thread {thread.name!r}"


def running(hub: Hub) -> Any:
    """The greenlet of `hub` that runs, None if it is one that nobody knows.  Any OS thread.

    A raw greenlet belongs to whoever has switched to it.
    """
    for g in (hub.greenlet, *tuple(hub.tasks)):
        if g:
            frame = g.gr_frame
            # One that waits for a wake-up does so in the engine.
            if frame is None or not str(frame.f_globals.get("__name__")).startswith("greenify."):
                return g
    return None


def stack(frame: FrameType | None) -> str:
    """The lines of a traceback that lead to `frame`."""
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def called(frame: FrameType | None) -> str:
    """What the line that `frame` is in calls, "" if that is not known (before CPython 3.11 it never is)."""
    if frame is None or sys.version_info < (3, 11):
        return ""
    name = ""
    begin = None
    instructions = list(dis.get_instructions(frame.f_code))
    for call in instructions:
        if call.offset == frame.f_lasti and call.opname.startswith(("CALL", "PRECALL")):
            begin = call.positions and call.positions[::2]
    if begin is None:
        return ""
    # The function's name is the last that was loaded for an expression that begins where the call does.
    for instruction in instructions:
        if instruction.offset >= frame.f_lasti:
            break
        positions = instruction.positions
        if positions and positions[::2] == begin and instruction.opname.startswith("LOAD_"):
            if isinstance(instruction.argval, str):
                name = instruction.argval
    return name
