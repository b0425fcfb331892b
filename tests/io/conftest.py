"""Fixtures: streams with peers of each kind, and a check that nothing of them remains."""

from __future__ import annotations

import gc
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from greenify import core
from greenify.io import PipeClient, PipeServer, Stream, TCPClient, TCPServer
from greenify.task import Task, spawn

LONG = 30.0  # seconds: a wait that is expected to end by something else


def descriptors() -> set[str]:
    """The numbers of all open descriptors."""
    found = set(os.listdir("/proc/self/fd"))
    return {number for number in found if os.path.exists(f"/proc/self/fd/{number}")}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no address ::1")


def settle(rounds: int = 6) -> None:
    """Let everything that is ready run until it waits, libuv's callbacks included."""
    for _ in range(rounds):
        core.sleep(0)
        core.get_hub().hurry = True
        core.sleep(0)


def until(reached: Callable[[], Any]) -> None:
    """Run the others until `reached()`; a hang is ended by pytest's time-out."""
    while not reached():
        core.sleep(0.001)


@pytest.fixture(autouse=True, scope="package")
def quick_collections() -> Iterator[None]:
    """Collect what the tests make, and not what pytest has made before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    """Handles, users of the loop, and descriptors are what they were when the test is over."""
    hub = core.get_hub()
    # libuv opens one descriptor with its first stream, and the resolver of the C library may.
    with TCPServer(("127.0.0.1", 0)) as server, TCPClient(server.address) as client:
        client.abort()
        server.accept().abort()
    until(lambda: not hub.users)
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    until(lambda: not hub.users)
    assert not hub.loop.pinned
    assert descriptors() == before


def tcp_pair(**options: Any) -> tuple[Stream, Stream]:
    with TCPServer(("127.0.0.1", 0), **options) as server:
        client = TCPClient(server.address, **options)
        return client, server.accept(LONG)


def pipe_pair(**options: Any) -> tuple[Stream, Stream]:
    name = f"\0greenify-{os.getpid()}-{id(options)}"
    with PipeServer(name, **options) as server:
        client = PipeClient(name, **options)
        return client, server.accept(LONG)


def tls_pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext], **options: Any) -> Any:
    client, server = tcp_pair(**options)
    other = spawn(server.start_tls, contexts[1], server_side=True)  # type: ignore[attr-defined]
    client.start_tls(contexts[0], server_hostname="localhost")
    join(other)
    return client, server


def join(task: Task[Any]) -> Any:
    """The result of a task."""
    assert task.join(LONG), f"{task} has not ended"
    return task.result


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's context and that of a server for localhost."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    return client, server


@pytest.fixture(params=["tcp", "pipe", "tls"])
def make_pair(request: pytest.FixtureRequest) -> Callable[..., tuple[Stream, Stream]]:
    """Two connected streams of one kind; the keyword arguments are those of `Stream`."""
    if request.param == "tls":
        contexts = request.getfixturevalue("contexts")
        return lambda **options: tls_pair(contexts, **options)
    return tcp_pair if request.param == "tcp" else pipe_pair


@pytest.fixture
def pair(
    make_pair: Callable[..., tuple[Stream, Stream]],
) -> Iterator[tuple[Stream, Stream]]:
    left, right = make_pair()
    yield left, right
    left.abort()
    right.abort()


@pytest.fixture
def raw() -> Iterator[tuple[TCPClient, socket.socket]]:
    """A stream and, on the other side, a plain socket that does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = TCPClient(listener.getsockname())
        peer, _ = listener.accept()
    with peer:
        peer.setblocking(False)
        yield client, peer
        client.abort()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")
