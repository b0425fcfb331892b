"""Semaphores, Condition, Barrier: threading's behaviour, and that giving up loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from greenlet import GreenletExit
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greenify import core
from greenify.condition import Barrier, BrokenBarrierError, Condition
from greenify.errors import TaskExit
from greenify.locks import Lock, RLock
from greenify.semaphores import BoundedSemaphore, Semaphore
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.model import interleave
from tests.model.threads import LONG, outcome, settle

KINDS: dict[str, tuple[Any, Any]] = {
    "Semaphore": (threading.Semaphore, Semaphore),
    "BoundedSemaphore": (threading.BoundedSemaphore, BoundedSemaphore),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def joined(*tasks: Task[Any]) -> list[Any]:
    for task in tasks:
        assert task.join(LONG), f"{task!r} has not ended"
    return [task.result for task in tasks]


def killed(task: Task[Any]) -> bool:
    assert task.join(LONG)
    return task.exception is not None


class TestSemaphoreLikeness:
    @kinds
    @pytest.mark.parametrize(
        "arguments", [{}, {"blocking": False}, {"timeout": 0}, {"timeout": 0.01}, {"timeout": -3}]
    )
    @pytest.mark.parametrize("value", [0, 1, 2])
    def test_acquire(self, kind: str, arguments: dict[str, Any], value: int) -> None:
        if not arguments and not value:
            arguments = {"blocking": False, "timeout": 1}
        native, ours = (make(value) for make in KINDS[kind])
        for _ in range(value):
            assert outcome(ours.acquire, **arguments) == outcome(native.acquire, **arguments)
        if arguments:
            assert outcome(ours.acquire, **arguments) == outcome(native.acquire, **arguments)
        assert ours._value == native._value

    @kinds
    @pytest.mark.parametrize("arguments", [(), (1,), (2,), (3,), (0,), (-1,)])
    def test_release(self, kind: str, arguments: tuple[int, ...]) -> None:
        native, ours = (make(4) for make in KINDS[kind])
        for semaphore in (native, ours):
            for _ in range(2):
                semaphore.acquire()
        for _ in range(3):
            assert outcome(ours.release, *arguments) == outcome(native.release, *arguments)
            assert ours._value == native._value

    @kinds
    def test_negative(self, kind: str) -> None:
        native, ours = KINDS[kind]
        assert outcome(ours, -1) == outcome(native, -1)

    @kinds
    def test_with(self, kind: str) -> None:
        for make in KINDS[kind]:
            semaphore = make(1)
            with semaphore as entered:
                assert entered is True and semaphore._value == 0
            assert semaphore._value == 1

    def test_repr(self) -> None:
        semaphore = Semaphore(3)
        expected = f"<greenify.semaphores.Semaphore at {id(semaphore):#x}: value=3>"
        assert repr(semaphore) == expected
        assert repr(BoundedSemaphore(3)).endswith(": value=3/3>")

    def test_millions_of_permits(self) -> None:
        semaphore = Semaphore(5_000_000)
        assert semaphore.acquire() and semaphore._value == 4_999_999

    def test_subclass_with_attributes(self) -> None:
        class Named(Semaphore):
            def __init__(self, name: str) -> None:
                super().__init__(2)
                self.name = name

        with Named("mine") as entered:
            assert entered


class TestSemaphoreWaiting:
    @kinds
    def test_never_more_inside_than_permits(self, kind: str) -> None:
        semaphore = KINDS[kind][1](3)
        inside: set[int] = set()
        most: list[int] = []

        def work(number: int) -> None:
            for _ in range(10):
                with semaphore:
                    inside.add(number)
                    most.append(len(inside))
                    core.sleep(0)
                    inside.discard(number)

        joined(*[spawn(work, number) for number in range(12)])
        assert max(most) == 3 and len(most) == 120
        assert semaphore._value == 3 and not semaphore._turns

    def test_os_threads(self) -> None:
        semaphore = BoundedSemaphore(2)
        inside: list[int] = []
        most: list[int] = []

        def work() -> None:
            for _ in range(30):
                with semaphore:
                    inside.append(1)
                    most.append(len(inside))
                    core.sleep(0)
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        joined(*[spawn(work) for _ in range(4)])
        for thread in threads:
            thread.join(LONG)
        assert max(most) <= 2 and len(most) == 240
        assert semaphore._value == 2 and len(semaphore._held) == 0

    def test_a_greedy_task_does_not_starve_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("greenify.tokens._PATIENCE", 0.0)
        semaphore = Semaphore(2)
        served: list[int] = []
        rounds = 0

        def greedy() -> None:
            nonlocal rounds
            while len(served) < 4:
                with semaphore:
                    rounds += 1
                    core.sleep(0)

        def patient(number: int) -> None:
            with semaphore:
                served.append(number)

        hogs = [spawn(greedy), spawn(greedy)]
        settle()
        joined(*[spawn(patient, number) for number in range(4)], *hogs)
        assert sorted(served) == [0, 1, 2, 3]
        assert rounds < 40

    def test_release_many(self) -> None:
        semaphore = Semaphore(0)
        waiting = [spawn(semaphore.acquire) for _ in range(5)]
        settle()
        semaphore.release(3)
        settle()
        assert [task.alive for task in waiting] == [False] * 3 + [True] * 2
        semaphore.release(3)
        assert joined(*waiting) == [True] * 5
        assert semaphore._value == 1

    @kinds
    def test_killed_at_every_moment(self, kind: str) -> None:
        hits = 0
        for before in range(5):
            for after in range(5):
                semaphore = KINDS[kind][1](1)
                semaphore.acquire()
                victim, other = spawn(semaphore.acquire), spawn(semaphore.acquire)
                for _ in range(before):
                    core.sleep(0)
                semaphore.release()
                for _ in range(after):
                    core.sleep(0)
                victim.kill()
                if killed(victim):
                    hits += 1
                else:
                    semaphore.release()
                assert joined(other) == [True]
                assert semaphore._value == 0 and not semaphore._turns
        assert 0 < hits < 25

    @kinds
    def test_timeouts_of_both_kinds(self, kind: str) -> None:
        semaphore = KINDS[kind][1](0)

        def around() -> Any:
            with Timeout(0.002, False):
                return semaphore.acquire()
            return "timed out"

        tasks = [spawn(semaphore.acquire, True, 0.002), spawn(around)]
        assert joined(*tasks) == [False, "timed out"]
        assert not semaphore._turns

    def test_bounded_release_on_two_os_threads_at_once(self) -> None:
        """Of two releases of one permit exactly one fails, at whatever step they meet."""
        from greenify import semaphores

        for run in interleave.at_every_step(semaphores):
            semaphore = BoundedSemaphore(2)
            semaphore.acquire()
            results: list[Any] = []

            def release(semaphore: Any = semaphore, results: Any = results) -> None:
                results.append(outcome(semaphore.release))

            run(release, release)
            if len(results) == 1:
                release()
            assert sorted(results, key=str) == [
                (ValueError, "Semaphore released too many times"),
                None,
            ]
            assert semaphore._value == 2


class SemaphoreMachine(RuleBasedStateMachine):
    """A bounded semaphore, and the same thing as a number and a set of those who wait."""

    def __init__(self) -> None:
        super().__init__()
        self.semaphore = BoundedSemaphore(3)
        self.free = 3
        self.waiting: list[Task[Any]] = []

    @rule(many=st.integers(1, 4))
    def acquire(self, many: int) -> None:
        self.waiting += [spawn(self.semaphore.acquire) for _ in range(many)]

    @rule()
    def try_to_acquire(self) -> None:
        settle(3)
        self._settle()
        taken = self.semaphore.acquire(False)
        assert taken is (self.free > 0)
        self.free -= taken

    @rule(many=st.integers(1, 4))
    def release(self, many: int) -> None:
        settle(3)
        self._settle()
        if self.free + many > 3:
            with pytest.raises(ValueError):
                self.semaphore.release(many)
        else:
            self.semaphore.release(many)
            self.free += many

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill(self, data: Any) -> None:
        """Without letting anybody run first: it may have been woken already."""
        data.draw(st.sampled_from(self.waiting)).kill()

    def _settle(self) -> None:
        ended = [task for task in self.waiting if not task.alive]
        self.waiting = [task for task in self.waiting if task.alive]
        self.free -= sum(not killed(task) for task in ended)
        assert self.free >= 0
        assert not (self.waiting and self.free), "somebody waits although there are permits"

    @rule()
    def look(self) -> None:
        settle(3)
        self._settle()
        assert self.semaphore._value == self.free
        assert len(self.semaphore._turns) == len(self.waiting)

    @invariant()
    def bounded(self) -> None:
        assert 0 <= self.semaphore._value <= 3

    def teardown(self) -> None:
        for task in self.waiting:
            task.kill()
        settle(4)
        self._settle()
        assert not self.semaphore._turns and self.semaphore._value == self.free


TestSemaphoreMachine = SemaphoreMachine.TestCase
TestSemaphoreMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, database=None, derandomize=True
)

locks = pytest.mark.parametrize("make_lock", [Lock, RLock, lambda: None], ids=["L", "R", "default"])


class TestCondition:
    @locks
    def test_notify(self, make_lock: Callable[[], Any]) -> None:
        condition = Condition(make_lock())
        log: list[int] = []

        def work(number: int) -> bool:
            with condition:
                notified = condition.wait(LONG)
                log.append(number)
                return notified

        tasks = [spawn(work, number) for number in range(5)]
        settle()
        with condition:
            condition.notify()
            condition.notify(2)
            settle()
            assert log == []  # the lock is held
        settle()
        assert log == [0, 1, 2]
        with condition:
            condition.notify_all()
        assert joined(*tasks) == [True] * 5 and log == [0, 1, 2, 3, 4]
        assert not condition._waiters

    def test_rlock_taken_twice(self) -> None:
        condition = Condition()

        def work() -> bool:
            with condition, condition:
                notified = condition.wait(LONG)
                assert condition._lock._count == 2
                return notified

        task = spawn(work)
        settle()
        with condition:
            condition.notify()
        assert joined(task) == [True]

    @locks
    def test_timeouts(self, make_lock: Callable[[], Any]) -> None:
        condition = Condition(make_lock())
        with condition:
            assert condition.wait(0.001) is False
            assert condition.wait(0) is False
            assert condition.wait(-1) is False
            assert condition._is_owned()
        assert not condition._is_owned() and not condition._waiters

    def test_not_owned(self) -> None:
        for make in (threading.Condition, Condition):
            with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
                make().wait()
            with pytest.raises(RuntimeError, match="cannot notify on un-acquired lock"):
                make().notify()

    def test_wait_for_waits_more_than_once(self) -> None:
        condition = Condition()
        numbers: list[int] = []

        def work() -> int:
            with condition:
                return condition.wait_for(lambda: len(numbers) >= 3 and len(numbers), LONG)

        task = spawn(work)
        for number in range(3):
            settle()
            assert task.alive
            with condition:
                numbers.append(number)
                condition.notify()
        assert joined(task) == [3]
        with condition:
            assert condition.wait_for(lambda: "", 0.001) == ""
            assert condition.wait_for(lambda: "at once", 0) == "at once"

    @pytest.mark.parametrize("exception", [TaskExit, GreenletExit, ValueError])
    @locks
    def test_killed_at_every_moment(
        self, make_lock: Callable[[], Any], exception: type[BaseException]
    ) -> None:
        """The lock is held whatever happens, and a notification reaches somebody."""
        hits = 0
        for before in range(4):
            for after in range(4):
                condition = Condition(make_lock())
                seen: list[bool] = []

                def work(condition: Any = condition, seen: Any = seen) -> None:
                    with condition:
                        try:
                            condition.wait(LONG)
                        finally:
                            seen.append(condition._is_owned())

                victim, other = spawn(work), spawn(work)
                settle()
                with condition:
                    condition.notify()
                    for _ in range(before):
                        core.sleep(0)
                    victim.kill(exception)
                for _ in range(after):
                    core.sleep(0)
                if killed(victim):
                    hits += 1
                else:
                    with condition:
                        condition.notify()
                assert joined(other) == [None]
                assert seen == [True, True]
                assert not condition._is_owned() and not condition._waiters
        assert hits

    def test_timeout_around(self) -> None:
        condition = Condition(Lock())
        with condition, Timeout(0.001, False):
            condition.wait()
        assert not condition._is_owned() and not condition._waiters

    def test_os_threads(self) -> None:
        condition = Condition()
        turn = 0

        def work(mine: int) -> None:
            nonlocal turn

            def is_mine() -> bool:
                return turn % 4 == mine

            for _ in range(20):
                with condition:
                    assert condition.wait_for(is_mine, LONG)
                    turn += 1
                    condition.notify_all()

        threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        joined(spawn(work, 2), spawn(work, 3))
        for thread in threads:
            thread.join(LONG)
        assert turn == 80


class TestBarrier:
    def test_everybody_comes(self) -> None:
        log: list[str] = []
        barrier = Barrier(3, lambda: log.append("action"))

        def work() -> list[int]:
            return [barrier.wait(LONG) for _ in range(5)]

        results = joined(*[spawn(work) for _ in range(3)])
        assert [sorted(column) for column in zip(*results, strict=True)] == [[0, 1, 2]] * 5
        assert log == ["action"] * 5
        assert barrier.n_waiting == 0 and not barrier.broken and not barrier._cond._waiters

    def test_timeout_breaks_it(self) -> None:
        barrier = Barrier(3, timeout=0.002)

        def work(timeout: float | None = None) -> str:
            try:
                barrier.wait(timeout)
            except BrokenBarrierError:
                return "broken"
            return "passed"

        assert joined(spawn(work), spawn(work)) == ["broken", "broken"]
        assert barrier.broken
        barrier.reset()
        assert joined(*[spawn(work, LONG) for _ in range(3)]) == ["passed"] * 3

    def test_a_kill_breaks_it(self) -> None:
        barrier = Barrier(3)
        victim, other = spawn(barrier.wait), spawn(lambda: outcome(barrier.wait))
        settle()
        victim.kill()
        assert killed(victim)
        assert joined(other) == [(BrokenBarrierError, "")]
        assert barrier.broken and not barrier._cond._waiters

    def test_a_kill_after_it_has_opened_does_not(self) -> None:
        barrier = Barrier(2)
        victim = spawn(barrier.wait)
        settle()
        assert barrier.wait() == 1
        victim.kill()
        assert victim.join(LONG)
        assert not barrier.broken and barrier.n_waiting == 0

    def test_abort_and_reset(self) -> None:
        barrier = Barrier(2)
        for end in (barrier.reset, barrier.abort):
            waiting = spawn(lambda: outcome(barrier.wait))
            settle()
            end()
            assert joined(waiting) == [(BrokenBarrierError, "")]
        assert barrier.broken

    def test_os_threads(self) -> None:
        barrier = Barrier(4)
        results: list[int] = []

        def work() -> None:
            for _ in range(10):
                results.append(barrier.wait(LONG))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        joined(spawn(work), spawn(work))
        for thread in threads:
            thread.join(LONG)
        assert sorted(results) == sorted([0, 1, 2, 3] * 10)
