"""Queue, LifoQueue, PriorityQueue: the behaviour of `queue`; giving up loses no item; nobody starves."""

from __future__ import annotations

import queue as native
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greenify import core
from greenify.errors import TaskExit
from greenify.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.model.threads import LONG, outcome, settle

KINDS: dict[str, tuple[Any, Any]] = {
    "Queue": (native.Queue, Queue),
    "LifoQueue": (native.LifoQueue, LifoQueue),
    "PriorityQueue": (native.PriorityQueue, PriorityQueue),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def joined(*tasks: Task[Any]) -> list[Any]:
    for task in tasks:
        assert task.join(LONG), f"{task!r} has not ended"
    return [task.result for task in tasks]


def is_idle(queue: Queue[Any]) -> bool:
    """Whether nobody waits in it."""
    conditions: list[Any] = [queue.not_empty, queue.not_full, queue.all_tasks_done]
    return not (
        any(condition._waiters for condition in conditions)
        or queue._getters.hungry
        or queue._putters.hungry
        or queue.mutex.locked()
    )


class TestLikeness:
    @kinds
    def test_order(self, kind: str) -> None:
        results = []
        for make in KINDS[kind]:
            queue = make()
            for item in (3, 1, 2, 5, 4):
                queue.put(item)
            results.append([queue.get() for _ in range(5)])
        assert results[0] == results[1]

    @kinds
    @pytest.mark.parametrize("maxsize", [-1, 0, 1, 2])
    def test_sizes(self, kind: str, maxsize: int) -> None:
        theirs, ours = (make(maxsize) for make in KINDS[kind])
        for _ in range(3):
            for name in ("qsize", "empty", "full"):
                assert outcome(getattr(ours, name)) == outcome(getattr(theirs, name))
            assert outcome(ours.put_nowait, 1) == outcome(theirs.put_nowait, 1)
        assert ours.maxsize == maxsize

    @pytest.mark.parametrize(
        "arguments", [(False,), (True, 0), (True, 0.001), (False, -1)], ids=repr
    )
    def test_nothing_to_get(self, arguments: tuple[Any, ...]) -> None:
        queue: Queue[int] = Queue(1)
        assert (
            outcome(queue.get, *arguments) == outcome(native.Queue().get, *arguments) == (Empty, "")
        )
        queue.put(1)
        full: Any = native.Queue(1)
        full.put(1)
        assert outcome(queue.put, 2, *arguments) == outcome(full.put, 2, *arguments) == (Full, "")
        assert is_idle(queue)

    def test_negative_timeout(self) -> None:
        for make in KINDS["Queue"]:
            queue = make(1)
            assert outcome(queue.get, True, -1)[0] is ValueError
            assert outcome(queue.put, 1, True, -1) in (None, (ValueError, MESSAGE))

    def test_task_done(self) -> None:
        for make in KINDS["Queue"]:
            queue = make()
            queue.put(1)
            queue.task_done()
            assert outcome(queue.task_done) == (
                ValueError,
                "task_done() called too many times",
            )
            queue.join()

    def test_it_is_a_queue(self) -> None:
        queue: Queue[int] = Queue()
        assert isinstance(queue, native.Queue)
        assert isinstance(PriorityQueue(), Queue)
        assert Queue[int](3).maxsize == 3


MESSAGE = "'timeout' must be a non-negative number"


class TestShutdown:
    @kinds
    @pytest.mark.parametrize("immediate", [False, True])
    def test_shutdown(self, kind: str, immediate: bool) -> None:
        """On CPython 3.13 the native queue says what is expected."""
        script: list[Callable[[Any], Any]] = [
            lambda queue: queue.put(1),
            lambda queue: queue.put(2),
            lambda queue: queue.shutdown(immediate),
            lambda queue: queue.unfinished_tasks,
            lambda queue: queue.put(3),
            lambda queue: queue.put(3, False),
            lambda queue: queue.get(False),
            lambda queue: queue.get(),
            lambda queue: queue.get(),
            lambda queue: queue.get(False),
            lambda queue: queue.shutdown(True),
            lambda queue: queue.is_shutdown,
        ]
        queue = KINDS[kind][1]()
        ours = [outcome(step, queue) for step in script]
        down = (ShutDown, "")
        if immediate:
            assert ours == [None, None, None, 0, *[down] * 6, None, True]
        else:
            got = [2, 1] if kind == "LifoQueue" else [1, 2]
            assert ours == [None, None, None, 2, down, down, *got, down, down, None, True]
        if sys.version_info >= (3, 13):
            theirs = KINDS[kind][0]()
            assert [outcome(step, theirs) for step in script] == ours
            assert ShutDown is native.ShutDown

    @pytest.mark.parametrize("immediate", [False, True])
    def test_wakes_everybody(self, immediate: bool) -> None:
        empty: Queue[int] = Queue()
        full: Queue[int] = Queue(1)
        full.put(1)
        getters = [spawn(outcome, empty.get) for _ in range(3)]
        putters = [spawn(outcome, full.put, number) for number in range(3)]
        joining = spawn(full.join)
        settle()
        empty.shutdown(immediate)
        full.shutdown(immediate)
        assert joined(*getters, *putters) == [(ShutDown, "")] * 6
        settle()
        assert joining.alive is not immediate
        if not immediate:
            full.get()
            full.task_done()
        joined(joining)
        assert is_idle(empty) and is_idle(full)


class TestWaiting:
    @kinds
    def test_producers_and_consumers(self, kind: str) -> None:
        queue: Queue[int] = KINDS[kind][1](3)
        got: list[int] = []

        def consume() -> None:
            while True:
                got.append(queue.get())
                queue.task_done()

        consumers = [spawn(consume) for _ in range(4)]
        producers = [
            spawn(lambda start=start: [queue.put(start + n) for n in range(50)])
            for start in range(0, 200, 50)
        ]
        joined(*producers)
        queue.join()
        assert sorted(got) == list(range(200))
        for task in consumers:
            task.kill()
            assert task.join(LONG)
        assert is_idle(queue)

    def test_os_threads(self) -> None:
        queue: Queue[int] = Queue(2)
        got: list[int] = []

        def produce(start: int) -> None:
            for number in range(100):
                queue.put(start + number, timeout=LONG)

        def consume() -> None:
            try:
                while True:
                    got.append(queue.get(timeout=LONG))
                    queue.task_done()
            except ShutDown:
                pass

        threads = [
            threading.Thread(target=produce, args=(0,)),
            threading.Thread(target=consume),
            threading.Thread(target=consume),
        ]
        for thread in threads:
            thread.start()
        tasks = [spawn(produce, 100), spawn(consume)]
        joined(tasks[0])
        threads[0].join(LONG)
        queue.join()
        queue.shutdown()
        joined(tasks[1])
        for thread in threads:
            thread.join(LONG)
        assert sorted(got) == list(range(200))
        assert is_idle(queue)

    def test_nobody_is_overtaken_twice(self) -> None:
        queue: Queue[int] = Queue()
        served: list[int] = []
        rounds = 0

        def greedy() -> None:
            nonlocal rounds
            while len(served) < 3:
                rounds += 1
                queue.put(rounds)
                try:
                    queue.get_nowait()  # before the one it was put for can run
                except Empty:
                    pass
                core.sleep(0)

        def patient(number: int) -> None:
            queue.get()
            served.append(number)

        waiters = [spawn(patient, number) for number in range(3)]
        settle()
        joined(spawn(greedy), *waiters)
        assert served == [0, 1, 2]
        assert rounds < 15 and is_idle(queue)

    def test_no_putter_is_overtaken_twice(self) -> None:
        queue: Queue[str] = Queue(1)
        queue.put("first")
        patient = spawn(queue.put, "patient")
        settle()
        rounds = 0
        while patient.alive:
            rounds += 1
            queue.get_nowait()
            try:
                queue.put_nowait("greedy")
            except Full:
                pass
            settle()
        assert rounds < 4 and is_idle(queue)

    def test_ten_thousand_getters(self) -> None:
        queue: Queue[int] = Queue()
        tasks = [spawn(queue.get) for _ in range(10_000)]
        settle()
        for number in range(10_000):
            queue.put(number)
        assert joined(*tasks) == list(range(10_000))
        assert is_idle(queue)


class TestGivingUp:
    @pytest.mark.parametrize("how", ["kill", "timeout"])
    def test_nothing_stays_behind(self, how: str) -> None:
        queue: Queue[int] = Queue(1)

        def limited(call: Callable[[], Any]) -> None:
            with Timeout(LONG if how == "kill" else 0.001, False):
                call()

        for call in (queue.get, lambda: queue.put(2), queue.join):
            task = spawn(limited, call)
            settle()
            if how == "kill":
                task.kill()
            assert task.join(LONG)
            assert isinstance(task.exception, TaskExit) is (how == "kill")
            assert is_idle(queue)
            if not queue.qsize():
                queue.put(1)
        assert queue.get() == 1

    def test_a_getter_killed_at_every_moment(self) -> None:
        hits = 0
        for before in range(5):
            for after in range(5):
                queue: Queue[int] = Queue()
                victim, other = spawn(queue.get), spawn(queue.get)
                for _ in range(before):
                    core.sleep(0)
                queue.put(1)
                for _ in range(after):
                    core.sleep(0)
                victim.kill()
                assert victim.join(LONG)
                if isinstance(victim.exception, TaskExit):
                    hits += 1
                else:
                    queue.put(1)
                assert joined(other) == [1]
                assert is_idle(queue) and queue.empty()
        assert 0 < hits < 25

    def test_a_starved_getter_is_killed(self) -> None:
        queue: Queue[int] = Queue()
        victim, other = spawn(queue.get), spawn(queue.get)
        settle()
        queue.put(0)
        assert queue.get_nowait() == 0  # the victim loses once
        settle()
        assert queue._getters.hungry == 1
        victim.kill()  # arrives when it has been notified
        queue.put(1)
        with pytest.raises(Empty):
            queue.get_nowait()  # not again
        assert victim.join(LONG) and isinstance(victim.exception, TaskExit)
        assert joined(other) == [1] and is_idle(queue)


class QueueMachine(RuleBasedStateMachine):
    """A queue with room for three, and the same thing as a list and two lists of those who wait."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[int] = Queue(3)
        self.putters: dict[Task[Any], int] = {}
        self.getters: list[Task[Any]] = []
        self.put_items: list[int] = []
        self.got: list[int] = []
        self.next = 0
        self.down = False

    @rule(many=st.integers(1, 4))
    def put(self, many: int) -> None:
        for _ in range(many):
            self.next += 1
            self.putters[spawn(outcome, self.queue.put, self.next)] = self.next

    @rule(many=st.integers(1, 4))
    def get(self, many: int) -> None:
        self.getters += [spawn(outcome, self.queue.get) for _ in range(many)]

    @rule()
    def get_nowait(self) -> None:
        item = outcome(self.queue.get_nowait)
        if isinstance(item, int):
            self.got.append(item)

    @rule()
    def put_nowait(self) -> None:
        self.next += 1
        if outcome(self.queue.put_nowait, self.next) is None:
            self.put_items.append(self.next)

    @precondition(lambda self: self.putters or self.getters)
    @rule(data=st.data())
    def kill(self, data: Any) -> None:
        data.draw(st.sampled_from([*self.putters, *self.getters])).kill()

    @rule(rounds=st.integers(1, 2))
    def run(self, rounds: int) -> None:
        settle(rounds)

    @precondition(lambda self: self.next > 15)
    @rule()
    def shutdown(self) -> None:
        self.down = True
        self.queue.shutdown()

    @rule()
    def look(self) -> None:
        settle(8)
        for task, item in tuple(self.putters.items()):
            if not task.alive:
                del self.putters[task]
                if task.exception is None and task.result is None:
                    self.put_items.append(item)
        for task in tuple(self.getters):
            if not task.alive:
                self.getters.remove(task)
                if task.exception is None and isinstance(task.result, int):
                    self.got.append(task.result)
        inside = list(self.queue.queue)
        # Every item that was put is somewhere, once.
        assert sorted(self.got + inside) == sorted(self.put_items)
        # Nobody waits for what is there.
        assert not (self.getters and inside)
        assert not (self.putters and len(inside) < 3)
        if self.down:
            assert not self.getters and not self.putters
        assert len(self.queue.not_empty._waiters) == len(self.getters)  # type: ignore[attr-defined]
        assert len(self.queue.not_full._waiters) == len(self.putters)  # type: ignore[attr-defined]

    @invariant()
    def bounded(self) -> None:
        assert len(self.queue.queue) <= 3

    def teardown(self) -> None:
        self.queue.shutdown()
        self.down = True
        self.look()
        assert is_idle(self.queue)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, database=None, derandomize=True
)
