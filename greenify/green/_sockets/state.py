"""What a cooperative socket remembers, and how it waits.

`socket.socket` has three slots, and its class is patched in place, so that sockets, subclasses and references
from before the patch become cooperative too.  There is no room for a fourth slot in such sockets.  The slot
of ``_closed``, a flag, therefore holds a `SocketState`, and ``_closed`` becomes a property that reads the
flag there.

The descriptor's O_NONBLOCK flag stays what plain Python would make it (set for sockets with a time-out,
clear for those without), for other processes may share it.  Sending and receiving pass MSG_DONTWAIT instead.
Calls that know no such flag set O_NONBLOCK for their duration (`without_blocking`).  Two kinds keep it
(`make_nonblocking`): a TLS connection, which nobody can share, and a listener that has accepted, which the
forked workers of a server do share, so that no moment is right for clearing the flag.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from greenify import core
from greenify.core.blocking import bad_descriptor
from greenify.core.descriptors import Descriptor, Side
from greenify.core.kernel_queue import WRITE
from greenify.core.registry import current_hub, finalising, get_hub, is_main_thread

__all__ = [
    "SocketState",
    "attempt",
    "deadline_of",
    "make_nonblocking",
    "register",
    "restore_natively",
    "settle",
    "state_of",
    "state_slot",
    "wait_for",
    "without_blocking",
]

T = TypeVar("T")

_monotonic = time.monotonic
_native = _socket.socket
_gettimeout = _native.gettimeout
_settimeout = _native.settimeout
_fileno = _native.fileno
_DONTWAIT = _socket.MSG_DONTWAIT
# Flags with which the kernel never waits, whatever the descriptor is.
_NEVER_WAIT = _DONTWAIT | getattr(_socket, "MSG_ERRQUEUE", 0)
# Where a short read proves that nothing is left.  Elsewhere it may have stopped at a boundary: between
# messages (SCTP), or where descriptors or credentials belong (AF_UNIX).
_SEAMLESS_FAMILIES = (_socket.AF_INET, _socket.AF_INET6)
_SEAMLESS_PROTOCOLS = (0, _socket.IPPROTO_TCP)

# The slot behind socket.socket._closed, under a name of our own.
state_slot: Any = socket.socket.__dict__["_closed"]


class SocketState:
    """The state of one cooperative socket."""

    __slots__ = (
        "asked",
        "blocking",
        "closed",
        "descriptor",
        "limits",
        "native_blocking",
        "read",
        "seamless",
        "stream",
        "timeout",
    )

    def __init__(self, sock: socket.socket, closed: bool) -> None:
        # An absent timeout is None in Python's terms, a non-blocking socket has 0.0.
        timeout = _gettimeout(sock)
        self.closed = closed
        self.timeout = timeout
        self.blocking = timeout != 0.0
        self.native_blocking = timeout is None
        if timeout:
            # With a time-out of its own the C code would poll before each call.
            _settimeout(sock, 0.0)
        kind: int = _native.type.__get__(sock)
        self.stream = kind == _socket.SOCK_STREAM
        self.seamless = (
            self.stream
            and _native.family.__get__(sock) in _SEAMLESS_FAMILIES
            and _native.proto.__get__(sock) in _SEAMLESS_PROTOCOLS
        )
        # Writing or not -> seconds: SO_SNDTIMEO and SO_RCVTIMEO.
        self.limits: dict[bool, float] | None = None
        self.descriptor: Descriptor | None = None
        self.read: Side | None = None
        self.asked = False  # something has been written since the last read, over TLS

    def __bool__(self) -> bool:
        # What remains in the slot of a socket that outlives the patch still reads as the flag.
        return self.closed

    def never_waits(self, flags: int) -> bool:
        """Whether `flags` make a call return at once although the socket may wait."""
        return self.timeout is None and bool(flags & _NEVER_WAIT)


def settle(sock: Any, closed: bool | None = None) -> SocketState:
    """The state of `sock`, made now if it has none; sets its ``closed`` flag if one is given."""
    try:
        state = state_slot.__get__(sock)
    except AttributeError:
        state = False  # not initialised yet
    if state.__class__ is not SocketState:
        state = SocketState(sock, bool(state))
        state_slot.__set__(sock, state)
    if closed is not None:
        state.closed = closed
    return state


def state_of(sock: Any) -> SocketState:
    """The state of `sock`, made now if it has none."""
    state: SocketState = sock._state
    return state if state.__class__ is SocketState else settle(sock)


def without_blocking(
    sock: socket.socket, state: SocketState, method: Callable[..., T], *args: Any
) -> T:
    """``method(sock, *args)`` with O_NONBLOCK set meanwhile: for a call that knows no MSG_DONTWAIT.

    The flag is set in any case, for another socket on the same file may have cleared it.
    """
    _settimeout(sock, 0.0)
    try:
        return method(sock, *args)
    finally:
        if state.native_blocking and _fileno(sock) >= 0:
            _settimeout(sock, None)


def attempt(
    sock: Any, state: SocketState, method: Any, writing: bool, flags: int, *args: Any
) -> Any:
    """``method(sock, *args, flags)`` again and again until the kernel does something.

    Raises:
        TimeoutError: the socket's time-out is over.
        OSError: what the call raises; EAGAIN only if `flags` say not to wait.
    """
    deadline = deadline_of(state)
    asking = flags | _DONTWAIT
    while True:
        try:
            return method(sock, *args, asking)
        except BlockingIOError:
            if flags and state.never_waits(flags):
                raise
        # Not in the handler: its exception would be the context of whatever ends the wait.
        wait_for(sock, state, writing, deadline)


def make_nonblocking(sock: socket.socket, state: SocketState) -> None:
    """Set O_NONBLOCK for good.

    The flag is set in any case, for another socket on the same file may have cleared it.
    """
    _settimeout(sock, 0.0)
    state.native_blocking = False


def restore_natively(sock: socket.socket) -> None:
    """Give `sock` back to the C code: its time-out as the C code's own."""
    state = state_slot.__get__(sock)
    if state.__class__ is SocketState:
        state_slot.__set__(sock, state.closed)
        if _fileno(sock) >= 0:
            _settimeout(sock, state.timeout)


