"""The native identifier of a green thread (`threading.get_native_id`).

It is documented to name a thread among all of the system, and programs make keys and names of files of it.
The kernel has one for all green threads of an OS thread, so each gets a number of its own, larger than any of
the kernel's, with that of its OS thread in it: functions of `os` that take the kernel's take this one, too.
"""

from __future__ import annotations

import _thread
from itertools import count
from typing import Any

from greenify.identity import current_thread_greenlet

__all__ = ["get_native_id", "os_thread_of"]

_native_get_native_id = _thread.get_native_id

# The kernel's are below 2**22, so ours stay below 2**46, which JSON's readers keep as it is.
_SHIFT = 24
_MASK = (1 << _SHIFT) - 1

_numbers = count(1)


def get_native_id() -> int:
    """`threading.get_native_id`.  An OS thread's own greenlet, and a native thread, have the kernel's."""
    thread: Any = current_thread_greenlet()
    hub = getattr(thread, "hub", None)
    if hub is None or thread is hub.main or hub.foreign():
        # Foreign is the native thread that runs a green thread's call.
        return _native_get_native_id()
    number: int = getattr(thread, "native_id", 0)
    if not number:
        number = thread.native_id = hub.native_id << _SHIFT | next(_numbers) & _MASK
    return number


def os_thread_of(number: Any) -> Any:
    """The kernel's identifier of the OS thread that a green thread runs in; all else as it is."""
    if isinstance(number, int) and number > _MASK:
        return number >> _SHIFT
    return number
