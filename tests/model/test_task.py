"""Tasks: results, errors, joining, killing, and what is left of them."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from typing import Any

import pytest
from greenlet import GreenletExit, greenlet

from greenify import core, identity
from greenify.errors import HubError, TaskExit
from greenify.event import Event
from greenify.task import Task, current, spawn, task
from tests.model.threads import LONG, settle


class TestResults:
    def test_result(self) -> None:
        done = spawn(lambda x, y=0: x + y, 1, y=2)
        assert done.alive
        assert done.join(LONG) is True
        assert not done.alive
        assert done.result == 3 and done.exception is None

    def test_error(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise KeyError("missing")

        failed = spawn(fail)
        with caplog.at_level(logging.ERROR, "greenify"):
            assert failed.join(LONG)
        assert isinstance(failed.exception, KeyError)
        with pytest.raises(KeyError, match="missing"):
            failed.result  # noqa: B018
        assert len(caplog.records) == 1
        text = caplog.records[0].getMessage()
        assert failed.name in text and "test_task.py" in text and "raise KeyError" in text
        assert "greenify/task.py" not in text

    def test_no_result_yet(self) -> None:
        running = spawn(core.sleep, 0.001)
        with pytest.raises(HubError, match="join it first"):
            running.result  # noqa: B018
        assert running.join(LONG)

    def test_subclass(self) -> None:
        class Mine(Task[int]):
            def run(self) -> int:
                return 7

        mine = Mine(name="mine")
        assert repr(mine) == "<Mine 'mine' not started>"
        mine.start()
        assert repr(mine) == "<Mine 'mine' running>"
        assert mine.join(LONG) and mine.result == 7
        assert repr(mine) == "<Mine 'mine' finished>"
        with pytest.raises(HubError, match="has been started already"):
            mine.start()

    def test_decorator_and_current(self) -> None:
        @task
        def work(x: int) -> Any:
            return current(), greenlet(current).switch(), x

        started = work(1)
        assert started.join(LONG)
        assert started.result == (started, started, 1)
        assert current() is None
        assert work.__name__ == "work"

    def test_sleep_without_an_argument_lets_the_others_run(self) -> None:
        log: list[str] = []
        running = spawn(log.append, "the other one")
        core.sleep()
        assert log == ["the other one"]
        assert running.join(0)

    def test_arguments_are_let_go(self) -> None:
        class Large:
            pass

        large = Large()
        watched = weakref.ref(large)
        done = spawn(lambda x: None, large)
        del large
        assert done.join(LONG)
        assert watched() is None

    def test_ended_tasks_are_freed(self) -> None:
        watched = []
        before = set(core.get_hub().tasks)
        for _ in range(100):
            done = spawn(lambda: None)
            watched.append(weakref.ref(done))
            done.join(LONG)
        del done
        settle()
        gc.collect()
        assert [reference() for reference in watched] == [None] * 100
        assert core.get_hub().tasks <= before


class TestJoin:
    def test_time_limit(self) -> None:
        go_on = Event()
        waiting = spawn(go_on.wait)
        start = time.monotonic()
        assert waiting.join(0.002) is False
        assert time.monotonic() - start >= 0.002
        assert waiting.join(0) is False
        go_on.set()
        assert waiting.join() is True
        assert waiting.join(0) is True

    def test_by_many(self) -> None:
        go_on = Event()
        waiting = spawn(go_on.wait)
        joiners = [spawn(waiting.join) for _ in range(50)]
        settle()
        go_on.set()
        for joiner in joiners:
            assert joiner.join(LONG) and joiner.result is True

    def test_from_another_thread(self) -> None:
        go_on = Event()
        waiting = spawn(go_on.wait)
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append((go_on.set(), waiting.join(LONG))))
        thread.start()
        assert waiting.join(LONG)
        thread.join()
        assert seen == [(None, True)]

    def test_impossible(self) -> None:
        with pytest.raises(HubError, match="before it is started"):
            Task(print).join()
        with pytest.raises(HubError, match="before it is started"):
            Task(print).kill()
        mine: list[Task[Any]] = []
        mine.append(spawn(lambda: mine[0].join()))
        assert mine[0].join(LONG)
        assert isinstance(mine[0].exception, HubError)


class TestKill:
    def test_where_it_waits(self) -> None:
        cleaned = []

        def work() -> None:
            try:
                core.sleep(LONG)
            finally:
                cleaned.append(True)

        victim = spawn(work)
        settle()
        victim.kill()
        assert victim.alive
        assert victim.join(LONG)
        assert cleaned == [True]
        assert isinstance(victim.exception, TaskExit)

    def test_before_it_began(self) -> None:
        called = []
        victim = spawn(called.append, 1)
        victim.kill()
        assert victim.join(LONG)
        assert called == [] and isinstance(victim.exception, TaskExit)

    def test_with_an_exception(self) -> None:
        for how in (GreenletExit, GreenletExit("now")):
            victim = spawn(core.sleep, LONG)
            settle()
            victim.kill(how)
            assert victim.join(LONG)
            assert isinstance(victim.exception, GreenletExit)

    def test_itself(self) -> None:
        mine: list[Task[Any]] = []
        mine.append(spawn(lambda: mine[0].kill()))
        assert mine[0].join(LONG)
        assert isinstance(mine[0].exception, TaskExit)

    def test_ended(self) -> None:
        done = spawn(lambda: 1)
        done.join(LONG)
        done.kill()
        settle()
        assert done.result == 1

    def test_twice_while_it_cleans_up(self) -> None:
        log = []

        def work() -> None:
            try:
                core.sleep(LONG)
            finally:
                try:
                    core.sleep(LONG)
                finally:
                    log.append("cleaned up")

        victim = spawn(work)
        settle()
        victim.kill()
        settle()
        victim.kill(KeyError("second"))
        assert victim.join(LONG)
        assert log == ["cleaned up"] and isinstance(victim.exception, KeyError)

    def test_it_may_refuse(self) -> None:
        def work() -> str:
            try:
                core.sleep(LONG)
            except TaskExit:
                return "still here"
            return "not killed"

        victim = spawn(work)
        settle()
        victim.kill()
        assert victim.join(LONG) and victim.result == "still here"

    def test_from_another_thread(self) -> None:
        victim = spawn(core.sleep, LONG)
        settle()
        thread = threading.Thread(target=victim.kill)
        thread.start()
        assert victim.join(LONG)
        thread.join()
        assert isinstance(victim.exception, TaskExit)

    def test_while_its_error_is_reported(self) -> None:
        # A log handler that waits: what arrives then must not reach the hub.
        event = Event()

        class Handler(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                return event.wait(LONG)

        logger = logging.getLogger("greenify")
        handler = Handler()
        logger.addHandler(handler)
        try:
            victim = spawn(lambda: 1 // 0)
            settle()
            assert victim.alive
            victim.kill()
            assert victim.join(LONG)
        finally:
            logger.removeHandler(handler)
        assert isinstance(victim.exception, ZeroDivisionError)
        core.sleep(0.001)  # the hub lives

    def test_its_error_cannot_be_reported(self, capfd: pytest.CaptureFixture[str]) -> None:
        class Handler(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                raise RuntimeError("broken log")

        logger = logging.getLogger("greenify")
        handler = Handler()
        logger.addHandler(handler)
        try:
            failed = spawn(lambda: 1 // 0)
            assert failed.join(LONG)
        finally:
            logger.removeHandler(handler)
        assert isinstance(failed.exception, ZeroDivisionError)
        printed = capfd.readouterr().err
        assert f"error at the end of <Task '{failed.name}'" in printed
        assert "RuntimeError: broken log" in printed

    def test_ten_thousand(self) -> None:
        hub = core.get_hub()
        before = hub.timers.pending(), set(hub.tasks)
        victims = [spawn(core.sleep, LONG) for _ in range(10_000)]
        settle()
        for victim in victims:
            victim.kill()
        for victim in victims:
            assert victim.join(LONG)
        assert hub.timers.pending() <= before[0]
        assert hub.tasks <= before[1]


class TestIdentity:
    def test_idents_differ_and_are_of_the_thread(self) -> None:
        def work() -> Any:
            return identity.get_ident(), greenlet(identity.get_ident).switch()

        tasks = [spawn(work) for _ in range(20)]
        idents = set()
        for each in tasks:
            each.join(LONG)
            mine, raw = each.result or (0, 1)
            assert mine == raw
            idents.add(mine)
        idents.add(identity.get_ident())
        assert len(idents) == 21
        assert identity.get_ident() == threading.get_ident()

    def test_hub_counts_as_main_greenlet(self) -> None:
        seen: list[int] = []
        core.get_hub().call_soon(lambda: seen.append(identity.get_ident()))
        settle()
        assert seen == [threading.get_ident()]

    def test_native_threads_keep_theirs(self) -> None:
        seen: list[Any] = []

        def work() -> None:
            seen.append((identity.get_ident(), threading.get_ident()))
            seen.append((greenlet(identity.get_ident).switch(), threading.get_ident()))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert [mine == native for mine, native in seen] == [True, True]