def deadline_of(state: SocketState) -> float | None:
    """The deadline of an operation that begins now, as `time.monotonic` seconds."""
    timeout = state.timeout
    return None if timeout is None else _monotonic() + timeout


def wait_for(
    sock: socket.socket, state: SocketState, writing: bool, deadline: float | None
) -> None:
    """Park until the socket may have become readable (writable if `writing`).

    Raises:
        TimeoutError: the deadline passed first.
        BlockingIOError: the time that SO_RCVTIMEO or SO_SNDTIMEO allows is over.
        OSError: EBADF, the socket has been closed.
    """
    # One frame for everything: from CPython 3.12 on each one costs greenlet 200 bytes and time.
    limit = None
    if state.limits is not None and deadline is None:
        limit = state.limits.get(writing)
        if limit:
            deadline = _monotonic() + limit
    descriptor = state.descriptor
    if descriptor is None or descriptor.closed:
        descriptor = register(sock, state, writing)
        if descriptor is None:
            if not core.wait(_fileno(sock), writing, deadline):
                raise _over(limit)
            return
    elif writing and descriptor.mask & WRITE != WRITE:
        descriptor.hub.descriptors.want_write(descriptor)
    if not (descriptor.write if writing else descriptor.read).wait(deadline):
        raise _over(limit)
    if descriptor.closed:
        # Not to be tried again: the number may belong to another file by now.
        raise bad_descriptor()


def _over(limit: float | None) -> OSError:
    # The kernel's own limits end a call as if it did not block.
    return (
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if limit
        else TimeoutError("timed out")
    )


def register(sock: socket.socket, state: SocketState, writing: bool) -> Descriptor | None:
    """Register `sock` with the hub, which reports its present state; None on an OS thread without a hub.

    Raises:
        OSError: EBADF, the socket has been closed.
    """
    fd = _fileno(sock)
    if fd < 0:
        raise bad_descriptor()
    hub = current_hub()
    if hub is None and (not is_main_thread() or finalising()):
        return None
    descriptor = (hub or get_hub()).descriptors.attach(fd, writing)
    # The registration stays until the socket is closed, whoever made it.
    descriptor.uses = 0
    state.descriptor = descriptor
    state.read = descriptor.read
    return descriptor
