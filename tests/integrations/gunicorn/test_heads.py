"""The time in which the head of a request has to arrive, and when it ends the thread's waiting."""

from __future__ import annotations

import socket
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

import greenify.core
from greenify.integrations.gunicorn import connections
from greenify.integrations.gunicorn.connections import PATIENCE, Head
from tests.integrations.gunicorn.servers import needs_gunicorn
from tests.support import run_python

pytestmark = needs_gunicorn


def _let_it_come() -> None:
    """Several rounds, for the first may be ended by what a switch before has left behind."""
    for _ in range(5):
        greenify.sleep(0)


class _Connection:
    waiting = used = busy = is_silent = False
    parked = 0

    def __init__(self, between: bool) -> None:
        self.between = between

    def is_between_requests(self) -> bool:
        return self.between

    def park(self) -> None:
        self.parked += 1


class TestHead:
    """One object for the heads of a connection, mostly at times that the test sets."""

    @pytest.fixture
    def at(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
        start = time.monotonic() + 1000  # nothing comes due by the hub's own clock
        now = [start]
        monkeypatch.setattr(connections, "monotonic", lambda: now[0])

        def set_to(seconds: float) -> None:
            now[0] = start + seconds

        yield set_to
        # What was called by hand is still among the timers.
        timers = greenify.core.get_hub().timers
        for entry in list(timers.heap):
            if isinstance(entry[2], Head):
                timers.cancel(entry)

    def test_what_comes_too_late_does_not_hit_the_next(self, at: Callable[[float], None]) -> None:
        head = Head(_Connection(False))  # type: ignore[arg-type]
        with head.within(5):
            at(5)
            head.due()  # on its way, when the head arrives
        with head.within(5):
            _let_it_come()
        with head.within(5):
            at(10)
            head.due()
            _let_it_come()
            pytest.fail("it has not come")
        head.cancel()

    def test_one_timer_for_many(self, at: Callable[[float], None]) -> None:
        head = Head(_Connection(False))  # type: ignore[arg-type]
        timers = greenify.core.get_hub().timers
        with head.within(5):
            pass
        entries = len(timers.heap)
        for second in range(1, 5):
            at(second)
            with head.within(5):
                pass
        assert len(timers.heap) == entries
        at(5)
        head.due()  # in the middle of a request
        with head.within(5):
            at(9)
            head.due()  # before its time
            _let_it_come()
            at(10)
            head.due()
            _let_it_come()
            pytest.fail("it has not come")
        # A shorter time does not wait for the end of a longer one.
        with head.within(600):
            pass
        with head.within(1):
            assert head._entry is not None
            assert head._entry[0] == head._until
        head.cancel()
        assert not head.pending

    @pytest.mark.parametrize("silent", [True, False])
    def test_parking(self, at: Callable[[float], None], silent: bool) -> None:
        connection = _Connection(True)
        head = Head(connection)  # type: ignore[arg-type]
        with head.within(5):
            connection.is_silent = silent
            at(PATIENCE)
            head.due()
            _let_it_come()
            assert not silent
            at(4.9)
            head.due()
            _let_it_come()
            at(5.1)
            head.due()
            _let_it_come()
            pytest.fail("it has not come")
        assert connection.parked == silent
        assert head.__traceback__ is None  # nor are the frames kept
        head.cancel()

    def test_who_is_busy(self, at: Callable[[float], None]) -> None:
        connection = _Connection(False)
        head = Head(connection)  # type: ignore[arg-type]
        with head.within(5, 0.01):
            pass
        assert not connection.busy  # the first one says nothing
        connection.between = True
        with head.within(5, 0.01):
            at(0.01)
            head.due()
        assert not connection.busy  # it has begun in time, no more
        with head.within(5, 0.01):
            pass
        assert connection.busy
        head.cancel()

    def test_who_would_not_have_been_parked_with_more_patience(
        self, at: Callable[[float], None]
    ) -> None:
        here, there = socket.socketpair()
        with here, there:
            parked = connections.Parked(connections.Listener(here), there, None, 5, PATIENCE - 0.2)
            assert parked.is_busy()
            at(0.1)
            assert parked.is_busy()
            at(0.2)
            assert not parked.is_busy()

    def test_without_limit(self) -> None:
        head = Head(_Connection(True))  # type: ignore[arg-type]
        with head.within(None):
            assert head.pending  # for parking
        head.connection.between = False  # type: ignore[attr-defined]
        head.cancel()
        with head.within(None):
            assert not head.pending

    def test_what_comes_when_the_time_is_just_up(self, at: Callable[[float], None]) -> None:
        connection = _Connection(True)
        connection.is_silent = True
        head = Head(connection)  # type: ignore[arg-type]
        went_on = False
        with head.within(5):
            at(PATIENCE)
            head.due()  # on its way,
            connection.is_silent = False  # and the first bytes as well
            _let_it_come()
            went_on = True
            assert head.pending
            at(5.1)
            head.due()
            _let_it_come()
            pytest.fail("it has not come")
        assert went_on
        assert connection.parked == 0
        head.cancel()

    def test_the_time_before_is_over_when_the_next_one_begins(
        self, at: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head = Head(_Connection(False))  # type: ignore[arg-type]
        with head.within(5):
            pass
        at(6)
        clock = connections.monotonic

        def interrupted() -> float:
            monkeypatch.setattr(connections, "monotonic", clock)
            head.due()
            _let_it_come()
            return clock()

        monkeypatch.setattr(connections, "monotonic", interrupted)
        with head.within(5):
            assert connections.monotonic is clock
            assert head.pending
            _let_it_come()
        head.cancel()

    def test_it_does_not_interrupt_what_computes(self) -> None:
        """Nor does it come late by that: with the first wait afterwards."""
        done = run_python(
            textwrap.dedent("""
            import threading, time
            from greenify.integrations.gunicorn.connections import Head

            class Connection:
                waiting = used = False
                is_silent = True
                parked = 0
                def is_between_requests(self):
                    return True
                def park(self):
                    self.parked += 1

            rounds = 0
            def count():
                global rounds
                for rounds in range(1, 31):
                    time.sleep(0.01)

            def ask():
                threading.Thread(target=count).start()
                with head.within(600, 0.02):
                    while rounds < 30:
                        pass
                    print("computed")
                    time.sleep(60)
                    print("it has not come")

            head = Head(Connection())
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            print("parked", head.connection.parked)
            """),
            check=True,
        )
        assert (done.stdout, done.stderr) == ("computed\nparked 1\n", "")


def test_the_others_run_between_two_requests() -> None:
    head = Head(_Connection(True))  # type: ignore[arg-type]
    ran: list[int] = []

    def ask() -> None:
        head.give_way()
        for number in range(3):
            greenify.spawn(ran.append, number)
            head.give_way()
            assert ran[-1] == number
        # They have since then.
        greenify.sleep(0)
        greenify.spawn(ran.append, 3)
        head.give_way()
        assert ran == [0, 1, 2]

    # The test's own greenlet may have wake-ups from before.
    task = greenify.spawn(ask)
    assert task.join(60)
    assert task.exception is None
