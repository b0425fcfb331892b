"""Loop access: callbacks, timers, descriptors, signals, run and stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from greenify import core
from greenify.errors import HubError
from greenify.event import Event
from greenify.loop_access import (
    add_reader,
    add_signal_handler,
    add_writer,
    call_at,
    call_from_thread,
    call_later,
    call_soon,
    remove_reader,
    remove_signal_handler,
    remove_writer,
    run,
    stop,
)
from greenify.task import current, spawn
from tests.model.threads import LONG, settle
from tests.support import run_python


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


class TestCalls:
    def test_call_soon(self) -> None:
        log: list[int] = []
        for number in range(3):
            call_soon(log.append, number)
        assert log == []
        settle()
        assert log == [0, 1, 2]

    def test_cancel(self) -> None:
        log: list[int] = []
        handles = [call_soon(log.append, 1), call_later(0.001, log.append, 2)]
        handles.append(call_from_thread(log.append, 3))
        assert all(handle.pending for handle in handles)
        for handle in handles:
            handle.cancel()
            handle.cancel()
            assert not handle.pending
        core.sleep(0.005)
        assert log == []
        assert core.get_hub().timers.next() is None

    def test_call_later_and_at(self) -> None:
        log: list[tuple[str, float]] = []
        done = Event()
        start = time.monotonic()

        def note(name: str) -> None:
            log.append((name, time.monotonic() - start))

        call_later(0.006, done.set)
        call_later(0.004, note, "second")
        call_at(start + 0.002, note, "first")
        call_later(-1, note, "at once")
        assert done.wait(LONG)
        assert [name for name, _ in log] == ["at once", "first", "second"]
        assert log[1][1] >= 0.002 and log[2][1] >= 0.004
        with pytest.raises(ValueError, match="NaN"):
            call_later(float("nan"), note)

    def test_call_from_thread(self) -> None:
        core.get_hub()
        done = Event()
        idents: list[int] = []

        def work() -> None:
            idents.append(threading.get_ident())
            done.set()

        thread = threading.Thread(target=call_from_thread, args=(work,))
        thread.start()
        assert done.wait(LONG)
        thread.join()
        assert idents == [threading.get_ident()]

    def test_errors_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR, "greenify"):
            call_soon(int, "no number")
            call_later(0, int, "no number")
            core.sleep(0.002)
        assert [record.getMessage() for record in caplog.records] == [
            "error in a callback of the hub"
        ] * 2

    def test_other_exceptions_reach_the_main_greenlet(self) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        call_soon(interrupt)
        with pytest.raises(KeyboardInterrupt):
            core.sleep(LONG)

    def test_no_function(self) -> None:
        for function in (call_soon, call_from_thread):
            with pytest.raises(TypeError, match="cannot be called"):
                function(3)  # type: ignore[arg-type]

    def test_without_a_hub_in_the_main_thread(self) -> None:
        run_python(
            """
            import greenify
            try:
                greenify.call_from_thread(print)
            except greenify.HubError as exc:
                assert "no hub yet" in str(exc)
            else:
                raise SystemExit("no error")
            """,
            greenify=False,
            check=True,
        )


class TestDescriptors:
    def test_reader(self, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        got: list[bytes] = []
        done = Event()

        def read() -> None:
            data = ours.recv(2)
            got.append(data)
            if b"".join(got) == b"abcdef":
                done.set()

        add_reader(ours, read)
        settle()
        assert got == []
        theirs.send(b"abcd")  # read in two calls
        core.sleep(0.001)
        theirs.send(b"ef")
        assert done.wait(LONG)
        assert got == [b"ab", b"cd", b"ef"]
        assert remove_reader(ours) and not remove_reader(ours)
        theirs.send(b"more")
        core.sleep(0.002)
        assert len(got) == 3

    def test_one_that_reads_nothing_lets_others_run(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        theirs.send(b"x")
        calls: list[int] = []
        add_reader(ours.fileno(), calls.append, 1)
        for _ in range(1000):
            core.sleep(0)
            if len(calls) > 5:
                break
        assert len(calls) > 5
        assert remove_reader(ours.fileno())
        before = len(calls)
        settle()
        assert len(calls) == before

    def test_writer_that_removes_itself(self, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        done = Event()

        def write() -> None:
            ours.send(b"x")
            assert remove_writer(ours)
            core.sleep(0.001)  # it may wait, and is not cut short
            done.set()

        add_writer(ours, write)
        assert done.wait(LONG)
        settle()
        assert theirs.recv(10) == b"x"
        assert not remove_writer(ours)

    def test_another_one_takes_its_place(self, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        log: list[str] = []
        done = Event()
        add_reader(ours, log.append, "first")
        settle()

        def second() -> None:
            log.append("second")
            remove_reader(ours)
            done.set()

        add_reader(ours, second)
        theirs.send(b"x")
        assert done.wait(LONG)
        settle()
        assert log == ["second"]

    def test_errors_are_logged_and_it_goes_on(
        self, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
    ) -> None:
        ours, theirs = pair
        seen = Event()

        def work() -> None:
            if len(caplog.records) == 2:
                remove_reader(ours)
                seen.set()
                return
            raise KeyError("mine")

        add_reader(ours, work)
        theirs.send(b"x")
        assert seen.wait(LONG)
        assert all("reader of descriptor" in record.getMessage() for record in caplog.records)

    def test_closed(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ours:
            add_reader(ours, pytest.fail)
            settle()
            tasks = len(core.get_hub().tasks)
            core.forget(ours.fileno())  # what greenify's own sockets do
            settle()
            assert len(core.get_hub().tasks) == tasks - 1
            assert not remove_reader(ours)
        with pytest.raises(ValueError, match="is not open"):
            add_reader(ours, print)


class TestSignals:
    def test_handler(self) -> None:
        seen: list[object] = []
        done = Event()
        before = signal.getsignal(signal.SIGUSR1)

        def arrived(name: str) -> None:
            seen.append((name, current()))
            done.set()

        add_signal_handler(signal.SIGUSR1, print, "replaced")
        add_signal_handler(signal.SIGUSR1, arrived, "usr1")
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert done.wait(LONG)
        finally:
            assert remove_signal_handler(signal.SIGUSR1)
        assert seen == [("usr1", None)]
        assert signal.getsignal(signal.SIGUSR1) is before
        assert not remove_signal_handler(signal.SIGUSR1)

    def test_it_ends_a_sleep(self) -> None:
        """A signal that comes while everybody sleeps is seen at once."""
        done = run_python(
            """
            import os, signal, threading, time
            import greenify
            greenify.add_signal_handler(signal.SIGTERM, greenify.stop)
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
            timer.start()
            greenify.run()
            print("stopped")
            timer.join()
            """,
            greenify=False,
            check=True,
        )
        assert done.stdout == "stopped\n"

    def test_not_in_the_main_thread(self) -> None:
        errors: list[Exception] = []

        def work() -> None:
            try:
                add_signal_handler(signal.SIGUSR1, print)
            except ValueError as exc:
                errors.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(errors) == 1


class TestRun:
    def test_again_and_again(self) -> None:
        for _ in range(3):
            log: list[int] = []
            call_soon(log.append, 1)
            call_later(0.001, stop)
            run()
            assert log == [1]

    def test_nested(self) -> None:
        log: list[str] = []

        def inner() -> None:
            call_soon(stop)
            run()
            log.append("inner")
            stop()

        spawn(inner)
        run()
        assert log == ["inner"]

    def test_nothing_to_stop(self) -> None:
        with pytest.raises(HubError, match="nothing to stop"):
            stop()

    def test_interrupted(self) -> None:
        task = spawn(run)
        settle()
        task.kill()
        assert task.join(LONG)
        with pytest.raises(HubError, match="nothing to stop"):
            stop()

    def test_on_another_os_thread(self) -> None:
        log: list[int] = []

        def work() -> None:
            call_soon(log.append, threading.get_ident())
            call_later(0.001, stop)
            run()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(LONG)
        assert log == [thread.ident]
