"""Locks and queues while another OS thread comes in between any two of their instructions."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from greenify import event, locks, queue, simple_queue, tokens
from greenify.task import spawn
from tests.model.interleave import at_every_step
from tests.model.threads import LONG, settle


class Waiter:
    """Stands for a thread that waits: whether anybody has woken it."""

    alive = True

    def __init__(self) -> None:
        self.woken = False

    def wake(self) -> None:
        self.woken = True


def held_lock(*starved: bool) -> tuple[Any, list[Any]]:
    lock = locks.Lock()
    lock.acquire()
    # Who has lost at the beginning of time has waited long enough.
    turns: list[Any] = [
        tokens._Turn(Waiter(), float("-inf") if each else None, recallable=False)  # type: ignore[arg-type]
        for each in starved
    ]
    lock._turns.extend(turns)
    return lock, turns


class TestRelease:
    def test_newcomer_takes_and_releases(self) -> None:
        for starved in (True, False):
            for run in at_every_step(locks, tokens):
                lock, (turn,) = held_lock(starved)
                run(lock.release, lambda lock=lock: lock.acquire(False) and lock.release())
                assert turn.waiter.woken
                assert turn.closed is lock.locked() is starved

    def test_newcomer_takes_now_and_releases_later(self) -> None:
        for starved in (True, False):
            for run in at_every_step(locks, tokens, intruders=2):
                lock, (turn,) = held_lock(starved)
                taken: list[bool] = []

                def take(lock: Any = lock, taken: list[bool] = taken) -> None:
                    taken.append(lock.acquire(False))

                def release(lock: Any = lock, taken: list[bool] = taken) -> None:
                    if taken == [True]:
                        taken.append(False)
                        lock.release()

                run(lock.release, take, release)
                release()
                assert turn.waiter.woken
                assert turn.closed is lock.locked() is starved

    def test_waiter_gives_up(self) -> None:
        for starved in (True, False):
            for run in at_every_step(locks, tokens):
                lock, (turn,) = held_lock(starved)
                left: list[bool] = []
                run(
                    lock.release,
                    lambda lock=lock, turn=turn, left=left: left.append(lock._leave(turn)),
                )
                if not left:
                    continue  # the operation ended before this step
                assert lock.locked() is not left[0]
                assert not lock._turns

    def test_first_of_two_gives_up(self) -> None:
        for starved in ((True, True), (True, False), (False, True), (False, False)):
            for run in at_every_step(locks, tokens):
                lock, (first, second) = held_lock(*starved)
                left: list[bool] = []
                run(
                    lock.release,
                    lambda lock=lock, first=first, left=left: left.append(lock._leave(first)),
                )
                if left == [False]:
                    assert first.waiter.woken and lock.locked() and not second.waiter.woken
                elif left:
                    assert second.waiter.woken
                    assert second.closed is lock.locked() is starved[1]

    def test_two_releases(self) -> None:
        # The lock changes hands in between: both wake-ups have to reach somebody.
        for run in at_every_step(locks, tokens):
            lock, (first, second) = held_lock(False, True)
            again: list[bool] = []

            def intrude(lock: Any = lock, again: list[bool] = again) -> None:
                again.append(lock.acquire(False))
                if again[0]:
                    lock.release()

            run(lock.release, intrude)
            assert first.waiter.woken
            if again == [True]:
                assert second.waiter.woken and second.closed and lock.locked()


class TestRecall:
    @pytest.mark.parametrize("barging", [True, False])
    def test_somebody_else_releases_while_a_wake_up_is_taken_back(self, barging: bool) -> None:
        """The waiter's wake-up is either left or made again: whoever releases has somebody woken."""
        for run in at_every_step(locks, tokens):
            lock = locks.Lock()
            lock.acquire()
            served: list[bool] = []

            def visit(lock: Any = lock, served: list[bool] = served) -> None:
                with lock:
                    served.append(True)

            def intrude(lock: Any = lock) -> None:
                if barging and lock.acquire(False):
                    lock.release()
                elif lock.locked():
                    lock.release()

            def release_and_acquire(lock: Any = lock) -> None:
                with suppress(RuntimeError):  # the intruder has released it
                    lock.release()
                lock.acquire()

            task = spawn(visit)
            settle()
            run(release_and_acquire, intrude)
            if lock.locked():
                lock.release()
            assert task.join(LONG)
            assert served == [True] and not lock.locked() and not lock._turns


class TestAcquire:
    def test_holder_releases(self) -> None:
        import threading

        for run in at_every_step(locks, tokens):
            lock, _ = held_lock()
            released: list[bool] = []
            result: list[bool] = []

            def intrude(lock: Any = lock, released: list[bool] = released) -> None:
                released.append(True)
                lock.release()

            # On an OS thread without a hub, so that its waiting is native.
            thread = threading.Thread(
                target=lambda run=run, lock=lock, intrude=intrude, result=result: result.append(
                    run(lambda: lock.acquire(timeout=0.001), intrude)
                )
            )
            thread.start()
            thread.join()
            if not released:
                lock.release()
            assert lock.locked() is result[0]
            assert not lock._turns
            if result[0]:
                lock.release()
            assert lock.acquire(False)


