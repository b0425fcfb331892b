"""SimpleQueue: that of the standard library, for tasks and OS threads."""

from __future__ import annotations

import copy
import pickle
import queue
import threading
import time
import weakref
from typing import Any

import pytest

from greenify import core
from greenify.errors import TaskExit
from greenify.queue import Empty, SimpleQueue
from tests.model.threads import GREEN, LONG, Layer, both, outcome, settle, task_of


class TestLikeness:
    @both
    def test_basics(self, layer: Layer) -> None:
        q = layer.SimpleQueue()
        assert q.empty() and q.qsize() == 0
        q.put(1)
        q.put(2, False)
        q.put(3, timeout=5)
        q.put_nowait(None)
        assert not q.empty() and q.qsize() == 4
        assert [q.get(), q.get(False), q.get(timeout=1), q.get_nowait()] == [1, 2, 3, None]
        for arguments in ((False,), (True, 0.001), (True, 0)):
            with pytest.raises(queue.Empty):
                q.get(*arguments)
        with pytest.raises(queue.Empty):
            q.get_nowait()

    @pytest.mark.parametrize("filled", [False, True])
    @pytest.mark.parametrize(
        "arguments",
        [
            (True, -1),
            (True, -0.5),
            (False, -1),
            (True, "1"),
            (True, threading.TIMEOUT_MAX * 2),
            (True, float("inf")),
            (False, float("inf")),
        ],
        ids=repr,
    )
    def test_errors(self, arguments: Any, filled: bool) -> None:
        native: Any = queue.SimpleQueue()
        ours: Any = SimpleQueue()
        if filled:
            native.put(1)
            ours.put(1)
        expected = outcome(native.get, *arguments)
        found = outcome(ours.get, *arguments)
        assert found == expected or found[0] is expected[0]
        assert ours.qsize() == native.qsize()

    def test_exception_is_the_standard_one(self) -> None:
        assert Empty is queue.Empty

    @both
    def test_no_copies_but_weak_references(self, layer: Layer) -> None:
        q = layer.SimpleQueue()
        for function in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                function(q)
        reference = weakref.ref(q)
        assert reference() is q
        del q
        assert reference() is None

    def test_generic(self) -> None:
        assert SimpleQueue[int]().empty()
        assert queue.SimpleQueue[int]().empty()


class TestWaiting:
    @both
    def test_first_come_first_served(self, layer: Layer) -> None:
        q = layer.SimpleQueue()
        jobs = []
        for _ in range(10):
            jobs.append(layer.start(q.get))
            layer.settle()
        for number in range(10):
            q.put(number)
        got = [job.join() for job in jobs]
        assert sorted(got) == list(range(10))
        if layer is GREEN:
            assert got == list(range(10))

    @both
    def test_everything_arrives_in_order(self, layer: Layer) -> None:
        q = layer.SimpleQueue()

        def produce() -> None:
            for number in range(1000):
                q.put(number)
                if not number % 10:
                    core.sleep(0)

        consumer = layer.start(lambda: [q.get(timeout=LONG) for _ in range(1000)])
        layer.start(produce).join()
        assert consumer.join() == list(range(1000))

    @both
    def test_timeouts_are_never_early(self, layer: Layer) -> None:
        q = layer.SimpleQueue()

        def work(seconds: float) -> None:
            start = time.monotonic()
            with pytest.raises(queue.Empty):
                q.get(timeout=seconds)
            assert time.monotonic() - start >= seconds

        for job in [layer.start(work, 0.001 * number) for number in range(1, 20)]:
            job.join()

    def test_a_getter_that_lost_keeps_its_place(self) -> None:
        q: SimpleQueue[int] = SimpleQueue()
        first = GREEN.start(q.get)
        settle()
        second = GREEN.start(q.get)
        settle()
        q.put(1)
        assert q.get() == 1  # before the first has run
        settle()
        q.put(2)
        assert first.join() == 2
        assert not second.ended
        q.put(3)
        assert second.join() == 3

    def test_killed_getters_take_nothing_along(self) -> None:
        for kill_first in (True, False):
            q: SimpleQueue[int] = SimpleQueue()
            victim = GREEN.start(q.get)
            other = GREEN.start(q.get)
            settle()
            if kill_first:
                task_of(victim).kill()
                q.put(1)
            else:
                q.put(1)
                task_of(victim).kill()
            settle()
            if not victim.outcome[0][0]:
                assert isinstance(victim.outcome[0][1], TaskExit)
                assert other.join() == 1
            else:
                q.put(2)
                assert other.join() == 2
            assert not q._waiters and q.empty()

    def test_time_is_up_at_the_moment_of_the_put(self) -> None:
        for _ in range(50):
            q: SimpleQueue[int] = SimpleQueue()
            job = GREEN.start(lambda q=q: outcome(q.get, timeout=0.0005))
            settle()
            end = time.monotonic() + 0.0005
            while time.monotonic() < end:
                pass
            q.put(1)
            got = job.join()
            assert (got == 1) is q.empty()
            assert not q._waiters

    def test_put_in_a_finaliser_and_in_the_hub(self) -> None:
        q: SimpleQueue[str] = SimpleQueue()

        class Finalised:
            def __del__(self) -> None:
                q.put("finaliser")

        held = [Finalised()]
        hub = core.get_hub()
        hub.call_soon(held.clear)
        hub.call_soon(q.put, "hub")
        assert [q.get(timeout=LONG), q.get(timeout=LONG)] == ["finaliser", "hub"]
