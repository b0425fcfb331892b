"""What the kernel carries through by itself on a blocking stream, done with calls that do not block.

Without a time-out, a blocking send returns when everything is sent, and MSG_WAITALL makes a receive wait for
all that was asked for, SO_RCVLOWAT for so many bytes of it.  An error or the end of the stream in the middle
ends either early: what was moved counts, and the next call meets the error.

Each function takes the socket, its state, and the flags.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import Any

from greenify.green._sockets.state import SocketState, attempt, low_water, wait_for

__all__ = [
    "byte_view",
    "is_iterable",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "rest_of",
    "send",
    "sendmsg",
]

_native = _socket.socket
_PEEK = _socket.MSG_PEEK
_WAITALL = _socket.MSG_WAITALL


def is_iterable(thing: Any) -> bool:
    """Whether `thing` can be iterated over; if not, the native call has to complain."""
    try:
        iter(thing)
    except TypeError:
        return False
    return True


def recv(sock: Any, state: SocketState, flags: int, bufsize: int) -> bytes:
    """`socket.socket.recv` that waits for enough."""
    if bufsize <= 0:
        return _native.recv(sock, bufsize)  # returns at once, or raises
    return recvfrom(sock, state, flags, bufsize)[0]


def recvfrom(sock: Any, state: SocketState, flags: int, bufsize: int) -> tuple[bytes, Any]:
    """`socket.socket.recvfrom` that waits for enough."""
    if bufsize < 0:
        return _native.recvfrom(sock, bufsize)  # raises
    buffer = bytearray(bufsize)
    count, address = recvfrom_into(sock, state, flags, buffer, bufsize)
    return bytes(memoryview(buffer)[:count]), address


def recv_into(sock: Any, state: SocketState, flags: int, buffer: Any, nbytes: int) -> int:
    """`socket.socket.recv_into` that waits for enough."""
    size = len(byte_view(buffer))
    if not size or not 0 <= nbytes <= size:
        return _native.recv_into(sock, buffer, nbytes)  # returns at once, or raises
    return recvfrom_into(sock, state, flags, buffer, nbytes)[0]


def recvfrom_into(
    sock: Any, state: SocketState, flags: int, buffer: Any, nbytes: int
) -> tuple[int, Any]:
    """`socket.socket.recvfrom_into` that waits for enough."""
    view = byte_view(buffer)
    if not 0 <= nbytes <= len(view):
        return _native.recvfrom_into(sock, buffer, nbytes)  # raises
    if nbytes:
        view = view[:nbytes]
    address = None
    asking = flags & ~_WAITALL

    def step(rest: list[memoryview]) -> tuple[int, bool]:
        nonlocal address
        count, address = attempt(sock, state, _native.recvfrom_into, False, asking, rest[0], 0)
        return count, False

    return _fill(sock, state, flags, [view], step), address


def recvmsg(sock: Any, state: SocketState, flags: int, bufsize: int, ancbufsize: int) -> Any:
    """`socket.socket.recvmsg` that waits for enough."""
    if bufsize < 0:
        return _native.recvmsg(sock, bufsize)  # raises
    buffer = bytearray(bufsize)
    count, *others = recvmsg_into(sock, state, flags, [buffer], ancbufsize)
    return (bytes(memoryview(buffer)[:count]), *others)


def recvmsg_into(
    sock: Any, state: SocketState, flags: int, buffers: list[Any], ancbufsize: int
) -> Any:
    """`socket.socket.recvmsg_into` that waits for enough."""
    others: list[Any] = [[], 0, None]
    asking = flags & ~_WAITALL

    def step(rest: list[memoryview]) -> tuple[int, bool]:
        count, *others[:] = attempt(
            sock, state, _native.recvmsg_into, False, asking, rest, ancbufsize
        )
        # The kernel stops where ancillary data belongs.
        return count, bool(others[0])

    views = [byte_view(buffer) for buffer in buffers]
    return (_fill(sock, state, flags, views, step), *others)


def _fill(
    sock: Any,
    state: SocketState,
    flags: int,
    views: list[memoryview],
    step: Callable[[list[memoryview]], tuple[int, bool]],
) -> int:
    # Call step(what is left to fill), which returns how much it has filled and whether that is all.
    size = sum(map(len, views))
    enough = size if flags & _WAITALL else min(size, low_water(sock, state))
    total = 0
    rest = views
    while True:
        try:
            count, last = step(rest)
        except OSError:
            if not total:
                raise
            return total
        if flags & _PEEK:
            # Nothing was taken out: wait until more of it is there.
            descriptor = state.descriptor
            if (
                last
                or not count
                or count >= enough
                or (descriptor is not None and descriptor.read.eager)
            ):
                return count
            wait_for(sock, state, False, None)
            continue
        total += count
        rest = rest_of(rest, count)
        if last or not count or total >= enough:
            return total


def byte_view(data: Any) -> memoryview:
    """The bytes of any contiguous buffer.

    Raises:
        TypeError: it is no buffer, or not contiguous.
    """
    view = memoryview(data)
    try:
        return view.cast("B")
    except ValueError:
        # A format that memoryview does not know (ctypes, numpy).
        from pickle import PickleBuffer

        return PickleBuffer(view).raw()


def rest_of(buffers: list[Any], done: int) -> list[memoryview]:
    """What is left of `buffers` after their first `done` bytes."""
    rest = []
    for buffer in buffers:
        view = byte_view(buffer)
        if done < len(view):
            rest.append(view[done:])
        done = max(0, done - len(view))
    return rest


def send(
    sock: Any,
    state: SocketState,
    flags: int,
    data: Any,
    sent: int,
    method: Callable[[Any, Any, int], int] = _native.send,
) -> int:
    """Send `data`, of which `sent` bytes have been sent already; returns how much has been sent."""
    if not sent:
        sent = attempt(sock, state, method, True, flags, data)
    return sent + _drain(
        sock, state, flags, rest_of([data], sent), lambda own, rest, how: method(own, rest[0], how)
    )


def sendmsg(sock: Any, state: SocketState, flags: int, pieces: list[memoryview]) -> int:
    """Send all of `pieces`, after something before them has been sent."""
    return _drain(
        sock, state, flags, pieces, lambda own, rest, how: _native.sendmsg(own, rest, (), how)
    )


def _drain(
    sock: Any,
    state: SocketState,
    flags: int,
    rest: list[memoryview],
    method: Callable[[Any, list[memoryview], int], int],
) -> int:
    total = 0
    while rest:
        try:
            sent = attempt(sock, state, method, True, flags, rest)
        except OSError:
            break
        total += sent
        rest = rest_of(rest, sent)
    return total
