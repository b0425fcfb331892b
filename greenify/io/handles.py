"""Handles: who owns an object of libuv, and how it ends.

libuv aborts the process over a handle that is used in the wrong state, from the wrong thread or after its
end, and pyuv crashes over one that is collected while it is open.  So every handle has one `Handle` that
knows its state, is used by one OS thread, and is pinned by the loop until libuv has let go of it.  What the
user holds refers to the `Handle`, never the other way round: it may be collected at any time.

The callbacks here run inside libuv.  They store what has come and wake who waits, and never switch.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

from greenify import core
from greenify.core import HubWaiter
from greenify.core.hub import _get_ident
from greenify.core.loop import pyuv
from greenify.errors import HubError, UVError

__all__ = ["EAGAIN", "EOF", "Handle", "Waiters", "claim", "closed_error", "wait_among", "wake"]

# `_get_ident` comes from there because this file may be imported after a patch: it has to be the native one.

_set_inheritable = os.set_inheritable
_close = os.close

EAGAIN: int = pyuv.errno.UV_EAGAIN
EOF: int = pyuv.errno.UV_EOF

Waiters = list[HubWaiter]


class Handle:
    """A handle of libuv.

    Args:
        hub: whose loop it belongs to: the one of the calling OS thread.
        uv: the object of pyuv, new.
    """

    __slots__ = ("_ident", "fd", "hub", "name", "uv")

    def __init__(self, hub: core.Hub, uv: Any) -> None:
        self.hub = hub
        self.uv = uv  # None from the beginning of the end on
        self.fd = -1
        self.name = "stream"
        self._ident = hub.ident
        hub.loop.pinned[uv] = self
        hub.users += 1

    def open(self, fd: int) -> None:
        """Give the handle its descriptor, which from now on is the handle's to close."""
        try:
            self.uv.open(fd)
        except BaseException:
            _close(fd)
            self.close_now()
            raise
        self.opened(fd)

    def opened(self, fd: int) -> None:
        """Note the descriptor: the program shall not close it (`os.close`, `os.closerange`)."""
        self.fd = fd
        self.hub.private_fds.add(fd)

    def check(self) -> Any:
        """The object of pyuv, for immediate use.

        Raises:
            StreamClosedError: it has been closed, or belongs to the parent process.
            HubError: the caller runs on another OS thread.
        """
        uv = self.uv
        if uv is None:
            raise closed_error(self.name)
        if _get_ident() != self._ident:
            raise HubError(
                f"this {self.name} belongs to another OS thread: use it there "
                "(call_from_thread brings a call there), or open one here"
            )
        return uv

    def foreign(self) -> bool:
        """Whether the caller runs on another OS thread."""
        return _get_ident() != self._ident

    def call(self, method: Any, *args: Any) -> Any:
        """Call a method of the object of pyuv, with its errors turned into ours."""
        try:
            return method(*args)
        except pyuv.error.UVError as exc:
            raise UVError.of(exc.args[0], self.name) from None

    def close_now(self) -> None:
        """Close the handle, whatever it does.  Again, or after the loop, it does nothing."""
        uv, self.uv = self.uv, None
        if uv is None:
            return
        self.release(uv)
        self.hub.private_fds.discard(self.fd)
        uv.close(self._on_close)
        self.wake_all()

    def _on_close(self, uv: Any) -> None:
        # Twice, if a signal handler has come between: see `_Report`.
        if self.hub.loop.pinned.pop(uv, None) is not None:
            self.hub.users -= 1

    def lost(self) -> None:
        """See `greenify.core.loop.Owner`."""
        self.uv = None

    def release(self, uv: Any) -> None:
        """Called just before `uv` is closed."""

    def wake_all(self) -> None:
        """Wake everybody who waits for something of the handle."""


def closed_error(name: str) -> UVError:
    """What is raised for a use after the end."""
    return UVError.of(errno.EBADF, f"this {name} is closed")


def claim(fd: int) -> int:
    """A descriptor for libuv: not inheritable, and not one of the first three, which it never closes."""
    if fd > 2:
        _set_inheritable(fd, False)
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        _close(fd)


def wait_among(handle: Handle, waiters: Waiters, deadline: float | None, what: str) -> None:
    """Wait once, as one of `waiters`, which a callback of `handle` wakes; may return for no reason.

    Args:
        deadline: a `time.monotonic` time in seconds, or None.
        what: what the caller waits for, for the message.

    Raises:
        UVTimeoutError: the deadline has passed.
    """
    waiter = HubWaiter(handle.hub)
    waiters.append(waiter)
    try:
        if not waiter.wait(deadline):
            raise UVError.of(errno.ETIMEDOUT, f"{what} took longer than the time allowed")
    finally:
        # Whoever has woken it has taken it out.
        if not waiter.woken:
            waiters.remove(waiter)


def wake(waiters: Waiters) -> None:
    """Wake all of `waiters` and take them out."""
    while waiters:
        # In this order: a signal handler may raise in between, and a second call does nothing.
        waiters[0].wake()
        del waiters[0]
