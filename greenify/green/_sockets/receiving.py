"""Receiving: the methods of `socket.socket` that wait for data, in their cooperative form.

Each tries the system call without blocking and parks the caller when the kernel has nothing for it.  `recv`
and `recv_into` are the hot path and are written out; the others share `attempt`.

On a stream without a time-out, the kernel itself goes on until everything has come that MSG_WAITALL asks for;
asked not to block it stops early, so that is done in `whole.py`.
"""

from __future__ import annotations

import _socket
from operator import index
from typing import Any

from greenify.core.blocking import bad_descriptor
from greenify.core.tracebacks import leave_out_twin
from greenify.green._files.descriptor_io import ready
from greenify.green._sockets import whole
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

__all__ = ["recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"]

_native = _socket.socket
_DONTWAIT = _socket.MSG_DONTWAIT
_WAITALL = _socket.MSG_WAITALL

_fileno = _native.fileno
_recv = _native.recv
_recv_into = _native.recv_into
_recvfrom = _native.recvfrom


def recv(self: Any, bufsize: int, flags: int = 0, /) -> bytes:
    """Receive up to `bufsize` bytes; see `socket.socket.recv`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recv(self, bufsize, flags)
    if flags:
        try:
            data: bytes = _receive(self, state, _recv, whole.recv, flags, bufsize)
            return data
        except BaseException:
            leave_out_twin()
            raise
    deadline = None
    side = state.read
    if side is None:
        try:
            first: bytes | None = _first(self, state, _recv, whole.recv, bufsize)
        except BaseException:
            leave_out_twin()
            raise
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
            try:
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
            except BaseException:
                leave_out_twin()
                raise
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
            leave_out_twin()
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
        try:
            count: int = _receive(self, state, _recv_into, whole.recv_into, flags, buffer, nbytes)
            return count
        except BaseException:
            leave_out_twin()
            raise
    # Of other kinds of buffers there is no size to be had that never fails.
    kind = buffer.__class__
    size = nbytes or (
        buffer.nbytes if kind is memoryview else len(buffer) if kind is bytearray else 0
    )
    deadline = None
    side = state.read
    if side is None:
        try:
            first: int | None = _first(self, state, _recv_into, whole.recv_into, buffer, nbytes)
        except BaseException:
            leave_out_twin()
            raise
        if first is not None:
            return first
        waiting = True
    else:
        waiting = side.drained and state.epoch is file_flags.epoch and not side.eager and size > 0
    while True:
        if waiting:
            try:
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
            except BaseException:
                leave_out_twin()
                raise
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
            leave_out_twin()
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


def recvfrom(self: Any, bufsize: int, flags: int = 0, /) -> Any:
    """See `socket.socket.recvfrom`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recvfrom(self, bufsize, flags)
    if flags or state.stream:
        try:
            return _receive(self, state, _recvfrom, whole.recvfrom, flags, bufsize)
        except BaseException:
            leave_out_twin()
            raise
    deadline = None
    waited = False
    try:
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
    except BaseException:
        leave_out_twin()
        raise


def recvfrom_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
    """See `socket.socket.recvfrom_into`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvfrom_into(self, buffer, nbytes, flags)
    try:
        return _receive(
            self, state, _native.recvfrom_into, whole.recvfrom_into, flags, buffer, nbytes
        )
    except BaseException:
        leave_out_twin()
        raise


def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvmsg(self, bufsize, ancbufsize, flags)
    try:
        return _receive(self, state, _native.recvmsg, whole.recvmsg, flags, bufsize, ancbufsize)
    except BaseException:
        leave_out_twin()
        raise


def recvmsg_into(self: Any, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg_into`."""
    state = state_of(self)
    if not state.blocking:
        return _native.recvmsg_into(self, buffers, ancbufsize, flags)
    # The native method may be called several times, and an iterator can be used once.
    if not whole.is_iterable(buffers):
        return _native.recvmsg_into(self, buffers, ancbufsize, flags)  # raises
    buffers = list(buffers)
    try:
        return _receive(
            self, state, _native.recvmsg_into, whole.recvmsg_into, flags, buffers, ancbufsize
        )
    except BaseException:
        leave_out_twin()
        raise
