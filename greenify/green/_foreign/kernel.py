"""What waits in the kernel without a descriptor that tells of the end: disks, locks, pipes with each other.

Its names are the names of `os`, and its caller is `green.os`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from greenify import core
from greenify.core.tracebacks import leave_out_twin
from greenify.green._files.descriptor_io import PLAIN, kind_of, read_into, ready, runs_natively
from greenify.green._foreign.calls import hand_over
from greenify.green._foreign.trying import until_free

__all__ = [
    "copy_file_range",
    "eventfd_read",
    "eventfd_write",
    "fdatasync",
    "fsync",
    "getrandom",
    "lockf",
    "posix_fallocate",
    "splice",
    "sync",
]

# Not every system has all of them.
_copy_file_range: Any = getattr(os, "copy_file_range", None)
_eventfd_read: Any = getattr(os, "eventfd_read", None)
_eventfd_write: Any = getattr(os, "eventfd_write", None)
_fdatasync: Any = getattr(os, "fdatasync", None)
_fsync = os.fsync
_getrandom: Any = getattr(os, "getrandom", None)
_lockf = os.lockf
_posix_fallocate: Any = getattr(os, "posix_fallocate", None)
_splice: Any = getattr(os, "splice", None)
_sync = os.sync
_get_blocking = os.get_blocking

_LOCK_AT_ONCE = {os.F_LOCK: os.F_TLOCK}
_SPLICE_AT_ONCE: int = getattr(os, "SPLICE_F_NONBLOCK", 2)
_RANDOM_AT_ONCE: int = getattr(os, "GRND_NONBLOCK", 1)

# Bytes from which a copy in the kernel takes longer (some 300 us) than handing it over costs.
_LONG_COPY = 1 << 20


def fsync(fd: Any) -> None:
    """See `os.fsync`; a native thread waits for the disk."""
    hand_over(_fsync, fd)


def fdatasync(fd: Any) -> None:
    """See `os.fdatasync`; a native thread waits for the disk."""
    hand_over(_fdatasync, fd)


def sync() -> None:
    """See `os.sync`; a native thread waits for the disks."""
    hand_over(_sync)


def posix_fallocate(fd: int, offset: int, length: int, /) -> None:
    """See `os.posix_fallocate`; a native thread waits for the file system."""
    hand_over(_posix_fallocate, fd, offset, length)


def copy_file_range(src: int, dst: int, count: int, *args: Any, **kwargs: Any) -> int:
    """See `os.copy_file_range`; a native thread copies what is 1 MiB and more."""
    if type(count) is int and count >= _LONG_COPY:
        return int(hand_over(_copy_file_range, src, dst, count, *args, **kwargs))
    return int(_copy_file_range(src, dst, count, *args, **kwargs))


def getrandom(size: int, flags: int = 0) -> bytes:
    """See `os.getrandom`; a native thread waits where the kernel has no entropy yet."""
    if type(flags) is int and not flags & _RANDOM_AT_ONCE:
        try:
            at_once: bytes = _getrandom(size, flags | _RANDOM_AT_ONCE)
            return at_once
        except BlockingIOError:
            return bytes(hand_over(_getrandom, size, flags))
    found: bytes = _getrandom(size, flags)
    return found


def lockf(fd: int, command: int, length: int, /) -> None:
    """See `os.lockf`; waits for the lock by trying again."""
    at_once = _LOCK_AT_ONCE.get(command)
    if at_once is None or runs_natively():
        _lockf(fd, command, length)
    else:
        until_free(lambda: _lockf(fd, at_once, length))


def _waits_on(fd: Any) -> int | None:
    """The number of a blocking descriptor; None if the native function has nothing to wait for with it.

    Args:
        fd: what the native function takes, a number or an object with ``fileno()``, and whatever it refuses.
    """
    if not isinstance(fd, int):
        fileno = getattr(fd, "fileno", None)
        fd = fileno() if callable(fileno) else None
    if type(fd) is not int or fd < 0 or runs_natively():
        return None
    return fd if kind_of(fd) != PLAIN and _get_blocking(fd) else None


def eventfd_read(fd: Any) -> int:
    """See `os.eventfd_read`; waits until the counter is not zero."""
    number = _waits_on(fd)
    if number is None:
        return int(_eventfd_read(fd))
    buffer = bytearray(8)
    try:
        read_into(number, kind_of(number), [buffer])
    except BaseException:
        leave_out_twin()
        raise
    return int.from_bytes(buffer, sys.byteorder)


def eventfd_write(fd: Any, value: int) -> None:
    """See `os.eventfd_write`; waits while the counter is full."""
    number = _waits_on(fd) if type(value) is int else None
    if number is not None:
        while not ready(number, True):
            core.wait(number, True)
        if value > 1:
            # A ready counter takes one more, but perhaps not that many.
            hand_over(_eventfd_write, number, value)
            return
    _eventfd_write(fd, value)


def splice(src: int, dst: int, count: int, *args: Any, **kwargs: Any) -> int:
    """See `os.splice`; waits for either side, one of which is a pipe."""
    names = ("offset_src", "offset_dst", "flags")
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    flags = options.get("flags", 0)
    refused = len(args) > len(names) or not options.keys() <= set(names)
    if refused or type(flags) is not int or flags & _SPLICE_AT_ONCE or runs_natively():
        return int(_splice(src, dst, count, *args, **kwargs))
    options["flags"] = flags | _SPLICE_AT_ONCE
    while True:
        # A socket minds its own flag only, so that it is asked before; a non-blocking one says so itself.
        if _get_blocking(src) and not ready(src, False):
            core.wait(src, False)
            continue
        if _get_blocking(dst) and not ready(dst, True):
            core.wait(dst, True)
            continue
        try:
            return int(_splice(src, dst, count, **options))
        except BlockingIOError:
            if not (_get_blocking(src) and _get_blocking(dst)):
                raise
            core.sleep(0.001)  # a pipe has room, but not for a whole page
