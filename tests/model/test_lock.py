"""Lock and RLock: the arguments, errors and behaviour of the native ones."""

from __future__ import annotations

import _thread
import copy
import gc
import pickle
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from greenlet import getcurrent, greenlet, settrace

from greenify import core, locks, tokens
from greenify.errors import TaskExit
from greenify.timeout import Timeout
from tests.model.threads import GREEN, LONG, Layer, both, outcome, settle, task_of

NATIVE: dict[str, Any] = {"Lock": _thread.allocate_lock, "RLock": threading.RLock}
OURS: dict[str, Any] = {"Lock": locks.Lock, "RLock": locks.RLock}
kinds = pytest.mark.parametrize("kind", ["Lock", "RLock"])


class Index:
    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Index({int(self)})"

    def __index__(self) -> int:
        return self.value


Arguments = list[tuple[tuple[Any, ...], dict[str, Any]]]

# On a lock that is held, these wait for ever or long.
ENDLESS: Arguments = [
    ((), {}),
    ((True,), {}),
    ((1,), {}),
    ((2,), {}),
    ((), {"timeout": -1}),
    ((), {"timeout": -1.0}),
    ((), {"timeout": True}),
    ((), {"timeout": Index(1)}),
    # A TypeError before CPython 3.12.
    (("yes",), {}),
    ((1.5,), {}),
]
SHORT: Arguments = [
    ((False,), {}),
    ((0,), {}),
    ((), {"blocking": False}),
    ((), {"timeout": 0}),
    ((), {"timeout": 0.0}),
    ((), {"timeout": 0.01}),
    ((), {"timeout": 1e-300}),
    ((True, 0.01), {}),
    ((False, -1), {}),
    ((False, 0), {}),
    ((False, 1), {}),
    ((0, 1.0), {}),
    ((), {"timeout": -0.5}),
    ((), {"timeout": -2}),
    ((), {"timeout": float("nan")}),
    ((), {"timeout": float("inf")}),
    ((), {"timeout": -float("inf")}),
    ((), {"timeout": threading.TIMEOUT_MAX * 1.01}),
    ((), {"timeout": 10**400}),
    ((), {"timeout": "1"}),
    ((), {"timeout": None}),
    ((), {"timeout": Decimal(1)}),
    ((), {"timeout": 1j}),
    ((None,), {}),
    (([],), {}),
]
ARGUMENTS = ENDLESS + SHORT


class TestArguments:
    @kinds
    @pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS, ids=repr)
    def test_acquire_of_a_free_lock(self, kind: str, args: Any, kwargs: Any) -> None:
        expected = outcome(NATIVE[kind]().acquire, *args, **kwargs)
        ours = OURS[kind]()
        assert outcome(ours.acquire, *args, **kwargs) == expected
        assert ours._box == ([] if expected is True else [None])

    @pytest.mark.parametrize(("args", "kwargs"), SHORT, ids=repr)
    def test_acquire_of_a_held_lock(self, args: Any, kwargs: Any) -> None:
        native, ours = _thread.allocate_lock(), locks.Lock()
        native.acquire()
        ours.acquire()
        expected = outcome(native.acquire, *args, **kwargs)
        assert outcome(ours.acquire, *args, **kwargs) == expected
        assert not ours._turns

    @kinds
    def test_release_of_a_free_lock(self, kind: str) -> None:
        assert outcome(OURS[kind]().release) == outcome(NATIVE[kind]().release)
        assert outcome(OURS[kind]().__exit__, None, None, None) == outcome(
            NATIVE[kind]().__exit__, None, None, None
        )

    @kinds
    def test_reacquired(self, kind: str) -> None:
        for lock in (NATIVE[kind](), OURS[kind]()):
            assert lock.acquire()
            assert lock.acquire(False) is (kind == "RLock")
            assert lock.acquire(timeout=0.01) is (kind == "RLock")
            lock.release()

    def test_rlock_checks_arguments_when_it_is_owned(self) -> None:
        for arguments, keywords in ARGUMENTS:
            native, ours = threading.RLock(), locks.RLock()
            native.acquire()
            ours.acquire()
            expected = outcome(native.acquire, *arguments, **keywords)
            assert outcome(ours.acquire, *arguments, **keywords) == expected
            assert ours._count == (2 if expected is True else 1)


