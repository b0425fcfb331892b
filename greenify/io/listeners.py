"""Servers: sockets that listen, and the streams that they accept.

The listening socket is waited for by the hub, not by libuv.  When descriptors run out, libuv accepts and cuts
every connection in the queue, and without a spare descriptor it would try for ever; here they wait until
there is a descriptor again.
"""

from __future__ import annotations

import _socket
import errno
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.errors import UVError
from greenify.io.handles import claim, closed_error
from greenify.io.streams import Stream

__all__ = ["Listener"]

S = TypeVar("S", bound=Stream)


# What accept() reports of a connection that was lost before it could be accepted (accept(2)).
_LOST = {
    errno.ECONNABORTED,
    errno.EINTR,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
}


class Listener(Generic[S]):
    """A listening socket.  Any thread may use it; a stream belongs to the one that accepts it.

    Args:
        sock: the socket, bound and listening.
        name: for messages.
    """

    def __init__(self, sock: _socket.socket, name: str) -> None:
        sock.setblocking(False)
        self._sock: _socket.socket | None = sock
        self._name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}{', closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._sock is None

    def fileno(self) -> int:
        """The number of the descriptor, or -1 after the end."""
        return -1 if self._sock is None else self._sock.fileno()

    def accept(self, timeout: float | None = None) -> S:
        """Wait for a connection and return it as a stream.

        Args:
            timeout: how long to wait, in seconds; None: no limit.

        Raises:
            UVTimeoutError: none has come in time.
            StreamClosedError: the server has been closed.
            UVError: there is no descriptor for it (EMFILE, ENFILE) or no memory.  It stays in the queue.
        """
        deadline = None if timeout is None else _monotonic() + timeout
        ready = False
        while True:
            sock = self._sock
            if sock is None:
                raise closed_error(self._name)
            try:
                fd, address = sock._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                pass
            except OSError as exc:
                if exc.errno in _LOST:
                    continue
                if self._sock is None:
                    raise closed_error(self._name) from None
                # Without a descriptor to give, the kernel does not even look whether there is a connection.
                if ready or exc.errno not in (errno.EMFILE, errno.ENFILE):
                    raise UVError.of(exc.errno or 0, f"accepting on {self._name}") from None
            else:
                return self._stream(claim(fd), address)
            try:
                ready = core.wait(sock.fileno(), False, deadline)
            except OSError:
                if self._sock is None:
                    raise closed_error(self._name) from None
                raise
            if not ready:
                raise UVError.of(errno.ETIMEDOUT, f"no connection on {self._name} in time")

    def _stream(self, fd: int, address: Any) -> S:
        raise NotImplementedError

    def __iter__(self) -> Iterator[S]:
        """Accept until the server is closed."""
        while True:
            try:
                stream = self.accept()
            except UVError:
                if self.closed:
                    return
                raise
            yield stream

    def close(self) -> None:
        """Accept no more.  Whoever waits in `accept` gets `StreamClosedError`.  Again, it does nothing."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._closing()
            core.forget(sock.fileno())
            sock.close()

    def _closing(self) -> None:
        """Called before the socket is closed."""

    def __enter__(self) -> Listener[S]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_sock", None) is not None:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                self.close()
