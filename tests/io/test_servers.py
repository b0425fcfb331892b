"""StreamServer: one task for each connection, a bound, errors that end nothing else, a graceful end."""

from __future__ import annotations

import logging
import os
import resource
import socket
import ssl
import threading
from typing import Any

import pytest

from greenify import core
from greenify.errors import HubError, UVConnectionRefusedError, UVError
from greenify.event import Event
from greenify.io import PipeClient, Stream, TCPClient
from greenify.servers import StreamServer
from greenify.task import spawn
from tests.io.conftest import LONG, join, until

LOCAL = ("127.0.0.1", 0)


def echo(stream: Stream) -> None:
    while data := stream.read():
        stream.write(data)


def ask(client: Stream, data: bytes = b"hello") -> None:
    client.write(data)
    assert client.read_bytes(len(data)) == data


class TestServing:
    def test_many_clients(self) -> None:
        with StreamServer(LOCAL, echo) as server:
            clients = [TCPClient(server.address) for _ in range(50)]
            for number, client in enumerate(clients):
                ask(client, b"%d" % number)
            assert server.connections == 50
            assert repr(server) == f"<StreamServer at {server.address} with 50 connections>"
            for client in clients:
                client.close()
            until(lambda: not server.connections)

    def test_local_sockets(self, path: str) -> None:
        with StreamServer(path, echo, mode=0o600), PipeClient(path) as client:
            assert os.stat(path).st_mode & 0o777 == 0o600
            ask(client)
        assert not os.path.exists(path)

    def test_the_stream_is_closed_when_the_handler_returns(self) -> None:
        streams = []
        with StreamServer(LOCAL, streams.append) as server, TCPClient(server.address) as client:
            assert client.read() == b""
        assert [stream.closed for stream in streams] == [True]

    def test_options(self) -> None:
        seen: list[Any] = []

        def handle(stream: Stream) -> None:
            seen.append((stream.timeout, stream.read_limit, stream.write_limit))

        options = {"timeout": 3.0, "read_limit": 4, "write_limit": 5, "backlog": 6}
        with StreamServer(LOCAL, handle, **options) as server, TCPClient(server.address) as client:
            assert client.read() == b""
        assert seen == [(3.0, 4, 5)]

    def test_serve_forever(self) -> None:
        server = StreamServer(LOCAL, echo)
        task = spawn(server.serve_forever)
        until(lambda: server.address[1])
        with TCPClient(server.address) as client:
            ask(client)
        assert server.stop(LONG)
        join(task)

    def test_at_most_once(self) -> None:
        with StreamServer(LOCAL, echo) as server:
            with pytest.raises(HubError, match="been started"):
                server.start()
        with pytest.raises(HubError):
            server.start()

    def test_address_in_use(self) -> None:
        with StreamServer(LOCAL, echo) as server:
            with pytest.raises(UVError, match="in use"):
                StreamServer(server.address, echo).start()

    def test_in_another_thread(self) -> None:
        server = StreamServer(LOCAL, echo)
        ready = threading.Event()

        def serve() -> None:
            server.start()
            ready.set()
            server.serve_forever()

        thread = threading.Thread(target=serve)
        thread.start()
        ready.wait(LONG)
        with TCPClient(server.address) as client:
            ask(client)
        assert server.stop(LONG)
        thread.join(LONG)
        assert not thread.is_alive()


class TestLimit:
    def test_connections_wait_for_their_turn(self) -> None:
        peak = 0

        def handle(stream: Stream) -> None:
            nonlocal peak
            peak = max(peak, server.connections)
            echo(stream)

        with StreamServer(LOCAL, handle, limit=3) as server:
            clients = [TCPClient(server.address) for _ in range(10)]
            for client in clients:
                client.write(b"x")
            for client in clients:
                # Each makes room for another one.
                assert client.read() == b"x"
                client.close()
            until(lambda: not server.connections)
        assert peak == 3

    def test_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="limit=0"):
            StreamServer(LOCAL, echo, limit=0)


