"""Threads that are started with a larger stack than green ones have: native threads.

Green threads run on the stack of their OS thread, the main one's as a rule, whose size the system has fixed
(``ulimit -s``).  A program that calls ``threading.stack_size(512 << 20)`` goes on to fill it.
"""

from __future__ import annotations

import _thread
from typing import Any

__all__ = ["forget", "look", "stack_size", "wanted"]

_native_stack_size = _thread.stack_size

#: Whether threads that are started now get a stack of their own.
wanted = False


def stack_size(*size: Any) -> int:
    """`threading.stack_size`: threads that are started from now on get a stack of `size` bytes.

    While that is more than the main OS thread has, they are native threads.  Without a size: the default.

    Returns:
        What was set before.
    """
    before = int(_native_stack_size(*size))
    _compare(size[0] if size else 0)
    return before


def look() -> None:
    """Find out what has been set before the patch."""
    size = _native_stack_size()  # which sets it to the default
    if size:
        _native_stack_size(size)
    _compare(size)


def _compare(size: int) -> None:
    global wanted
    if not size:
        wanted = False
        return
    import resource

    available, _ = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = available != resource.RLIM_INFINITY and size > available


def forget() -> None:
    """Green threads are no longer what the program starts."""
    global wanted
    wanted = False
