"""Writing: everything arrives, in order, and writers are no faster than readers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from greenify import core
from greenify.errors import (
    StreamClosedError,
    UVBrokenPipeError,
    UVConnectionError,
    UVTimeoutError,
)
from greenify.io import Stream, TCPClient
from greenify.task import spawn
from tests.io.conftest import join, settle, tcp_pair, until

Pair = tuple[Stream, Stream]
MakePair = Callable[..., Pair]

BIG = bytes(range(256)) * 40_000  # more than the kernel's buffers and ours hold


class TestWrite:
    def test_kinds_of_data(self, pair: Pair) -> None:
        left, right = pair
        for data in (b"a", bytearray(b"b"), memoryview(b"cxd")[::2], b"", memoryview(b"")):
            left.write(data)
        assert right.read_bytes(4) == b"abcd"
        for wrong in ("text", 5, None, [b"x"]):
            with pytest.raises(TypeError):
                left.write(wrong)  # type: ignore[arg-type]

    def test_data_may_change_after_the_call(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        data = bytearray(BIG)
        left.write(data)
        assert left._layer.unsent
        data[:] = bytes(len(data))
        del data[100:]
        assert right.read_bytes(len(BIG)) == BIG

    def test_in_several_requests(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        """libuv takes less than 4 GiB at once."""
        from greenify.io import tls, transport

        monkeypatch.setattr(transport, "_LARGEST", 300_000)
        monkeypatch.setattr(tls, "_PIECE", 1_000_000)
        left, right = pair
        writer = spawn(left.write, BIG)
        assert right.read_bytes(len(BIG)) == BIG
        join(writer)

    def test_in_order_from_many_tasks(self, pair: Pair) -> None:
        left, right = pair
        size = 50_000
        writers = [spawn(left.write, bytes([number]) * size) for number in range(100)]
        got = [right.read_bytes(size) for _ in writers]
        for writer in writers:
            join(writer)
        assert got == [bytes([number]) * size for number in range(100)]


class TestFlowControl:
    def test_a_slow_reader_slows_the_writer(self, make_pair: MakePair) -> None:
        left, right = make_pair(write_limit=100_000)
        written = 0

        def write() -> None:
            nonlocal written
            for _ in range(200):
                left.write(bytes(100_000))
                written += 1

        with left, right:
            writer = spawn(write)
            settle()
            until(lambda: left._layer.unsent > left.write_limit)
            settle(50)
            before = written
            # It waits: for the kernel's buffers, what is read ahead, and the limit.
            assert before < 150 and left._layer.unsent <= 220_000
            got = len(right.read_bytes(5_000_000))
            until(lambda: written > before)
            while got < 20_000_000:
                got += len(right.read())
            join(writer)
            assert left._layer.unsent == 0

    def test_flush(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        flusher = spawn(left.flush)
        settle(20)
        assert flusher.alive and left._layer.unsent
        assert right.read_bytes(len(BIG)) == BIG
        join(flusher)
        assert left._layer.unsent == 0
        left.flush()

    def test_timeout(self, pair: Pair) -> None:
        left, right = pair
        left.timeout = 0.01
        with pytest.raises(UVTimeoutError, match=r"writing to this .* longer than the time"):
            left.write(BIG)
        with pytest.raises(TimeoutError):
            left.flush()
        # Taken all the same.
        left.timeout = None
        assert right.read_bytes(len(BIG)) == BIG

    def test_interrupted_writes_are_sent(self, pair: Pair) -> None:
        left, right = pair
        writers = [spawn(left.write, BIG) for _ in range(2)]
        settle()
        for writer in writers:
            assert writer.alive
            writer.kill()
            writer.join()
        assert right.read_bytes(2 * len(BIG)) == BIG + BIG
        assert left._transport._drain == []


class TestShutdown:
    def test_half(self, pair: Pair) -> None:
        left, right = pair
        left.write(b"question")
        left.shutdown()
        left.shutdown()
        assert right.read_all() == b"question"
        right.write(b"answer")
        right.close()
        assert left.read_all() == b"answer"

    def test_after_all_that_was_written(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        ender = spawn(left.shutdown)
        assert right.read_all() == BIG
        join(ender)

    def test_no_more_writing(self, pair: Pair) -> None:
        left, _ = pair
        left.shutdown()
        with pytest.raises(UVBrokenPipeError, match="shut down") as caught:
            left.write(b"x")
        assert isinstance(caught.value, BrokenPipeError)

    def test_timeout(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        left.timeout = 0.01
        with pytest.raises(UVTimeoutError, match="shutting down"):
            left.shutdown()
        assert right.read_all() == BIG


class TestErrors:
    def test_peer_gone(self, pair: Pair) -> None:
        left, right = pair
        right.abort()
        with pytest.raises(UVConnectionError) as caught:
            while True:
                left.write(b"x" * 1000)
                core.sleep(0)
        assert isinstance(caught.value, ConnectionError)

    def test_waiting_writers_hear_of_it(self) -> None:
        left, right = tcp_pair()
        with left:
            calls: list[Any] = [lambda: left.write(BIG), left.flush, lambda: left.write(BIG)]
            waiting = [spawn(call) for call in calls]
            settle()
            assert all(task.alive for task in waiting)
            right.abort()
            for task in waiting:
                task._observer = lambda task: None
                task.join()
                assert isinstance(task.exception, UVConnectionError)
            with pytest.raises(UVConnectionError):
                left.write(b"x")

    def test_closed(self, pair: Pair) -> None:
        left, _ = pair
        left.close()
        for call in (lambda: left.write(b"x"), left.flush, left.shutdown):
            with pytest.raises(StreamClosedError):
                call()


class TestClose:
    def test_is_bounded_by_the_time_limit_of_the_stream(self, pair: Pair) -> None:
        left, _ = pair
        left.write_limit = len(BIG)
        left.timeout = 0.01
        with left:
            left.write(BIG)
        assert left.fileno() == -1

    def test_unread_data_takes_nothing_back(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        right.write(b"never read")
        closer = spawn(left.close)
        assert right.read_all() == BIG
        join(closer)

    def test_sends_what_was_written(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        closer = spawn(left.close)
        settle()
        assert left.closed and closer.alive
        with pytest.raises(StreamClosedError):
            left.write(b"x")
        assert right.read_all() == BIG
        join(closer)

    def test_time_limit(self, pair: Pair) -> None:
        left, right = pair
        left.write_limit = len(BIG)
        left.write(BIG)
        left.close(0.01)
        assert left.fileno() == -1
        with right:
            got = b""
            while piece := right.read():
                got += piece
            assert BIG.startswith(got) and len(got) < len(BIG)

    def test_peer_gone_is_no_error(self, raw: tuple[TCPClient, socket.socket]) -> None:
        stream, peer = raw
        stream.write_limit = len(BIG)
        stream.write(BIG)
        closer = spawn(stream.close)
        settle()
        peer.close()
        join(closer)
