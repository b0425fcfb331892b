"""The cooperative twin of `ssl`.

OpenSSL is asked without blocking and says what it waits for; the caller is parked for just that.  Contexts,
certificates, host name checks and every default stay the standard library's own, so verification is exactly
as strict as without greenify.

`METHODS` is what the patch puts into `ssl.SSLSocket`; `SSLSocket` and `SSLContext` here are for use with
nothing patched.
"""

from __future__ import annotations

import _socket
import fcntl
import ssl as _stdlib
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenify.core.blocking import bad_descriptor
from greenify.green import socket as green_socket
from greenify.green._copies.rest import complete
from greenify.green._sockets.state import (
    SocketState,
    deadline_of,
    make_nonblocking,
    settle,
    wait_for,
)

__all__ = ["SSLContext", "SSLSocket"]

_WantRead = _stdlib.SSLWantReadError
_WantWrite = _stdlib.SSLWantWriteError
_EOF = _stdlib.SSL_ERROR_EOF
_fileno = _socket.socket.fileno
_ioctl = fcntl.ioctl
_FIONREAD = termios.FIONREAD
_NOTHING = bytes(4)  # an int of C


def _prepare(sock: Any) -> SocketState:
    state: SocketState = sock._state
    if state.__class__ is not SocketState:
        state = settle(sock)
    if state.native_blocking:
        make_nonblocking(sock, state)
    return state


def _until_done(sock: Any, what: str | None, operation: Callable[..., Any], *args: Any) -> Any:
    """Call ``operation(*args)``, of an SSL object, until it neither wants to read nor to write.

    `what` names the operation in the error for a time-out; None stands for the direction it waits for.
    """
    state = _prepare(sock)
    if not state.blocking:
        return operation(*args)
    deadline = None
    while True:
        try:
            return operation(*args)
        except _WantRead:
            writing = False
        except _WantWrite:
            writing = True
        if deadline is None:
            deadline = deadline_of(state)
        try:
            wait_for(sock, state, writing, deadline)
        except TimeoutError:
            name = what or ("write" if writing else "read")
            raise TimeoutError(f"The {name} operation timed out") from None
        if _fileno(sock) < 0:
            # OpenSSL knows the descriptor by its number, which may be another file's by now.
            raise bad_descriptor()


def read(self: Any, len: int = 1024, buffer: Any = None) -> Any:
    """Read up to `len` bytes, or into `buffer`; see `ssl.SSLSocket.read`."""
    self._checkClosed()
    sslobj = self._sslobj
    if sslobj is None:
        raise ValueError("Read on closed or unwrapped SSL socket.")
    state = self._state
    if state.__class__ is not SocketState or state.native_blocking:
        state = _prepare(self)
    # Who has asked waits for the answer.  To learn from the kernel that there is none yet takes half of what
    # OpenSSL's exception does: 0.7 instead of 1.7 us of a round trip's 13 for each end.
    waiting = state.asked and state.blocking and len > 0 and _none_yet(self, state, sslobj)
    state.asked = False
    deadline = None
    writing = False
    while True:
        if waiting:
            if deadline is None and (state.timeout is not None or state.limits is not None):
                deadline = deadline_of(state)
            try:
                wait_for(self, state, writing, deadline)
            except TimeoutError:
                raise TimeoutError("The read operation timed out") from None
            if _fileno(self) < 0:
                raise bad_descriptor()
        try:
            return sslobj.read(len) if buffer is None else sslobj.read(len, buffer)
        except _WantRead:
            if not state.blocking:
                raise
            writing = False
        except _WantWrite:
            if not state.blocking:
                raise
            writing = True
        except _stdlib.SSLError as exc:
            if exc.args[0] == _EOF and self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise
        waiting = True


def _none_yet(sock: Any, state: SocketState, sslobj: Any) -> bool:
    """Whether neither OpenSSL nor the kernel has anything to read.  An error is left to the call itself."""
    side = state.read
    if side is None or side.eager or side.edge or sslobj.pending():
        return False
    try:
        return bool(_ioctl(_fileno(sock), _FIONREAD, _NOTHING) == _NOTHING)
    except (OSError, ValueError):
        return False


def write(self: Any, data: Any) -> int:
    """Write `data` and return how much of it was taken; see `ssl.SSLSocket.write`."""
    self._checkClosed()
    sslobj = self._sslobj
    if sslobj is None:
        raise ValueError("Write on closed or unwrapped SSL socket.")
    state = self._state
    if state.__class__ is not SocketState or state.native_blocking:
        state = _prepare(self)
    written = None
    try:
        written = sslobj.write(data)  # the usual case: the kernel takes everything at once
    except (_WantRead, _WantWrite):
        # Waiting in here would make this the context of whatever ends the wait.
        pass
    if written is None:
        written = _until_done(self, "write", sslobj.write, data)
    state.asked = True
    return int(written)


_plain_send = _stdlib.SSLSocket.send


def send(self: Any, data: Any, flags: int = 0) -> int:
    """See `ssl.SSLSocket.send`."""
    if self._sslobj is None or flags:
        return _plain_send(self, data, flags)
    return write(self, data)


_plain_sendall = _stdlib.SSLSocket.sendall


def sendall(self: Any, data: Any, flags: int = 0) -> None:
    """See `ssl.SSLSocket.sendall`."""
    if data.__class__ is bytes and data and not flags and self._sslobj is not None:
        # Two views of memory less for what is sent at once.
        sent = self.send(data)
        if sent == len(data):
            return
        data = memoryview(data)[sent:]
    _plain_sendall(self, data, flags)


def do_handshake(self: Any, block: bool = False) -> None:
    """Perform the TLS handshake; see `ssl.SSLSocket.do_handshake`."""
    self._check_connected()
    timeout = self.gettimeout()
    try:
        if timeout == 0.0 and block:
            self.settimeout(None)
        _until_done(self, "handshake", self._sslobj.do_handshake)
    finally:
        self.settimeout(timeout)


def unwrap(self: Any) -> Any:
    """Shut the TLS layer down and return the plain socket; see `ssl.SSLSocket.unwrap`."""
    sslobj = self._sslobj
    if not sslobj:
        raise ValueError("No SSL wrapper around " + str(self))
    plain = _until_done(self, None, sslobj.shutdown)
    self._sslobj = None
    return plain


def verify_client_post_handshake(self: Any) -> Any:
    """See `ssl.SSLSocket.verify_client_post_handshake`."""
    if not self._sslobj:
        raise ValueError("No SSL wrapper around " + str(self))
    return _until_done(self, "write", self._sslobj.verify_client_post_handshake)


METHODS: dict[str, Any] = {
    function.__name__: function
    for function in (read, write, send, sendall, do_handshake, unwrap, verify_client_post_handshake)
}

if TYPE_CHECKING:
    SSLSocket = _stdlib.SSLSocket
else:

    class SSLSocket(_stdlib.SSLSocket, green_socket.socket):
        """`ssl.SSLSocket` whose blocking calls park the calling greenlet."""

        locals().update(METHODS)


class SSLContext(_stdlib.SSLContext):
    """`ssl.SSLContext` that wraps sockets cooperatively."""

    sslsocket_class = SSLSocket


# The rest makes its contexts and connections of these.
complete(globals(), _stdlib, create_connection=green_socket.create_connection)


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib)})
