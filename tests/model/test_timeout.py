"""Timeout: never early, cancelled for good, its own and no other."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from greenlet import greenlet

from greenify import core
from greenify.errors import HubError
from greenify.event import Event
from greenify.locks import Lock
from greenify.queue import SimpleQueue
from greenify.timeout import Timeout, with_timeout
from tests.model.threads import GREEN, LONG, settle


def wait_for_ever() -> None:
    Event().wait()


class TestTimeout:
    @pytest.mark.parametrize(
        "wait",
        [
            wait_for_ever,
            lambda: core.sleep(LONG),
            lambda: SimpleQueue().get(),
            lambda: [lock := Lock(), lock.acquire(), lock.acquire()],
            lambda: greenlet(wait_for_ever).switch(),
        ],
        ids=["event", "sleep", "queue", "lock", "raw greenlet"],
    )
    def test_ends_every_kind_of_wait(self, wait: Any) -> None:
        start = time.monotonic()
        with pytest.raises(Timeout) as caught, Timeout(0.005) as timeout:
            wait()
        assert caught.value is timeout
        assert 0.005 <= time.monotonic() - start < LONG
        assert not timeout.pending

    def test_is_never_early(self) -> None:
        def work(seconds: float) -> None:
            start = time.monotonic()
            with Timeout(seconds, False):
                wait_for_ever()
            assert time.monotonic() - start >= seconds

        for job in [GREEN.start(work, 0.0007 * number) for number in range(1, 40)]:
            job.join()

    def test_silent(self) -> None:
        with Timeout(0.001, False) as timeout:
            wait_for_ever()
            pytest.fail("not reached")
        assert not timeout.pending

    def test_exception_class_and_instance(self) -> None:
        for exception in (KeyError, KeyError("late")):
            with pytest.raises(KeyError), Timeout(0.001, exception):
                wait_for_ever()

    def test_except_exception_does_not_swallow_it(self) -> None:
        with pytest.raises(Timeout), Timeout(0.001):
            try:
                wait_for_ever()
            except Exception:
                pytest.fail("swallowed")

    def test_nested(self) -> None:
        for outer_seconds, inner_seconds in ((0.002, LONG), (LONG, 0.002)):
            with pytest.raises(Timeout) as caught, Timeout(outer_seconds) as outer:
                with Timeout(inner_seconds) as inner:
                    wait_for_ever()
            assert caught.value is (outer if outer_seconds < LONG else inner)
            assert not outer.pending and not inner.pending

    def test_a_silent_one_lets_others_through(self) -> None:
        with pytest.raises(Timeout) as caught, Timeout(0.001) as outer:
            with Timeout(LONG, False):
                wait_for_ever()
        assert caught.value is outer

    def test_cancelled_while_it_is_on_its_way(self) -> None:
        timeout = Timeout(0.001)
        timeout.start()
        end = time.monotonic() + 0.002
        while time.monotonic() < end:
            pass
        core.get_hub().timers.fire()  # now on the ready queue
        timeout.cancel()
        settle()

    def test_cancelled_and_started_again(self) -> None:
        timeout = Timeout(0.001)
        for _ in range(3):
            timeout.start()
            assert timeout.pending
            with pytest.raises(HubError):
                timeout.start()
            timeout.cancel()
            timeout.cancel()
            assert not timeout.pending
        core.sleep(0.005)
        with pytest.raises(Timeout):
            with timeout:
                wait_for_ever()

    @pytest.mark.parametrize("seconds", [None, float("inf"), 1e300, threading.TIMEOUT_MAX * 2])
    def test_never(self, seconds: Any) -> None:
        with Timeout(seconds) as timeout:
            core.sleep(0.001)
            assert not timeout.pending

    def test_at_once(self) -> None:
        for seconds in (0, -1):
            with pytest.raises(Timeout), Timeout(seconds):
                core.sleep(LONG)

    def test_not_a_number(self) -> None:
        with pytest.raises(ValueError, match="NaN"):
            Timeout(float("nan")).start()

    def test_ended_task_is_left_alone(self) -> None:
        kept = []

        def work() -> None:
            timeout = Timeout(0.001)
            timeout.start()
            kept.append(timeout)

        GREEN.start(work).join()
        core.sleep(0.005)
        assert not kept[0].pending

    def test_text(self) -> None:
        assert str(Timeout(1)) == "1 second"
        assert str(Timeout(2.5)) == "2.5 seconds"
        assert str(Timeout()) == "no time-out"

    def test_ten_thousand(self) -> None:
        def work(number: int) -> int:
            with Timeout(0.001 * (number % 50) + 0.001, False):
                wait_for_ever()
            return number

        before = core.get_hub().timers.pending()
        jobs = [GREEN.start(work, number) for number in range(10_000)]
        for job in jobs:
            job.join()
        assert core.get_hub().timers.pending() <= before


class TestWithTimeout:
    def test_result_and_value(self) -> None:
        assert with_timeout(LONG, lambda x, y=0: x + y, 1, y=2) == 3
        assert with_timeout(0.001, wait_for_ever, timeout_value="late") == "late"
        with pytest.raises(Timeout):
            with_timeout(0.001, wait_for_ever)
        with pytest.raises(ZeroDivisionError):
            with_timeout(LONG, lambda: 1 // 0)

    def test_passes_other_timeouts_on(self) -> None:
        def inner() -> None:
            with Timeout(0.001):
                wait_for_ever()

        with pytest.raises(Timeout) as caught:
            with_timeout(LONG, inner, timeout_value="mine")
        assert caught.value.seconds == 0.001
