"""The servers themselves: each answers in its own protocol, and ends with the tests."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.libraries import servers
from tests.libraries.servers import Server


def _answer(server: Server, question: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=30) as sock:
        sock.sendall(question)
        return sock.recv(1000)


#: A question that the server has an answer for, and how that begins.
QUESTIONS: dict[str, tuple[bytes, Callable[[bytes], bool]]] = {
    # A request for TLS, which is refused.
    "postgres": (b"\0\0\0\x08\x04\xd2\x16\x2f", lambda answer: answer == b"N"),
    # It speaks first.
    "mariadb": (b"", lambda answer: b"MariaDB" in answer),
    "redis": (b"PING\r\n", lambda answer: answer == b"+PONG\r\n"),
    "memcached": (b"version\r\n", lambda answer: answer.startswith(b"VERSION 1.")),
    "rabbitmq": (b"AMQP\0\0\x09\x01", lambda answer: b"RabbitMQ" in answer),
    # An anonymous bind.
    "slapd": (
        b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
        lambda answer: answer.startswith(b"\x30\x0c\x02\x01\x01\x61"),
    ),
    # OP_MSG, the document {"hello": 1, "$db": "admin"}; the flag says that it is the primary.
    "mongo": (
        b"\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0"
        b"\x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0",
        lambda answer: b"\x08isWritablePrimary\0\x01" in answer,
    ),
}


@pytest.mark.servers
@pytest.mark.parametrize("name", [*servers.PACKAGES, *servers.FROM_PYPI])
def test_it_answers(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    question, expected = QUESTIONS[name]
    assert expected(_answer(server, question))


def _processes(folder: Path) -> list[str]:
    """The commands of all processes that work in `folder`, or have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # It may end at any time; others' are none of ours.
        with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
            place = (process / "cwd").readlink()
            if place == folder or os.fsencode(folder) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.servers
@pytest.mark.parametrize("name", ["redis", "rabbitmq"])
def test_it_ends(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all processes that it has started."""
    if servers.missing(name) and not servers.required():
        pytest.skip(str(servers.missing(name)))
    monkeypatch.setenv("GREENIFY_SERVER", str(tmp_path))  # all of them inherit it
    question, expected = QUESTIONS[name]
    with servers.running(name, tmp_path) as server:
        assert expected(_answer(server, question))
        assert _processes(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    deadline = time.monotonic() + 30  # the kernel ends those that were killed when it gets to it
    while left := _processes(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_every_server_has_a_row_a_start_and_a_question() -> None:
    named = servers.PACKAGES.keys() | servers.FROM_PYPI.keys()
    assert named == servers._STARTS.keys() == QUESTIONS.keys()


def test_what_is_missing_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find", lambda program: None)
    assert servers.missing("slapd") == "no slapd, slapadd: apt-get install slapd"
    assert servers.missing("mongo") == "no nx-27017: pip install nx-27017"
