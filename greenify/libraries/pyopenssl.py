"""pyOpenSSL: OpenSSL reads and writes the descriptor of the socket itself, and waits there.

It is asked not to, and what it would have waited for is waited for on the hub.  A socket with a time-out
gives WantReadError and WantWriteError, as ever: urllib3's adapter, among others, waits for these itself.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from greenify import core
from greenify.core import registry
from greenify.green._sockets.state import refuses, state_of, wait_for, without_blocking
from greenify.libraries.record import Library
from greenify.libraries.remedies import instead, like

__all__ = ["LIBRARY"]

# OpenSSL takes the length as an int.
_LONGEST = 2**31 - 1


def _unblocked(sock: Any, original: Any, *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs)


def _may_wait(connection: Any) -> bool:
    """Whether a call on `connection` waits, and would do so in C."""
    sock = connection._socket
    return (
        isinstance(sock, socket.socket)
        and sock.gettimeout() is None
        and (core.current_hub() is not None or registry.is_main_thread())
    )


def _waits(original: Any) -> Any:
    """The twin of a method that reads or writes."""
    ssl = sys.modules["OpenSSL.SSL"]
    want_read, want_write = ssl.WantReadError, ssl.WantWriteError

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        sock = self._socket
        if not isinstance(sock, socket.socket):
            return original(self, *args, **kwargs)  # in memory, or something of the user's
        state = state_of(sock)
        if not _may_wait(self):
            if sock.gettimeout() is None:
                return original(self, *args, **kwargs)
            # The kernel need not know of the time-out.
            return without_blocking(sock, state, _unblocked, _bound(original, self, args, kwargs))
        call = _bound(original, self, args, kwargs)
        waited = False
        while True:
            if not waited and refuses(sock, state):
                return call()
            try:
                return without_blocking(sock, state, _unblocked, call)
            except want_read:
                writing = False
            except want_write:
                writing = True
            # Not in the handler: its exception would be the context of whatever ends the wait.
            wait_for(sock, state, writing, None)
            waited = True

    return like(original, twin)


def _bound(original: Any, self: Any, args: Any, kwargs: Any) -> Any:
    return lambda: original(self, *args, **kwargs)


def _sendall(original: Any, self: Any, buf: Any, flags: int = 0) -> int:
    """Every record by itself, for the original would begin anew after a wait."""
    if not _may_wait(self):
        result: int = _waits(original)(self, buf, flags)
        return result
    buf = sys.modules["OpenSSL.SSL"]._text_to_bytes_and_warn("buf", buf)
    sent = 0
    with memoryview(buf) as view, view.cast("B") as octets:
        while sent < len(octets):
            with octets[sent : sent + _LONGEST] as rest:
                sent += self.send(rest)
    return sent


LIBRARY = Library(
    package="pyOpenSSL",
    tested="26.4",
    replace={
        "OpenSSL.SSL:Connection": {
            "recv": _waits,
            "read": _waits,
            "recv_into": _waits,
            "send": _waits,
            "write": _waits,
            "sendall": instead(_sendall),
            "do_handshake": _waits,
            "shutdown": _waits,
            "DTLSv1_listen?": _waits,
        },
    },
)
