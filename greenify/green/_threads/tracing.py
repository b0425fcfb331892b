"""What `sys` tells and sets per thread: frames, trace functions and profile functions.

The interpreter keeps these per OS thread.  A trace function that one green thread has set must not see what
the others do, or a debugger that steps over a blocking call ends up in another thread.  So from the first
trace or profile function on, every switch of greenlets puts those of the next one in place; before, nothing
happens at a switch.

While such a function is being called, the interpreter calls no other in this OS thread.  One that waits, a
debugger at a breakpoint, must not keep the others from being traced: that goes with the greenlet, too.
"""

from __future__ import annotations

import _lsprof
import _thread
import sys
import threading
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

from greenlet import getcurrent

from greenify.core.registry import hubs
from greenify.core.stacks import frames
from greenify.green._threads.switches import follow
from greenify.green._threads.thread_functions import NameExchange, PointerExchange, thread_of
from greenify.green._threads.thread_state import this_thread_state
from greenify.identity import get_ident

__all__ = [
    "current_frames",
    "greenlet_number",
    "profiler_enable",
    "setprofile",
    "setprofile_all_threads",
    "setprofile_of_new_threads",
    "settrace",
    "settrace_all_threads",
    "settrace_of_new_threads",
    "watch",
    "watch_if_traced",
]

_current_frames = sys._current_frames
_settrace = sys.settrace
_setprofile = sys.setprofile
_settrace_all: Any = getattr(sys, "_settraceallthreads", None)
_setprofile_all: Any = getattr(sys, "_setprofileallthreads", None)
_gettrace = sys.gettrace
_getprofile = sys.getprofile
_settrace_of_new = threading.settrace
_setprofile_of_new = threading.setprofile

_local = _thread._local()


# What runs on native threads that are no threads of the program: behind the time slices, the watch, --inspect
# and the trace.
_HIDDEN = frozenset(
    {
        "greenify.core.ticker",
        "greenify.inspect.listening",
        "greenify.tracing.sinks",
        "greenify.watching.telling",
    }
)


def _is_hidden(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in _HIDDEN:
            return True
        frame = frame.f_back
    return False


def current_frames() -> dict[int, FrameType]:
    """`sys._current_frames`: the frame that each thread is in, green threads included, by its identifier."""
    found = {ident: frame for ident, frame in _current_frames().items() if not _is_hidden(frame)}
    for hub in tuple(hubs):
        for task, frame in frames(hub):
            ident = hub.ident if task is hub.main else getattr(task, "ident", None)
            if ident is not None and frame is not None:
                found[ident] = frame
    found[get_ident()] = sys._getframe(1)
    return found


def settrace(function: Any, /) -> None:
    """`sys.settrace`, for the calling thread, green or native."""
    if function is not None:
        watch()
    _settrace(function)


def setprofile(function: Any, /) -> None:
    """`sys.setprofile`, for the calling thread, green or native."""
    if function is not None:
        watch()
    _setprofile(function)


def settrace_of_new_threads(func: Any) -> None:
    # `threading.settrace`.  A tool in C has set the caller's own function past `sys.settrace`.
    if func is not None:
        watch()
    _settrace_of_new(func)


def setprofile_of_new_threads(func: Any) -> None:
    # `threading.setprofile`; see `settrace_of_new_threads`.
    if func is not None:
        watch()
    _setprofile_of_new(func)


for _native, _twin in (
    (_settrace_of_new, settrace_of_new_threads),
    (_setprofile_of_new, setprofile_of_new_threads),
):
    for _name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(_twin, _name, getattr(_native, _name))


def settrace_all_threads(function: Any, /) -> None:
    """`sys._settraceallthreads`: `settrace` for every thread that runs, green and native."""
    _for_green_threads(_settrace, function)
    _settrace_all(function)


def setprofile_all_threads(function: Any, /) -> None:
    """`sys._setprofileallthreads`: `setprofile` for every thread that runs, green and native."""
    _for_green_threads(_setprofile, function)
    _setprofile_all(function)


def profiler_enable(self: Any, *args: Any, **kwargs: Any) -> None:
    """``enable`` of `cProfile.Profile`, up to CPython 3.11: there it sees one thread."""
    watch()
    _lsprof.Profiler.enable(self, *args, **kwargs)


_numbers = count(1)


def greenlet_number() -> int:
    """A number for the greenlet that runs, or the thread that it has become, which no other ever has."""
    try:
        g: Any = getcurrent()
    except RuntimeError:
        return 0  # the interpreter is finalised
    number: int | None = getattr(g, "greenify_number", None)
    if number is None:
        number = g.greenify_number = next(_numbers)
    return number


def watch_if_traced() -> None:
    """Follow the switches if the calling thread, or the ones to come, have a trace or profile function."""
    module: Any = threading
    if _gettrace() or _getprofile() or module._trace_hook or module._profile_hook:
        watch()


def _for_green_threads(setter: Callable[[Any], object], function: Any) -> None:
    if function is None and not _watching:
        return  # nobody has one
    exchange = watch()
    current = thread_of(getcurrent())
    for hub in tuple(hubs):
        for task, _ in frames(hub):
            if task is not current:
                exchange.change(task, setter, function)


# Whether the switches of any OS thread have been followed.
_watching = False


def watch() -> PointerExchange | NameExchange:
    """Follow the switches of this OS thread from now on."""
    global _watching
    try:
        exchange: PointerExchange | NameExchange = _local.exchange
    except AttributeError:
        state = this_thread_state()
        exchange = NameExchange() if state is None else PointerExchange(state)
        _local.exchange = exchange
        _watching = True
    follow(exchange.switch)
    return exchange
