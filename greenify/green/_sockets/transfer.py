"""Receiving and sending: the methods of `socket.socket` that move data, in their cooperative form.

Each tries the system call without blocking and parks the caller when the kernel has nothing for it.  `recv`,
`recv_into`, `send` and `sendall` are the hot path and are written out; the others share `attempt`.

On a stream without a time-out, the kernel itself goes on until everything is sent, or everything that
MSG_WAITALL asks for has come; asked not to block it stops early, so that is done here (`socket_whole`).
"""

from __future__ import annotations

import _socket
from operator import index
from typing import Any

from greenify.core.blocking import bad_descriptor
from greenify.core.clock import monotonic as _monotonic
from greenify.green._files.descriptor_io import ready
from greenify.green._sockets import whole
from greenify.green._sockets.dns import resolve
from greenify.green._sockets.state import (
    SocketState,
    at_end,
    attempt,
    deadline_of,
    file_flags,
    low_water,
    options_used,
    refuses,
    register,
    settle,
    state_of,
    wait_for,
)

__all__ = [
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "send",
    "sendall",
    "sendmsg",
    "sendmsg_afalg",
    "sendto",
]

_native = _socket.socket
_DONTWAIT = _socket.MSG_DONTWAIT
_WAITALL = _socket.MSG_WAITALL

_fileno = _native.fileno
_recv = _native.recv
_recv_into = _native.recv_into
_recvfrom = _native.recvfrom
_send = _native.send
_sendto = _native.sendto


def recv(self: Any, bufsize: int, flags: int = 0, /) -> bytes:
    """Receive up to `bufsize` bytes; see `socket.socket.recv`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recv(self, bufsize, flags)
    if flags:
        data: bytes = _receive(self, state, _recv, whole.recv, flags, bufsize)
        return data
    deadline = None
    side = state.read
    if side is None:
        first: bytes | None = _first(self, state, _recv, whole.recv, bufsize)
        if first is not None:
            return first
        waiting = True
    else:
        # The kernel has nothing: waiting first saves a failing system call.
        waiting = (
            side.drained and state.epoch is file_flags.epoch and not side.eager and bufsize > 0
        )
    while True:
        if waiting:
            # `wait_for`, written out for its frame: 0.3 us of a wait on CPython 3.13, and 200 bytes.
            if deadline is None and state.timeout is not None:
                deadline = deadline_of(state)
            if side is None or side.descriptor.closed:
                descriptor = register(self, state, False)
                side = None if descriptor is None else descriptor.read
            if side is None or state.limits is not None:
                if deadline is None:
                    deadline = deadline_of(state)
                wait_for(self, state, False, deadline)
                side = state.read
            elif not side.wait(deadline):
                raise TimeoutError("timed out")
            elif side.descriptor.closed:
                # Not to be tried again: the number may belong to another file by now.
                raise bad_descriptor()
        if side is not None:
            side.drained = True
        try:
            data = _recv(self, bufsize, _DONTWAIT)
        except BlockingIOError:
            if not waiting and refuses(self, state):
                raise
            if not state.stream and at_end(self, state, waiting):
                return _recv(self, bufsize)
            # Waiting in here would make this the context of whatever ends the wait.
            waiting = True
            continue
        except BaseException:
            if side is not None:
                side.drained = False
            raise
        if side is not None and not (state.seamless and 0 < len(data) < bufsize):
            side.drained = False
        return data


def _first(sock: Any, state: SocketState, method: Any, wholly: Any, *args: Any) -> Any:
    """What can be received at once, or None if the caller has to wait.

    A function of its own, for the frame in which an exception came up stays in memory until its function
    ends (256 bytes for each connection that waits for its first data).
    """
    if options_used and low_water(sock, state) > 1:
        return _receive(sock, state, method, wholly, 0, *args)
    try:
        return method(sock, *args, _DONTWAIT)
    except BlockingIOError:
        if refuses(sock, state):
            raise
        return None


def recv_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
    """Receive into `buffer`; see `socket.socket.recv_into`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recv_into(self, buffer, nbytes, flags)
    if flags:
        count: int = _receive(self, state, _recv_into, whole.recv_into, flags, buffer, nbytes)
        return count
    # Of other kinds of buffers there is no size to be had that never fails.
    kind = buffer.__class__
    size = nbytes or (
        buffer.nbytes if kind is memoryview else len(buffer) if kind is bytearray else 0
    )
    deadline = None
    side = state.read
    if side is None:
        first: int | None = _first(self, state, _recv_into, whole.recv_into, buffer, nbytes)
        if first is not None:
            return first
        waiting = True
    else:
        waiting = side.drained and state.epoch is file_flags.epoch and not side.eager and size > 0
    while True:
        if waiting:
            if deadline is None and state.timeout is not None:
                deadline = deadline_of(state)
            if side is None or side.descriptor.closed:
                descriptor = register(self, state, False)
                side = None if descriptor is None else descriptor.read
            if side is None or state.limits is not None:
                if deadline is None:
                    deadline = deadline_of(state)
                wait_for(self, state, False, deadline)
                side = state.read
            elif not side.wait(deadline):
                raise TimeoutError("timed out")
            elif side.descriptor.closed:
                raise bad_descriptor()
        if side is not None:
            side.drained = True
        try:
            count = _recv_into(self, buffer, nbytes, _DONTWAIT)
        except BlockingIOError:
            if not waiting and refuses(self, state):
                raise
            if not state.stream and at_end(self, state, waiting):
                return _recv_into(self, buffer, nbytes)
            waiting = True
            continue
        except BaseException:
            if side is not None:
                side.drained = False
            raise
        if side is not None and not (state.seamless and 0 < count < size):
            side.drained = False
        return count


