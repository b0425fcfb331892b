"""The cooperative twin of `_thread`: how threads are started, and what names them.

`threading` is built on these few primitives and keeps its own Python code.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from greenlet import getcurrent

from greenify import core
from greenify.core import slices
from greenify.core.hub import Hub
from greenify.core.native import own_threads
from greenify.core.registry import hubs, on_new_hub
from greenify.event import Event
from greenify.green._copies.builtin import bound_twin
from greenify.green._foreign import library_threads
from greenify.green._threads import large_stacks
from greenify.green._threads.green_thread import GreenThread, report_unraisable
from greenify.green._threads.handles import (
    Sentinel,
    ThreadHandle,
    maintain_shutdown_locks,
    running,
    shutdown,
)
from greenify.green._threads.primitives import Lock, RLock, local
from greenify.identity import get_ident

__all__ = [
    "Lock",
    "LockType",
    "RLock",
    "ThreadHandle",
    "allocate_lock",
    "count",
    "execv",
    "execve",
    "get_ident",
    "get_ident_twin",
    "local",
    "maintain_shutdown_locks",
    "make_thread_handle",
    "set_sentinel",
    "shutdown",
    "start_joinable_thread",
    "start_new_thread",
]

_native_execv = os.execv
_native_execve = os.execve
_native_count = _thread._count
_native_start = _thread.start_new_thread
_is_finalizing = sys.is_finalizing
_native_set_sentinel = getattr(_thread, "_set_sentinel", None)


def _get_ident(module: Any, /) -> int:
    # `get_ident`, written out: `threading.current_thread` calls it all the time.
    try:
        ident: int = getcurrent().ident  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        # Not a thread's own greenlet, or the interpreter is being finalised.
        return get_ident()
    except NameError:  # in a copy: see `bound_twin`
        return module.get_ident()  # type: ignore[no-any-return]
    return ident


get_ident_twin = bound_twin(_thread.get_ident, _get_ident)

LockType = Lock
allocate_lock = Lock


def _name_main_thread(hub: Hub) -> None:
    if isinstance(hub.main, GreenThread):
        return  # a thread that has forked keeps its identifier
    # Makes `get_ident` in the main greenlet as quick as in the others.
    hub.main.ident = hub.ident  # type: ignore[attr-defined]


on_new_hub(_name_main_thread)


def _check(function: object, args: object, kwargs: object) -> None:
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")


@atexit.register
def _exit() -> None:
    global _exiting
    _exiting = True


_exiting = False  # spares every start of a thread a call


#: Called in the starter with each thread that is about to be started, if somebody wants to know.
on_launch: Callable[[GreenThread], None] | None = None


def _launch(
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: ThreadHandle | None,
) -> int:
    if _exiting and _is_finalizing():
        # No thread would ever run.  Up to CPython 3.11 the interpreter starts one that dies at once, then it
        # raises an error.
        return int(_native_start(function, args, kwargs))
    if large_stacks.wanted or (library_threads.packages and library_threads.wanted(function)):
        finish = None if handle is None else handle._finish
        ident = library_threads.launch(function, args, kwargs, finish, report_unraisable)
        if handle is not None:
            handle._ident = ident
        return ident
    hub = core.home_hub()
    if hub.foreign():
        return _launch_there(hub, function, args, kwargs, handle)
    thread = _make(hub, function, args, kwargs, handle)
    if on_launch is not None:
        on_launch(thread)
    hub.start(thread)
    if slices.allowed and not slices.armed:
        slices.arm()
    return thread.ident


def _make(
    hub: Hub,
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: ThreadHandle | None,
) -> GreenThread:
    thread = hub.spares.pop() if hub.spares else GreenThread(hub)
    thread.become(function, args, kwargs, handle)
    if handle is not None:
        handle._ident = thread.ident
    made: GreenThread = thread
    return made


def _launch_there(
    hub: Hub,
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: ThreadHandle | None,
) -> int:
    # A native thread starts a green one: greenlets are made on the OS thread that runs them.
    made: list[int] = []
    ready = Event()

    def make() -> None:
        thread = _make(hub, function, args, kwargs, handle)
        if on_launch is not None:
            on_launch(thread)
        made.append(thread.ident)
        ready.set()
        hub.start(thread)

    hub.call_from_thread(make)
    ready.wait()
    return made[0]


def start_new_thread(
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    /,
) -> int:
    """Start a thread and return its identifier; see `_thread.start_new_thread`.

    On an OS thread that has no hub, the new thread runs on the main thread's hub.
    """
    kwargs = {} if kwargs is None else kwargs
    _check(function, args, kwargs)
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    return _launch(function, args, kwargs, None)


def execv(path: Any, argv: Any, /) -> NoReturn:
    """`os.execv`, with the timer of the time slices stopped first: a new program would inherit it."""
    slices.disarm()
    _native_execv(path, argv)


def execve(path: Any, argv: Any, env: Any) -> NoReturn:
    """`os.execve`; see `execv`."""
    slices.disarm()
    _native_execve(path, argv, env)


def count() -> int:
    """The number of threads that run, green and native, without the main one and our own workers."""
    return (
        int(_native_count())
        - own_threads(begun=True)
        + sum(isinstance(task, GreenThread) for hub in tuple(hubs) for task in tuple(hub.tasks))
    )


def set_sentinel() -> Any:
    """A lock that is released when the calling thread ends (`_thread._set_sentinel`, up to CPython 3.12)."""
    current = getcurrent()
    if isinstance(current, GreenThread):
        if current.end is None:
            current.end = Sentinel(current)
        return current.end
    ends = library_threads.ends()
    if ends is not None:
        # A native thread that was started for a library or a large stack: green threads join it.
        sentinel = Sentinel(current)
        ends.append(sentinel._finish)
        return sentinel
    if current.parent is None and not hasattr(current, "hub") and _native_set_sentinel is not None:
        return _native_set_sentinel()
    return Lock()


def start_joinable_thread(
    function: Callable[[], object], handle: ThreadHandle | None = None, daemon: bool = True
) -> ThreadHandle:
    """Start ``function()`` in a thread that `handle` can join; see `_thread.start_joinable_thread`."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if handle is None:
        handle = ThreadHandle()
    elif not isinstance(handle, ThreadHandle):
        raise TypeError("'handle' must be a _ThreadHandle")
    sys.audit("_thread.start_joinable_thread", function, daemon, handle)
    if handle._state != "not started":
        raise RuntimeError("thread already started")
    handle._state = "running"
    handle._daemon = daemon
    running.add(handle)
    try:
        _launch(function, (), {}, handle)
    except BaseException:
        running.discard(handle)
        handle._state = "not started"
        raise
    return handle


def make_thread_handle(ident: int) -> ThreadHandle:
    """A handle of a thread that was not started here (`_thread._make_thread_handle`)."""
    handle = ThreadHandle()
    handle._ident = ident
    handle._state = "running"
    return handle
