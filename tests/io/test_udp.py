"""UDP: datagrams stay whole, and nothing waits for ever."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any

import pytest

from greenify import core
from greenify.errors import HubError, UVConnectionRefusedError, UVError, UVTimeoutError
from greenify.io import UDPEndpoint
from greenify.task import spawn
from tests.io.conftest import LONG, ipv6, join, settle, until

LOCAL = ("127.0.0.1", 0)


def test_datagrams() -> None:
    with UDPEndpoint(LOCAL) as left, UDPEndpoint(LOCAL) as right:
        for data in (b"one", bytearray(b"two"), memoryview(b"txhxrxexe")[::2], b"", bytes(60_000)):
            right.send(data, left.address)
            assert left.receive() == (bytes(data), right.address)
        left.send(b"back", ("localhost", right.address[1]))
        assert right.receive() == (b"back", left.address)
        assert repr(left) == f"<UDP endpoint 127.0.0.1:{left.address[1]}>"


@ipv6
def test_ipv6() -> None:
    with UDPEndpoint(("::1", 0)) as left, UDPEndpoint(remote=("::1", left.address[1])) as right:
        right.send(b"x")
        data, sender = left.receive()
        assert (data, sender[:2]) == (b"x", ("::1", right.address[1]))


def test_remote() -> None:
    with UDPEndpoint(LOCAL) as server, UDPEndpoint(LOCAL) as stranger:
        with UDPEndpoint(remote=server.address) as client:
            client.send(b"question")
            _, sender = server.receive()
            stranger.send(b"not for you", sender)
            server.send(b"answer", sender)
            assert client.receive() == (b"answer", server.address)
        with pytest.raises(HubError, match="no remote address"):
            server.send(b"x")


def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(LOCAL)
        address = closed.getsockname()
    with UDPEndpoint(remote=address, timeout=LONG) as client:
        client.send(b"x")
        with pytest.raises(UVConnectionRefusedError):
            client.receive()
        # It goes on.
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.receive()


def test_errors() -> None:
    with UDPEndpoint(LOCAL) as endpoint:
        for size in (65_536, 65_510):
            with pytest.raises(UVError) as caught:
                endpoint.send(bytes(size), endpoint.address)
            assert caught.value.errno == errno.EMSGSIZE
        with pytest.raises(UVError) as caught:
            endpoint.send(b"x", ("::1", 9))
        assert caught.value.errno == errno.EAFNOSUPPORT
        with pytest.raises(UVError) as caught:
            endpoint.send(b"x", ("255.255.255.255", 9))
        assert caught.value.errno == errno.EACCES
        with pytest.raises(UVError, match="in use"):
            UDPEndpoint(endpoint.address)
        with pytest.raises(TypeError):
            endpoint.send("text", endpoint.address)  # type: ignore[arg-type]


def test_time_limit() -> None:
    with UDPEndpoint(LOCAL, timeout=0.01) as endpoint:
        with pytest.raises(UVTimeoutError, match="receiving on UDP endpoint"):
            endpoint.receive()


def test_many_receivers() -> None:
    with UDPEndpoint(LOCAL) as left, UDPEndpoint(LOCAL) as right:
        tasks = [spawn(left.receive) for _ in range(20)]
        settle()
        for number in range(20):
            right.send(b"%d" % number, left.address)
        assert {int(join(task)[0]) for task in tasks} == set(range(20))


def test_what_is_kept_is_bounded() -> None:
    with UDPEndpoint(LOCAL, receive_limit=5) as left, UDPEndpoint(LOCAL) as right:
        for number in range(30):
            right.send(b"%d" % number, left.address)
        until(lambda: len(left._handle.arrived) >= 5)
        settle()
        assert len(left._handle.arrived) == 5
        # The kernel has kept the others.
        assert [int(left.receive()[0]) for _ in range(30)] == list(range(30))


def test_a_full_send_buffer() -> None:
    """Everything is sent in the end, though the kernel has no room at first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(LOCAL)
        with UDPEndpoint(LOCAL) as endpoint:
            real = endpoint._handle.uv

            class Full:
                """The handle of libuv, without room for the first attempt."""

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

                def try_send(self, *args: Any) -> None:
                    from greenify.core.loop import pyuv

                    raise pyuv.error.UDPError(pyuv.errno.UV_EAGAIN, "full")

            endpoint._handle.uv = Full()
            endpoint.send(b"x", peer.getsockname())
            with pytest.raises(UVError, match="sending to"):
                endpoint.send(b"x", ("255.255.255.255", 9))
            endpoint._handle.uv = real
            peer.settimeout(LONG)
            assert peer.recv(10) == b"x"


def test_threads() -> None:
    with UDPEndpoint(LOCAL) as endpoint:
        found: list[Any] = []

        def use() -> None:
            for call in (endpoint.receive, lambda: endpoint.send(b"x", endpoint.address)):
                try:
                    call()
                except HubError as exc:
                    found.append(exc)
            endpoint.close()

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(LONG)
        assert len(found) == 2
        until(lambda: endpoint.closed)
    assert core.get_hub().loop.pinned == {}
