"""Nothing grows: descriptors, handles, waiters, memory of the loop."""

from __future__ import annotations

import gc
import ssl
from typing import Any

import pytest

from greenify import core
from greenify.io import PipeClient, Stream, TCPClient, UDPEndpoint
from greenify.servers import StreamServer
from greenify.task import spawn
from greenify.timeout import Timeout
from tests.io.conftest import LONG, descriptors, join, until


def answer(stream: Stream) -> None:
    stream.write(stream.read_until(b"\n"))


def counts() -> tuple[int, ...]:
    hub = core.get_hub()
    return (
        len(descriptors()),
        len(hub.loop.uv.handles),
        len(hub.loop.pinned),
        len(hub.private_fds),
        len(hub.tasks),
        hub.users,
        len(hub.descriptors.by_fd),
    )


def objects_alive() -> int:
    # Deadlines that are over leave the heap in bulk.
    return len(gc.get_objects()) - len(core.get_hub().timers.heap)


@pytest.mark.parametrize("kind", ["tcp", "pipe"])
def test_2000_connections(kind: str, path: str) -> None:
    hub = core.get_hub()
    address: Any = ("127.0.0.1", 0) if kind == "tcp" else path
    connect: Any = TCPClient if kind == "tcp" else PipeClient

    def clients(server: StreamServer, number: int) -> None:
        for turn in range(number):
            stream = connect(server.address)
            # Each ends in another way.
            if turn % 4 == 0:
                with stream:
                    stream.write(b"hello\n")
                    assert stream.read_all() == b"hello\n"
            elif turn % 4 == 1:
                stream.abort()
            elif turn % 4 == 2:
                with stream, Timeout(0, False):
                    stream.read()
            else:
                stream.write(b"hello")  # and no end of the line
                stream.close()

    def run(number: int) -> None:
        with StreamServer(address, lambda stream: ignoring(answer, stream), grace=LONG) as server:
            workers = [spawn(clients, server, number // 10) for _ in range(10)]
            for worker in workers:
                join(worker)
            until(lambda: not server.connections)
        until(lambda: not hub.users)

    run(40)
    gc.collect()
    before = counts()
    objects = objects_alive()
    run(2000)
    gc.collect()
    until(lambda: counts() == before)
    # A leak of one object for each connection would be 4,000 of them, for both ends.
    assert objects_alive() - objects < 500


def ignoring(handle: Any, stream: Stream) -> None:
    try:
        handle(stream)
    except (OSError, EOFError):
        return  # the client has left


def test_tls_connections_and_failures(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    hub = core.get_hub()

    def run(number: int) -> None:
        with StreamServer(("127.0.0.1", 0), answer, tls=contexts[1]) as server:
            for turn in range(number):
                name = "localhost" if turn % 2 else "elsewhere.example"
                try:
                    with TCPClient(server.address, tls=contexts[0], server_hostname=name) as stream:
                        stream.write(b"hello\n")
                        assert stream.read_all() == b"hello\n"
                except ssl.SSLCertVerificationError:
                    assert name != "localhost"
            until(lambda: not server.connections)
        until(lambda: not hub.users)

    run(10)
    gc.collect()
    before, objects = counts(), objects_alive()
    run(100)
    gc.collect()
    until(lambda: counts() == before)
    assert objects_alive() - objects < 90


def test_endpoints_and_failed_connections() -> None:
    hub = core.get_hub()
    before = counts()
    for _ in range(200):
        with UDPEndpoint(("127.0.0.1", 0)) as endpoint:
            endpoint.send(b"x", endpoint.address)
            endpoint.receive()
        with pytest.raises(ConnectionRefusedError):
            TCPClient(("127.0.0.1", 1))
        with pytest.raises(FileNotFoundError):
            PipeClient("/nonexistent/socket")
    until(lambda: not hub.users)
    gc.collect()
    assert counts() == before


def test_interrupted_waits() -> None:
    """A waiter for each would be 3,000."""
    from tests.io.conftest import tcp_pair

    left, right = tcp_pair()
    with left, right:
        for _ in range(1000):
            for call in (left.read, lambda: left.read_until(b"\n")):
                with Timeout(0, False):
                    call()
        assert left._transport._input == [] and core.get_hub().timers.pending() < 10
