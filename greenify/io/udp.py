"""UDP: datagrams, with a bound on how many are kept on either side."""

from __future__ import annotations

import _socket
import errno
import warnings
from collections import deque
from types import TracebackType
from typing import Any

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.loop import pyuv
from greenify.errors import HubError, UVError
from greenify.io.handles import EAGAIN, Handle, Waiters, claim, wait_among, wake
from greenify.io.tcp import Address, resolve

__all__ = ["UDPEndpoint"]

_UVError = pyuv.error.UVError

# The largest datagram that UDP has a length for.
_LARGEST = 65_535


class _Datagrams(Handle):
    """A UDP handle of libuv; the callbacks of libuv are the methods that begin with ``_on``."""

    __slots__ = ("_failed", "_limit", "_reading", "arrived", "drain", "input")

    def __init__(self, hub: core.Hub, uv: Any, limit: int) -> None:
        super().__init__(hub, uv)
        # (data, address), or an error number.
        self.arrived: deque[tuple[bytes, Address] | int] = deque()
        self._limit = limit
        self._reading = False
        self._failed = 0
        self.input: Waiters = []
        self.drain: Waiters = []

    def start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self.call(self.uv.start_recv, self._on_received)

    def _on_received(
        self, uv: Any, address: Address | None, flags: int, data: bytes | None, error: int | None
    ) -> None:
        self.hub.sleeping = False
        if error is not None:
            self.arrived.append(error)
        elif data is not None and address is not None:
            self.arrived.append((data, address))
        if len(self.arrived) >= self._limit and self._reading and self.uv is not None:
            # The kernel keeps what it has room for, and drops the rest.
            self._reading = False
            uv.stop_recv()
        wake(self.input)

    def receive(self, deadline: float | None) -> tuple[bytes, Address]:
        self.check()
        while not self.arrived:
            self.start_reading()
            wait_among(self, self.input, deadline, f"receiving on {self.name}")
            self.check()
        item = self.arrived.popleft()
        if isinstance(item, int):
            raise UVError.of(item, self.name)
        return item

    def send(self, data: bytes, address: Address, deadline: float | None) -> None:
        uv = self.check()
        try:
            uv.try_send(address, data)
        except _UVError as exc:
            if exc.args[0] != EAGAIN:
                raise UVError.of(exc.args[0], f"sending to {address[0]}:{address[1]}") from None
        else:
            return
        # The kernel has no room: libuv sends it when it has.
        report = _Sent(self)
        self.call(uv.send, address, data, report)
        while report.result is None:
            wait_among(self, self.drain, deadline, f"sending on {self.name}")
            self.check()
        if report.result:
            raise UVError.of(report.result, f"sending to {address[0]}:{address[1]}")

    def release(self, uv: Any) -> None:
        if self._reading:
            self._reading = False
            uv.stop_recv()

    def wake_all(self) -> None:
        wake(self.input)
        wake(self.drain)


class _Sent:
    """What libuv calls when a datagram has been sent, or cannot be."""

    __slots__ = ("_handle", "result")

    def __init__(self, handle: _Datagrams) -> None:
        self._handle = handle
        self.result: int | None = None

    def __call__(self, uv: Any, error: int | None) -> None:
        self._handle.hub.sleeping = False
        self.result = error or 0
        wake(self._handle.drain)


