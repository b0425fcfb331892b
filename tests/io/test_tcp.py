"""TCP: addresses, errors, limits of time, options."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from typing import Any

import pytest

from greenify.errors import (
    UVAddressInUseError,
    UVConnectionRefusedError,
    UVError,
    UVTimeoutError,
)
from greenify.io import TCPClient, TCPServer
from greenify.io import tcp as module
from greenify.task import spawn
from tests.io.conftest import LONG, ipv6, join, settle
from tests.io.test_cancelling import full_listener


@pytest.fixture
def refusing() -> Any:
    """A port that refuses connections: it is bound, so nobody else gets it, but does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let the name "name.example" stand for `addresses`."""

    def getaddrinfo(host: Any, port: Any, *rest: Any) -> Any:
        if rest[-1] & socket.AI_NUMERICHOST:
            raise _socket.gaierror(socket.EAI_NONAME, "not a number")
        assert host == "name.example"
        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (ip, number),
            )
            for ip, number in addresses
        ]

    monkeypatch.setattr(module, "_getaddrinfo", getaddrinfo)


class TestConnecting:
    def test_addresses(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server, TCPClient(server.address) as client:
            with server.accept() as stream:
                assert client.peer_address == server.address == stream.local_address
                assert stream.peer_address == client.local_address
                assert (
                    repr(client) == f"<TCPClient TCP connection to 127.0.0.1:{server.address[1]}>"
                )
                assert stream.name == "TCP connection from {}:{}".format(*client.local_address)
        assert repr(client).endswith(", closed>")

    @ipv6
    def test_ipv6(self) -> None:
        with TCPServer(("::1", 0)) as server, TCPClient(("::1", server.address[1])) as client:
            with server.accept() as stream:
                client.write(b"x")
                assert stream.read() == b"x"
                assert stream.peer_address == client.local_address

    def test_every_address_and_a_name(self) -> None:
        with TCPServer(("", 0)) as server, TCPClient(("localhost", server.address[1])) as client:
            assert server.address[0] == "0.0.0.0"
            server.accept().close()
            assert client.read() == b""

    def test_refused(self, refusing: int) -> None:
        with pytest.raises(UVConnectionRefusedError, match=f"connecting to 127.0.0.1:{refusing}"):
            TCPClient(("127.0.0.1", refusing))
        with pytest.raises(ConnectionRefusedError) as caught:
            TCPClient(("127.0.0.1", refusing))
        assert caught.value.errno == errno.ECONNREFUSED and isinstance(caught.value, UVError)

    def test_next_address(self, monkeypatch: pytest.MonkeyPatch, refusing: int) -> None:
        """The error of an address that was tried before one that works is forgotten."""
        with TCPServer(("127.0.0.1", 0)) as server:
            names(monkeypatch, ("127.0.0.1", refusing), server.address)
            with TCPClient(("name.example", 80)) as client, server.accept() as stream:
                assert client.peer_address == server.address
                assert client.name == "TCP connection to name.example:80"
                stream.write(b"x")
                assert client.read() == b"x"

    def test_every_address_refuses(self, monkeypatch: pytest.MonkeyPatch, refusing: int) -> None:
        names(monkeypatch, ("127.0.0.1", refusing), ("127.0.0.1", 1), ("::1", 1))
        with pytest.raises(UVError) as caught:
            TCPClient(("name.example", 80))
        for address in (f"127.0.0.1:{refusing}", "127.0.0.1:1", "::1:1"):
            assert f"connecting to {address}: " in str(caught.value)

    def test_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*args: Any) -> Any:
            raise _socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(module, "_getaddrinfo", unknown)
        with pytest.raises(socket.gaierror, match="not known"):
            TCPClient(("name.example", 80))

    def test_name_without_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names(monkeypatch)
        with pytest.raises(socket.gaierror, match=r"name\.example has no IP address"):
            TCPClient(("name.example", 80))

    def test_others_run_while_a_name_is_looked_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read, write = os.pipe()

        def slow(host: Any, port: Any, *rest: Any) -> Any:
            if rest[-1] & socket.AI_NUMERICHOST:
                raise _socket.gaierror(socket.EAI_NONAME, "not a number")
            os.read(read, 1)
            raise _socket.gaierror(socket.EAI_NONAME, "at last")

        monkeypatch.setattr(module, "_getaddrinfo", slow)
        task = spawn(os.write, write, b"x")
        with pytest.raises(socket.gaierror, match="at last"):
            TCPClient(("name.example", 80))
        join(task)
        os.close(read)
        os.close(write)

    def test_time_limit(self) -> None:
        with full_listener() as listener:
            with pytest.raises(UVTimeoutError, match=r"connecting to 127\.0\.0\.1") as caught:
                TCPClient(listener.getsockname(), timeout=0.01)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.errno == errno.ETIMEDOUT

    def test_source(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            with TCPClient(server.address, source=("127.0.0.2", 0)) as client:
                with server.accept() as stream:
                    assert stream.peer_address[0] == "127.0.0.2" == client.local_address[0]
            with pytest.raises(UVError, match="connecting to"):
                TCPClient(server.address, source=("::1", 0))
            with pytest.raises(UVError) as caught:
                TCPClient(server.address, source=("192.0.2.1", 0))
            assert caught.value.errno == errno.EADDRNOTAVAIL

    def test_options(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server, TCPClient(server.address) as client:
            server.accept().close()
            with socket.socket(fileno=os.dup(client.fileno())) as sock:
                option = sock.getsockopt
                assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                client.set_nodelay(False)
                assert not option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                client.set_keepalive(True, 7)
                assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7


class TestServer:
    def test_address_in_use(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            with pytest.raises(UVAddressInUseError, match=r"listening on 127\.0\.0\.1") as caught:
                TCPServer(server.address)
            assert caught.value.errno == errno.EADDRINUSE

    def test_listens_again_at_once(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            with TCPClient(server.address) as client, server.accept() as stream:
                stream.close()
                assert client.read() == b""
        with TCPServer(server.address) as again:
            assert again.address == server.address

    def test_shared_port(self) -> None:
        with TCPServer(("127.0.0.1", 0), reuse_port=True) as server:
            with TCPServer(server.address, reuse_port=True) as other:
                assert other.address == server.address

    def test_time_limit(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            with pytest.raises(UVTimeoutError, match=r"no connection on 127\.0\.0\.1"):
                server.accept(0.01)

    def test_options_for_streams(self) -> None:
        with TCPServer(("127.0.0.1", 0), timeout=3.0, read_limit=7) as server:
            with TCPClient(server.address), server.accept() as stream:
                assert (stream.timeout, stream.read_limit) == (3.0, 7)

    def test_iteration(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:

            def serve() -> int:
                number = 0
                for stream in server:
                    with stream:
                        number += 1
                return number

            task = spawn(serve)
            for _ in range(3):
                with TCPClient(server.address) as client:
                    assert client.read() == b""
            settle()
            server.close()
            assert join(task) == 3

    def test_many_acceptors(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            acceptors = [spawn(server.accept, LONG) for _ in range(5)]
            clients = [TCPClient(server.address) for _ in acceptors]
            streams = [join(task) for task in acceptors]
            found = {stream.peer_address for stream in streams}
            assert found == {client.local_address for client in clients}
            for each in (*clients, *streams):
                each.close()

    def test_no_descriptor_left(self) -> None:
        """The connection stays in the queue until there is one."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with TCPServer(("127.0.0.1", 0)) as server, TCPClient(server.address) as client:
            client.write(b"still here")
            taken = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 20, hard))
            try:
                with pytest.raises(OSError, match="Too many"):
                    while True:
                        taken.append(os.dup(0))
                with pytest.raises(UVError, match=r"accepting on 127\.0\.0\.1") as caught:
                    server.accept(LONG)
                assert caught.value.errno == errno.EMFILE
                os.close(taken.pop())
                with server.accept(LONG) as stream:
                    assert stream.read() == b"still here"
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for number in taken:
                    os.close(number)
