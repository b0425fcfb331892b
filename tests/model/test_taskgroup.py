"""TaskGroup: children end before the block does, errors cancel siblings, cancellation goes through."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import pytest
from greenlet import GreenletExit

from greenify import core
from greenify.errors import HubError, TaskExit
from greenify.event import Event
from greenify.task import Task, current, spawn
from greenify.task_group import TaskGroup
from greenify.timeout import Timeout, with_timeout
from tests.model.threads import LONG, settle

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


def fail(error: BaseException, rounds: int = 0) -> None:
    for _ in range(rounds):
        core.sleep(0)
    raise error


class Endless:
    """Waits until it is killed, and says so."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def __call__(self, slow_end: int = 0) -> None:
        try:
            Event().wait(LONG)
            self.ended.append("on its own")
        except TaskExit:
            for _ in range(slow_end):
                core.sleep(0)
            self.ended.append("killed")
            raise


class TestJoining:
    def test_the_block_ends_last(self) -> None:
        log: list[int] = []

        def work(rounds: int) -> int:
            for _ in range(rounds):
                core.sleep(0)
            log.append(rounds)
            return rounds * 10

        with TaskGroup() as group:
            tasks = [group.spawn(work, rounds) for rounds in (5, 1, 3)]
            assert log == []
        assert log == [1, 3, 5]
        assert [task.result for task in tasks] == [50, 10, 30]
        assert repr(group).startswith("<TaskGroup closed, 0 tasks at ")

    def test_children_start_siblings(self) -> None:
        log: list[int] = []

        def tree(depth: int) -> None:
            log.append(depth)
            if depth:
                group.spawn(tree, depth - 1)
                group.spawn(tree, depth - 1)

        with TaskGroup() as group:
            group.spawn(tree, 4)
        assert len(log) == 31

    def test_a_task_object(self) -> None:
        class Mine(Task[str]):
            def run(self) -> str:
                assert current() is self
                return self.name

        with TaskGroup() as group:
            mine = Mine(name="mine")
            group.start(mine)
        assert mine.result == "mine"

    def test_empty_group(self) -> None:
        with TaskGroup():
            pass

    def test_a_thousand_children(self) -> None:
        with TaskGroup() as group:
            tasks = [group.spawn(core.sleep, 0) for _ in range(1000)]
        assert not any(task.alive for task in tasks)

    def test_a_child_on_another_os_thread(self) -> None:
        def work() -> int:
            core.sleep(0.001)
            return threading.get_ident()

        def other() -> None:
            made.append(group.spawn(work))
            started.set()
            made[0].join()

        made: list[Task[int]] = []
        started = Event()
        with TaskGroup() as group:
            thread = threading.Thread(target=other)
            thread.start()
            assert started.wait(LONG)
        assert made[0].result == thread.ident
        thread.join()


