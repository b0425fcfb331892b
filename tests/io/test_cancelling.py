"""Whatever waits can be killed, and leaves no waiter behind and no data lost."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from greenify.errors import TaskExit
from greenify.io import PipeServer, Stream, TCPClient, TCPServer, UDPEndpoint
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.io.conftest import LONG, join, settle, until

Pair = tuple[Stream, Stream]
BIG = bytes(range(256)) * 40_000


class Ended(Exception):
    pass


def by_kill(call: Callable[[], Any]) -> None:
    task = spawn(call)
    settle()
    assert task.alive
    task.kill()
    assert task.join(LONG) and isinstance(task.exception, TaskExit)


def by_another_exception(call: Callable[[], Any]) -> None:
    task: Task[Any] = Task(call)
    task._observer = lambda task: None  # nobody need log it
    task.start()
    settle()
    assert task.alive
    task.kill(Ended)
    assert task.join(LONG) and isinstance(task.exception, Ended)


def by_timeout(call: Callable[[], Any]) -> None:
    with Timeout(0.005, False):
        call()
        pytest.fail("it has not waited")


interrupted = pytest.mark.parametrize("interrupt", [by_kill, by_another_exception, by_timeout])
Interrupt = Callable[[Callable[[], Any]], None]


def waiters(stream: Stream) -> int:
    return len(stream._transport._input) + len(stream._transport._drain)


@interrupted
class TestStreams:
    @pytest.mark.parametrize("method", ["read", "read_bytes", "until", "regex", "all"])
    def test_reading(self, pair: Pair, interrupt: Interrupt, method: str) -> None:
        left, right = pair
        if method != "read":
            right.write(b"first ")
        interrupt(
            {
                "read": left.read,
                "read_bytes": lambda: left.read_bytes(100),
                "until": lambda: left.read_until(b"\n"),
                "regex": lambda: left.read_until_regex(b"\n"),
                "all": left.read_all,
            }[method]
        )
        assert waiters(left) == 0
        right.write(b"second\n")
        expected = b"second\n" if method == "read" else b"first second\n"
        assert left.read_until(b"\n") == expected

    @pytest.mark.parametrize("method", ["write", "flush", "shutdown"])
    def test_writing(self, pair: Pair, interrupt: Interrupt, method: str) -> None:
        left, right = pair
        left.write_limit = 10 if method == "write" else 2 * len(BIG)
        expected = BIG
        if method == "write":
            interrupt(lambda: left.write(BIG))
        else:
            left.write(BIG)
            interrupt(getattr(left, method))
        assert waiters(left) == 0
        assert right.read_bytes(len(expected)) == expected
        if method == "shutdown":
            assert right.read() == b""

    def test_closing_drops_the_rest(self, pair: Pair, interrupt: Interrupt) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        interrupt(left.close)
        assert waiters(left) == 0 and left.closed and left.fileno() == -1
        got = right.read_all()
        assert len(got) < len(BIG) and BIG.startswith(got)

    def test_leaving_the_block(self, pair: Pair, interrupt: Interrupt) -> None:
        left, _ = pair

        def use() -> None:
            with left:
                left.write(BIG)

        interrupt(use)
        assert left.fileno() == -1 and waiters(left) == 0


@interrupted
class TestConnecting:
    def test_tcp(self, interrupt: Interrupt) -> None:
        with full_listener() as listener:
            interrupt(lambda: TCPClient(listener.getsockname()))

    def test_local(self, interrupt: Interrupt, path: str) -> None:
        from greenify.io import PipeClient

        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
            listener.bind(path)
            listener.listen(0)
            first.connect(path)
            interrupt(lambda: PipeClient(path))

    def test_tls(self, interrupt: Interrupt, contexts: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            interrupt(lambda: TCPClient(address, tls=contexts[0], server_hostname="localhost"))
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LONG)
                while peer.recv(10_000):
                    pass


@interrupted
class TestServers:
    def test_accepting(self, interrupt: Interrupt, path: str) -> None:
        servers: list[Any] = [TCPServer(("127.0.0.1", 0)), PipeServer(path)]
        for server in servers:
            with server:
                interrupt(server.accept)
                connect = TCPClient if server is servers[0] else _pipe_client
                with connect(server.address) as client, server.accept(LONG) as stream:
                    client.write(b"x")
                    assert stream.read() == b"x"

    def test_receiving(self, interrupt: Interrupt) -> None:
        with UDPEndpoint(("127.0.0.1", 0)) as left, UDPEndpoint(remote=left.address) as right:
            interrupt(left.receive)
            assert left._handle.input == []
            right.send(b"x")
            assert left.receive() == (b"x", ("127.0.0.1", right.address[1]))


def _pipe_client(path: str) -> Stream:
    from greenify.io import PipeClient

    return PipeClient(path)


def full_listener() -> Any:
    """A listener that takes no more connections, with those that fill it."""
    import contextlib

    @contextlib.contextmanager
    def manager() -> Any:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(listener.getsockname())
            yield listener

    return manager()


def test_killed_before_libuv_reports(raw: tuple[TCPClient, socket.socket]) -> None:
    """The data is there, the reader has been woken, and is killed before it runs."""
    stream, peer = raw
    task = spawn(stream.read)
    settle()
    peer.send(b"data")
    until(lambda: len(stream._layer.buffer) or task.kill())
    task.kill()
    task.join(LONG)
    assert stream.read_bytes(4) == b"data" if task.exception else task.result == b"data"


def test_readers_of_a_stream_that_is_closed(pair: Pair) -> None:
    left, _ = pair
    reader: Task[Any] = Task(left.read)
    reader._observer = lambda task: None
    reader.start()
    settle()
    left.close()
    assert reader.join(LONG) and "is closed" in str(reader.exception)
    assert join(spawn(lambda: waiters(left))) == 0
