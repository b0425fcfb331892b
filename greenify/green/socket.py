"""The cooperative twin of `socket`.

`socket` here is a subclass of the standard one, for use with nothing patched.  The patch puts the same
methods into `socket.socket` itself.  What is not defined here is the standard library's own.
"""

from __future__ import annotations

import _socket
import socket as _stdlib
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.green._copies.rest import complete
from greenify.green._sockets.dns import (
    getaddrinfo,
    gethostbyaddr,
    gethostbyname,
    gethostbyname_ex,
    getnameinfo,
)
from greenify.green._sockets.methods import METHODS

__all__ = [
    "close",
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "socket",
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


# The rest, create_connection and socketpair for instance, makes sockets of the class above.
complete(globals(), _stdlib)


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib)})
