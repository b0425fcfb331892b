"""A timer that goes by the processor time of one OS thread, and sends its signal to that thread only.

Those of `signal.setitimer` are the process's.  What another native thread computes counts, too, and the signal
goes to the main thread all the same, which may be waiting in C code: `poll` and `nanosleep` end with EINTR
there, whatever `siginterrupt` says.  A thread that waits uses no processor time, so this timer does not expire
then.  Linux has it, and Python has no function for it.
"""

from __future__ import annotations

import _thread
import sys
from functools import cache
from typing import Any, NamedTuple

from greenify.core.c_interface import c_function, ctypes_core

__all__ = ["ThreadTimer"]

_get_native_id = _thread.get_native_id

_CLOCK_THREAD_CPUTIME_ID = 3
_SIGEV_THREAD_ID = 4
_SIZE_OF_EVENT = 64


class ThreadTimer:
    """For the calling OS thread, stopped.  It does not outlive an exec, and a fork's child has none.

    Args:
        number: the signal.

    Raises:
        OSError: the system has no such timers, or none left.
    """

    __slots__ = ("_functions", "_timer")

    def __init__(self, number: int) -> None:
        functions = _functions()
        if functions is None:
            raise OSError("there are no timers for a thread")
        self._functions = functions
        # struct sigevent: a value, the signal, how it is told, the thread.
        event = bytes(8) + b"".join(
            value.to_bytes(4, sys.byteorder)
            for value in (number, _SIGEV_THREAD_ID, _get_native_id())
        )
        event += bytes(_SIZE_OF_EVENT - len(event))
        # A number that is as wide as a pointer, or none, which is zero.
        timer = functions.number()
        if functions.create(_CLOCK_THREAD_CPUTIME_ID, event, functions.byref(timer)):
            raise OSError("the system has no timer left")
        self._timer: int | None = timer.value

    def set(self, seconds: float) -> bool:
        """Have it expire whenever the thread has used so many seconds, or stop it with 0.  Any thread.

        Returns:
            False if the system refuses.
        """
        nanoseconds = int(seconds * 1e9)
        # struct itimerspec: the interval and the first time, in seconds and nanoseconds.
        pair = b"".join(
            value.to_bytes(8, sys.byteorder) for value in divmod(nanoseconds, 1_000_000_000)
        )
        return not self._functions.settime(self._timer, 0, pair * 2, None)

    def delete(self) -> None:
        """Give it back.  Any thread."""
        self._functions.delete(self._timer)


class _Functions(NamedTuple):
    create: Any
    settime: Any
    delete: Any
    number: Any
    byref: Any


@cache
def _functions() -> _Functions | None:
    # The layouts above are those of Linux with 64 bits.
    if sys.platform != "linux" or sys.maxsize <= 2**32:
        return None
    c = ctypes_core()
    if c is None:
        return None
    number = type("_Number", (c._SimpleCData,), {"_type_": "P"})
    for library in (None, "librt.so.1"):  # the latter: glibc before 2.34
        found = _Functions(
            c_function("timer_create", "iPP", "i", library),
            c_function("timer_settime", "PiPP", "i", library),
            c_function("timer_delete", "P", "i", library),
            number,
            c.byref,
        )
        if None not in found:
            return found
    return None
