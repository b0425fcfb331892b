"""The kernel's timers for one thread, which Python has no functions for."""

from __future__ import annotations

import ctypes

__all__ = ["Functions"]


class _Event(ctypes.Structure):
    # struct sigevent, whose size is 64 bytes.
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_byte * 64),
    )


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    # struct itimerspec
    _fields_ = (("interval", _Time), ("value", _Time))


class Functions:
    """The C library's ``timer_*``.

    Raises:
        OSError, AttributeError: it has none.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(None)
            self._create = library.timer_create
        except AttributeError:
            library = ctypes.CDLL("librt.so.1")  # glibc before 2.34
            self._create = library.timer_create
        self._settime = library.timer_settime
        self._settime.argtypes = (
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.POINTER(_Setting),
            ctypes.c_void_p,
        )
        self._delete = library.timer_delete
        self._delete.argtypes = (ctypes.c_void_p,)

    def create(self, clock: int, notify: int, number: int, thread: int) -> ctypes.c_void_p | None:
        """A timer that sends the signal `number` to `thread`; None if the kernel has none to give."""
        event = _Event(number=number, notify=notify, thread=thread)
        timer = ctypes.c_void_p()
        failed = self._create(ctypes.c_int(clock), ctypes.byref(event), ctypes.byref(timer))
        return None if failed else timer

    def set(self, timer: ctypes.c_void_p, seconds: float) -> bool:
        """Have it expire once in so many seconds, or not at all with 0; False if it does not work."""
        whole = int(seconds)
        setting = _Setting(_Time(0, 0), _Time(whole, int((seconds - whole) * 1e9)))
        return not self._settime(timer, 0, ctypes.byref(setting), None)

    def delete(self, timer: ctypes.c_void_p) -> None:
        """Give it back."""
        self._delete(timer)
