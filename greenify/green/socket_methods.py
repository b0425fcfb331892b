"""The methods of `socket.socket` that may block, in their cooperative form.

They work on any socket of Python: the patch puts them into `socket.socket` itself, and `green.socket.socket`
has them in a subclass.  Each tries the system call without blocking and parks the caller when the kernel has
nothing for it.  `recv`, `recv_into`, `send` and `sendall` are the hot path and are written out; the others
share `_call`.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket as stdlib_socket
import time
from typing import Any

from greenify import core
from greenify.green.dns import resolve
from greenify.green.socket_state import (
    SocketState,
    deadline_of,
    make_nonblocking,
    settle,
    state_slot,
    wait_for,
)

__all__ = ["METHODS"]

_monotonic = time.monotonic
_native = _socket.socket
_DONTWAIT = _socket.MSG_DONTWAIT

_fileno = _native.fileno
_recv = _native.recv
_recv_into = _native.recv_into
_send = _native.send
_settimeout = _native.settimeout
_family = _native.family.__get__
_type = _native.type.__get__
_proto = _native.proto.__get__
_original = stdlib_socket.socket
_original_detach = _original.detach
_native_sendfile = getattr(os, "sendfile", None)


def _state(sock: Any) -> SocketState:
    state: SocketState = sock._state
    return state if state.__class__ is SocketState else settle(sock)


def recv(self: Any, bufsize: int, flags: int = 0, /) -> bytes:
    """Receive up to `bufsize` bytes; see `socket.socket.recv`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recv(self, bufsize, flags)
    side = state.read
    deadline = None
    if side is not None and side.drained and not flags:
        # The last read took all there was: waiting first saves a failing system call.
        side.drained = False
        if not side.eager:
            deadline = deadline_of(state)
            wait_for(self, state, False, deadline)
    while True:
        try:
            data = _recv(self, bufsize, flags | _DONTWAIT)
        except BlockingIOError:
            if deadline is None:
                deadline = deadline_of(state)
            wait_for(self, state, False, deadline)
            continue
        if data and state.stream and len(data) < bufsize and not flags:
            side = state.read
            if side is not None:
                side.drained = True
        return data


def recv_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
    """Receive into `buffer`; see `socket.socket.recv_into`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _recv_into(self, buffer, nbytes, flags)
    side = state.read
    deadline = None
    if side is not None and side.drained and not flags:
        side.drained = False
        if not side.eager:
            deadline = deadline_of(state)
            wait_for(self, state, False, deadline)
    while True:
        try:
            count = _recv_into(self, buffer, nbytes, flags | _DONTWAIT)
        except BlockingIOError:
            if deadline is None:
                deadline = deadline_of(state)
            wait_for(self, state, False, deadline)
            continue
        # The length of a buffer counts items of at least one byte, so this never errs.
        if count and state.stream and count < (nbytes or len(buffer)) and not flags:
            side = state.read
            if side is not None:
                side.drained = True
        return count


def send(self: Any, data: Any, flags: int = 0, /) -> int:
    """Send what the kernel takes of `data`, at least one byte; see `socket.socket.send`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
        return _send(self, data, flags)
    try:
        return _send(self, data, flags | _DONTWAIT)
    except BlockingIOError:
        pass
    deadline = deadline_of(state)
    while True:
        wait_for(self, state, True, deadline)
        try:
            return _send(self, data, flags | _DONTWAIT)
        except BlockingIOError:
            continue


def sendall(self: Any, data: Any, flags: int = 0, /) -> None:
    """Send all of `data`; the time-out is one for the whole; see `socket.socket.sendall`."""
    state = self._state
    if state.__class__ is not SocketState:
        state = settle(self)
    if not state.blocking:
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
        rest = memoryview(data).cast("B")
        if not rest:
            _send(self, rest, flags | _DONTWAIT)
            return
    deadline = deadline_of(state)
    while rest:
        try:
            rest = rest[_send(self, rest, flags | _DONTWAIT) :]
        except BlockingIOError:
            wait_for(self, state, True, deadline)
        else:
            if deadline is not None and rest and _monotonic() >= deadline:
                raise TimeoutError("timed out")


def _call(self: Any, method: Any, writing: bool, *args: Any) -> Any:
    # `method` with `args`, which ask the kernel not to wait, again and again until it does something.
    state = _state(self)
    deadline = deadline_of(state)
    while True:
        try:
            return method(self, *args)
        except BlockingIOError:
            wait_for(self, state, writing, deadline)


def recvfrom(self: Any, bufsize: int, flags: int = 0, /) -> Any:
    """See `socket.socket.recvfrom`."""
    if not _state(self).blocking:
        return _native.recvfrom(self, bufsize, flags)
    return _call(self, _native.recvfrom, False, bufsize, flags | _DONTWAIT)


