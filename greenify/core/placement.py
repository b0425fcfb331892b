"""Which numbers the descriptors of greenify's own get: high ones, out of the way of the program.

Programs choose low numbers by themselves: socket activation puts its sockets at 3 and up, a daemon closes 3
to 64, a shell's redirections have one digit.  With threads nothing else lies there.  The kernel gives the
lowest free number to whatever is opened, and only a duplicate can be asked to lie higher (F_DUPFD).  So a
kernel queue of ours is replaced by a duplicate (`high_copy`).  libuv cannot be told a new number: its
descriptors are opened while all the numbers below are taken (`high_numbers`, 0.5 ms for a hub).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

__all__ = ["forked", "high_copy", "high_numbers", "lowest"]

_closerange = os.closerange
_dup = os.dup
_fcntl = fcntl.fcntl
_pipe = os.pipe
_sysconf = os.sysconf
_DUP = fcntl.F_DUPFD_CLOEXEC

# Where ours begin, if the limit allows it: below 1024, for `select` takes no more.
_FIRST = 900

# How many numbers there have to be for a hub and a few more.
_ROOM = 16

# The duplicates of all calls of `high_numbers` that are under way.
_taken: list[list[int]] = []


def lowest() -> int:
    """Where our own descriptors begin: at 900, or in the last tenth of what the limit allows."""
    limit = _sysconf("SC_OPEN_MAX")
    return _FIRST if limit < 0 else max(0, min(_FIRST, limit * 9 // 10, limit - _ROOM))


def high_copy(fd: int, above: int = 0) -> int:
    """A duplicate of `fd` with a high number, -1 if there is none left.

    Programs that this one executes do not inherit it.

    Args:
        above: by how much its number is to be higher than the first one of ours.
    """
    try:
        copy: int = _fcntl(fd, _DUP, lowest() + above)
    except OSError:
        return -1
    return copy


@contextmanager
def high_numbers() -> Iterator[None]:
    """Have everything that is opened meanwhile, by this OS thread or another, get a high number if possible.

    For openings that take no time: others see the low numbers taken as long.
    """
    numbers: list[int] = []
    _taken.append(numbers)
    try:
        try:
            reader, writer = _pipe()
            numbers += (reader, writer)
            first = lowest() - 1
            if writer < first:
                for fd in map(_dup, repeat(reader)):
                    numbers.append(fd)
                    if fd >= first:
                        break
        except OSError:
            # Not that many to be had: low numbers it is.
            _release(numbers)
        yield
    finally:
        _release(numbers)
        _taken.remove(numbers)


def _release(numbers: list[int]) -> None:
    numbers.sort()
    while numbers:
        last = first = numbers.pop()
        while numbers and numbers[-1] == first - 1:
            first = numbers.pop()
        _closerange(first, last + 1)


def forked() -> None:
    """In a child: close what another thread of the parent had taken at the moment of the fork."""
    while _taken:
        _release(_taken.pop())
