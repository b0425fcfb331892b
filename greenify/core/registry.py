"""Which OS thread has which hub, and what the calling one waits with."""

from __future__ import annotations

import _thread
import atexit
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent

from greenify.core.clock import monotonic as _monotonic
from greenify.core.hub import Hub
from greenify.core.native import await_ends
from greenify.core.tracebacks import leave_out_wait
from greenify.core.waiters import HubWaiter, ThreadWaiter, Waiter

__all__ = [
    "abandon_all",
    "before_close",
    "current_hub",
    "finalising",
    "get_hub",
    "gone",
    "home_hub",
    "hubs",
    "install",
    "is_main_thread",
    "new_waiter",
    "on_new_hub",
    "sleep",
]

_native_sleep = time.sleep
_get_ident = _thread.get_ident
_current_frames = sys._current_frames

# The native ids of the last threads that have begun to end, and since when.
_ending: deque[tuple[int, float]] = deque(maxlen=1000)


class _Slot:
    """Closes a thread's hub when the thread ends; the main thread's is kept for the process."""

    __slots__ = ("_close", "hub")

    def __init__(self, hub: Hub, kept: bool) -> None:
        self.hub = hub
        self._close = None if kept else _close_with_thread

    def __del__(self) -> None:
        if self._close is not None:
            _ending.append((self.hub.native_id, _monotonic()))
            self._close(self.hub)


def _close_with_thread(hub: Hub) -> None:
    # The slot can also die elsewhere: in a forked child, which has abandoned the hub.
    if hub.abandoned or hub.foreign():
        return
    ident = hub.ident
    _closing[ident] = hub
    # libuv must not be entered any more: see `_close_elsewhere` in resources.py.
    hub.in_loop = True
    try:
        for function in _before_close:
            function(hub)
    finally:
        hub.in_loop = False
        del _closing[ident]
        hubs.discard(hub)
        hub.close()


def _await_ends() -> None:
    # A thread whose state is being cleared runs the code above, from the middle of C code.  If the
    # interpreter is taken apart then, the thread ends there, and leaves objects behind that the last
    # collection trips over (a crash, on CPython 3.11).
    frames = _current_frames()
    # Those without a frame are about to begin with that.
    for hub in tuple(hubs):
        if hub.foreign() and hub.ident not in frames:
            _ending.append((hub.native_id, _monotonic()))
    await_ends(_ending)


atexit.register(_await_ends)


_local = _thread._local()
_home: Hub | None = None
hubs: set[Hub] = set()
_on_new: list[Callable[[Hub], None]] = []
_before_close: list[Callable[[Hub], None]] = []
# By their OS threads: hubs whose slot is gone and which have something to do yet.
_closing: dict[int, Hub] = {}


def on_new_hub(function: Callable[[Hub], None]) -> None:
    """Have ``function(hub)`` called for every hub that is made from now on."""
    _on_new.append(function)


def before_close(function: Callable[[Hub], None]) -> None:
    """Have ``function(hub)`` called at the end of every OS thread that has a hub, where its hub still runs.

    The main thread's hub is never closed.
    """
    _before_close.append(function)


def current_hub() -> Hub | None:
    """The hub of this OS thread, or None if it has none."""
    try:
        hub: Hub = _local.slot.hub
    except AttributeError:
        return _closing.get(_get_ident()) if _closing else None
    return hub


def get_hub() -> Hub:
    """The hub of this OS thread, made now if need be."""
    try:
        hub: Hub = _local.slot.hub
    except AttributeError:
        return current_hub() or install(Hub())
    return hub


def home_hub() -> Hub:
    """Where a greenlet goes that is started from an OS thread without a hub.

    The main thread's hub if it has one, for it outlives the others; else a new one on this thread.
    """
    hub = current_hub()
    if hub is not None:
        return hub
    if _home is not None:
        return _home
    return get_hub()


def gone(exc: BaseException) -> bool:
    """Whether `exc` has come into a wait because the hub has been closed: then nobody will be woken any more.

    While there is a hub, a greenlet that waits is not collected, for its own frames refer to it; so
    GreenletExit is a kill like any other.
    """
    if not isinstance(exc, GreenletExit):
        return False
    hub = getattr(getcurrent(), "hub", None) or current_hub()
    return hub is None or hub.abandoned


def install(hub: Hub) -> Hub:
    """Make `hub` the hub of this OS thread."""
    global _home
    hubs.add(hub)
    main = is_main_thread()
    if main:
        _home = hub
    _local.slot = _Slot(hub, main)
    for function in _on_new:
        function(hub)
    return hub


def abandon_all() -> list[Hub]:
    """In a child after a fork: forget every hub of the parent and return them."""
    global _home, _main_ident
    _main_ident = _get_ident()
    lost = list(hubs)
    for hub in lost:
        hub.abandoned = True
    hubs.clear()
    _home = None
    _local.__dict__.clear()
    return lost


def is_main_thread() -> bool:
    """Whether this is the OS thread that Python runs signal handlers in."""
    return _get_ident() == _main_ident


# After a fork the forking OS thread is the main one (`abandon_all`).
_main_ident: int = threading.main_thread().ident or _get_ident()


def new_waiter() -> Waiter:
    """A waiter for the caller: its greenlet, or its OS thread if that is not the main one and has no hub."""
    try:
        # 60 ns less than by way of the OS thread's local data.
        me: Any = getcurrent()
        return HubWaiter(me.hub)
    except AttributeError:
        pass  # not a thread's own greenlet
    except RuntimeError:
        return ThreadWaiter()  # the interpreter is being finalised, and nothing else runs any more
    try:
        return HubWaiter(_local.slot.hub)
    except AttributeError:
        if is_main_thread() or (_closing and current_hub() is not None):
            return HubWaiter(get_hub())
        return ThreadWaiter()


def sleep(seconds: float = 0) -> None:
    """Park the calling greenlet, so that the others run.  Any thread may call it.

    An OS thread that has no hub sleeps natively; the main thread gets a hub.

    Args:
        seconds: how long; 0 or less lets those run once that are ready.
    """
    hub = current_hub()
    if hub is None:
        if not is_main_thread() or finalising():
            _native_sleep(max(0.0, seconds))
            return
        hub = get_hub()
    try:
        if seconds <= 0:
            hub.pause()
            return
        waiter = HubWaiter(hub)
    except RuntimeError:
        if not finalising():
            leave_out_wait()
            raise
        _native_sleep(max(0.0, seconds))
        return
    except BaseException:
        leave_out_wait()
        raise
    try:
        waiter.wait(_monotonic() + seconds)
    except BaseException:
        leave_out_wait()
        raise


def finalising() -> bool:
    """Whether the interpreter is being finalised: greenlet tells nobody apart then, and nothing else runs."""
    try:
        getcurrent()
    except RuntimeError:
        return True
    return False