def _receive(
    self: Any, state: SocketState, method: Any, wholly: Any, flags: int, *args: Any
) -> Any:
    # `method`, whose last argument are `flags`, on a socket that may wait.
    flags = index(flags)
    if state.stream:
        if state.timeout is None:
            if (flags & _WAITALL or low_water(self, state) > 1) and not state.never_waits(flags):
                return wholly(self, state, flags, *args)
        elif low_water(self, state) > 1:
            # The C code asks the kernel whether there is enough, and takes what it can get.
            deadline = deadline_of(state)
            while not ready(_fileno(self), False):
                wait_for(self, state, False, deadline)
    return attempt(self, state, method, False, flags, *args)


def _is_iterable(thing: Any) -> bool:
    try:
        iter(thing)
    except TypeError:
        return False
    return True


def recvfrom(self: Any, bufsize: int, flags: int = 0, /) -> Any:
    """See `socket.socket.recvfrom`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recvfrom(self, bufsize, flags)
    if flags or state.stream:
        return _receive(self, state, _recvfrom, whole.recvfrom, flags, bufsize)
    deadline = None
    waited = False
    while True:
        try:
            return _recvfrom(self, bufsize, _DONTWAIT)
        except BlockingIOError:
            if not waited and refuses(self, state):
                raise
            if at_end(self, state, waited):
                return _recvfrom(self, bufsize)
            # Waiting in here would make this the context of whatever ends the wait.
        if deadline is None:
            deadline = deadline_of(state)
        wait_for(self, state, False, deadline)
        waited = True


def recvfrom_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
    """See `socket.socket.recvfrom_into`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvfrom_into(self, buffer, nbytes, flags)
    return _receive(self, state, _native.recvfrom_into, whole.recvfrom_into, flags, buffer, nbytes)


def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvmsg(self, bufsize, ancbufsize, flags)
    return _receive(self, state, _native.recvmsg, whole.recvmsg, flags, bufsize, ancbufsize)


def recvmsg_into(self: Any, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg_into`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvmsg_into(self, buffers, ancbufsize, flags)
    # The native method may be called several times, and an iterator can be used once.
    if not _is_iterable(buffers):
        return _native.recvmsg_into(self, buffers, ancbufsize, flags)  # raises
    buffers = list(buffers)
    return _receive(
        self, state, _native.recvmsg_into, whole.recvmsg_into, flags, buffers, ancbufsize
    )


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
    if state.stream and state.timeout is None:
        return whole.send(self, state, flags, data, max(sent, 0))
    return int(attempt(self, state, _send, True, flags, data))


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

    if state.stream and state.timeout is None:
        return whole.send(self, state, flags, data, 0, to_address)
    return int(attempt(self, state, to_address, True, flags, data))


def sendmsg(
    self: Any, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
) -> int:
    """See `socket.socket.sendmsg`."""
    state = state_of(self)
    if not state.blocking or not (_is_iterable(buffers) and _is_iterable(ancdata)):
        return int(_native.sendmsg(self, buffers, ancdata, flags, address))
    buffers = list(buffers)
    ancdata = list(ancdata)
    address = resolve(self, address)

    def to_address(sock: Any, flags: int) -> int:
        return _native.sendmsg(sock, buffers, ancdata, flags, address)

    sent = int(attempt(self, state, to_address, True, flags))
    if state.stream and state.timeout is None:
        pieces = whole.rest_of(buffers, sent)
        if pieces:
            # The ancillary data went with the first byte.
            sent += whole.sendmsg(self, state, flags, pieces)
    return sent


def sendmsg_afalg(self: Any, *args: Any, **kwargs: Any) -> int:
    """See `socket.socket.sendmsg_afalg`."""
    state = state_of(self)
    if not state.blocking:
        return int(_native.sendmsg_afalg(self, *args, **kwargs))

    def with_flags(sock: Any, flags: int) -> Any:
        return _native.sendmsg_afalg(sock, *args, **{**kwargs, "flags": flags})

    return int(attempt(self, state, with_flags, True, kwargs.get("flags", 0)))