class TestErrors:
    def test_reported_once_with_the_peer(self, caplog: pytest.LogCaptureFixture) -> None:
        def handle(stream: Stream) -> None:
            if stream.read() == b"bad":
                raise RuntimeError("handler failed")

        with StreamServer(LOCAL, handle, name="service") as server:
            for data in (b"bad", b"good"):
                with TCPClient(server.address) as client:
                    client.write(data)
                    assert client.read() == b""
                    if data == b"bad":
                        peer = "{}:{}".format(*client.local_address)
            until(lambda: not server.connections)
        (record,) = caplog.records
        assert record.name == "greenify" and record.levelno == logging.ERROR
        text = record.getMessage()
        assert f"service: TCP connection from {peer}" in text
        assert text.count("RuntimeError: handler failed") == 1

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
    def test_of_every_kind(self, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
        def handle(stream: Stream) -> None:
            raise error

        with StreamServer(LOCAL, handle) as server:
            for _ in range(2):
                with TCPClient(server.address) as client:
                    assert client.read() == b""
            until(lambda: not server.connections)
        assert len(caplog.records) == 2

    def test_no_descriptor_left(self, caplog: pytest.LogCaptureFixture) -> None:
        """Reported once; the connection is served when there is one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = []
        with StreamServer(LOCAL, echo) as server, socket.socket() as client:
            spare = os.dup(0)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare, client.fileno()) + 10, hard))
            try:
                with pytest.raises(OSError, match="Too many"):
                    while True:
                        taken.append(os.dup(0))
                taken.append(spare)
                client.connect(server.address)
                client.sendall(b"x")
                until(lambda: caplog.records)
                os.close(taken.pop())
                client.setblocking(False)
                until(lambda: server.connections)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for number in taken:
                    os.close(number)
            core.wait(client.fileno(), False)
            assert client.recv(10) == b"x"
        (record,) = caplog.records
        assert "Too many open files; trying again" in record.getMessage()


class TestStop:
    def test_waits_for_handlers(self) -> None:
        go = Event()

        def handle(stream: Stream) -> None:
            go.wait()
            stream.write(b"done")

        server = StreamServer(LOCAL, handle)
        server.start()
        with TCPClient(server.address) as client:
            until(lambda: server.connections)
            stopping = spawn(server.stop)
            until(lambda: server._listener is not None and server._listener.closed)
            with pytest.raises(UVConnectionRefusedError):
                TCPClient(server.address)
            assert stopping.alive
            go.set()
            assert client.read_all() == b"done"
            assert join(stopping) is True

    @pytest.mark.parametrize("pending", [0, 3])
    def test_kills_what_takes_too_long(self, pending: int) -> None:
        """With connections that wait for their turn, too."""
        server = StreamServer(LOCAL, echo, limit=2)
        server.start()
        clients = [TCPClient(server.address) for _ in range(2 + pending)]
        until(lambda: server.connections == 2)
        assert server.stop(0.01) is False
        assert server.connections == 0
        for client in clients:
            with client:
                try:
                    assert client.read() == b""
                except ConnectionResetError:
                    assert client in clients[2:]  # it has never been accepted
        assert server.stop() is True

    def test_at_the_end_of_the_block(self) -> None:
        with StreamServer(LOCAL, echo, grace=0.01) as server:
            client = TCPClient(server.address)
            ask(client)
        with client:
            assert client.read() == b""

    def test_by_a_handler(self) -> None:
        def handle(stream: Stream) -> None:
            assert stream.read() == b"stop"
            assert server.stop() is True
            stream.write(b"stopped")

        server = StreamServer(LOCAL, handle)
        server.start()
        with TCPClient(server.address) as client:
            client.write(b"stop")
            assert client.read_all() == b"stopped"

    def test_never_started(self) -> None:
        assert StreamServer(LOCAL, echo).stop() is True


class TestTLS:
    def test_echo(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        with StreamServer(LOCAL, echo, tls=contexts[1], timeout=7.0) as server:
            address = ("localhost", server.address[1])
            with TCPClient(address, tls=contexts[0]) as client:
                ask(client)

    def test_a_bad_or_slow_handshake_harms_nobody(
        self,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, "greenify")
        server = StreamServer(LOCAL, echo, tls=contexts[1], handshake_timeout=0.2, limit=3)
        with server:
            with TCPClient(server.address) as bad, TCPClient(server.address) as silent:
                bad.write(b"GET / HTTP/1.0\r\n\r\n")
                with TCPClient(("localhost", server.address[1]), tls=contexts[0]) as good:
                    ask(good)
                bad.read_all()
                assert silent.read_all() == b""
        messages = sorted(record.getMessage() for record in caplog.records)
        assert len(messages) == 2
        assert all("no TLS" in message for message in messages)
