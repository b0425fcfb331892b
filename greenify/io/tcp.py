"""TCP: clients, servers, and TLS from the first byte."""

from __future__ import annotations

import _socket
import errno
import os
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.core.loop import pyuv
from greenify.core.workers import lookup_workers
from greenify.errors import UVError
from greenify.io.handles import Waiters, claim, wait_among, wake
from greenify.io.listeners import Listener
from greenify.io.streams import READ_LIMIT, WRITE_LIMIT, Stream
from greenify.io.transport import Transport
from greenify.timeout import Timeout

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "TCPClient", "TCPServer", "TCPStream", "allowing", "resolve"]

#: As `socket` has them: (host, port), and for IPv6 perhaps (host, port, flow, scope).
Address = tuple[Any, ...]

_getaddrinfo = _socket.getaddrinfo


def resolve(address: Address, kind: int, passive: bool = False) -> list[tuple[int, Address]]:
    """The family and the numeric form of every address that `address` stands for, the best first.

    Raises:
        socket.gaierror: there is none.
    """
    host, port = address[0] or None, address[1]
    flags = _socket.AI_PASSIVE if passive else 0
    family = _socket.AF_INET if host is None else 0
    wanted = (family, kind, 0, flags)
    try:
        found = _getaddrinfo(host, port, family, kind, 0, flags | _socket.AI_NUMERICHOST)
    except _socket.gaierror:
        # Only names take time.
        found = lookup_workers.run(_getaddrinfo, host, port, *wanted)
    result = []
    for number, _, _, _, numeric in found:
        if number == _socket.AF_INET6 and len(address) == 4 and len(numeric) == 4:
            numeric = (*numeric[:2], address[2] or numeric[2], address[3] or numeric[3])
        if number in (_socket.AF_INET, _socket.AF_INET6):
            result.append((number, numeric))
    if not result:
        raise _socket.gaierror(_socket.EAI_ADDRFAMILY, f"{host} has no IP address")
    return result


def allowing(timeout: float | None, what: str) -> Timeout:
    """A `Timeout` that raises `UVTimeoutError`."""
    return Timeout(timeout, UVError.of(errno.ETIMEDOUT, what))


class TCPStream(Stream):
    """A TCP connection.

    Attributes:
        local_address: (host, port) of this end, for IPv6 with flow and scope.
        peer_address: that of the other end.
    """

    local_address: Address
    peer_address: Address

    @classmethod
    def _accepted(cls, fd: int, address: Address, **options: Any) -> TCPStream:
        transport = _transport(fd)
        transport.name = f"TCP connection from {address[0]}:{address[1]}"
        stream = cls(transport, **options)
        stream.peer_address = address
        stream._connected()
        return stream

    def _connected(self) -> None:
        transport = self._transport
        self.local_address = transport.call(transport.uv.getsockname)
        transport.call(transport.uv.nodelay, True)
        transport.start_reading()

    def set_nodelay(self, on: bool) -> None:
        """If `on`, the default, send small pieces at once, else gather them (Nagle's algorithm)."""
        transport = self._transport
        transport.call(transport.check().nodelay, on)

    def set_keepalive(self, on: bool, delay: int = 60) -> None:
        """Have the kernel notice that the peer is gone.

        Args:
            on: whether it shall.
            delay: seconds of silence after which it asks, at least 1.
        """
        transport = self._transport
        transport.call(transport.check().keepalive, on, delay)


class _TCPTransport(Transport):
    __slots__ = ()

    def cause_of_end(self) -> int:
        # When a reset comes right after data, libuv reports the hang-up and does not look why.
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, self.fd)
        try:
            return sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        finally:
            sock.detach()


def _transport(fd: int) -> Transport:
    """Give a descriptor to libuv."""
    try:
        hub = core.get_hub()
        transport = _TCPTransport(hub, pyuv.TCP(hub.loop.uv))
    except BaseException:
        os.close(fd)
        raise
    transport.name = "TCP connection"
    transport.open(fd)
    return transport


