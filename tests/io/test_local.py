"""Local sockets: paths, abstract names, permissions, files that come and go."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from greenify.errors import (
    UVAddressInUseError,
    UVConnectionRefusedError,
    UVError,
    UVNotFoundError,
    UVTimeoutError,
)
from greenify.io import PipeClient, PipeServer
from greenify.task import spawn
from tests.io.conftest import LONG, join


def talk(path: str | bytes | Path) -> None:
    with PipeServer(path) as server:
        with PipeClient(path) as client, server.accept(LONG) as stream:
            client.write(b"question")
            assert stream.read() == b"question"
            stream.write(b"answer")
            stream.shutdown()
            assert client.read_all() == b"answer"


def test_kinds_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(tmp_path / "a")
    talk(str(tmp_path / "b"))
    talk(os.fsencode(tmp_path / "c"))
    monkeypatch.chdir(tmp_path)
    talk("relative")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["\0greenify-test-{}", "\0greenify\0test\0{}"])
def test_abstract_names(name: str) -> None:
    talk(name.format(os.getpid()))


@pytest.mark.parametrize("size", [107, 108])
def test_long_paths(size: int) -> None:
    """No path is cut off: it fits, or it is refused."""
    path = f"/tmp/greenify-{os.getpid()}-".ljust(size, "x")
    if size == 107:
        talk(path)
    else:
        for make in (PipeServer, PipeClient):
            with pytest.raises(UVError, match="too long") as caught:
                make(path)
            assert caught.value.errno == errno.ENAMETOOLONG
        assert not os.path.exists(path[:107])


def test_nobody_there(path: str) -> None:
    with pytest.raises(UVNotFoundError, match="connecting to") as caught:
        PipeClient(path)
    assert isinstance(caught.value, FileNotFoundError)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        with pytest.raises(UVConnectionRefusedError):
            PipeClient(path)
        with pytest.raises(UVAddressInUseError, match="listening on"):
            PipeServer(path)
    assert os.path.exists(path)  # it is somebody else's


def test_permissions(path: str) -> None:
    with PipeServer(path, mode=0o600):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_another_server_has_taken_the_path(path: str) -> None:
    with PipeServer(path) as first:
        os.unlink(path)
        with PipeServer(path) as second:
            first.close()
            with PipeClient(path) as client, second.accept(LONG):
                client.write(b"x")
    assert not os.path.exists(path)


def test_file_removed_by_somebody_else(path: str) -> None:
    with PipeServer(path):
        os.unlink(path)


def test_a_full_queue_is_waited_for(path: str) -> None:
    with PipeServer(path, backlog=0) as server:
        first = PipeClient(path)
        with pytest.raises(UVTimeoutError, match="connecting to"):
            PipeClient(path, timeout=0.01)
        second = spawn(PipeClient, path)
        with first, server.accept(LONG), join(second) as client, server.accept(LONG) as stream:
            client.write(b"x")
            assert stream.read() == b"x"
