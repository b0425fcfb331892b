"""Lock and RLock against a simple model: an owner, and a line of those who wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greenify.errors import TaskExit
from greenify.event import Event
from greenify.locks import Lock, RLock
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.model.threads import LONG, settle


class Visitor:
    """A task that takes the lock, perhaps several times, and gives it back when it is told to."""

    def __init__(self, machine: LockMachine, depth: int, seconds: float | None) -> None:
        self.machine = machine
        self.depth = depth
        self.seconds = seconds
        self.go = Event()
        self.inside = False
        self.outcome = ""
        self.task: Task[None] = spawn(self.run)

    def run(self) -> None:
        lock = self.machine.lock
        try:
            if self.seconds is None:
                taken = lock.acquire()
            else:
                taken = lock.acquire(timeout=self.seconds)
            if not taken:
                self.outcome = "late"
                return
            try:
                assert not self.machine.anybody_inside()
                self.inside = True
                for _ in range(self.depth):
                    assert lock.acquire()
                self.go.wait()
                for _ in range(self.depth):
                    lock.release()
            finally:
                self.inside = False
                if self.outcome == "killed inside" and isinstance(lock, RLock):
                    while lock._recursion_count() > 1:
                        lock.release()
                lock.release()
            self.outcome = "done"
        except TaskExit:
            self.outcome = self.outcome or "killed"


class LockMachine(RuleBasedStateMachine):
    """Who holds the lock, and who comes next: first come, first served, as long as nobody barges in."""

    make: Any = Lock
    depths = 0

    def __init__(self) -> None:
        super().__init__()
        self.lock = self.make()
        self.owner: Visitor | None = None
        self.line: list[Visitor] = []
        self.mine = False

    def anybody_inside(self) -> bool:
        return any(
            visitor.inside for visitor in [*self.line, *([self.owner] if self.owner else [])]
        )

    def _next(self) -> None:
        self.owner = self.line.pop(0) if self.line and not self.mine else None

    def _come(self, depth: int, seconds: float | None = None) -> None:
        visitor = Visitor(self, depth, seconds)
        self.line.append(visitor)
        if self.owner is None:
            self._next()
        settle()

    @rule(many=st.integers(1, 3), data=st.data())
    def acquire(self, many: int, data: Any) -> None:
        for _ in range(many):
            self._come(data.draw(st.integers(0, self.depths)))

    @precondition(lambda self: self.owner or self.mine)
    @rule()
    def acquire_in_vain(self) -> None:
        """A visitor whose time is up before the lock is free."""
        visitor = Visitor(self, 0, 0.0005)
        assert visitor.task.join(LONG)
        assert visitor.outcome == "late"

    @precondition(lambda self: self.owner)
    @rule()
    def release(self) -> None:
        owner = self.owner
        assert owner is not None
        owner.go.set()
        assert owner.task.join(LONG)
        assert owner.outcome == "done"
        self._next()
        settle()

    @precondition(lambda self: self.owner)
    @rule()
    def release_and_kill_the_next(self) -> None:
        """Whoever is killed when the lock was given to it passes it on."""
        owner = self.owner
        assert owner is not None
        victim = self.line.pop(0) if self.line else None
        owner.go.set()
        if victim is not None:
            victim.task.kill()
        self._next()
        settle()
        assert owner.outcome == "done"
        if victim is not None:
            assert victim.task.join(LONG)
            # It may have had the lock for a moment.
            assert not victim.inside and victim.outcome == "killed"

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def kill_one_that_waits(self, data: Any) -> None:
        victim = data.draw(st.sampled_from(self.line))
        self.line.remove(victim)
        victim.task.kill()
        assert victim.task.join(LONG)
        assert victim.outcome == "killed"

    @precondition(lambda self: self.owner)
    @rule()
    def kill_the_owner(self) -> None:
        owner = self.owner
        assert owner is not None
        owner.outcome = "killed inside"
        owner.task.kill()
        assert owner.task.join(LONG)
        self._next()
        settle()

    @rule()
    def try_to_acquire(self) -> None:
        if self.mine:
            self.mine = False
            self.lock.release()
            self._next()
            settle()
        else:
            taken = self.lock.acquire(False)
            assert taken is (self.owner is None)
            self.mine = taken

    @precondition(lambda self: self.owner)
    @rule()
    def interrupted_while_it_waits(self) -> None:
        with pytest.raises(Timeout), Timeout(0.0005):
            self.lock.acquire()

    @invariant()
    def as_the_model_says(self) -> None:
        if self.owner is not None:
            assert self.owner.inside
        assert not any(visitor.inside for visitor in self.line)
        assert len(self.lock._turns) == len(self.line)
        assert (not self.lock._box) is (self.owner is not None or self.mine)

    def teardown(self) -> None:
        if self.mine:
            self.lock.release()
            self.mine = False
            self._next()
            settle()
        while self.owner is not None:
            self.release()
        assert not self.lock._turns and self.lock._box


class RLockMachine(LockMachine):
    make = RLock
    depths = 3


LockMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
RLockMachine.TestCase.settings = LockMachine.TestCase.settings
TestLockMachine = LockMachine.TestCase
TestRLockMachine = RLockMachine.TestCase
