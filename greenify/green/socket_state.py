"""What a cooperative socket remembers, and how it waits.

`socket.socket` has three slots, and its class is patched in place, so that sockets, subclasses and references
from before the patch become cooperative too.  There is no room for a fourth slot in such sockets.  The slot
of ``_closed``, a flag, therefore holds a `SocketState`, and ``_closed`` becomes a property that reads the
flag there.

The descriptor's O_NONBLOCK flag stays what plain Python would make it (set for sockets with a time-out,
clear for those without), for other processes may share it.  Sending and receiving pass MSG_DONTWAIT instead.
Only calls that know no such flag (accept, TLS) need the flag itself: `make_nonblocking`.
"""

from __future__ import annotations

import _socket
import socket
import time
from typing import Any

from greenify import core
from greenify.core.descriptors import WRITE, Descriptor, Side, bad_descriptor
from greenify.core.hub import current_hub, get_hub, is_main_thread

__all__ = [
    "SocketState",
    "deadline_of",
    "make_nonblocking",
    "restore_natively",
    "settle",
    "state_slot",
    "wait_for",
]

_monotonic = time.monotonic
_native = _socket.socket
_gettimeout = _native.gettimeout
_settimeout = _native.settimeout
_fileno = _native.fileno

# The slot behind socket.socket._closed, under a name of our own.
state_slot: Any = socket.socket.__dict__["_closed"]


class SocketState:
    """The state of one cooperative socket."""

    __slots__ = ("blocking", "closed", "descriptor", "native_blocking", "read", "stream", "timeout")

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
        self.descriptor: Descriptor | None = None
        self.read: Side | None = None

    def __bool__(self) -> bool:
        # What remains in the slot of a socket that outlives the patch still reads as the flag.
        return self.closed


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


def make_nonblocking(sock: socket.socket, state: SocketState) -> None:
    """Set O_NONBLOCK, for a call that cannot be told otherwise not to block."""
    if state.native_blocking:
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
        OSError: EBADF, the socket has been closed.
    """
    descriptor = state.descriptor
    if descriptor is None or descriptor.closed:
        fd = _fileno(sock)
        if fd < 0:
            raise bad_descriptor()
        hub = current_hub()
        if hub is None and not is_main_thread():
            if not core.wait(fd, writing, deadline):
                raise TimeoutError("timed out")
            return
        descriptor = (hub or get_hub()).descriptors.attach(fd, writing)
        # The registration stays until the socket is closed, whoever made it.
        descriptor.uses = 0
        state.descriptor = descriptor
        state.read = descriptor.read
    elif writing and descriptor.mask & WRITE != WRITE:
        descriptor.hub.descriptors.want_write(descriptor)
    side = descriptor.write if writing else descriptor.read
    if not side.wait(deadline):
        raise TimeoutError("timed out")
