"""What `sys` tells and sets per thread: frames, trace functions and profile functions.

The interpreter keeps these per OS thread.  A trace function that one green thread has set must not see what
the others do, or a debugger that steps over a blocking call ends up in another thread.  So from the first
trace or profile function on, every switch of greenlets puts those of the next one in place; before, nothing
happens at a switch.
"""

from __future__ import annotations

import _lsprof
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from greenify.core.registry import hubs
from greenify.core.stacks import frames
from greenify.green._copies.builtin import BuiltinTwin
from greenify.green._threads.switches import follow
from greenify.identity import get_ident

__all__ = [
    "current_frames",
    "profiler_enable",
    "setprofile",
    "setprofile_all_threads",
    "settrace",
    "settrace_all_threads",
]

_current_frames = sys._current_frames
_settrace = sys.settrace
_setprofile = sys.setprofile
_settrace_all: Any = getattr(sys, "_settraceallthreads", None)
_setprofile_all: Any = getattr(sys, "_setprofileallthreads", None)
_gettrace = sys.gettrace
_getprofile = sys.getprofile

# Through which a patched program calls these functions.
_TWIN = BuiltinTwin.__call__.__code__

_NONE = (None, None)


def current_frames() -> dict[int, FrameType]:
    """`sys._current_frames`: the frame that each thread is in, green threads included, by its identifier."""
    found = _current_frames()
    for hub in tuple(hubs):
        for task, frame in frames(hub):
            ident = hub.ident if task is hub.main else getattr(task, "ident", None)
            if ident is not None and frame is not None:
                found[ident] = frame
    caller: FrameType = sys._getframe(1)
    if caller.f_code is _TWIN and caller.f_back is not None:
        caller = caller.f_back
    found[get_ident()] = caller
    return found


def settrace(function: Any, /) -> None:
    """`sys.settrace`, for the calling thread, green or native."""
    if function is not None:
        _watch()
    _settrace(function)


def setprofile(function: Any, /) -> None:
    """`sys.setprofile`, for the calling thread, green or native."""
    if function is not None:
        _watch()
    _setprofile(function)


def settrace_all_threads(function: Any, /) -> None:
    """`sys._settraceallthreads`: `settrace` for every thread that runs, green and native."""
    _for_green_threads(lambda old: (function, old[1]), function)
    _settrace_all(function)


def setprofile_all_threads(function: Any, /) -> None:
    """`sys._setprofileallthreads`: `setprofile` for every thread that runs, green and native."""
    _for_green_threads(lambda old: (old[0], function), function)
    _setprofile_all(function)


def profiler_enable(self: Any, *args: Any, **kwargs: Any) -> None:
    """``enable`` of `cProfile.Profile`, up to CPython 3.11: there it sees one thread."""
    _watch()
    _lsprof.Profiler.enable(self, *args, **kwargs)


def _for_green_threads(change: Callable[[Any], Any], function: Any) -> None:
    if function is not None:
        _watch()
    for hub in tuple(hubs):
        for task, _ in frames(hub):
            found: Any = task
            found.tracing = change(getattr(found, "tracing", _NONE))


def _watch() -> None:
    """Follow the switches of this OS thread from now on."""
    follow(_switched)


def _switched(origin: Any, target: Any) -> None:
    present = (_gettrace(), _getprofile())
    origin.tracing = present
    wanted = getattr(target, "tracing", _NONE)
    if wanted[0] is not present[0]:
        _settrace(wanted[0])
    if wanted[1] is not present[1]:
        _setprofile(None)
        if isinstance(wanted[1], _lsprof.Profiler):
            # The only way to put it back; it goes on where it was.
            _lsprof.Profiler.enable(wanted[1])
        else:
            _setprofile(wanted[1])
