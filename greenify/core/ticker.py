"""A native thread that notices who has the interpreter for long without computing.

The timer of the time slices runs only while the process computes.  A loop of calls that wait in C does not,
and a timer by the wall clock would interrupt system calls of C code (EINTR) and wake an idle process.  So a
native thread looks at the hub every 10 ms.  If the ready queue has not gone round since the last look, it
has the slices' handler run in the main thread, as if the signal had come; no signal is sent.

The thread stands still while the hub sleeps, and the end of the sleep ends that: it costs a program that
idles for longer than a tick a switch of threads now and then, and all others nothing.  It ends when there
are no more green threads, and before a fork.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenify.core.workers import start_hidden

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Ticker", "await_gone"]

# Seconds between two looks; whoever has had the interpreter for one to two of them lets the others run.
_TICK = 0.01

# After how many looks at the same round somebody asks what has become of the signals.
_STUCK = 10

# From CPython 3.14 on faulthandler stops at a thread that has not begun ("freed thread state"), and shows
# nothing of the others.  With real threads there is none in sight when `Thread.start` has returned.
_IS_SHOWN = sys.version_info >= (3, 14)

# How many seconds `stop` waits for the end of the thread, which comes as soon as it gets the interpreter.
_PATIENCE = 1.0

_mask = signal.pthread_sigmask
_native_lock = _thread.allocate_lock
_native_sleep = time.sleep
_exists = os.path.exists
_monotonic = time.monotonic
_get_native_id = _thread.get_native_id


class Ticker:
    """Looks at `hub` from a native thread, until `stop` or until there is nothing to look at.

    Args:
        overdue: called on the native thread as ``overdue(turns)`` when the hub's rounds have stood still
            since the last look.
        stuck: called there as ``stuck(hub)`` each time they have stood still for a tenth of a second more.
        idle: called there when the hub has no tasks any more, at the end of the thread.

    Raises:
        RuntimeError: no thread can be started.
    """

    def __init__(
        self,
        hub: Hub,
        overdue: Callable[[int], object],
        stuck: Callable[[Hub], object],
        idle: Callable[[], object],
    ) -> None:
        self._hub = hub
        self._overdue = overdue
        self._stuck = stuck
        self._idle = idle
        self._over = False
        self._native_id = 0
        # Who is to look at once releases the one; the thread holds the other while it runs.
        self._bell: Any = _native_lock()
        self._bell.acquire()
        self._running: Any = _native_lock()
        self._running.acquire()
        begun: Any = _native_lock()
        begun.acquire()
        start_hidden(self._run, begun)
        if _IS_SHOWN:
            begun.acquire()

    def _run(self, begun: Any) -> None:
        begun.release()
        # Signals are for the main thread: here one would neither end a wait of C code nor stay for `sigwait`.
        _mask(signal.SIG_BLOCK, signal.valid_signals())
        self._native_id = _get_native_id()
        try:
            self._look()
        finally:
            self._running.release()

    def _look(self) -> None:
        hub = self._hub
        seen = -1
        looks = 0
        while not self._over:
            self._bell.acquire(True, _TICK)
            if self._over:
                return
            if not hub.tasks:
                self._idle()
                return
            turns = hub.turns
            if turns != seen:
                seen = turns
                looks = 0
            elif not hub.sleeping:
                self._overdue(turns)
                looks += 1
                if not looks % _STUCK:
                    self._stuck(hub)
            else:
                # It has slept for a whole tick.
                hub.on_wake = self._ring
                if hub.sleeping:
                    self._bell.acquire()
                    seen = -1
                hub.on_wake = None

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been rung, and not heard yet

    def stop(self) -> None:
        """End the thread, and wait for its end.  Not on the thread itself."""
        self._over = True
        self._ring()
        if not self._running.acquire(True, _PATIENCE):
            return
        await_gone(self._native_id)


def await_gone(native_id: int) -> None:
    """Wait, natively, until the kernel has forgotten a native thread that has ended.

    It still counts it for a moment, and from CPython 3.12 on a fork warns of that.
    """
    path = f"/proc/self/task/{native_id}"
    limit = _monotonic() + _PATIENCE
    while _exists(path) and _monotonic() < limit:
        _native_sleep(0.00002)