class TCPClient(TCPStream):
    """Connect to a server; the object is the connection.

    Args:
        address: (host, port).  A name is looked up without keeping other tasks waiting, and its addresses are
            tried in turn.
        timeout: how long each call may wait, in seconds, and all of connecting with it; None: no limit.
        source: (host, port) of this end; port 0 for any.
        tls: an `ssl.SSLContext`, or True for that of `ssl.create_default_context`, which verifies.
        server_hostname: whom the certificate has to be for, if not the host of `address`.
        read_limit: see `Stream`.
        write_limit: see `Stream`.

    Raises:
        UVError: no address could be connected to; it is the error of the last one, and that of the others
            are in its message.
        socket.gaierror: the name has no address.
        ssl.SSLError: see `Stream.start_tls`.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout: float | None = None,
        source: Address | None = None,
        tls: ssl.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        read_limit: int = READ_LIMIT,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        name = f"{address[0]}:{address[1]}"
        with allowing(timeout, f"connecting to {name}"):
            transport, self.peer_address = _connect(address, source)
            transport.name = f"TCP connection to {name}"
            super().__init__(
                transport, timeout=timeout, read_limit=read_limit, write_limit=write_limit
            )
            try:
                self._connected()
                if tls:
                    from greenify.io.tls import client_context

                    self.start_tls(
                        client_context(tls), server_hostname=server_hostname or address[0]
                    )
            except BaseException:
                transport.close_when_sent()
                raise


def _connect(address: Address, source: Address | None) -> tuple[Transport, Address]:
    errors: list[UVError] = []
    for family, numeric in resolve(address, _socket.SOCK_STREAM):
        try:
            return _connect_to(family, numeric, source), numeric
        except UVError as exc:
            errors.append(exc)
    try:
        if len(errors) == 1:
            raise errors[0]
        text = "; ".join(str(exc.strerror) for exc in errors)
        raise UVError(errors[-1].errno, text)
    finally:
        # Their tracebacks hold this frame.
        errors.clear()


def _connect_to(family: int, numeric: Address, source: Address | None) -> Transport:
    what = f"connecting to {numeric[0]}:{numeric[1]}"
    try:
        sock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            if source is not None:
                own = [each for each in resolve(source, _socket.SOCK_STREAM) if each[0] == family]
                if not own:
                    raise OSError(errno.EADDRNOTAVAIL, "no source address of that family")
                sock.bind(own[0][1])
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        if isinstance(exc, _socket.gaierror):
            raise
        raise UVError.of(exc.errno or 0, what) from None
    transport = _transport(claim(sock.detach()))
    transport.name = what
    try:
        report = _Connected(transport)
        transport.call(transport.uv.connect, numeric, report)
        while report.result is None:
            wait_among(transport, report.waiters, None, what)
            transport.check()
        if report.result:
            raise UVError.of(report.result, what)
        return transport
    except BaseException:
        transport.close_now()
        raise


class _Connected:
    """What libuv calls when a connection has been made, or cannot be."""

    __slots__ = ("_transport", "result", "waiters")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.result: int | None = None
        self.waiters: Waiters = []

    def __call__(self, uv: Any, error: int | None) -> None:
        self._transport.hub.sleeping = False
        self.result = error or 0
        wake(self.waiters)


class TCPServer(Listener[TCPStream]):
    """Listen for connections.

    Args:
        address: (host, port); host ``""`` for every IPv4 address, port 0 for any that is free.
        backlog: how many connections may wait to be accepted.
        reuse_port: let other sockets listen on the same port (SO_REUSEPORT): the kernel spreads connections.
        options: keyword arguments of `Stream` (timeout, read_limit, write_limit) for what is accepted.

    Attributes:
        address: the real address.

    Raises:
        UVError: it cannot listen there.
        socket.gaierror: the name has no address.
    """

    def __init__(
        self,
        address: Address,
        *,
        backlog: int = 128,
        reuse_port: bool = False,
        **options: Any,
    ) -> None:
        what = f"listening on {address[0]}:{address[1]}"
        family, numeric = resolve(address, _socket.SOCK_STREAM, passive=True)[0]
        try:
            sock = _socket.socket(family, _socket.SOCK_STREAM)
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                if reuse_port:
                    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
                if family == _socket.AF_INET6:
                    sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
                sock.bind(numeric)
                sock.listen(backlog)
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            raise UVError.of(exc.errno or 0, what) from None
        self.address: Address = sock.getsockname()
        self._options = options
        super().__init__(sock, f"{self.address[0]}:{self.address[1]}")

    def _stream(self, fd: int, address: Any) -> TCPStream:
        return TCPStream._accepted(fd, address, **self._options)
