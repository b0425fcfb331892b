"""The pool by itself, called as a worker of celery calls it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.integrations.celery.alone import run
from tests.support import run_python

pytestmark = pytest.mark.skipif(
    find_spec("celery") is None, reason="needs celery: pip install 'greenify[celery]'"
)


class TestPatch:
    def test_to_import_the_module_patches_nothing(self) -> None:
        result = run_python(
            """
            import greenify, greenify.integrations.celery as module
            from greenify.integrations.celery import *
            print(greenify.changes(), "TaskPool" in globals())
            module.TaskPool
            print(greenify.is_patched("thread"))
            try:
                module.Pool
            except AttributeError as exc:
                print(exc)
            """,
            greenify=False,
            check=True,
        )
        assert result.stdout.splitlines() == [
            "() False",
            "True",
            "module 'greenify.integrations.celery' has no attribute 'Pool'",
        ]

    def test_what_was_late_is_said_when_the_pool_starts(self) -> None:
        result = run_python(
            """
            import logging, sys, time
            from time import sleep
            pauses = map(time.sleep, [1])  # only C code holds this one
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
            from greenify.integrations.celery import TaskPool
            pool = TaskPool(1)
            pool.start()
            pool.start()
            """,
            greenify=False,
            check=True,
        )
        adapted, native = result.stdout.splitlines()
        assert "patched when celery loaded the pool" in adapted
        assert "time.sleep, inside <builtins.map" in native
        assert "python -m greenify -m celery" in native

    def test_a_patched_process_is_in_time(self) -> None:
        result = run_python(
            """
            import logging, sys
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
            from greenify.integrations.celery import TaskPool
            TaskPool(1).start()
            """,
            check=True,
        )
        assert result.stdout == ""


class TestPlaces:
    def test_so_many_run_and_the_others_wait(self) -> None:
        lines, _ = run(
            """
            pool = started(3)
            gate = threading.Event()
            for number in range(5):
                begin(pool, gate.wait, name=number)
            until("accepted", 2)
            print([what[1] for what in told], pool.info["running"], pool.info["waiting"])
            gate.set()
            until("accepted", 4)
            pool.stop()
            print(pool.info["running"], told.count(("returned", True)))
            """
        )
        assert lines == ["[0, 1, 2] 3 2", "0 5"]

    def test_to_take_one_never_waits_and_growing_lets_it_run(self) -> None:
        lines, _ = run(
            """
            pool = started(0)
            begin(pool, str, name="a")
            print(told, pool.num_processes)
            pool.grow()
            until("returned", "")
            gate = threading.Event()
            pool.grow()
            begin(pool, gate.wait, name="b"); begin(pool, gate.wait, name="c")
            until("accepted", "c")
            pool.shrink(1)
            begin(pool, gate.wait, name="d")
            print(pool.num_processes, pool.info["running"], pool.info["waiting"])
            pool.shrink(5)
            print(pool.num_processes)
            """
        )
        assert lines == ["[] 0", "1 2 1", "0"]

    def test_a_lost_connection_forgets_what_waits(self) -> None:
        lines, _ = run(
            """
            pool = started(1)
            gate = threading.Event()
            begin(pool, gate.wait, name="a"); begin(pool, gate.wait, name="b")
            until("accepted", "a")
            pool.flush()
            gate.set()
            until("returned", True)
            pool.stop()
            print(told)
            """
        )
        assert lines == ["[('accepted', 'a'), ('returned', True)]"]

    def test_what_is_revoked_while_it_waits_does_not_run(self) -> None:
        lines, _ = run(
            """
            class Request:
                name, id, gone = "task", "1", False
                def revoked(self):
                    tell("asked")
                    return self.gone
                def accept(self, pid, when):
                    tell("accepted")
            pool = started(1)
            gate = threading.Event()
            request = Request()
            begin(pool, gate.wait, name="a")
            job = pool.apply_async(print, ("it has run",), accept_callback=request.accept)
            request.gone = True
            gate.set()
            until("asked")
            pool.stop()
            print(job, ("accepted",) in told)
            """
        )
        assert lines == ["task[1] False"]

    def test_all_timers_of_celerys_loop_that_are_due_are_fired(self) -> None:
        lines, _ = run(
            """
            from kombu.asynchronous import Hub
            hub, fired = Hub(), []
            pool = started(1)
            pool.register_with_event_loop(hub)
            for number in range(25):
                hub.call_later(0, fired.append, number)
            hub.call_later(100, fired.append, "later")
            delay = hub.fire_timers()
            # How long it may sleep: two seconds at most, one if it did not know.
            print(sorted(fired) == list(range(25)), delay)
            fired.clear()
            for number in range(25):
                hub.call_later(0, fired.append, number)
            next(hub.create_loop())
            print(sorted(fired) == list(range(25)))
            hub.close()
            """
        )
        assert lines == ["True 2.0", "True"]

    @pytest.mark.parametrize(
        "option, setting",
        [
            ("maxtasksperchild", "--max-tasks-per-child"),
            ("max_memory_per_child", "--max-memory-per-child"),
        ],
    )
    def test_what_asks_for_processes_is_refused(self, option: str, setting: str) -> None:
        lines, _ = run(
            f"""
            from celery.exceptions import ImproperlyConfigured
            try:
                TaskPool(1, {option}=1000)
            except ImproperlyConfigured as exc:
                print(exc)
            """
        )
        assert lines[0].startswith(setting)


class TestEnds:
    def test_terminate_ends_one_where_it_waits(self) -> None:
        lines, _ = run(
            """
            pool = started(2)
            def task():
                try:
                    threading.Event().wait()
                finally:
                    tell("tidied up")
            job = begin(pool, task, name="a")
            until("accepted", "a")
            pool.terminate_job(job.pid, 15)
            job.terminate(15)
            pool.terminate_job(99, 15)
            pool.stop()
            print(told)
            """
        )
        # celery's request has said the rest to the broker.
        assert lines == ["[('accepted', 'a'), ('tidied up',)]"]

    def test_one_that_is_ended_when_it_is_accepted_does_not_run(self) -> None:
        lines, _ = run(
            """
            pool = started(1)
            pool.apply_async(
                print, ("it has run",), accept_callback=lambda pid, when: pool.terminate_job(pid, 15)
            )
            pool.stop()
            """
        )
        assert lines == []

    def test_one_that_ends_itself_is_a_failure(self) -> None:
        lines, _ = run(
            """
            import sys
            pool = started(1)
            begin(pool, sys.exit, 3)
            until("failed", "SystemExit")
            """
        )
        assert lines == []

    def test_an_error_of_the_worker_is_logged(self) -> None:
        lines, _ = run(
            """
            import logging, sys
            logging.basicConfig(stream=sys.stdout)
            pool = started(1)
            def callback(result): raise OSError("the broker is gone")
            pool.apply_async(str, (), callback=callback)
            begin(pool, str)
            until("returned", "")
            """
        )
        assert "job 1: the worker's callback has failed" in lines[0]
        assert lines[-1] == "OSError: the broker is gone"

    def test_a_cold_end_does_not_wait_for_what_waits(self) -> None:
        lines, _ = run(
            """
            pool = started(100)
            for number in range(100):
                begin(pool, threading.Event().wait, name=number)
            until("accepted", 99)
            pool.close()
            pool.terminate()
            print(pool.info["running"])
            begin(pool, print, "it has run")
            """
        )
        assert lines == ["0"]
