"""What happens inside libuv's callbacks stays there, and nothing that libuv reports is lost."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from greenify import core
from greenify.io import Stream
from tests.io.conftest import join, settle, tcp_pair, until
from tests.support import run_python


class Spam(BaseException):
    pass


def test_an_interrupted_callback_is_called_again() -> None:
    left, right = tcp_pair()
    with left, right:
        transport = left._transport
        transport._stop_reading(transport.uv)
        seen: list[bytes] = []
        failures: list[BaseException] = [Spam(), ValueError("of a handler")]

        class Callback:
            def fail(self, data: bytes) -> None:
                if failures:
                    raise failures.pop(0)
                seen.append(data)

            # On one line: what it raises comes from its first line, as what a signal handler raises does.
            def on_read(self, uv: Any, data: bytes, error: int | None) -> None: self.fail(data)  # fmt: skip

        transport.uv.start_read(Callback().on_read)
        transport._reading = True
        right.write(b"data")
        caught: list[BaseException] = []
        while len(caught) < 2:
            try:
                core.sleep(0.001)
            except (Spam, ValueError) as exc:
                caught.append(exc)
        settle()
        assert seen == [b"data"]
        assert [type(exc) for exc in caught] == [Spam, ValueError]


def test_errors_of_callbacks_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = tcp_pair()
    with left, right:
        buffer = left._transport.buffer

        class Bad:
            def append(self, data: bytes) -> None:
                raise ValueError("bad buffer")

            def __len__(self) -> int:
                return 0

        left._transport.buffer = Bad()  # type: ignore[assignment]
        right.write(b"x")
        until(lambda: caplog.records)
        left._transport.buffer = buffer
        right.write(b"y")
        assert left.read() == b"y"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and record.exc_info
    assert "bad buffer" in str(record.exc_info[1])


@pytest.mark.parametrize("kind", ["read", "written"])
def test_signal_handlers_that_raise(kind: str) -> None:
    """A handler raises in the hub, in or around callbacks: every byte arrives, nobody waits for ever."""
    done = run_python(
        f"""
        import _thread, os, signal, socket, threading
        from greenlet import getcurrent
        from greenify import core
        from greenify.io import TCPClient

        class Interrupted(BaseException):
            pass

        hub = core.get_hub()
        raised = 0

        def handler(number, frame):
            global raised
            if getcurrent() is hub.greenlet:
                raised += 1
                raise Interrupted

        signal.signal(signal.SIGUSR1, handler)
        main = threading.main_thread().ident
        listener = socket.create_server(("127.0.0.1", 0))
        stream = TCPClient(listener.getsockname(), write_limit=0)
        peer, _ = listener.accept()
        done = 0
        ROUNDS = 1500
        PIECE = 3_000_000

        def other():
            for number in range(ROUNDS):
                while done < number:
                    os.sched_yield()
                signal.pthread_kill(main, signal.SIGUSR1)
                peer.sendall(b"x")

        def receive():
            left = 40 * PIECE
            while left:
                signal.pthread_kill(main, signal.SIGUSR1)
                left -= len(peer.recv(1_000_000))

        got = 0
        if {kind!r} == "read":
            thread = threading.Thread(target=other)
            thread.start()
            while done < ROUNDS:
                try:
                    done += len(stream.read())
                except Interrupted:
                    pass
        else:
            thread = threading.Thread(target=receive)
            thread.start()
            for _ in range(40):
                try:
                    stream.write(bytes(PIECE))
                except Interrupted:
                    pass
            while True:
                try:
                    stream.flush()
                    break
                except Interrupted:
                    pass
        thread.join()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        stream.close()
        peer.close()
        listener.close()
        print("raised" if raised else "never raised")
        """,
        greenify=False,
        check=True,
        timeout=50,
    )
    assert done.stdout == "raised\n"


def test_waiting_in_a_callback_of_the_hub(make_pair: Any) -> None:
    """Streams can be used by finalisers and callbacks, which run in the hub's own greenlet."""
    left, right = make_pair()
    with left, right:
        result: list[bytes] = []
        from greenify.task import spawn

        def callback() -> None:
            spawn(right.write, b"answer")
            result.append(left.read())

        core.get_hub().call_soon(callback)
        until(lambda: result)
        assert result == [b"answer"]


def test_finaliser_inside_of_a_callback(make_pair: Any) -> None:
    """It waits for a stream while libuv is below it on the stack."""
    left, right = make_pair()
    first, second = tcp_pair()
    with left, right, first, second:
        result: list[Any] = []
        buffer = first._transport.buffer

        class Waiting:
            def append(self, data: bytes) -> None:
                core.sleep(0.001)
                first._transport.buffer = buffer
                buffer.append(data)
                result.append(core.get_hub().in_loop)

            def __len__(self) -> int:
                return 0

        first._transport.buffer = Waiting()  # type: ignore[assignment]
        second.write(b"x")
        until(lambda: result)
        assert first.read() == b"x" and result == [True]
        use(left, right)


def use(left: Stream, right: Stream) -> None:
    from greenify.task import spawn

    writer = spawn(right.write, bytes(300_000))
    assert len(left.read_bytes(300_000)) == 300_000
    join(writer)
