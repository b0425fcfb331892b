"""Native threads of greenify's own: how they are started, counted and, before a fork, waited for."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any

from greenify.core import waiters
from greenify.core.clock import monotonic as _monotonic
from greenify.core.threading import _bootstrap

__all__ = [
    "NativeThread",
    "await_ends",
    "await_gone",
    "before_fork",
    "call_is_over",
    "callers_mask",
    "current_native",
    "forget_name",
    "get_native_id",
    "own_threads",
    "set_mask",
    "start_hidden",
]

_start_native = _thread.start_new_thread
_native_sleep = time.sleep
_get_ident = _thread.get_ident
#: The kernel's number of the calling OS thread; a green thread's `threading.get_native_id` is another one.
get_native_id = _thread.get_native_id
_exists = os.path.exists

# How many seconds a fork, and the interpreter's end, wait for that of threads, which comes as soon as they
# get the interpreter.
_PATIENCE = 1.0

_mask: Any = _signal.pthread_sigmask

# What the kernel may give to any thread of the process that has not blocked it.  The program does not know
# of our threads and cannot block it there: a signal that it waits for (`signal.sigwait`) would be lost.  The
# others are for the thread that has caused them.
_ANY_THREADS = frozenset(_signal.valid_signals()) - {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}

# These start no processes, which would inherit the mask.
_IN_C = frozenset(
    {BuiltinFunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType}
)

_named: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class NativeThread:
    """What is known of a thread of `start_hidden`.

    Args:
        dismiss: called before a fork if the thread is not `busy`, in the forking thread.  Has it end as soon
            as it gets the interpreter; False if it is to stay.
    """

    __slots__ = ("busy", "dismiss", "generation")

    def __init__(self, dismiss: Callable[[], bool] | None = None) -> None:
        self.dismiss = dismiss
        self.busy = dismiss is None
        self.generation = waiters.generation


#: Called before a fork when no native thread of ours is waited for any more: for what takes locks that one
#: may need for its end.
before_fork: list[Callable[[], None]] = []

# All of them, in this process and in those that it was forked from.
_threads: set[NativeThread] = set()

# By the identifiers of those that run.
_running: dict[int, NativeThread] = {}

# Those that have been started and do not run yet.
_starting: set[NativeThread] = set()

# Those that the program shall not see.
_own: set[NativeThread] = set()

# The native ids of the last ones that are about to end, and since when.
_ending: deque[tuple[int, float]] = deque(maxlen=1000)


def own_threads(begun: bool = False) -> int:
    """How many native threads of greenify's own there are, in all pools that are `hidden` and
    beside them.

    Args:
        begun: leave out those that the interpreter does not count yet (`_thread._count`).
    """
    now = waiters.generation
    return sum(
        1
        for thread in tuple(_own)
        if thread.generation == now and not (begun and thread in _starting)
    )


def start_hidden(
    function: Callable[..., object],
    *args: Any,
    hidden: bool = True,
    thread: NativeThread | None = None,
    ours: bool = False,
    signals: bool = False,
) -> None:
    """Call ``function(*args)`` on a new native thread that the program does not see.

    The kernel gives it no signals; see `callers_mask` for calls of the program's functions.

    Args:
        hidden: False for one that it sees (`own_threads`), which has the signal mask of whoever starts it.
        thread: for one that may end before a fork.
        ours: nothing of the program's runs there: debuggers are not to show it (`core/threading.py`).
        signals: a hidden one has the mask of whoever starts it, too.

    Raises:
        RuntimeError: no thread can be started.
    """
    me = NativeThread() if thread is None else thread
    _threads.add(me)
    _starting.add(me)
    if hidden:
        _own.add(me)

    def run() -> None:
        _starting.discard(me)
        ident = _get_ident()
        _running[ident] = me
        if hidden:
            # A tool of `sys.monitoring` has been told that the thread begins, and may have asked which it is.
            forget_name()
        try:
            function(*args)
        finally:
            # In this order: who finds it in neither need not wait for it.
            _ending.append((get_native_id(), _monotonic()))
            if _running.get(ident) is me:
                del _running[ident]
            _own.discard(me)
            _threads.discard(me)

    before = _mask(_signal.SIG_BLOCK, ())
    try:
        if hidden and not signals:
            # From the first moment on: a thread begins with the mask of who makes it.
            _mask(_signal.SIG_BLOCK, _ANY_THREADS)
        if ours:
            _start_native(_bootstrap, (run,))
        else:
            _start_native(run, ())
    except BaseException:
        _starting.discard(me)
        _own.discard(me)
        _threads.discard(me)
        raise
    finally:
        _mask(_signal.SIG_SETMASK, before)


def callers_mask(function: Callable[..., object]) -> set[int] | None:
    """The signal mask of the calling OS thread, with which a hidden thread is to call a function for it.

    None if the thread may keep its own: what is written in C starts no processes, and to set a mask twice
    takes longer than some calls.
    """
    return None if type(function) in _IN_C else _mask(_signal.SIG_BLOCK, ())


def set_mask(mask: set[int]) -> set[int]:
    """Set the signal mask of the calling OS thread; the one until then."""
    before: set[int] = _mask(_signal.SIG_SETMASK, mask)
    return before


def current_native() -> NativeThread | None:
    """What is known of the calling OS thread, if it is one of `start_hidden`."""
    return _running.get(_get_ident())


def call_is_over() -> None:
    """On a native thread, before the caller is woken: there is nothing left to do in this call, and a fork
    need not tell of it.
    """
    me = current_native()
    if me is not None and me.dismiss is not None:
        me.busy = False


def forget_name() -> None:
    """On a native thread: take it out of `threading.enumerate()`, at the end of a call for instance.

    Whoever asks for the current thread on a thread that `threading` has not started makes a stand-in of it,
    which would stay there.
    """
    ident = _get_ident()
    if isinstance(_named.get(ident), threading._DummyThread):
        _named.pop(ident, None)


def await_gone(native_id: int) -> None:
    """Wait, natively, until the kernel has forgotten a native thread that has ended.

    It still counts it for a moment, and from CPython 3.12 on a fork warns of that.
    """
    path = f"/proc/self/task/{native_id}"
    limit = _monotonic() + _PATIENCE
    while _exists(path) and _monotonic() < limit:
        _native_sleep(0.00002)


def await_ends(ending: deque[tuple[int, float]]) -> None:
    """Wait, natively, for the end of threads: their native ids, and since when they have been ending."""
    while ending:
        native_id, since = ending.pop()
        if since + _PATIENCE > _monotonic():  # else the number may be another one's
            await_gone(native_id)


def _before_fork() -> None:
    if sys.version_info >= (3, 12):
        # From there on a fork warns of every thread of the process, and it asks the kernel.
        _end_idle()
    for hook in before_fork:
        hook()


def _end_idle() -> None:
    # A thread that waits for the next call would not have been there without greenify, and neither would the
    # warning.  One that is in a call stands for a thread of the program, and a fork tells of that rightly.
    idle = [
        thread
        for thread in tuple(_threads)
        if thread.generation == waiters.generation
        and not thread.busy
        and thread.dismiss is not None
        and thread.dismiss()
    ]
    limit = _monotonic() + _PATIENCE
    for thread in idle:
        while thread in _threads and not thread.busy and _monotonic() < limit:
            _native_sleep(0.00002)
    # Those whose last call was a moment ago, too.
    await_ends(_ending)


os.register_at_fork(before=_before_fork)


def _await_beginning() -> None:
    # A thread that begins while the interpreter is taken apart crashes the process (seen on CPython 3.10).
    while any(thread.generation == waiters.generation for thread in tuple(_starting)):
        _native_sleep(0.0005)


atexit.register(_await_beginning)
