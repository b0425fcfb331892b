"""TLS over a transport: OpenSSL works on two buffers in memory, and the transport carries what is in them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TypeVar

from greenify.errors import UVError
from greenify.io.buffers import ReadBuffer
from greenify.io.transport import Transport

__all__ = ["TLSLayer", "client_context"]

T = TypeVar("T")

# How much is given to OpenSSL, or asked of it, at once: it takes lengths as int.
_PIECE = 1 << 24
_RECORD = 65_536


def client_context(tls: ssl.SSLContext | bool) -> ssl.SSLContext:
    """The context for a client: the one given, or the default one, which verifies, for True."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    return ssl.create_default_context()


class TLSLayer:
    """A TLS connection, with the interface of a `Transport`.

    Everything about certificates is OpenSSL's and the context's own, as in `ssl.SSLContext.wrap_bio`.
    """

    __slots__ = ("_incoming", "_outgoing", "_ragged", "at_eof", "buffer", "sslobject", "transport")

    def __init__(
        self,
        transport: Transport,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        suppress_ragged_eofs: bool = True,
    ) -> None:
        if context.check_hostname and not server_side and not server_hostname:
            # wrap_socket() refuses this; wrap_bio() would check no name at all.
            raise ValueError("check_hostname requires server_hostname")
        self.transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ragged = suppress_ragged_eofs
        self.sslobject = context.wrap_bio(
            self._incoming, self._outgoing, server_side, server_hostname
        )
        self.buffer = ReadBuffer()
        self.at_eof = False

    def handshake(self, deadline: float | None) -> None:
        """Perform the handshake.

        Raises:
            ssl.SSLError: the other end is not who it should be, or there is no agreement.
            UVError: the connection is lost, or the deadline has passed.
        """
        self._until_done(self.sslobject.do_handshake, deadline)

    def _until_done(self, operation: Callable[[], T], deadline: float | None) -> T:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._send()
                self._receive(deadline)
            except ssl.SSLError:
                # The alert that tells the peer why.
                with contextlib.suppress(UVError):
                    self._send()
                raise
            else:
                self._send()
                return result

    def _send(self) -> None:
        if self._outgoing.pending:
            self.transport.write(self._outgoing.read())

    def _receive(self, deadline: float | None) -> None:
        raw = self.transport.buffer
        if not len(raw) and not self.transport.pull(deadline):
            # From here on OpenSSL reports the end instead of wanting more.
            self._incoming.write_eof()
        elif len(raw):
            self._incoming.write(raw.take(len(raw)))

    def more(self, deadline: float | None, wanted: int = 0) -> bool:
        """See `Transport.more`."""
        self.transport.check()
        if not self.at_eof:
            try:
                data = self._until_done(self._read, deadline)
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLEOFError:
                if not self._ragged:
                    raise
                data = b""
            if data:
                self.buffer.append(data)
                return True
            self.at_eof = True
        return False

    def _read(self) -> bytes:
        return self.sslobject.read(_RECORD)

    @property
    def unsent(self) -> int:
        """See `Transport.unsent`."""
        return self.transport.unsent

    def write(self, data: bytes) -> None:
        """See `Transport.write`.  Waits only if the peer negotiates anew (TLS 1.2)."""
        self.transport.check_writing()
        rest = memoryview(data)
        while rest:
            piece = rest[:_PIECE]
            sent = self._until_done(lambda piece=piece: self.sslobject.write(piece), None)  # type: ignore[misc]
            rest = rest[sent:]

    def drain(self, limit: int, deadline: float | None) -> None:
        """See `Transport.drain`."""
        self.transport.drain(limit, deadline)

    def shutdown(self, deadline: float | None) -> None:
        """See `Transport.shutdown`; the peer is told in TLS too."""
        self.transport.check()
        self.goodbye()
        self.transport.shutdown(deadline)

    def goodbye(self) -> None:
        """Tell the peer, in TLS, that no more will come.  Does not wait for its answer."""
        # Its answer is still to come (want read); or there is nobody left to be told.
        with contextlib.suppress(ssl.SSLError):
            self.sslobject.unwrap()
        with contextlib.suppress(UVError):
            self._send()