class TestErrors:
    def test_the_first_error_kills_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        endless = Endless()
        error = ValueError("mine")
        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
            siblings = [group.spawn(endless, slow_end=n) for n in range(3)]
            group.spawn(fail, error, 2)
        assert caught.value.exceptions == (error,)
        assert endless.ended == ["killed"] * 3
        assert not any(task.alive for task in siblings)
        # It has been raised: then it is not logged too.
        assert caplog.records == []

    def test_the_block_is_interrupted(self) -> None:
        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
            group.spawn(fail, KeyError("child"))
            Event().wait(LONG)
            pytest.fail("not interrupted")
        assert [str(error) for error in caught.value.exceptions] == ["'child'"]

    def test_an_error_in_the_block(self) -> None:
        endless = Endless()
        error = ValueError("the block's")
        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
            group.spawn(endless)
            settle()
            raise error
        assert caught.value.exceptions == (error,)
        assert endless.ended == ["killed"]

    def test_every_error_is_there(self) -> None:
        def late() -> None:
            try:
                Event().wait(LONG)
            finally:
                raise OSError("at the end")

        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
            group.spawn(late)
            settle()
            group.spawn(fail, KeyError())
            core.sleep(LONG)
        assert [type(error) for error in caught.value.exceptions] == [KeyError, OSError]

    def test_an_error_that_is_no_exception(self) -> None:
        with pytest.raises(BaseExceptionGroup) as caught, TaskGroup() as group:
            group.spawn(fail, SystemExit(3))
        assert not isinstance(caught.value, ExceptionGroup)
        assert [type(error) for error in caught.value.exceptions] == [SystemExit]

    def test_a_child_that_was_never_run(self) -> None:
        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
            group.spawn(fail, KeyError())
            never = group.spawn(pytest.fail, "killed before it began")
        assert len(caught.value.exceptions) == 1
        assert isinstance(never.exception, TaskExit)

    def test_a_killed_child_has_not_failed(self) -> None:
        log: list[str] = []
        with TaskGroup() as group:
            victim = group.spawn(Endless())
            group.spawn(lambda: (settle(), log.append("went on")))
            settle(2)
            victim.kill()
        assert log == ["went on"]

    def test_a_child_that_will_not_die_is_waited_for(self) -> None:
        log: list[str] = []

        def stubborn() -> None:
            try:
                Event().wait(LONG)
            except TaskExit:
                settle()
                log.append("survived")

        with pytest.raises(ExceptionGroup), TaskGroup() as group:
            group.spawn(stubborn)
            settle()
            group.spawn(fail, KeyError())
        assert log == ["survived"]

    def test_nested(self) -> None:
        inner_children, outer_children = Endless(), Endless()
        with pytest.raises(ExceptionGroup) as caught, TaskGroup() as outer:
            outer.spawn(outer_children)
            with TaskGroup() as inner:
                inner.spawn(inner_children)
                settle()
                outer.spawn(fail, KeyError())
        # The outer group's interruption passed through the inner one, as itself.
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert inner_children.ended == outer_children.ended == ["killed"]

        with pytest.raises(ExceptionGroup) as caught, TaskGroup(), TaskGroup() as inner:
            inner.spawn(fail, KeyError())
        assert isinstance(caught.value.exceptions[0], ExceptionGroup)


class TestCancellation:
    def test_cancel(self) -> None:
        endless = Endless()
        with TaskGroup() as group:
            group.spawn(endless)
            group.spawn(lambda: (settle(), group.cancel()))
            Event().wait(LONG)
            pytest.fail("not interrupted")
        assert endless.ended == ["killed"]
        group.cancel()

    def test_cancel_by_the_block_itself(self) -> None:
        endless = Endless()
        with TaskGroup() as group:
            group.spawn(endless)
            settle()
            group.cancel()
            settle()  # goes on to its end
            with pytest.raises(HubError, match="takes no task now"):
                group.spawn(endless)
        assert endless.ended == ["killed"]

    def test_cancel_from_another_os_thread(self) -> None:
        endless = Endless()
        with TaskGroup() as group:
            group.spawn(endless)
            settle()
            thread = threading.Thread(target=group.cancel)
            thread.start()
            Event().wait(LONG)
            pytest.fail("not interrupted")
        thread.join()
        assert endless.ended == ["killed"]

    @pytest.mark.parametrize("joining", [False, True])
    def test_a_timeout_comes_through_as_itself(self, joining: bool) -> None:
        endless = Endless()

        def work() -> str:
            with Timeout(0.005) as outer:
                try:
                    with TaskGroup() as group:
                        group.spawn(endless, slow_end=3)
                        if not joining:
                            core.sleep(LONG)
                except Timeout as exc:
                    assert exc is outer
                    return "timed out"
            return "not timed out"

        assert work() == "timed out"
        assert endless.ended == ["killed"]

    @pytest.mark.parametrize("exception", [TaskExit, GreenletExit])
    @pytest.mark.parametrize("joining", [False, True])
    def test_killing_the_owner_kills_the_children(
        self, joining: bool, exception: type[BaseException]
    ) -> None:
        endless = Endless()

        def work() -> None:
            with TaskGroup() as group:
                group.spawn(endless)
                if not joining:
                    core.sleep(LONG)

        owner = spawn(work)
        settle()
        owner.kill(exception)
        owner.kill(exception)
        assert owner.join(LONG)
        assert isinstance(owner.exception, exception)
        assert endless.ended == ["killed"]

    def test_errors_of_a_group_that_is_cancelled_are_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def late() -> None:
            try:
                Event().wait(LONG)
            finally:
                raise OSError("at the end")

        with (
            caplog.at_level(logging.ERROR, "greenify"),
            pytest.raises(KeyboardInterrupt),
            TaskGroup() as group,
        ):
            group.spawn(late)
            settle()
            raise KeyboardInterrupt
        assert len(caplog.records) == 1
        message = caplog.records[0].getMessage()
        assert "OSError: at the end" in message and f"started at {__file__}" in message

    def test_the_interruption_comes_too_late(self) -> None:
        """A block that has ended meanwhile is not hit by it, nor is what comes after the block."""
        for rounds in range(6):
            with pytest.raises(ExceptionGroup), TaskGroup() as group:
                group.spawn(fail, KeyError(), 2)
                for _ in range(rounds):
                    core.sleep(0)
            settle()