class TestLikeness:
    @both
    def test_lock_names(self, layer: Layer) -> None:
        lock = layer.Lock()
        assert lock.acquire_lock() is True
        assert lock.locked() is lock.locked_lock() is True
        assert lock.release_lock() is None
        assert lock.locked() is False
        with lock as entered:
            assert entered is True

    @both
    def test_rlock_for_conditions(self, layer: Layer) -> None:
        lock = layer.RLock()
        assert lock._is_owned() is False
        for _ in range(3):
            lock.acquire()
        assert lock._is_owned() is True
        state = lock._release_save()
        assert lock._is_owned() is False
        assert outcome(lock.release)[0] is RuntimeError
        lock._acquire_restore(state)
        assert lock._is_owned() is True
        for _ in range(3):
            lock.release()
        assert lock._is_owned() is False
        assert outcome(lock._release_save) == outcome(threading.RLock()._release_save)  # type: ignore[attr-defined]

    @both
    def test_rlock_of_another_thread(self, layer: Layer) -> None:
        lock = layer.RLock()
        lock.acquire()

        def other() -> None:
            assert lock._is_owned() is False
            assert lock.acquire(False) is False
            assert lock.acquire(timeout=0.001) is False
            with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
                lock.release()

        layer.start(other).join()
        lock.release()

    @kinds
    def test_at_fork_reinit(self, kind: str) -> None:
        for lock in (NATIVE[kind](), OURS[kind]()):
            lock.acquire()
            lock._at_fork_reinit()
            assert outcome(lock.release)[0] is RuntimeError
            assert lock.acquire(False) is True
            lock.release()

    @kinds
    def test_no_copies(self, kind: str) -> None:
        for make in (NATIVE[kind], OURS[kind]):
            for function in (copy.copy, copy.deepcopy, pickle.dumps):
                lock = make()
                name = f"{type(lock).__module__}.{type(lock).__name__}"
                with pytest.raises(TypeError, match=f"cannot pickle '{name}' object"):
                    function(lock)

    @kinds
    def test_weak_references(self, kind: str) -> None:
        for make in (NATIVE[kind], OURS[kind]):
            lock = make()
            reference = weakref.ref(lock)
            assert reference() is lock
            del lock
            gc.collect()
            assert reference() is None

    def test_lock_is_final(self) -> None:
        for base in (type(_thread.allocate_lock()), locks.Lock):
            with pytest.raises(TypeError, match="is not an acceptable base type"):
                type("Mine", (base,), {})

    @both
    def test_rlock_subclass_with_an_init_of_its_own(self, layer: Layer) -> None:
        base = type(layer.RLock())

        class Named(base):  # type: ignore[valid-type,misc]
            def __init__(self, name: str) -> None:
                self.name = name

        lock = Named("mine")
        with lock, lock:
            assert lock.name == "mine"
            assert lock._is_owned()
        assert not lock._is_owned()

    def test_repr(self) -> None:
        lock = locks.Lock()
        assert repr(lock) == f"<unlocked greenify.locks.Lock object at {id(lock):#x}>"
        with lock:
            assert repr(lock) == f"<locked greenify.locks.Lock object at {id(lock):#x}>"
        owned = locks.RLock()
        assert repr(owned) == (
            f"<unlocked greenify.locks.RLock object owner=0 count=0 at {id(owned):#x}>"
        )
        with owned, owned:
            me = threading.get_ident()
            expected = f"<locked greenify.locks.RLock object owner={me} count=2 at {id(owned):#x}>"
            assert repr(owned) == expected


