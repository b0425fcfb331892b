"""Streams against a simple model: data cut anywhere, slow peers, any order of calls."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenify import core
from greenify.errors import IncompleteReadError, ReadLimitError
from greenify.io import Stream, TCPClient, buffers
from greenify.io.buffers import ReadBuffer
from greenify.task import spawn
from greenify.timeout import Timeout
from tests.io.conftest import join, settle, tcp_pair

fuzzed = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Few letters, so that separators, and beginnings of them, are frequent.
texts = st.lists(
    st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b"--", b"-"]), max_size=60
).map(b"".join)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=10)
separators = st.sampled_from([b"\n", b"\r\n", b"--", b"a", b"ab", b"\r\n\r\n"])
patterns = st.sampled_from([rb"\n", rb"\r?\n", rb"[ab]\n", rb"-(?:-|b)"])
calls = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 12)),
        st.tuples(st.just("read_bytes"), st.integers(0, 12)),
        st.tuples(st.just("read_until"), separators),
        st.tuples(st.just("read_until_regex"), patterns),
        st.tuples(st.just("interrupted"), st.none()),
    ),
    max_size=25,
)
LIMIT = 20


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """`data`, cut into pieces of these sizes, again and again."""
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


class Model:
    """What a stream has to return that carries `data` and then ends."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def expect(self, name: str, argument: Any) -> bytes | type[Exception]:
        if name == "read_bytes":
            return self.take(argument) if argument <= len(self.rest) else IncompleteReadError
        pattern = argument if name == "read_until_regex" else re.escape(argument)
        found = re.search(pattern, self.rest)
        if found is not None and found.end() <= LIMIT:
            return self.take(found.end())
        # With the limit reached no separator can end within it any more.
        return ReadLimitError if len(self.rest) >= LIMIT else IncompleteReadError


def check(stream: Stream, model: Model, name: str, argument: Any) -> None:
    if name == "interrupted":
        # Whatever it has waited for, nothing is lost.
        with Timeout(0, False):
            stream.read_bytes(10_000)
            raise AssertionError("there are not so many")
        return
    if name == "read":
        got = stream.read(argument)
        assert got == model.take(len(got))
        assert len(got) <= argument and (got or not argument or not model.rest)
        return
    expected = model.expect(name, argument)
    try:
        outcome: Any = getattr(stream, name)(argument)
    except (IncompleteReadError, ReadLimitError) as exc:
        outcome = type(exc)
    assert outcome == expected, (name, argument)


def read_all_ways(stream: Stream, data: bytes, made: list[tuple[str, Any]]) -> None:
    stream.read_limit = LIMIT
    model = Model(data)
    for name, argument in made:
        if name == "interrupted" and stream._layer.at_eof:
            continue  # nothing to wait for
        try:
            check(stream, model, name, argument)
        except IncompleteReadError:
            assert name == "interrupted"  # the end came first
    assert stream.read_all() == model.rest
    assert stream.read() == b""


@fuzzed
@given(data=texts, sizes=cuts, made=calls)
def test_reading_what_a_socket_sends(
    data: bytes, sizes: list[int], made: list[tuple[str, Any]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = TCPClient(listener.getsockname())
        peer, _ = listener.accept()

    def send() -> None:
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces(data, sizes):
                peer.sendall(piece)
                settle(1)

    sender = spawn(send)
    with stream:
        read_all_ways(stream, data, made)
    join(sender)


def relay(source: Stream, target: Stream, sizes: list[int]) -> None:
    """Pass everything on, cut into pieces of these sizes."""
    for size in cycle(sizes):
        try:
            data = source.read(size)
            if not data:
                target.shutdown()
                return
            target.write(data)
        except ConnectionError:
            return  # the one end has closed before it has read the farewell of the other
        core.sleep(0)


@settings(parent=fuzzed, max_examples=15)
@given(data=texts, sizes=cuts, back=cuts, made=calls)
def test_reading_tls_in_pieces(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    data: bytes,
    sizes: list[int],
    back: list[int],
    made: list[tuple[str, Any]],
) -> None:
    """Records, too, may be cut anywhere."""
    left, left_end = tcp_pair()
    right_end, right = tcp_pair()
    big = [size * 97 for size in sizes]
    relays = [spawn(relay, left_end, right_end, big), spawn(relay, right_end, left_end, back)]

    def serve() -> None:
        right.start_tls(contexts[1], server_side=True)
        for piece in pieces(data, sizes):
            right.write(piece)
        right.close()

    server = spawn(serve)
    with left:
        left.start_tls(contexts[0], server_hostname="localhost")
        read_all_ways(left, data, made)
    join(server)
    for task in relays:
        join(task)
    for stream in (left_end, right_end):
        stream.close()


@fuzzed
@given(
    writes=st.lists(st.integers(0, 200_000), max_size=8),
    reads=st.lists(st.integers(2_000, 400_000), min_size=1, max_size=6),
    pauses=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    limit=st.integers(0, 100_000),
    kill=st.booleans(),
)
def test_slow_peers(
    writes: list[int], reads: list[int], pauses: list[int], limit: int, kill: bool
) -> None:
    """Everything arrives in order, and no writer is ahead by more than its limit."""
    left, right = tcp_pair(write_limit=limit)
    total = sum(writes)
    data = (bytes(range(251)) * (total // 251 + 1))[:total]
    sent = 0

    def write() -> None:
        nonlocal sent
        for size in writes:
            piece = data[sent : sent + size]
            sent += size
            left.write(piece)
            assert left._layer.unsent <= limit

    writer = spawn(write)
    if kill:
        # In the middle of a call: what that was given arrives.
        settle(2)
        writer.kill()
        writer.join()
        data = data[:sent]
    else:
        closer = spawn(lambda: [writer.join(), left.close()])
    got = bytearray()
    steps = zip(cycle(reads), cycle(pauses), strict=False)
    while len(got) < len(data):
        size, pause = next(steps)
        got += right.read(size)
        for _ in range(pause):
            core.sleep(0)
    if kill:
        left.close()
    else:
        join(closer)
        join(writer)
    assert got == data
    assert right.read() == b""
    right.close()


@settings(parent=fuzzed, max_examples=100)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), texts),
            st.tuples(st.just("take"), st.integers(0, 30)),
            st.tuples(st.just("take_some"), st.integers(1, 30)),
            st.tuples(st.just("find"), separators),
            st.tuples(st.just("search"), patterns),
        ),
        max_size=40,
    )
)
def test_buffer(steps: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "_LARGE", 8)
        use_buffer(steps)


def use_buffer(steps: list[tuple[str, Any]]) -> None:
    buffer, model = ReadBuffer(), b""
    for name, argument in steps:
        if name == "append":
            buffer.append(argument)
            model += argument
        elif name == "take":
            taken = buffer.take(argument)
            assert taken.__class__ is bytes and taken == model[:argument]
            model = model[argument:]
        elif name == "take_some":
            taken = buffer.take_some(argument)
            assert taken.__class__ is bytes and model.startswith(taken)
            assert len(taken) <= argument and (taken or not model)
            model = model[len(taken) :]
        elif name == "find":
            at = model.find(argument)
            assert buffer.find(argument) == (at + len(argument) if at >= 0 else -1)
        else:
            found = re.search(argument, model)
            assert buffer.search(re.compile(argument)) == (found.end() if found else -1)
        assert len(buffer) == len(model) and buffer.peek() == model
