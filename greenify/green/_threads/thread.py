"""The cooperative twin of `_thread`: a thread is a greenlet on a hub.

`threading` is built on these few primitives and keeps its own Python code.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import getweakrefcount

from greenlet import GreenletExit, getcurrent, greenlet

from greenify import core
from greenify.core import slices
from greenify.core.entries import Throw
from greenify.core.hub import Hub
from greenify.core.native import own_threads
from greenify.core.registry import hubs, on_new_hub
from greenify.errors import TaskExit
from greenify.event import Event
from greenify.green._copies.builtin import bound_twin
from greenify.green._foreign import library_threads
from greenify.green._threads import large_stacks
from greenify.green._threads.handles import (
    Sentinel,
    ThreadHandle,
    maintain_shutdown_locks,
    running,
    shutdown,
)
from greenify.green._threads.primitives import Lock, RLock, local
from greenify.green._threads.threading import _bootstrap
from greenify.identity import get_ident
from greenify.local import forget_thread
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

# How many greenlets a hub keeps for further threads: some 8 KiB each.
_SPARES = 64

# How many ready ones are looked at for a late wake-up, at 10 ns each.
_SEARCHED = 100

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


class GreenThread(greenlet):
    """A thread of the program, run as a greenlet; or several threads, one after the other.

    A new greenlet costs a mapping of memory for its frames and takes it back at its end: 8.9 us on CPython
    3.11, where one that has been used before is there after 0.3 us.  So a greenlet whose thread has ended
    stays in ``hub.spares`` for another one, unless somebody might notice.
    """

    # `greenify_track` is a trace's, two others are for who asks from outside (`inspect.since`): CPython 3.11
    # takes four times as long for an attribute in a dictionary.
    __slots__ = (
        "_args", "_function", "_kwargs", "_lives", "end", "greenify_track", "greenify_waits",
        "greenify_woken", "hub", "ident", "locals",
    )  # fmt: skip

    # Set when a raw greenlet is known to have run inside of this one: it may be suspended, and would go on as
    # a part of the next thread.
    inner = False

    def __init__(self, hub: Hub) -> None:
        greenlet.__init__(self, None, hub.greenlet)
        self._function: Callable[..., object] | None = None
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        self._lives = 0  # how many threads it has been
        self.hub = hub
        self.ident = id(self)
        self.locals: Any = None
        self.end: Sentinel | ThreadHandle | None = None

    def become(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        end: ThreadHandle | None,
    ) -> None:
        """Be the thread that calls ``function(*args, **kwargs)``, to be started by `Hub.start`."""
        if self._lives:
            # What the last one has left: its context variables; its trace functions (`tracing`).
            self.gr_context = None
            vars(self).clear()
        self._lives += 1
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self.end = end

    def throw_soon(self, error: BaseException) -> None:
        """Have `error` raised in the thread, where it waits or when it first does.  Any OS thread."""
        if self.hub.foreign():
            self.hub.call_from_thread(self.throw_soon, error)
        else:
            self.hub.ready.append(Throw(self, error, _Life(self)))

    def __repr__(self) -> str:
        thread = threading._active.get(self.ident)  # type: ignore[attr-defined]
        what = repr(thread) if thread is not None else repr(self._function)
        return f"<GreenThread {self.ident:#x} running {what}>"

    run = _bootstrap

    def _report(self, exc: BaseException) -> None:
        # SystemExit ends a thread silently, as documented of _thread.exit.
        if self.hub.abandoned or isinstance(exc, (SystemExit, TaskExit, GreenletExit)):
            return
        try:
            _unraisable(exc, self._function)
        except (TaskExit, GreenletExit):
            pass  # killed once more while it was ending
        except BaseException:
            report_lost(self)

    def _finish(self) -> None:
        try:
            self._function = None
            self._args = ()
            self._kwargs = {}
            forget_thread(self)
        except (TaskExit, GreenletExit):
            pass
        except BaseException:
            report_lost(self)
        finally:
            self.hub.finished(self)
            end = self.end
            if end is not None:
                self.end = None
                end._finish()

    def _reusable(self) -> bool:
        """Whether nobody knows this greenlet who would take the next thread for the one that has ended."""
        hub = self.hub
        ready = hub.ready
        return (
            len(hub.spares) < _SPARES
            and not hub.abandoned
            and self.parent is hub.greenlet  # it is another one's after a fork (`core.fork`)
            and self.locals is None
            and not self.inner
            # It has set nothing that a new one would not have (`switches`); asked without a call.
            and "settings" not in self.__dict__
            and not getweakrefcount(self)
            # No late wake-up, which a raw greenlet's caller would take for its answer.
            and len(ready) < _SEARCHED
            and self not in ready
        )


class _Life:
    """One of the threads that a greenlet is, as the sender of a `Throw`."""

    __slots__ = ("_life", "_thread")

    def __init__(self, thread: GreenThread) -> None:
        self._thread = thread
        self._life = thread._lives

    def wanted(self) -> bool:
        """Whether that thread has not ended."""
        return self._thread._function is not None and self._thread._lives == self._life


def _unraisable(exc: BaseException, function: Callable[..., object] | None) -> None:
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
        ident = library_threads.launch(function, args, kwargs, finish, _unraisable)
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
