"""Trying again: for calls that can be told not to wait, and that nothing announces the end of a wait for.

A file lock, a database that is busy: the variant that does not wait is repeated, after pauses in which the
others run.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, TypeVar

from greenify import core
from greenify.core.clock import monotonic as _monotonic

__all__ = ["NOT_YET", "NotYet", "try_again", "until_free"]

T = TypeVar("T")


# The pauses in seconds: the second one, after one in which the others merely run once, and the longest.
_SHORTEST = 0.0002
_LONGEST = 0.01

# What the kernel says of a file lock that somebody else has.
_TAKEN = frozenset({errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK})


class _NotYet(Enum):
    NOT_YET = "not yet"


NotYet = Literal[_NotYet.NOT_YET]
NOT_YET: Final = _NotYet.NOT_YET
"""What an attempt returns that would have had to wait."""


def try_again(attempt: Callable[[], T | NotYet], deadline: float | None = None) -> T | NotYet:
    """Call ``attempt()`` until it returns something else than `NOT_YET`, and return that.

    The pauses between grow from nothing to 10 ms.  In a pause a kill, a time-out or a signal handler that
    raises ends it all, and nothing is left behind: between two attempts the caller has got nothing.  Any
    thread may call it; a native one sleeps.

    Args:
        attempt: must not wait.  What it raises is raised here.
        deadline: a `time.monotonic` time in seconds, or None.  There is an attempt at the deadline, too.

    Returns:
        `NOT_YET` if the deadline has passed.
    """
    result = attempt()
    pause = 0.0
    while result is NOT_YET:
        if deadline is not None:
            left = deadline - _monotonic()
            if left <= 0:
                return result
            pause = min(pause, left)
        core.sleep(pause)
        result = attempt()
        pause = min(max(2 * pause, _SHORTEST), _LONGEST)
    return result


def until_free(attempt: Callable[[], T]) -> T:
    """Call ``attempt()``, which takes a file lock if it is free, until it is; see `try_again`."""

    def once() -> T | NotYet:
        try:
            return attempt()
        except OSError as exc:
            if exc.errno in _TAKEN:
                return NOT_YET
            raise

    result = try_again(once)
    assert result is not NOT_YET  # there is no deadline
    return result
