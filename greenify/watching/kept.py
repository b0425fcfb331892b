"""The stacks of a process in which C code keeps the interpreter lock and does not come back.

No Python code can run then, that of the watch included.  But faulthandler can write the stacks from a signal
handler in C, and a timer of the kernel's can send that signal to one chosen thread: the one that looks, which
puts the timer off at every look.  So no system call of the program's is interrupted, and what the program
does with faulthandler itself (`faulthandler.dump_traceback_later`) is not touched.

The timer does not run while the hub sleeps.  The hub's own thread sets it when that is over, for the call may
be the first thing that happens then.

On Linux only, and where ctypes finds the functions.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from typing import Any

from greenify.core import waiters
from greenify.core.native import get_native_id as _get_native_id

__all__ = ["Alarm"]

# Of <bits/time.h> and <bits/sigevent.h>.
_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4

_mask = signal.pthread_sigmask

_functions: Any = None
_number: int | None = None  # the signal, once faulthandler has been told of it


def _load() -> Any:
    """The functions of the C library; False if they are not to be had."""
    global _functions
    if _functions is None:
        _functions = False
        if sys.platform == "linux":
            try:
                from greenify.watching.timers import Functions

                _functions = Functions()
            except (ImportError, OSError, AttributeError):
                pass  # no ctypes, or another C library: there are no such stacks then
    return _functions


def _caught() -> int:
    """The signals that have handlers in this process, as bits."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("SigCgt:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass  # without /proc: what Python knows of has to do
    return 0


def _signal() -> int | None:
    """A signal that nobody uses, with faulthandler's handler."""
    global _number
    if _number is None and sys.__stderr__ is not None:
        caught = _caught()
        for number in range(signal.SIGRTMAX - 2, signal.SIGRTMIN + 2, -1):
            if not caught >> (number - 1) & 1 and signal.getsignal(number) == signal.SIG_DFL:
                try:
                    faulthandler.register(number, sys.__stderr__.fileno(), all_threads=True)
                except (OSError, ValueError, RuntimeError):
                    return None  # there is no standard error to write to
                _number = number
                break
    return _number


class Alarm:
    """Has all stacks written to standard error when `put_off` has not been called for too long.

    Args:
        seconds: for how long; infinity for never.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: Any = None
        self._thread = 0  # which native thread it is for
        self._generation = 0  # in which process
        self._set = 0.0  # when it was put off last; 0 if it is not set
        self._failed = seconds == float("inf")

    def prepare(self) -> None:
        """Make the timer, for `resume`.  On the thread that the signal is for."""
        if not self._failed:
            self._make()

    def resume(self, now: float) -> None:
        """Begin to count if the timer stands still.  Any thread; nothing before `prepare`."""
        timer = self._timer
        if timer is not None and not self._set and self._generation == waiters.generation:
            self._set = now
            _load().set(timer, self._seconds)

    def put_off(self, now: float) -> None:
        """Begin to count anew.  On the thread that the signal is for."""
        if now - self._set < self._seconds / 4 or self._failed:
            return
        if self._thread != _get_native_id() or self._generation != waiters.generation:
            self._make()
        if self._timer is not None:
            self._set = now
            self._failed = not _load().set(self._timer, self._seconds)

    def stop(self) -> None:
        """Count no more, until `put_off`."""
        if self._set and self._generation == waiters.generation:
            _load().set(self._timer, 0.0)
        self._set = 0.0

    def close(self) -> None:
        """Give the timer up."""
        timer, self._timer = self._timer, None
        self._thread = 0
        self._set = 0.0
        # A child of a fork has inherited none, and may have another one of that number.
        if timer is not None and self._generation == waiters.generation:
            _load().delete(timer)

    def _make(self) -> None:
        self.close()
        self._thread = _get_native_id()
        self._generation = waiters.generation
        number = _signal() if _load() else None
        if number is not None:
            self._timer = _load().create(_CLOCK_MONOTONIC, _SIGEV_THREAD_ID, number, self._thread)
        self._failed = self._timer is None
        if number is not None:
            _mask(signal.SIG_UNBLOCK, (number,))
