"""Reading: what is returned, what stays, limits and ends."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from greenify.errors import (
    HubError,
    IncompleteReadError,
    ReadLimitError,
    StreamClosedError,
    UVConnectionResetError,
    UVTimeoutError,
)
from greenify.io import Stream, TCPClient
from greenify.io.buffers import ReadBuffer
from greenify.task import spawn
from tests.io.conftest import join, settle, tcp_pair, until

Pair = tuple[Stream, Stream]


class TestRead:
    def test_returns_what_has_come(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"hello")
        assert left.read() == b"hello"
        right.write(b"hello")
        assert [left.read(2), left.read(2), left.read(2)] == [b"he", b"ll", b"o"]

    def test_end(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"last")
        right.close()
        assert [left.read(), left.read(), left.read()] == [b"last", b"", b""]

    def test_nothing_wanted(self, pair: Pair) -> None:
        assert pair[0].read(0) == b"" == pair[0].read_bytes(0)

    def test_waits(self, pair: Pair) -> None:
        left, right = pair
        reader = spawn(left.read)
        settle()
        assert reader.alive
        right.write(b"x")
        assert join(reader) == b"x"


class TestReadBytes:
    def test_exactly(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"abc")
        right.write(b"defg")
        assert [left.read_bytes(5), left.read_bytes(1), left.read()] == [b"abcde", b"f", b"g"]

    def test_more_than_is_read_ahead(self, pair: Pair) -> None:
        left, right = pair
        data = bytes(range(256)) * 8_000
        writer = spawn(right.write, data)
        assert left.read_bytes(len(data)) == data
        join(writer)

    def test_too_little(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"abc")
        right.close()
        with pytest.raises(IncompleteReadError, match="after 3 bytes, before 4 bytes") as caught:
            left.read_bytes(4)
        assert caught.value.partial == b"abc" and isinstance(caught.value, EOFError)
        assert left.read() == b"abc"


class TestReadUntil:
    def test_separators(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"one\ntwo\r\n\r\nrest")
        assert left.read_until(b"\n") == b"one\n"
        assert left.read_until(b"\r\n\r\n") == b"two\r\n\r\n"
        assert left.read() == b"rest"

    def test_separator_in_pieces(self, raw: tuple[TCPClient, socket.socket]) -> None:
        stream, peer = raw
        reader = spawn(stream.read_until, b"---")
        for piece in (b"ab-", b"-", b"-c"):
            peer.send(piece)
            until(lambda piece=piece: len(stream._layer.buffer) or not reader.alive)  # type: ignore[misc]
            settle()
        assert join(reader) == b"ab---"
        assert stream.read() == b"c"

    def test_another_separator_after_a_search(self) -> None:
        buffer = ReadBuffer()
        buffer.append(b"a,b;c")
        assert buffer.find(b"|") == -1
        assert buffer.find(b",") == 2  # lies in what has been searched for the other one
        assert buffer.take(2) == b"a,"
        assert buffer.find(b";") == 2
        assert buffer.find(b"|") == -1
        assert buffer.take(1) == b"b"
        buffer.append(b"|")
        assert buffer.find(b"|") == 3

    @pytest.mark.parametrize("size", [9, 10])
    def test_up_to_the_limit(self, pair: Pair, size: int) -> None:
        left, right = pair
        right.write(b"x" * (size - 1) + b"\n")
        assert len(left.read_until(b"\n", limit=10)) == size

    @pytest.mark.parametrize("data", [b"x" * 10, b"x" * 10 + b"\n", b"x" * 500])
    def test_beyond_the_limit(self, pair: Pair, data: bytes) -> None:
        left, right = pair
        right.write(data)
        with pytest.raises(ReadLimitError, match=r"no b'\\n' within limit=10 bytes") as caught:
            left.read_until(b"\n", limit=10)
        assert caught.value.limit == 10 and isinstance(caught.value, ValueError)
        assert left.read_bytes(len(data)) == data

    def test_limit_of_the_stream(self) -> None:
        left, right = tcp_pair(read_limit=4)
        with left, right:
            right.write(b"12345\n")
            with pytest.raises(ReadLimitError, match="limit=4"):
                left.read_until(b"\n")
            with pytest.raises(ReadLimitError, match="limit=4"):
                left.read_until_regex(b"\n")
            assert left.read_until(b"\n", limit=6) == b"12345\n"

    def test_end_before_the_separator(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"abc")
        right.close()
        for read in (left.read_until, left.read_until_regex):
            with pytest.raises(IncompleteReadError, match=r"before b'\\n'") as caught:
                read(b"\n")
            assert caught.value.partial == b"abc"
        assert left.read() == b"abc"

    def test_no_separator(self, pair: Pair) -> None:
        with pytest.raises(ValueError, match="empty"):
            pair[0].read_until(b"")


class TestReadUntilRegex:
    def test_matches(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"one\ntwo\r\n3;4")
        assert left.read_until_regex(rb"\r?\n") == b"one\n"
        assert left.read_until_regex(re.compile(rb"\r?\n")) == b"two\r\n"
        assert left.read_until_regex(b"[;,]") == b"3;"

    def test_beyond_the_limit(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"x" * 10 + b"\n")
        with pytest.raises(ReadLimitError, match="limit=10"):
            left.read_until_regex(rb"\s", limit=10)
        assert left.read() == b"x" * 10 + b"\n"


class TestReadAll:
    def test_to_the_end(self, pair: Pair) -> None:
        left, right = pair
        writer = spawn(lambda: [right.write(b"x" * 300_000), right.close()])
        assert left.read_all() == b"x" * 300_000
        join(writer)
        assert left.read_all() == b""

    def test_limit(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"12345")
        with pytest.raises(ReadLimitError, match="more than limit=4 bytes"):
            left.read_all(limit=4)
        right.close()
        assert left.read_all(limit=5) == b"12345"


class TestErrors:
    def test_two_readers(self, pair: Pair) -> None:
        left, right = pair
        reader = spawn(left.read)
        settle()
        for read in (left.read, left.read_all, lambda: left.read_bytes(1)):
            with pytest.raises(HubError, match="another task is reading"):
                read()
        right.write(b"x")
        assert join(reader) == b"x"

    def test_reset_comes_after_what_was_sent(self) -> None:
        left, right = tcp_pair()
        with left:
            right.write(b"sent")
            assert left.read_bytes(2) == b"se"
            reset(right)
            assert left.read_bytes(2) == b"nt"
            with pytest.raises(UVConnectionResetError) as caught:
                left.read()
            assert isinstance(caught.value, ConnectionResetError)

    def test_reset_together_with_data(self, raw: tuple[TCPClient, socket.socket]) -> None:
        stream, peer = raw
        peer.send(b"data")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        assert stream.read() == b"data"
        with pytest.raises(UVConnectionResetError):
            stream.read()

    def test_timeout(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"partial")
        left.timeout = 0.01
        calls: list[Any] = [
            lambda: left.read_bytes(100),
            lambda: left.read_until(b"\n"),
            lambda: left.read_until_regex(b"\n"),
            left.read_all,
        ]
        for call in calls:
            with pytest.raises(UVTimeoutError, match=r"reading from this .* longer than the time"):
                call()
        assert left.read() == b"partial"
        with pytest.raises(TimeoutError):
            left.read()
        left.timeout = None
        right.write(b"x")
        assert left.read() == b"x"

    def test_closed(self, pair: Pair) -> None:
        left, right = pair
        right.write(b"x")
        settle()
        left.close()
        for call in (left.read, left.read_all, lambda: left.read_until(b"x"), left.flush):
            with pytest.raises(StreamClosedError, match="is closed"):
                call()


def reset(stream: Stream) -> None:
    """Close a connection so that the peer gets ECONNRESET."""
    with socket.socket(fileno=socket.dup(stream.fileno())) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.abort()


def test_reading_ahead_is_bounded() -> None:
    left, right = tcp_pair(write_limit=1 << 30)
    with left, right:
        right.write(b"x" * 20_000_000)
        settle()
        until(lambda: len(left._layer.buffer))
        settle(50)
        have = len(left._layer.buffer)
        assert have < 600_000
        # The rest lies in the kernel and with the writer, and comes when there is room.
        assert right._layer.unsent > 1_000_000
        assert left.read_bytes(20_000_000) == b"x" * 20_000_000
