"""The cooperative twin of `_thread`: a thread is a greenlet on a hub.

`threading` is built on these few primitives and keeps its own Python code.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from greenlet import GreenletExit, getcurrent, greenlet

from greenify import core
from greenify.core import slices
from greenify.core.entries import Throw
from greenify.core.fork import fork_hooks
from greenify.core.hub import Hub
from greenify.core.registry import hubs, on_new_hub
from greenify.core.workers import default_workers
from greenify.errors import TaskExit
from greenify.event import Event
from greenify.green.builtin import BuiltinTwin
from greenify.green.native_threads import shut_down_natives
from greenify.identity import get_ident
from greenify.local import forget_thread, local
from greenify.locks import Lock, RLock
from greenify.task import report_lost

__all__ = [
    "GreenThread",
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
_native_set_sentinel = getattr(_thread, "_set_sentinel", None)


class _GetIdent(BuiltinTwin):
    """`_thread.get_ident` in the patched modules."""

    __slots__ = ()

    # Written out here, as `threading.current_thread` calls it all the time.
    def __call__(self) -> int:
        try:
            ident: int = getcurrent().ident  # type: ignore[attr-defined]
        except (AttributeError, RuntimeError):
            # Not a thread's own greenlet, or the interpreter is being finalised.
            return get_ident()
        return ident


get_ident_twin = _GetIdent(_thread.get_ident, get_ident)

LockType = Lock
allocate_lock = Lock


def _name_main_thread(hub: Hub) -> None:
    if isinstance(hub.main, GreenThread):
        return  # a thread that has forked keeps its identifier
    # Makes `get_ident` in the main greenlet as quick as in the others.
    hub.main.ident = hub.ident  # type: ignore[attr-defined]


on_new_hub(_name_main_thread)


class GreenThread(greenlet):
    """A thread of the program, run as a greenlet."""

    __slots__ = (
        "_args",
        "_function",
        "_kwargs",
        "_to_raise",
        "handle",
        "hub",
        "ident",
        "locals",
        "sentinel",
    )

    def __init__(
        self,
        hub: Hub,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        handle: ThreadHandle | None = None,
    ) -> None:
        greenlet.__init__(self, None, hub.greenlet)
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self.hub = hub
        self.ident = id(self)
        self.locals: Any = None
        self.sentinel: Lock | None = None
        self.handle = handle
        self._to_raise: BaseException | None = None

    def throw_soon(self, error: BaseException) -> None:
        """Have `error` raised in the thread, where it waits or at its beginning.  Any OS thread."""
        if self.hub.foreign():
            self.hub.call_from_thread(self.throw_soon, error)
        elif self.dead:
            pass
        elif not self:
            self._to_raise = error
        else:
            self.hub.ready.append(Throw(self, error))

    def __repr__(self) -> str:
        thread = threading._active.get(self.ident)  # type: ignore[attr-defined]
        what = repr(thread) if thread is not None else repr(self._function)
        return f"<GreenThread {self.ident:#x} running {what}>"

    def run(self) -> None:
        """The life of the thread; never lets an exception out into the hub."""
        try:
            try:
                self._call()
            finally:
                forget_thread(self)
        except (TaskExit, GreenletExit):
            pass  # killed once more while it was ending
        except BaseException:
            report_lost(self)
        finally:
            self.hub.finished(self)
            sentinel = self.sentinel
            if sentinel is not None:
                self.sentinel = None
                if sentinel.locked():
                    sentinel.release()
                _shutdown_locks().discard(sentinel)
            if self.handle is not None:
                self.handle._finish()
                self.handle = None

    def _call(self) -> None:
        function = self._function
        try:
            if self._to_raise is not None:
                raise self._to_raise
            function(*self._args, **self._kwargs)
        except (SystemExit, TaskExit, GreenletExit):
            # SystemExit ends a thread silently, as documented of _thread.exit.
            pass
        except BaseException as exc:
            if not self.hub.abandoned:
                _unraisable(exc, function)
        finally:
            del self._function, self._args, self._kwargs


def _unraisable(exc: BaseException, function: Callable[..., object]) -> None:
    tb = exc.__traceback__
    tb = tb.tb_next if tb is not None else None  # without our own frame
    exc = exc.with_traceback(tb)
    hook = sys.unraisablehook
    if sys.version_info >= (3, 13):
        message, subject = f"Exception ignored in thread started by {function!r}", None
    else:
        message, subject = "Exception ignored in thread started by", function
    if hook is not sys.__unraisablehook__:
        try:
            hook(
                types.SimpleNamespace(
                    exc_type=type(exc),
                    exc_value=exc,
                    exc_traceback=tb,
                    err_msg=message,
                    object=subject,
                )
            )
            return
        except Exception as error:
            # The interpreter reports an error in the hook in the hook's place.
            exc, tb = error, error.__traceback__
            message, subject = "Exception ignored in sys.unraisablehook", hook
    # The default hook takes only a C structure that cannot be made from here: print what it prints.
    stream = sys.stderr
    if stream is None:
        return
    import traceback

    heading = message if subject is None else f"{message}: {subject!r}"
    stream.write(heading + "\n")
    traceback.print_exception(type(exc), exc, tb, file=stream)
    stream.flush()


def _check(function: object, args: object, kwargs: object) -> None:
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")


def _launch(
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    handle: ThreadHandle | None,
) -> int:
    hub = core.home_hub()
    if not hub.foreign():
        if slices.allowed and not slices.armed:
            slices.arm()
        thread = GreenThread(hub, function, args, kwargs, handle)
        if handle is not None:
            handle._ident = thread.ident
        hub.start(thread)
        return thread.ident
    # A native thread starts a green one: greenlets are made on the OS thread that runs them.
    made: list[int] = []
    ready = Event()

    def make() -> None:
        thread = GreenThread(hub, function, args, kwargs, handle)
        if handle is not None:
            handle._ident = thread.ident
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
        - default_workers.running
        + sum(isinstance(task, GreenThread) for hub in tuple(hubs) for task in tuple(hub.tasks))
    )


def set_sentinel() -> Lock:
    """A lock that is released when the calling thread ends (`_thread._set_sentinel`, up to CPython 3.12)."""
    current = getcurrent()
    if isinstance(current, GreenThread):
        current.sentinel = Lock()
        return current.sentinel
    if current.parent is None and not hasattr(current, "hub") and _native_set_sentinel is not None:
        native: Lock = _native_set_sentinel()
        return native
    return Lock()


def _shutdown_locks() -> set[Any]:
    found: set[Any] = threading._shutdown_locks  # type: ignore[attr-defined]
    return found


# How many locks there may be before the ended threads are looked for.
_tolerated = 64


def maintain_shutdown_locks() -> None:
    """Forget the locks of threads that have ended (`threading._maintain_shutdown_locks`, up to CPython 3.12).

    It is called at the beginning and the end of every thread, and the original asks each living thread's
    lock every time (10,000 threads: 50 million calls).  A green thread takes its lock out when it ends, so
    this is for the native threads from before the patch, once their number may have doubled.
    """
    global _tolerated
    locks = _shutdown_locks()
    if len(locks) >= _tolerated:
        locks.difference_update([lock for lock in tuple(locks) if not lock.locked()])
        _tolerated = max(64, 2 * len(locks))


class ThreadHandle:
    """What `threading.Thread` holds of its thread from CPython 3.13 on (`_thread._ThreadHandle`)."""

    __slots__ = ("__weakref__", "_daemon", "_done", "_ident", "_state")

    def __init__(self) -> None:
        self._ident = 0
        self._state = "not started"
        self._daemon = True
        self._done = Event()

    @property
    def ident(self) -> int:
        """The identifier of the thread, 0 before it starts."""
        return self._ident

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._done.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, for at most `timeout` seconds (None or negative: no limit)."""
        if timeout is not None and timeout < 0:
            timeout = None
        if self._state == "not started":
            raise RuntimeError("thread not started")
        if not self._done.is_set() and self._ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        self._done.wait(timeout)

    def _set_done(self) -> None:
        if self._state == "not started":
            raise RuntimeError("thread not started")
        self._finish()

    def _finish(self) -> None:
        self._state = "done"
        _running.discard(self)
        self._done.set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object: ident={self._ident}>"


_running: set[ThreadHandle] = set()


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
    _running.add(handle)
    try:
        _launch(function, (), {}, handle)
    except BaseException:
        _running.discard(handle)
        handle._state = "not started"
        raise
    return handle


def make_thread_handle(ident: int) -> ThreadHandle:
    """A handle of a thread that was not started here (`_thread._make_thread_handle`)."""
    handle = ThreadHandle()
    handle._ident = ident
    handle._state = "running"
    return handle


def shutdown() -> None:
    """Join every thread that is not a daemon (`_thread._shutdown`)."""
    me = get_ident()
    while True:
        waiting = [h for h in tuple(_running) if not h._daemon and h._ident != me]
        if not waiting:
            break
        for handle in waiting:
            handle.join()
    shut_down_natives()


def _after_in_child() -> None:
    me = get_ident()
    for handle in tuple(_running):
        handle._done._at_fork_reinit()
        if handle._ident != me:
            handle._finish()


fork_hooks.append(_after_in_child)