class TestWaiting:
    @both
    @kinds
    def test_waiters_get_it_one_after_the_other(self, kind: str, layer: Layer) -> None:
        lock = getattr(layer, kind)()
        inside: list[int] = []
        most: list[int] = []

        def work(number: int) -> None:
            for _ in range(20):
                with lock:
                    inside.append(number)
                    most.append(len(inside))
                    core.sleep(0)
                    inside.remove(number)

        with lock:
            jobs = [layer.start(work, number) for number in range(10)]
            layer.settle()
            assert not any(job.ended for job in jobs)
        for job in jobs:
            job.join()
        assert max(most) == 1 and len(most) == 200

    @both
    def test_another_thread_may_release(self, layer: Layer) -> None:
        lock = layer.Lock()
        lock.acquire()
        job = layer.start(lambda: lock.acquire() and lock.release())
        layer.settle()
        layer.start(lock.release).join()
        job.join()
        assert not lock.locked()

    @both
    @kinds
    def test_timeouts_are_never_early(self, kind: str, layer: Layer) -> None:
        lock = getattr(layer, kind)()
        lock.acquire()

        def work(seconds: float) -> None:
            start = time.monotonic()
            assert lock.acquire(timeout=seconds) is False
            assert time.monotonic() - start >= seconds

        for job in [layer.start(work, 0.001 * number) for number in range(1, 30)]:
            job.join()

    @kinds
    def test_a_waiter_that_has_lost_is_handed_the_lock_in_time(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passed = 0.0
        monkeypatch.setattr(tokens, "_monotonic", lambda: time.monotonic() + passed)
        lock = OURS[kind]()
        served: list[int] = []
        rounds = 0

        def greedy() -> None:
            nonlocal rounds, passed
            while len(served) < 3:
                with lock:
                    rounds += 1
                    passed += tokens._PATIENCE / 20
                    core.sleep(0)

        def patient(number: int) -> None:
            with lock:
                served.append(number)

        hog = GREEN.start(greedy)
        settle()
        others = [GREEN.start(patient, number) for number in range(3)]
        for job in (*others, hog):
            job.join()
        # Each may be overtaken as long as its patience lasts, and is then handed the lock.
        assert served == [0, 1, 2]
        assert 10 < rounds < 100

    @kinds
    def test_a_wake_up_in_vain_costs_no_switch(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A millisecond is soon over on a busy machine, and then it is the patient ones' turn.
        monkeypatch.setattr(tokens, "_PATIENCE", 3600.0)
        lock = OURS[kind]()
        greenlets: list[greenlet] = []

        def greedy() -> None:
            greenlets.append(getcurrent())
            for _ in range(20):
                with lock:
                    core.sleep(0)

        def patient() -> None:
            greenlets.append(getcurrent())
            lock.acquire()

        hog = GREEN.start(greedy)
        core.sleep(0)
        others = [GREEN.start(patient) for _ in range(3)]
        settle(1)
        switches: list[greenlet] = []

        def trace(event: str, args: Any) -> None:
            switches.extend(args)

        before = settrace(trace)
        try:
            for _ in range(10):
                core.sleep(0)
        finally:
            settrace(before)
        assert greenlets[0] in switches
        assert not {*switches} & {*greenlets[1:]}
        hog.join()
        others[0].join()
        assert [job.ended for job in others] == [True, False, False] and len(lock._turns) == 2

    def test_a_recalled_waiter_can_be_killed(self) -> None:
        for moment in range(3):
            lock = locks.Lock()
            lock.acquire()
            victim, other = GREEN.start(lock.acquire), GREEN.start(lock.acquire)
            settle()
            for step in range(3):
                if step == moment:
                    task_of(victim).kill()
                if step == 0:
                    lock.release()
                elif step == 1:
                    assert (
                        lock.acquire()
                    )  # and the wake-up is recalled, unless the end is on its way
            settle()
            assert isinstance(victim.outcome[0][1], TaskExit) and not other.ended
            lock.release()
            assert other.join() is True
            assert not lock._turns

    def test_a_waiter_with_a_time_limit_is_not_recalled(self) -> None:
        lock = locks.Lock()
        lock.acquire()
        waiting = GREEN.start(lambda: lock.acquire(timeout=0.001))
        settle()
        for _ in range(50):
            lock.release()
            assert lock.acquire()
        assert waiting.join() is False

    def test_recalled_beside_a_sleep(self) -> None:
        """What is taken back is the wake-up of the lock, nothing else that the waiter waits for later."""
        lock = locks.Lock()
        lock.acquire()
        log: list[str] = []

        def work() -> None:
            with lock:
                log.append("had it")
            core.sleep(0)
            log.append("slept")

        job = GREEN.start(work)
        settle()
        lock.release()
        core.sleep(0)  # the waiter takes and releases the lock, and is ready again
        assert log == ["had it"]
        assert lock.acquire()
        job.join()
        assert log == ["had it", "slept"]

    def test_raw_greenlets_wait_and_own_for_the_thread_they_run_in(self) -> None:
        lock, owned = locks.Lock(), locks.RLock()
        lock.acquire()

        def raw() -> str:
            assert lock.acquire()
            with owned:
                assert owned._count == 2
            return "raw"

        def thread() -> Any:
            with owned:
                return greenlet(raw).switch()

        job = GREEN.start(thread)
        settle()
        assert not job.ended
        lock.release()
        assert job.join() == "raw"
        assert lock.locked() and not owned._count

    def test_finaliser_in_the_hub_waits(self) -> None:
        lock = locks.Lock()
        lock.acquire()
        log: list[str] = []

        class Finalised:
            def __del__(self) -> None:
                with lock:
                    log.append("had the lock")

        held = [Finalised()]
        core.get_hub().call_soon(held.clear)
        settle()
        assert log == []
        lock.release()
        settle()
        assert log == ["had the lock"]
        assert not lock.locked()


class TestGivingUp:
    """A killed or timed-out waiter leaves nothing behind and takes no wake-up with it."""

    @kinds
    def test_killed_at_every_moment(self, kind: str) -> None:
        def work(lock: Any) -> None:
            with lock:
                core.sleep(0)

        killed = 0
        for before in range(6):
            for after in range(6):
                for kill_first in (False, True):
                    lock = OURS[kind]()
                    lock.acquire()
                    victim = GREEN.start(work, lock)
                    other = GREEN.start(work, lock)
                    for _ in range(before):
                        core.sleep(0)
                    if kill_first:
                        task_of(victim).kill()
                        for _ in range(after):
                            core.sleep(0)
                        lock.release()
                    else:
                        lock.release()
                        for _ in range(after):
                            core.sleep(0)
                        task_of(victim).kill()
                    other.join()
                    task_of(victim).join(LONG)
                    killed += not victim.outcome or not victim.outcome[0][0]
                    assert lock.acquire(timeout=0)
                    assert not lock._turns
        assert 36 < killed < 72

    def test_starved_waiter_is_killed_after_the_hand_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "_PATIENCE", 0.0)
        lock = locks.Lock()
        lock.acquire()
        victim = GREEN.start(lock.acquire)
        settle()
        lock.release()
        assert lock.acquire(False)  # a newcomer: the victim loses once
        settle()
        other = GREEN.start(lock.acquire)
        settle()
        task_of(victim).kill()
        lock.release()  # handed over to the victim, whose end is on its way
        assert not lock.acquire(False)
        settle()
        assert isinstance(victim.outcome[0][1], TaskExit)
        assert other.join() is True
        assert not lock._turns

    @kinds
    def test_timeouts_of_both_kinds(self, kind: str) -> None:
        lock = OURS[kind]()
        lock.acquire()

        def own() -> Any:
            return lock.acquire(timeout=0.002)

        def around() -> Any:
            with Timeout(0.002, False):
                return lock.acquire()
            return "timed out"

        jobs = [GREEN.start(own), GREEN.start(around), GREEN.start(own)]
        assert [job.join() for job in jobs] == [False, "timed out", False]
        assert not lock._turns
        lock.release()
        assert lock.acquire(timeout=0)

    def test_time_is_up_at_the_moment_of_the_release(self) -> None:
        for _ in range(50):
            lock = locks.Lock()
            lock.acquire()
            job = GREEN.start(lambda lock=lock: lock.acquire(timeout=0.0005))
            settle()
            end = time.monotonic() + 0.0005
            while time.monotonic() < end:
                pass
            lock.release()
            assert job.join() is lock.locked()
            assert not lock._turns

    def test_acquire_restore_is_not_interrupted(self) -> None:
        lock = locks.RLock()
        log: list[str] = []

        def work() -> None:
            lock.acquire()
            state = lock._release_save()
            try:
                core.sleep(0)
                lock._acquire_restore(state)
            finally:
                log.append("owned" if lock._is_owned() else "not owned")

        job = GREEN.start(work)
        core.sleep(0)
        with lock:
            settle()
            task_of(job).kill()
            task_of(job).kill(KeyError)
            settle()
            assert log == []
        with pytest.raises(TaskExit):
            job.join()
        assert log == ["owned"]


def test_arguments_of_a_re_entrant_lock_and_of_subclasses() -> None:
    """Up to CPython 3.14 any are taken, then those of a subclass's own `__init__` only, as natively."""

    def told(base: Any) -> list[str]:
        class Plain(base):  # type: ignore[misc]
            pass

        class Own(base):  # type: ignore[misc]
            def __init__(self, value: int, *, other: int) -> None:
                super().__init__()

        calls: list[Callable[[], Any]] = [
            lambda: base(),
            lambda: base(1),
            lambda: base(a=1),
            lambda: Plain(1),
            lambda: Own(1, other=2).acquire(),
            lambda: Own(),
        ]
        found = []
        for call in calls:
            try:
                call()
            except TypeError:
                found.append("refused")
            else:
                found.append("taken")
        return found

    with warnings.catch_warnings():
        # What CPython 3.14 says of arguments.
        warnings.simplefilter("ignore", DeprecationWarning)
        assert told(locks.RLock) == told(_thread.RLock)
