"""The cooperative twin of `socket`.

`socket` here is a subclass of the standard one, for use with nothing patched.  The patch puts the same
methods into `socket.socket` itself.  What is not defined here is the standard library's own.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.green.dns import (
    getaddrinfo,
    gethostbyaddr,
    gethostbyname,
    gethostbyname_ex,
    getnameinfo,
)
from greenify.green.socket_methods import METHODS

__all__ = [
    "close",
    "create_connection",
    "fromfd",
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "socket",
    "socketpair",
]

_native_close = _socket.close

if TYPE_CHECKING:
    socket = _stdlib.socket
else:

    class socket(_stdlib.socket):
        """`socket.socket` whose blocking calls park the calling greenlet."""

        __slots__ = ()

        locals().update(METHODS)

        def accept(self):
            """Wait for a connection; see `socket.socket.accept`."""
            connection, address = METHODS["accept"](self)
            return _adopt(connection), address


def _adopt(sock: _stdlib.socket) -> socket:
    """The cooperative socket that takes the descriptor of `sock` over."""
    timeout = sock.gettimeout()
    kind = (sock.family, sock.type, sock.proto)
    green = socket(*kind, fileno=sock.detach())
    green.settimeout(timeout)
    return green


def close(fd: int, /) -> None:
    """Close a socket's descriptor; whoever waits on it gets EBADF."""
    if isinstance(fd, int):
        core.forget(fd)
    _native_close(fd)


def socketpair(*args: Any, **kwargs: Any) -> tuple[socket, socket]:
    """`socket.socketpair` with cooperative sockets."""
    left, right = _stdlib.socketpair(*args, **kwargs)
    return _adopt(left), _adopt(right)


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket:
    """`socket.fromfd` with a cooperative socket."""
    return socket(family, type, proto, _stdlib.dup(fd))


def create_connection(
    address: tuple[Any, Any],
    timeout: Any = _stdlib._GLOBAL_DEFAULT_TIMEOUT,  # type: ignore[attr-defined]
    source_address: tuple[Any, Any] | None = None,
) -> socket:
    """Connect a cooperative TCP socket to `address`; the first address of the host that answers.

    Args:
        address: host and port.
        timeout: seconds for each attempt and for the socket's later operations, None for no limit.
        source_address: where to bind before connecting.

    Raises:
        OSError: the last attempt's error, or the resolver's.
    """
    last: OSError | None = None
    for family, kind, proto, _, found in getaddrinfo(*address, 0, _stdlib.SOCK_STREAM):
        sock = socket(family, kind, proto)
        try:
            if timeout is not _stdlib._GLOBAL_DEFAULT_TIMEOUT:  # type: ignore[attr-defined]
                sock.settimeout(timeout)
            if source_address:
                sock.bind(source_address)
            sock.connect(found)
        except OSError as exc:
            sock.close()
            last = exc
        else:
            return sock
    try:
        raise last if last is not None else OSError("getaddrinfo returns an empty list")
    finally:
        last = None  # its traceback holds this frame


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)