class TestSimpleQueue:
    def test_put_while_a_getter_gives_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(simple_queue.core, "new_waiter", Waiter)
        for run in at_every_step(simple_queue):
            q: Any = simple_queue.SimpleQueue()
            first, second = simple_queue._OtherGetter(), simple_queue._OtherGetter()
            q._waiters.extend((first, second))
            run(lambda q=q: q.put(1), lambda q=q, first=first: q._leave(first))
            assert first.woken or second.woken
            assert second.woken or first not in q._waiters

    def test_getter_against_put(self) -> None:
        import threading

        for run in at_every_step(simple_queue):
            q: Any = simple_queue.SimpleQueue()
            put: list[bool] = []
            got: list[Any] = []

            def intrude(q: Any = q, put: list[bool] = put) -> None:
                put.append(True)
                q.put(1)

            def get(
                run: Any = run, q: Any = q, intrude: Any = intrude, got: list[Any] = got
            ) -> None:
                try:
                    got.append(run(lambda: q.get(timeout=0.001), intrude))
                except queue.Empty:
                    got.append(None)

            thread = threading.Thread(target=get)
            thread.start()
            thread.join()
            assert (got == [1]) == (bool(put) and q.empty())
            assert not q._waiters


class Parked(Waiter):
    """What a `Getter` waits with."""

    def __init__(self, getter: Getter) -> None:
        super().__init__()
        self._getter = getter

    def wait(self, deadline: float | None) -> bool:
        self._getter.parked.release()
        self._getter.go_on.acquire()
        if self._getter.killed:
            raise InterruptedError
        return self.woken


class Getter:
    """A `get` on an OS thread of its own, which stands in its wait until the test lets it go on.

    Args:
        lost: it has been woken once already, and a newcomer was faster.
    """

    def __init__(self, q: Any, monkeypatch: pytest.MonkeyPatch, lost: bool = False) -> None:
        self.parked = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.killed = False
        self._outcome: Any = None
        with monkeypatch.context() as patch:
            patch.setattr(simple_queue.core, "new_waiter", self._new_waiter)
            self._thread = threading.Thread(target=self._run, args=(q,))
            self._thread.start()
            self.parked.acquire()
            if lost:
                q.put(0)
                assert q.get() == 0 and self.woken
                self.go_on.release()
                self.parked.acquire()

    def _new_waiter(self) -> Parked:
        self._waiter = Parked(self)
        return self._waiter

    def _run(self, q: Any) -> None:
        try:
            self._outcome = q.get(timeout=1000)
        except (queue.Empty, InterruptedError) as exc:
            self._outcome = exc

    @property
    def woken(self) -> bool:
        return self._waiter.woken

    def finish(self, kill: bool = False) -> Any:
        """End its wait (unless it has been woken, its time is up) and return the item, or its error."""
        if self._thread.is_alive():
            self.killed = kill
            self.go_on.release()
            self._thread.join()
        return self._outcome


class TestGettersThatLeave:
    """A getter goes while a put is about to wake it: the queue must not wait for it from then on."""

    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize("kill", [False, True])
    def test_while_an_item_is_put(
        self, kill: bool, lost: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for run in at_every_step(simple_queue):
            q: Any = simple_queue.SimpleQueue()
            getter = Getter(q, monkeypatch, lost)
            other = Getter(q, monkeypatch)
            run(lambda q=q: q.put(1), lambda getter=getter: getter.finish(kill))
            outcome = [getter.finish()]
            if outcome != [1]:
                assert other.woken
            q.put(2)
            assert other.woken
            outcome.append(other.finish())
            outcome += [q.get(False) for _ in range(q.qsize())]
            assert sorted(each for each in outcome if isinstance(each, int)) == [1, 2]
            last = Getter(q, monkeypatch)
            q.put(3)
            assert last.woken and last.finish() == 3
            assert not q._waiters

    # Half a minute on an idle machine.
    @pytest.mark.timeout(900)
    def test_while_two_items_are_put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for run in at_every_step(simple_queue, intruders=2):
            q: Any = simple_queue.SimpleQueue()
            getter = Getter(q, monkeypatch)
            others = [Getter(q, monkeypatch) for _ in range(2)]
            run(lambda q=q: q.put(1), getter.finish, lambda q=q: q.put(2))
            getter.finish()
            for number, other in enumerate(others, 3):
                # Each getter on its way wakes the next one while there are items.
                if not q._items:
                    q.put(number)
                assert other.woken
                other.finish()
            assert not q._waiters


class TestEvent:
    def test_waiter_against_set(self) -> None:
        import threading

        for run in at_every_step(event):
            flag: Any = event.Event()
            called: list[bool] = []
            result: list[bool] = []

            def intrude(flag: Any = flag, called: list[bool] = called) -> None:
                called.append(True)
                flag.set()

            def wait(run: Any = run, flag: Any = flag, i: Any = intrude, r: Any = result) -> None:
                r.append(run(lambda: flag.wait(0.001), i))

            thread = threading.Thread(target=wait)
            thread.start()
            thread.join()
            assert result[0] <= bool(called)
            assert not flag._waiters or not called
