"""examples/echo_server.py, with real threads and under the launcher."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import EXAMPLES, RunningPython, run_python, running_python


@contextlib.contextmanager
def echo_server(green: bool) -> Iterator[tuple[RunningPython, tuple[str, int]]]:
    with running_python(EXAMPLES / "echo_server.py", greenify=green) as server:
        host, _, port = server.readline().removeprefix("listening on ").rpartition(":")
        yield server, (host, int(port))


def receive(connection: socket.socket, size: int) -> bytes:
    result = bytearray()
    while len(result) < size:
        data = connection.recv(65_536)
        assert data, "the server hung up"
        result += data
    return bytes(result)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_clients_connected(number: signal.Signals, green: bool) -> None:
    with (
        echo_server(green) as (server, address),
        socket.create_connection(address, 20) as client,
    ):
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
        server.send_signal(number)
        assert client.recv(1) == b""
        assert server.wait() == 0
        assert server.readline() == "1 connections, 1 at once, 5 bytes echoed"
        assert server.stderr == ""


def test_100_clients_at_once(green: bool) -> None:
    with contextlib.ExitStack() as stack:
        server, address = stack.enter_context(echo_server(green))
        clients = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(100)]
        for index, client in enumerate(clients):
            client.sendall(bytes([index]) * 1_000)
        for index, client in reversed(list(enumerate(clients))):
            assert receive(client, 1_000) == bytes([index]) * 1_000
        if sys.platform == "linux":
            threads = len(list(Path(f"/proc/{server.pid}/task").iterdir()))
            # Under greenify, the main thread and the one that looks whether anybody keeps the interpreter.
            assert threads == (2 if green else 102)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.readline() == "100 connections, 100 at once, 100000 bytes echoed"


def test_large_echo(green: bool) -> None:
    """More than the buffers of both sockets hold: the server must read while it cannot write."""
    body = bytes(range(256)) * 80_000
    with (
        echo_server(green) as (server, address),
        socket.create_connection(address, 20) as client,
    ):
        sender = threading.Thread(target=client.sendall, args=(body,))
        sender.start()
        assert receive(client, len(body)) == body
        sender.join()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_port_in_use(green: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_python(EXAMPLES / "echo_server.py", "--port", port, greenify=green)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
