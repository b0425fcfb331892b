"""Streams: what programs read from and write to."""

from __future__ import annotations

import re
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from greenify.core.clock import monotonic as _monotonic
from greenify.errors import HubError, IncompleteReadError, ReadLimitError
from greenify.io.transport import Transport

if TYPE_CHECKING:
    import ssl

    from greenify.io.tls import TLSLayer

    Data = bytes | bytearray | memoryview

__all__ = ["READ_LIMIT", "WRITE_LIMIT", "Stream", "StreamType"]

StreamType = TypeVar("StreamType", bound="Stream")

#: How far `read_until` and `read_until_regex` look by default, in bytes.
READ_LIMIT = 65_536

#: How many unsent bytes a writer need not wait for by default.
WRITE_LIMIT = 65_536


class Stream:
    """A connection on which bytes come and go.

    A stream belongs to the OS thread in which it was made: `close` and `abort` may be called from others,
    everything else raises `HubError` there.  One task may read at a time, and any number write.
    A forked child cannot use the streams of its parent (`StreamClosedError`) and does not disturb them.

    As a context manager it is closed at the end of the block, and what is unsent is dropped if an exception
    ends it.

    Whatever waits can be interrupted, by `Task.kill`, `Timeout` and the stream's own `timeout`: what has
    come stays in the buffer, for the next call.

    Attributes:
        timeout: how long, in seconds, each call may wait before it raises `UVTimeoutError`; None: no limit.
        read_limit: the default for the limits of `read_until` and `read_until_regex`, in bytes.
        write_limit: the number of unsent bytes above which writers wait.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout: float | None = None,
        read_limit: int = READ_LIMIT,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        self._transport = transport
        self._layer: Transport | TLSLayer = transport
        self._busy = False
        self.timeout = timeout
        self.read_limit = read_limit
        self.write_limit = write_limit

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.name}{', closed' if self.closed else ''}>"

    @property
    def name(self) -> str:
        """What it is, and whose: for messages."""
        return self._transport.name

    @property
    def closed(self) -> bool:
        """Whether the stream has been closed."""
        return self._transport.ending

    def fileno(self) -> int:
        """The number of the descriptor, or -1 after the end.  It is libuv's: not to be closed or read."""
        return -1 if self._transport.uv is None else self._transport.fd

    def _deadline(self) -> float | None:
        return None if self.timeout is None else _monotonic() + self.timeout

    # Reading.

    def _begin(self) -> Transport | TLSLayer:
        if self._busy:
            raise HubError(f"another task is reading from {self!r}: let one task read for all")
        self._transport.check_open()
        return self._layer

    def _more(self, deadline: float | None, wanted: int = 0) -> bool:
        self._busy = True
        try:
            return self._layer.more(deadline, wanted)
        finally:
            self._busy = False

    def read(self, size: int = READ_LIMIT) -> bytes:
        """Return at most `size` bytes: what has come, or else what comes next.  ``b""`` at the end.

        Raises:
            UVError: the connection is lost, the stream is closed, or `timeout` has passed.
        """
        layer = self._begin()
        if size <= 0 or (not len(layer.buffer) and not self._more(self._deadline())):
            return b""
        return layer.buffer.take_some(size)

    def read_bytes(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            IncompleteReadError: the stream has ended before.
            UVError: see `read`.
        """
        layer = self._begin()
        buffer = layer.buffer
        if len(buffer) < size:
            deadline = self._deadline()
            while len(buffer) < size:
                if not self._more(deadline, size):
                    raise self._incomplete(f"{size} bytes")
        return buffer.take(size) if size > 0 else b""

    def read_until(self, separator: bytes, *, limit: int | None = None) -> bytes:
        """Return everything up to the first `separator`, and the separator.

        Args:
            limit: how many bytes that may be at most; `read_limit` by default.

        Raises:
            ReadLimitError: it would be more.
            IncompleteReadError: the stream has ended without a separator.
            UVError: see `read`.
            ValueError: the separator is empty.
        """
        if not separator:
            raise ValueError("the separator is empty")
        layer = self._begin()
        buffer = layer.buffer
        most = self.read_limit if limit is None else limit
        end = buffer.find(separator)
        if end < 0:
            deadline = self._deadline()
            while end < 0:
                self._check_limit(len(buffer) + 1, most, separator)
                if not self._more(deadline):
                    raise self._incomplete(repr(separator))
                end = buffer.find(separator)
        self._check_limit(end, most, separator)
        return buffer.take(end)

    def read_until_regex(
        self, pattern: bytes | re.Pattern[bytes], *, limit: int | None = None
    ) -> bytes:
        """Return everything up to the end of the first match of `pattern`.

        It is looked for whenever something has come, in all that has: an end that may go on (``b"a+"``) is
        found where the data happens to be cut.

        Args:
            limit: how many bytes that may be at most; `read_limit` by default.

        Raises:
            ReadLimitError: it would be more.
            IncompleteReadError: the stream has ended without a match.
            UVError: see `read`.
        """
        layer = self._begin()
        buffer = layer.buffer
        compiled = re.compile(pattern)
        most = self.read_limit if limit is None else limit
        deadline = self._deadline()
        end = buffer.search(compiled)
        while end < 0:
            self._check_limit(len(buffer) + 1, most, compiled.pattern)
            if not self._more(deadline):
                raise self._incomplete(repr(compiled.pattern))
            end = buffer.search(compiled)
        self._check_limit(end, most, compiled.pattern)
        return buffer.take(end)

    def read_all(self, *, limit: int | None = None) -> bytes:
        """Return everything up to the end of the stream.

        Args:
            limit: how many bytes that may be at most; None for no limit.

        Raises:
            ReadLimitError: more has come.
            UVError: see `read`.
        """
        layer = self._begin()
        buffer = layer.buffer
        deadline = self._deadline()
        while limit is None or len(buffer) <= limit:
            if not self._more(deadline):
                return buffer.take(len(buffer))
        raise ReadLimitError(f"more than limit={limit} bytes before the end of {self!r}", limit)

    def _check_limit(self, size: int, limit: int, wanted: bytes) -> None:
        if size > limit:
            raise ReadLimitError(f"no {wanted!r} within limit={limit} bytes on {self!r}", limit)

    def _incomplete(self, wanted: str) -> IncompleteReadError:
        partial = self._layer.buffer.peek()
        return IncompleteReadError(
            f"{self!r} has ended after {len(partial)} bytes, before {wanted}", partial
        )

    # Writing.

    def write(self, data: Data) -> None:
        """Write all of `data`, and wait while more than `write_limit` bytes are unsent.

        A writer is thus no faster than its reader, give or take a buffer.  The data is taken before the wait:
        interrupted, it is sent all the same.

        Raises:
            UVError: the connection is lost, the stream is closed, or `timeout` has passed.
        """
        layer = self._layer
        layer.write(data if data.__class__ is bytes else bytes(memoryview(data)))
        if layer.unsent > self.write_limit:
            layer.drain(self.write_limit, self._deadline())

    def flush(self) -> None:
        """Wait until everything that was written is with the kernel.

        Raises:
            UVError: see `write`.
        """
        self._layer.drain(0, self._deadline())

    def shutdown(self) -> None:
        """Tell the peer that no more will come, after all that was written.  Reading goes on.

        Raises:
            UVError: the connection is lost, the stream is closed, or `timeout` has passed.
        """
        self._layer.shutdown(self._deadline())

    # TLS.

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        suppress_ragged_eofs: bool = True,
    ) -> None:
        """Go on in TLS: perform the handshake and encrypt all that follows.

        Args:
            context: what certificates are presented and demanded.
            server_side: whether this is the server's end.
            server_hostname: whom the certificate has to be for.  A context that checks host names, as that of
                `ssl.create_default_context` does, demands it (ValueError).
            suppress_ragged_eofs: take a connection that ends without TLS's own farewell for ended, as
                `ssl.SSLContext.wrap_socket` does; False: raise `ssl.SSLEOFError`.

        Raises:
            ssl.SSLError: the certificate is not valid, or not for that host, or there is no agreement on
                something else.  Then the stream is closed.
            UVError: the connection is lost, or `timeout` has passed.  Then the stream is closed.
        """
        from greenify.io.tls import TLSLayer

        self._begin()
        if self._layer is not self._transport:
            raise HubError(f"{self!r} uses TLS already")
        layer = TLSLayer(
            self._transport, context, server_side, server_hostname, suppress_ragged_eofs
        )
        self._busy = True
        try:
            layer.handshake(self._deadline())
        except BaseException:
            # Half in TLS and half out: nobody can use it any more.  An alert may still be on its way.
            self._transport.close_when_sent()
            raise
        finally:
            self._busy = False
        self._layer = layer

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection (certificates, protocol, cipher), or None without TLS."""
        return None if self._layer is self._transport else self._layer.sslobject  # type: ignore[union-attr]

    # The end.

    def close(self, timeout: float | None = None) -> None:
        """Close the stream when everything that was written is with the kernel, and wait for that.

        What cannot be sent is dropped without an error (`flush` raises it), and so is what is unsent when the
        wait is interrupted.  Again, it does nothing.  From another OS thread it does not wait.

        Args:
            timeout: how long to wait at most, in seconds, before the rest is dropped; by default as long as
                any call may wait.
        """
        transport = self._transport
        if transport.uv is None:
            return
        if transport.foreign():
            transport.hub.call_from_thread(transport.close_when_sent)
            return
        if self._layer is not transport and not transport.ending:
            self._layer.goodbye()  # type: ignore[union-attr]
        transport.close(self._deadline() if timeout is None else _monotonic() + timeout)

    def abort(self) -> None:
        """Close the stream at once; what is unsent is dropped.  Any thread."""
        transport = self._transport
        if transport.foreign():
            transport.hub.call_from_thread(transport.close_now)
        else:
            transport.close_now()

    def __enter__(self: StreamType) -> StreamType:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if value is None:
            self.close()
        else:
            # Whatever it was shall not have to wait for the peer.
            self.abort()

    def __del__(self) -> None:
        transport: Any = getattr(self, "_transport", None)
        if transport is None or transport.ending:
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            if transport.foreign():
                transport.hub.call_from_thread(transport.close_when_sent)
            else:
                transport.close_when_sent()
