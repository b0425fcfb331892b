"""examples/echo_tasks.py: StreamServer and streams, with nothing patched."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import EXAMPLES, RunningPython, run_python, running_python

ECHO = EXAMPLES / "echo_tasks.py"

# Under the launcher the same program shares the hub with patched code.
everywhere = pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])


@contextlib.contextmanager
def serving(*options: object, patched: bool = False) -> Iterator[tuple[RunningPython, str]]:
    with running_python(ECHO, "serve", *options, greenify=patched) as server:
        yield server, server.readline().removeprefix("listening on ")


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), 20)


@everywhere
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_talking_over_tcp(patched: bool, number: signal.Signals) -> None:
    with serving(patched=patched) as (server, address):
        done = run_python(ECHO, "talk", address, "hello", "world", greenify=patched, check=True)
        assert done.stdout == "hello\nworld\n"
        server.send_signal(number)
        assert server.wait() == 0
        assert server.readline() == "1 connections, 2 lines echoed"
        assert server.stderr == ""


@everywhere
def test_talking_over_a_local_socket(tmp_path: Path, patched: bool) -> None:
    path = tmp_path / "echo"
    with serving("--path", path, patched=patched) as (server, address):
        assert address == str(path)
        done = run_python(ECHO, "talk", address, "hello", greenify=patched, check=True)
        assert done.stdout == "hello\n"
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert not path.exists()


def test_a_limit_and_the_end_of_clients_that_stay() -> None:
    with (
        serving("--limit", 1, "--grace", 0.01) as (server, address),
        connect(address) as first,
        connect(address) as second,
    ):
        second.sendall(b"waits\n")
        first.sendall(b"served\n")
        assert first.recv(100) == b"served\n"
        first.shutdown(socket.SHUT_WR)
        assert first.recv(100) == b""
        # Its turn has come; it stays, and is cut off in the end.
        assert second.recv(100) == b"waits\n"
        server.send_signal(signal.SIGTERM)
        assert second.recv(100) == b""
        assert server.wait() == 0
        assert server.readline() == "2 connections, 2 lines echoed"
        assert server.stderr == ""
