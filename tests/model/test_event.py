"""Event: that of threading, for tasks and OS threads."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

import pytest

from greenify import core
from greenify.event import Event
from tests.model.threads import GREEN, LONG, Layer, both, settle, task_of


class TestEvent:
    @both
    def test_set_and_clear(self, layer: Layer) -> None:
        event = layer.Event()
        assert event.is_set() is False
        assert event.wait(0) is False
        assert event.wait(-1) is False
        event.set()
        event.set()
        assert event.is_set() is True
        assert event.wait() is True
        assert event.wait(0) is True
        event.clear()
        assert event.is_set() is False

    @both
    def test_everybody_is_woken(self, layer: Layer) -> None:
        event = layer.Event()
        jobs = [layer.start(event.wait) for _ in range(20)]
        jobs += [layer.start(event.wait, LONG) for _ in range(20)]
        layer.settle()
        assert not any(job.ended for job in jobs)
        event.set()
        assert [job.join() for job in jobs] == [True] * 40

    @both
    def test_cleared_at_once(self, layer: Layer) -> None:
        event = layer.Event()
        jobs = [layer.start(event.wait, LONG) for _ in range(5)]
        layer.settle()
        if layer is GREEN:
            assert len(event._waiters) == 5
        event.set()
        event.clear()
        assert [job.join() for job in jobs] == [True] * 5
        assert event.wait(0) is False

    @both
    def test_timeouts_are_never_early(self, layer: Layer) -> None:
        event = layer.Event()

        def work(seconds: float) -> None:
            start = time.monotonic()
            assert event.wait(seconds) is False
            assert time.monotonic() - start >= seconds

        for job in [layer.start(work, 0.001 * number) for number in range(1, 30)]:
            job.join()

    @both
    def test_unusual_timeouts(self, layer: Layer) -> None:
        event = layer.Event()
        with pytest.raises(OverflowError):
            event.wait(float("inf"))
        with pytest.raises(OverflowError):
            event.wait(threading.TIMEOUT_MAX * 1.1)
        with pytest.raises(TypeError):
            event.wait("1")
        job = layer.start(event.wait, threading.TIMEOUT_MAX)
        layer.settle()
        event.set()
        assert job.join() is True

    def test_not_a_number(self) -> None:
        with pytest.raises(ValueError, match="NaN"):
            Event().wait(float("nan"))
        core.sleep(0.001)  # timers still work

    def test_waiters_that_give_up_leave_nothing(self) -> None:
        event = Event()
        # Long enough for a busy machine to start all of them before the first gives up.
        jobs = [GREEN.start(event.wait, 0.2) for _ in range(10)]
        killed = [GREEN.start(event.wait) for _ in range(10)]
        settle()
        assert len(event._waiters) == 20
        for job in killed:
            task_of(job).kill()
        for job in jobs:
            assert job.join() is False
        assert not event._waiters
        event.set()
        assert event.wait(0)

    def test_killed_and_set_in_either_order(self) -> None:
        for kill_first in (True, False):
            event = Event()
            jobs = [GREEN.start(event.wait) for _ in range(3)]
            settle()
            if kill_first:
                task_of(jobs[0]).kill()
                event.set()
            else:
                event.set()
                task_of(jobs[0]).kill()
            assert [job.join() for job in jobs[1:]] == [True, True]
            assert jobs[0].handle.join(LONG)
            assert not event._waiters

    def test_set_in_the_hub_and_in_a_finaliser(self) -> None:
        event, finalised = Event(), Event()

        class Finalised:
            def __del__(self) -> None:
                finalised.set()

        held = [Finalised()]
        core.get_hub().call_soon(event.set)
        core.get_hub().call_soon(held.clear)
        assert event.wait(LONG)
        assert finalised.wait(LONG)

    def test_weak_reference_and_repr(self) -> None:
        event = Event()
        assert repr(event) == f"<greenify.event.Event at {id(event):#x}: unset>"
        event.set()
        assert repr(event).endswith(": set>")
        reference: Any = weakref.ref(event)
        del event
        assert reference() is None

    def test_at_fork_reinit(self) -> None:
        event = Event()
        event.set()
        event._at_fork_reinit()
        assert event.is_set()