class UDPEndpoint:
    """Send and receive datagrams.

    It belongs to the OS thread in which it was made: only `close` may be called from others.  Any number of
    tasks may send and receive; each datagram is received once.

    Args:
        local: (host, port) of this end; port 0, the default, for any.
        remote: (host, port) of the other end: then only its datagrams are received, and `send` needs no
            address.
        timeout: how long each call may wait, in seconds; None: no limit.
        broadcast: allow sending to broadcast addresses.
        receive_limit: how many datagrams are kept for the program; above that the kernel drops them, as it
            always may.

    Attributes:
        address: the real address of this end.
        timeout: see above.

    Raises:
        UVError: that address cannot be had.
        socket.gaierror: a name has no address.
    """

    def __init__(
        self,
        local: Address = ("", 0),
        remote: Address | None = None,
        *,
        timeout: float | None = None,
        broadcast: bool = False,
        receive_limit: int = 1024,
    ) -> None:
        self.timeout = timeout
        peers = [] if remote is None else resolve(remote, _socket.SOCK_DGRAM)
        self._remote = None if not peers else peers[0][1]
        if peers and not local[0]:
            # Any address, of the other end's family.
            family = peers[0][0]
            numeric: Address = ("::" if family == _socket.AF_INET6 else "0.0.0.0", local[1])
        else:
            family, numeric = resolve(local, _socket.SOCK_DGRAM, passive=True)[0]
        sock = _socket.socket(family, _socket.SOCK_DGRAM)
        try:
            try:
                if broadcast:
                    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
                sock.bind(numeric)
                if self._remote is not None:
                    sock.connect(self._remote)
            except OSError as exc:
                name = f"{numeric[0]}:{numeric[1]}"
                raise UVError.of(exc.errno or 0, f"UDP on {name}") from None
            self.address: Address = sock.getsockname()
            hub = core.get_hub()
            self._handle = _Datagrams(hub, pyuv.UDP(hub.loop.uv), receive_limit)
            self._handle.name = f"UDP endpoint {self.address[0]}:{self.address[1]}"
            self._handle.open(claim(_socket.dup(sock.fileno())))
            # libuv sets this, for its own bind: others could steal the port.
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)
        finally:
            sock.close()
        self._family = family
        self._handle.start_reading()

    def __repr__(self) -> str:
        return f"<{self._handle.name}{', closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._handle.uv is None

    def fileno(self) -> int:
        """The number of the descriptor, or -1 after the end.  It is libuv's: not to be closed or read."""
        return -1 if self.closed else self._handle.fd

    def _deadline(self) -> float | None:
        return None if self.timeout is None else _monotonic() + self.timeout

    def send(self, data: bytes | bytearray | memoryview, address: Address | None = None) -> None:
        """Send one datagram, waiting while the kernel has no room for it.

        Args:
            data: all that is in it.
            address: (host, port) of the receiver, if there is no `remote` or another one is meant.

        Raises:
            UVError: it cannot be sent (EMSGSIZE: it is too long), or the endpoint is closed.
            socket.gaierror: the name has no address.
            HubError: there is nobody to send it to.
        """
        self._handle.check()
        if address is None:
            if self._remote is None:
                raise HubError(f"{self!r} has no remote address: give one to send()")
            numeric = self._remote
        else:
            numeric = self._resolve(address)
        if len(data) > _LARGEST:
            raise UVError.of(errno.EMSGSIZE, f"sending to {numeric[0]}:{numeric[1]}")
        self._handle.send(bytes(memoryview(data)), numeric, self._deadline())

    def _resolve(self, address: Address) -> Address:
        for family, numeric in resolve(address, _socket.SOCK_DGRAM):
            if family == self._family:
                return numeric
        raise UVError.of(errno.EAFNOSUPPORT, f"sending to {address[0]}:{address[1]}")

    def receive(self) -> tuple[bytes, Address]:
        """Wait for a datagram and return its data and its sender.

        Raises:
            UVError: the endpoint is closed, or `timeout` has passed.
            UVConnectionRefusedError: the `remote` end has let know that nobody receives there.
        """
        return self._handle.receive(self._deadline())

    def close(self) -> None:
        """Close the endpoint: waiters get `StreamClosedError`.  Again, it does nothing.  Any thread."""
        handle = self._handle
        if handle.foreign():
            handle.hub.call_from_thread(handle.close_now)
        else:
            handle.close_now()

    def __enter__(self) -> UDPEndpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        handle: _Datagrams | None = getattr(self, "_handle", None)
        if handle is not None and handle.uv is not None:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                self.close()
