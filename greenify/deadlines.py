"""What the time-outs of locks and queues come to: checked as the native locks do it, as a deadline."""

from __future__ import annotations

import _thread
from typing import Any

from greenify.core.clock import monotonic as _monotonic

__all__ = ["NO_LIMIT", "deadline_after", "deadline_from"]

#: The time-out of the locks that means none.  To be asked for by identity, which every small integer has, and
#: faster: Decimal(-1) is equal to it, and the native locks refuse that one before CPython 3.15.
NO_LIMIT = -1

_native_lock = _thread.allocate_lock
_LONGEST = _thread.TIMEOUT_MAX


def deadline_from(blocking: Any, timeout: Any) -> float | None:
    """Check the arguments of ``acquire`` as the native locks do; the deadline that follows from them."""
    if timeout.__class__ is int or timeout.__class__ is float:
        if timeout == NO_LIMIT and (blocking is False or blocking is True):
            return None
        if 0 <= timeout <= _LONGEST and blocking is True:
            return float(_monotonic() + timeout)
    # A native lock says what is wrong, in its own words.
    _native_lock().acquire(blocking, timeout)
    return None if not blocking or timeout == NO_LIMIT else _monotonic() + float(timeout)


def deadline_after(timeout: float | None) -> float | None:
    """The deadline that is `timeout` seconds from now, None for none.

    Raises:
        OverflowError: it is above `threading.TIMEOUT_MAX`.
        ValueError: it is not a number.
    """
    if timeout is None:
        return None
    if (timeout.__class__ is not float and timeout.__class__ is not int) or not timeout <= _LONGEST:
        # From CPython 3.15 on any real number will do.
        _native_lock().acquire(True, timeout)
        timeout = float(timeout)
    return _monotonic() + timeout