def recvfrom_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
    """See `socket.socket.recvfrom_into`."""
    if not _state(self).blocking:
        return _native.recvfrom_into(self, buffer, nbytes, flags)
    return _call(self, _native.recvfrom_into, False, buffer, nbytes, flags | _DONTWAIT)


def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg`."""
    if not _state(self).blocking:
        return _native.recvmsg(self, bufsize, ancbufsize, flags)
    return _call(self, _native.recvmsg, False, bufsize, ancbufsize, flags | _DONTWAIT)


def recvmsg_into(self: Any, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """See `socket.socket.recvmsg_into`."""
    if not _state(self).blocking:
        return _native.recvmsg_into(self, buffers, ancbufsize, flags)
    # An iterator would be used up by the first try.
    buffers = list(buffers)
    return _call(self, _native.recvmsg_into, False, buffers, ancbufsize, flags | _DONTWAIT)


def sendto(self: Any, data: Any, *args: Any) -> int:
    """See `socket.socket.sendto`: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
    if not args or len(args) > 2 or not _state(self).blocking:
        return int(
            _native.sendto(self, data, *args)
        )  # or raises what it has to say of the arguments
    flags = args[0] if len(args) == 2 else 0
    address = resolve(self, args[-1])
    if not isinstance(flags, int):
        return int(_native.sendto(self, data, flags, address))
    return int(_call(self, _native.sendto, True, data, flags | _DONTWAIT, address))


def sendmsg(
    self: Any, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
) -> int:
    """See `socket.socket.sendmsg`."""
    if not _state(self).blocking:
        return int(_native.sendmsg(self, buffers, ancdata, flags, address))
    buffers = list(buffers)
    ancdata = list(ancdata)
    address = resolve(self, address)
    return int(_call(self, _native.sendmsg, True, buffers, ancdata, flags | _DONTWAIT, address))


def sendmsg_afalg(self: Any, *args: Any, **kwargs: Any) -> int:
    """See `socket.socket.sendmsg_afalg`."""
    if not _state(self).blocking:
        return int(_native.sendmsg_afalg(self, *args, **kwargs))
    kwargs["flags"] = kwargs.get("flags", 0) | _DONTWAIT

    def attempt(sock: Any) -> Any:
        return _native.sendmsg_afalg(sock, *args, **kwargs)

    return int(_call(self, attempt, True))


def accept(self: Any) -> tuple[stdlib_socket.socket, Any]:
    """Wait for a connection; see `socket.socket.accept`."""
    state = _state(self)
    if state.blocking:
        make_nonblocking(self, state)
        fd, address = _call(self, _native._accept, False)  # type: ignore[attr-defined]
    else:
        fd, address = _native._accept(self)  # type: ignore[attr-defined]
    sock = stdlib_socket.socket(_family(self), _type(self), _proto(self), fileno=fd)
    # As the standard library has it: a listener's time-out is not inherited through the descriptor.
    if _socket.getdefaulttimeout() is None and state.timeout:
        sock.setblocking(True)
    return sock, address


def connect(self: Any, address: Any, /) -> None:
    """Connect; see `socket.socket.connect`.  Host names are looked up cooperatively."""
    state = _state(self)
    if not state.blocking:
        _native.connect(self, address)
        return
    error = _connect(self, state, address)
    if error:
        raise OSError(error, os.strerror(error))


def connect_ex(self: Any, address: Any, /) -> int:
    """Connect and return the error number, 0 if it worked; see `socket.socket.connect_ex`."""
    state = _state(self)
    if not state.blocking:
        return _native.connect_ex(self, address)
    try:
        return _connect(self, state, address)
    except TimeoutError as exc:
        # What the C code returns for a time-out of its own.
        return errno.EWOULDBLOCK if exc.errno is None else exc.errno


def _connect(sock: Any, state: SocketState, address: Any) -> int:
    deadline = deadline_of(state)
    address = resolve(sock, address)
    was_blocking = state.native_blocking
    make_nonblocking(sock, state)
    try:
        error = _native.connect_ex(sock, address)
        pause = 0.001
        while error == errno.EAGAIN:
            # A local socket whose queue is full: there is nothing to wait on but time.
            if deadline is not None and _monotonic() >= deadline:
                raise TimeoutError("timed out")
            core.sleep(pause)
            pause = min(2 * pause, 0.05)
            error = _native.connect_ex(sock, address)
        if error not in (errno.EINPROGRESS, errno.EINTR):
            return error
        if state.read is not None and state.descriptor is not None:
            # What was reported of the unconnected socket says nothing of the connected one.
            state.descriptor.write.edge = False
        while True:
            wait_for(sock, state, True, deadline)
            error = _native.getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_ERROR)
            if error:
                return error
            try:
                _native.getpeername(sock)
            except OSError as exc:
                if exc.errno != errno.ENOTCONN:
                    raise
                continue
            if state.read is not None:
                # The hang-up of an unconnected socket is history.
                state.read.eager = False
            return 0
    finally:
        if was_blocking and _fileno(sock) >= 0:
            state.native_blocking = True
            _settimeout(sock, None)


def bind(self: Any, address: Any, /) -> None:
    """See `socket.socket.bind`.  Host names are looked up cooperatively."""
    _native.bind(self, resolve(self, address) if _state(self).blocking else address)


def settimeout(self: Any, timeout: float | None, /) -> None:
    """Limit every blocking operation to `timeout` seconds; None for no limit, 0 not to block at all."""
    state = _state(self)
    if timeout is None:
        if not state.native_blocking:
            _settimeout(self, None)
            state.native_blocking = True
        state.timeout = None
        state.blocking = True
        return
    if timeout.__class__ in (int, float) and 0 <= timeout < 1e9 and not state.native_blocking:
        # The descriptor's flag is right already: no system call.
        state.timeout = float(timeout)
    else:
        _settimeout(self, timeout)  # checks the value and sets the flag
        state.timeout = _native.gettimeout(self)
        if state.timeout:
            _settimeout(self, 0.0)
        state.native_blocking = False
    state.blocking = state.timeout != 0.0


def gettimeout(self: Any) -> float | None:
    """The time-out in seconds, or None."""
    return _state(self).timeout


def setblocking(self: Any, flag: bool, /) -> None:
    """``settimeout(None)`` if `flag` is true, else ``settimeout(0.0)``."""
    settimeout(self, None if flag else 0.0)


def getblocking(self: Any) -> bool:
    """Whether operations may wait (``gettimeout() != 0``)."""
    return _state(self).blocking


def _real_close(self: Any, _native_socket: Any = _native, _forget: Any = core.forget) -> None:
    # No globals, as in the original: this runs at the end of the interpreter too.
    fd = _native_socket.fileno(self)
    if fd >= 0:
        _forget(fd)
    _native_socket.close(self)


def detach(self: Any) -> int:
    """Give up the descriptor without closing it and return it; waiters get EBADF."""
    fd = _fileno(self)
    if fd >= 0:
        core.forget(fd)
        state = _state(self)
        state.descriptor = state.read = None
        if state.timeout is None and not state.native_blocking:
            # Whoever takes the descriptor over finds it as plain Python would have left it.
            _settimeout(self, None)
    return _original_detach(self)


def _sendfile_use_sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> int:
    # Called by the standard library's `sendfile`; giving up makes that fall back on `send`.
    give_up: Any = stdlib_socket._GiveupOnSendfile  # type: ignore[attr-defined]
    self._check_sendfile_params(file, offset, count)
    if _native_sendfile is None:
        raise give_up("os.sendfile() not available on this platform")
    try:
        source = file.fileno()
        size = os.fstat(source).st_size
    except Exception as exc:  # not a regular file: whatever its fileno() raises
        if isinstance(exc, (AttributeError, OSError)):
            raise give_up(exc) from None
        raise
    if not size:
        return 0
    state = _state(self)
    if not state.blocking:
        raise ValueError("non-blocking sockets are not supported")
    was_blocking = state.native_blocking
    make_nonblocking(self, state)
    total = 0
    try:
        while count is None or total < count:
            # The kernel moves at most 2 GiB at once; 1 GiB fits every ssize_t.
            block = min(2**30, size if count is None else count - total)
            deadline = deadline_of(state)
            try:
                sent = _native_sendfile(_fileno(self), source, offset, block)
            except BlockingIOError:
                wait_for(self, state, True, deadline)
                continue
            except OSError as exc:
                if not total and _fileno(self) >= 0:
                    raise give_up(exc) from None
                raise
            if not sent:
                break
            offset += sent
            total += sent
        return total
    finally:
        if was_blocking and _fileno(self) >= 0:
            state.native_blocking = True
            _settimeout(self, None)
        if total > 0 and hasattr(file, "seek"):
            file.seek(offset)


def _get_closed(self: Any) -> bool:
    state = state_slot.__get__(self)
    return bool(state)


def _set_closed(self: Any, closed: bool) -> None:
    settle(self, closed)


# What goes into a socket class, by name.
METHODS: dict[str, Any] = {
    "_state": state_slot,
    "_closed": property(_get_closed, _set_closed),
    "timeout": property(gettimeout),
    **{
        function.__name__: function
        for function in (
            recv,
            recv_into,
            recvfrom,
            recvfrom_into,
            recvmsg,
            recvmsg_into,
            send,
            sendall,
            sendto,
            sendmsg,
            accept,
            connect,
            connect_ex,
            bind,
            settimeout,
            gettimeout,
            setblocking,
            getblocking,
            detach,
            _real_close,
            _sendfile_use_sendfile,
        )
    },
}
if hasattr(_native, "sendmsg_afalg"):
    METHODS["sendmsg_afalg"] = sendmsg_afalg
