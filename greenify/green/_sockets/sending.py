"""Sending: the methods of `socket.socket` that wait for room, in their cooperative form.

Each tries the system call without blocking and parks the caller when the kernel has no room.  `send` and
`sendall` are the hot path and are written out; the others share `attempt`.

On a stream without a time-out, the kernel itself goes on until everything is sent; asked not to block it
stops early, so that is done in `whole.py`.
"""

from __future__ import annotations

import _socket
from operator import index
from typing import Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.tracebacks import leave_out_twin
from greenify.green._sockets import whole
from greenify.green._sockets.dns import resolve
from greenify.green._sockets.state import (
    SocketState,
    attempt,
    deadline_of,
    refuses,
    settle,
    state_of,
    wait_for,
)

__all__ = ["send", "sendall", "sendmsg", "sendmsg_afalg", "sendto"]

_native = _socket.socket
_DONTWAIT = _socket.MSG_DONTWAIT

_send = _native.send
_sendto = _native.sendto


def send(self: Any, data: Any, flags: int = 0, /) -> int:
    """Send `data` and return how much of it was taken; see `socket.socket.send`.

    Less than all is taken only of a socket with a time-out, or when an error came in between.
    """
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _send(self, data, flags)
    if flags:
        flags = index(flags)
    try:
        sent = _send(self, data, flags | _DONTWAIT)
    except BlockingIOError:
        sent = -1
    else:
        if (
            (data.__class__ is bytes and sent == len(data))
            or not state.stream
            or state.timeout is not None
        ):
            return sent
    try:
        if state.stream and state.timeout is None:
            return whole.send(self, state, flags, data, max(sent, 0))
        return int(attempt(self, state, _send, True, flags, data))
    except BaseException:
        leave_out_twin()
        raise


def sendall(self: Any, data: Any, flags: int = 0, /) -> None:
    """Send all of `data`; the time-out is one for the whole; see `socket.socket.sendall`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking or (flags and state.never_waits(index(flags))):
        _native.sendall(self, data, flags)
        return
    if data.__class__ is bytes:
        # The usual case: the kernel takes everything at once.
        try:
            sent = _send(self, data, flags | _DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
    else:
        try:
            rest = whole.byte_view(data)
        except TypeError:
            _native.sendall(self, data, flags)  # says what is wrong with it, in its own words
            raise
        if not rest:
            _send(self, rest, flags | _DONTWAIT)
            return
    deadline = deadline_of(state, True)
    waited = False
    try:
        while rest:
            try:
                rest = rest[_send(self, rest, flags | _DONTWAIT) :]
            except BlockingIOError:
                if not waited and refuses(self, state):
                    raise
            else:
                if state.limits is not None and state.timeout is None:
                    deadline = deadline_of(state, True)  # the kernel's is for each piece
                elif deadline is not None and rest and _monotonic() >= deadline:
                    raise TimeoutError("timed out")
                continue
            wait_for(self, state, True, deadline)
            waited = True
    except BaseException:
        leave_out_twin()
        raise


def sendto(self: Any, data: Any, *args: Any) -> int:
    """See `socket.socket.sendto`: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    flags = args[0] if len(args) == 2 else 0
    if not 1 <= len(args) <= 2 or not state.blocking or not isinstance(flags, int):
        # Or it raises what it has to say of the arguments.
        return _sendto(self, data, *args)
    address = resolve(self, args[-1])
    if not state.stream and not flags:
        # The usual case: the kernel has room for a datagram.
        try:
            return _sendto(self, data, _DONTWAIT, address)
        except BlockingIOError:
            pass

    def to_address(sock: Any, piece: Any, flags: int) -> int:
        return _sendto(sock, piece, flags, address)

    try:
        if state.stream and state.timeout is None:
            return whole.send(self, state, flags, data, 0, to_address)
        return int(attempt(self, state, to_address, True, flags, data))
    except BaseException:
        leave_out_twin()
        raise


def sendmsg(
    self: Any, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
) -> int:
    """See `socket.socket.sendmsg`."""
    state = state_of(self)
    if not state.blocking or not (whole.is_iterable(buffers) and whole.is_iterable(ancdata)):
        return int(_native.sendmsg(self, buffers, ancdata, flags, address))
    buffers = list(buffers)
    ancdata = list(ancdata)
    address = resolve(self, address)

    def to_address(sock: Any, flags: int) -> int:
        return _native.sendmsg(sock, buffers, ancdata, flags, address)

    try:
        sent = int(attempt(self, state, to_address, True, flags))
        if state.stream and state.timeout is None:
            pieces = whole.rest_of(buffers, sent)
            if pieces:
                # The ancillary data went with the first byte.
                sent += whole.sendmsg(self, state, flags, pieces)
        return sent
    except BaseException:
        leave_out_twin()
        raise


def sendmsg_afalg(self: Any, *args: Any, **kwargs: Any) -> int:
    """See `socket.socket.sendmsg_afalg`."""
    state = state_of(self)
    if not state.blocking:
        return int(_native.sendmsg_afalg(self, *args, **kwargs))

    def with_flags(sock: Any, flags: int) -> Any:
        return _native.sendmsg_afalg(sock, *args, **{**kwargs, "flags": flags})

    try:
        return int(attempt(self, state, with_flags, True, kwargs.get("flags", 0)))
    except BaseException:
        leave_out_twin()
        raise