class TestMisuse:
    def test_not_entered(self) -> None:
        with pytest.raises(HubError, match="takes no task now"):
            TaskGroup().spawn(print)

    def test_entered_twice(self) -> None:
        group = TaskGroup()
        with group:
            pass
        with pytest.raises(HubError, match="entered already"):
            group.__enter__()
        with pytest.raises(HubError, match="takes no task now"):
            group.spawn(print)

    def test_a_task_that_runs_already(self) -> None:
        with TaskGroup() as group:
            task = spawn(settle)
            with pytest.raises(HubError, match="started already"):
                group.start(task)
        assert task.join(LONG)


class TestTimeouts:
    """What groups rely on."""

    def test_nested_the_outer_one_first(self) -> None:
        with pytest.raises(Timeout) as caught, Timeout(0.002) as outer, Timeout(LONG) as inner:
            core.sleep(LONG)
        assert caught.value is outer
        assert not inner.pending

    def test_nested_the_inner_one_first(self) -> None:
        with Timeout(LONG) as outer:
            with Timeout(0.002, False):
                core.sleep(LONG)
            assert outer.pending
        assert not outer.pending

    def test_both_at_once(self) -> None:
        """Only one of them arrives: the other is cancelled on the way out."""
        for order in (False, True):
            log: list[Any] = []
            outer, inner = Timeout(0.001), Timeout(0.001)
            with pytest.raises(Timeout):
                for timeout in (inner, outer) if order else (outer, inner):
                    timeout.start()
                try:
                    core.sleep(LONG)
                finally:
                    inner.cancel()
                    outer.cancel()
                    log.append("out")
            settle()
            assert log == ["out"]

    def test_silent_outside_does_not_silence_inside(self) -> None:
        with pytest.raises(Timeout) as caught, Timeout(LONG, False), Timeout(0.002) as inner:
            core.sleep(LONG)
        assert caught.value is inner

    def test_never(self) -> None:
        with Timeout(None) as timeout:
            core.sleep(0.001)
            assert not timeout.pending

    @pytest.mark.parametrize("exception", [KeyError, KeyError("mine")])
    def test_another_exception(self, exception: Any) -> None:
        with pytest.raises(KeyError), Timeout(0.001, exception):
            core.sleep(LONG)

    def test_with_timeout(self) -> None:
        assert with_timeout(LONG, max, 1, 2) == 2
        assert with_timeout(0.001, core.sleep, LONG, timeout_value="late") == "late"
        with pytest.raises(Timeout):
            with_timeout(0.001, core.sleep, LONG)
        # A time-out of somebody else's goes through.
        with pytest.raises(Timeout) as caught, Timeout(0.001) as outer:
            with_timeout(LONG, core.sleep, LONG, timeout_value="late")
        assert caught.value is outer
