"""Waiting on a descriptor with the OS thread itself, where there is no hub to park on."""

from __future__ import annotations

import errno
import os
import select

from greenify.core.clock import monotonic as _monotonic

__all__ = ["bad_descriptor", "wait_natively"]

_poll = select.poll

# The longest wait that is asked of poll(), in seconds: it counts milliseconds in an int.
_LONGEST = 1e6


def bad_descriptor() -> OSError:
    """The error for a descriptor that was closed while somebody waited on it."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def wait_natively(fd: int, writing: bool, deadline: float | None) -> bool:
    """Block the OS thread until `fd` is readable (writable if `writing`), hung up, or in error.

    Returns:
        False if `deadline`, a `time.monotonic` time in seconds, passed first.

    Raises:
        OSError: EBADF, `fd` is not open.
    """
    poll = _poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN | select.POLLPRI)
    while True:
        timeout = None if deadline is None else min(max(0.0, deadline - _monotonic()), _LONGEST)
        found = poll.poll(None if timeout is None else -int(-timeout * 1000 // 1))
        if found:
            if found[0][1] & select.POLLNVAL:
                raise bad_descriptor()
            return True
        if deadline is not None and _monotonic() >= deadline:
            return False
