"""Executors and futures of greenify in a process that is not patched: nobody who waits blocks the others."""

from __future__ import annotations

import concurrent.futures as native
import threading
from collections.abc import Callable
from typing import Any

import pytest

from greenify import core
from greenify.errors import TaskExit
from greenify.event import Event
from greenify.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
    NativeThreadPoolExecutor,
    TaskPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from greenify.task import current, spawn
from greenify.timeout import Timeout
from tests.model.threads import LONG, settle
from tests.support import run_python

pools = pytest.mark.parametrize("make", [TaskPoolExecutor, ThreadPoolExecutor])


def fail(error: BaseException) -> None:
    raise error


class Ticker:
    """A task that counts how often it runs, to show that a wait lets others run."""

    def __enter__(self) -> Ticker:
        self.ticks = 0
        self._gates: list[tuple[int, threading.Event]] = []
        self._task = spawn(self._tick)
        return self

    def _tick(self) -> None:
        while True:
            core.sleep(0.0005)
            self.ticks += 1
            for gate in self._gates[:]:
                if gate[0] <= self.ticks:
                    self._gates.remove(gate)
                    gate[1].set()

    def blocking(self) -> Callable[[], bool]:
        """A function for a native thread: it blocks until the task has run some times more."""
        gate = threading.Event()
        self._gates.append((self.ticks + 4, gate))
        return lambda: gate.wait(LONG)

    def __exit__(self, *exc_info: object) -> None:
        self._task.kill()
        assert self._task.join(LONG)


def waiters(future: native.Future[Any]) -> int:
    """How many wait for a future, or want to be called."""
    inner: Any = future
    return len(inner._condition._waiters) + len(inner._done_callbacks)


class TestExecutors:
    @pools
    def test_results_and_errors(self, make: Callable[[int], Any]) -> None:
        with make(3) as pool:
            futures = [pool.submit(pow, number, 2) for number in range(10)]
            failing = pool.submit(fail, KeyError("mine"))
            assert [future.result(LONG) for future in futures] == [n**2 for n in range(10)]
            with pytest.raises(KeyError, match="mine"):
                failing.result(LONG)
            assert isinstance(failing.exception(), KeyError)
            assert all(isinstance(future, native.Future) for future in futures)
            assert all(isinstance(future, Future) for future in futures)
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(print)

    @pools
    def test_map(self, make: Callable[[int], Any]) -> None:
        with make(2) as pool:
            assert list(pool.map(pow, range(20), [2] * 20)) == [n**2 for n in range(20)]

    def test_waiting_for_threads_lets_tasks_run(self) -> None:
        with Ticker() as ticker, ThreadPoolExecutor(2) as pool:
            assert pool.submit(ticker.blocking()).result(LONG)
            (done,) = wait([pool.submit(ticker.blocking())]).done
            assert done.result()
            (done,) = as_completed([pool.submit(ticker.blocking())])
            assert done.result()
            future = pool.submit(ticker.blocking())
            pool.shutdown()
            assert future.done() and future.result()

    def test_tasks_run_at_the_same_time_up_to_the_limit(self) -> None:
        running: list[int] = []
        most: list[int] = []

        def work(number: int) -> Any:
            running.append(number)
            most.append(len(running))
            core.sleep(0)
            running.remove(number)
            return current()

        with TaskPoolExecutor(4) as pool:
            tasks = set(pool.map(work, range(20)))
        assert max(most) == 4 and len(tasks) == 4

    def test_threads_are_native(self) -> None:
        started = threading.Barrier(3)
        with NativeThreadPoolExecutor(3) as pool:
            idents = set(
                pool.map(lambda _: (started.wait(LONG), threading.get_ident())[1], range(3))
            )
        assert len(idents) == 3 and threading.get_ident() not in idents

    def test_names_and_initializer(self) -> None:
        made: list[tuple[str, int]] = []
        local = threading.local()

        def begin(value: int) -> None:
            local.value = value
            made.append((threading.current_thread().name, value))

        with ThreadPoolExecutor(1, "mine", begin, (7,)) as pool:
            assert [pool.submit(lambda: local.value).result(LONG) for _ in range(3)] == [7] * 3
        assert made == [("mine_0", 7)]

    def test_a_failing_initializer(self, caplog: pytest.LogCaptureFixture) -> None:
        with ThreadPoolExecutor(1, initializer=fail, initargs=(KeyError("mine"),)) as pool:
            for _ in range(2):
                with pytest.raises(native.thread.BrokenThreadPool):
                    pool.submit(print).result(LONG)
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]

    @pools
    def test_wrong_size(self, make: Callable[[int], Any]) -> None:
        with pytest.raises(ValueError, match="must be greater than 0"):
            make(0)

    @pools
    def test_cancel(self, make: Callable[[int], Any]) -> None:
        release = Event()
        pool = make(1)
        first = pool.submit(release.wait, LONG)
        others = [pool.submit(pytest.fail, "never to be called") for _ in range(3)]
        while not first.running():
            core.sleep(0.0005)
        assert others[0].cancel() and not first.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in others)
        release.set()
        assert first.result(LONG) is True
        pool.shutdown()

    def test_submitted_from_other_os_threads(self) -> None:
        with TaskPoolExecutor(3) as pool:
            results: list[Any] = []

            def submit() -> None:
                futures = [pool.submit(lambda: (core.sleep(0), current())[1]) for _ in range(20)]
                results.extend(future.result(LONG) for future in futures)

            threads = [threading.Thread(target=submit) for _ in range(3)]
            for thread in threads:
                thread.start()
            with ThreadPoolExecutor(1) as joiner:
                for thread in threads:
                    joiner.submit(thread.join, LONG).result(LONG)
        assert len(results) == 60 and None not in results

    def test_a_killed_worker_is_replaced(self) -> None:
        with TaskPoolExecutor(1) as pool:
            killed = pool.submit(lambda: fail(TaskExit()))
            after = pool.submit(pow, 2, 3)
            assert isinstance(killed.exception(LONG), TaskExit)
            assert after.result(LONG) == 8

    def test_time_slices(self) -> None:
        """In a patched process a call that computes does not keep the others from running."""
        run_python(
            """
            import threading, time
            from greenify import TaskPoolExecutor
            release = threading.Event()
            threading.Thread(target=release.wait).start()  # slices are for programs with threads
            done = []
            def compute():
                while not done:
                    pass
                return "computed"
            with TaskPoolExecutor(2) as pool:
                computing = pool.submit(compute)
                pool.submit(done.append, 1)
                assert computing.result(30) == "computed"
            release.set()
            """,
            check=True,
        )

    def test_fork(self) -> None:
        run_python(
            """
            import os
            from greenify import TaskPoolExecutor, ThreadPoolExecutor, Event
            tasks, threads = TaskPoolExecutor(1), ThreadPoolExecutor(1)
            assert tasks.submit(pow, 2, 2).result() == threads.submit(pow, 2, 2).result() == 4
            tasks.submit(Event().wait)
            pid = os.fork()
            if not pid:
                ok = tasks.submit(pow, 3, 2).result(20) == threads.submit(pow, 3, 2).result(20) == 9
                os._exit(3 if ok else 4)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
            os._exit(0)
            """,
            greenify=False,
            # Others' threads at a fork are what CPython 3.12 warns of.
            options=["-W", "ignore::DeprecationWarning"],
            check=True,
        )


class TestWait:
    def futures(self, number: int = 3) -> list[Future[Any]]:
        return [Future() for _ in range(number)]

    def test_first_completed(self) -> None:
        a, b, c = self.futures()
        task = spawn(wait, [a, b, c], None, FIRST_COMPLETED)
        settle()
        b.set_result(1)
        assert task.join(LONG)
        assert task.result == ({b}, {a, c})
        assert not waiters(a) and not waiters(c)

    def test_first_exception(self) -> None:
        a, b, c = self.futures()
        task = spawn(wait, [a, b, c], None, FIRST_EXCEPTION)
        settle()
        a.set_result(1)
        settle()
        assert task.alive
        b.set_exception(KeyError())
        assert task.join(LONG) and task.result == ({a, b}, {c})
        assert not waiters(c)

    def test_first_exception_without_any(self) -> None:
        a, b, c = self.futures()
        task = spawn(wait, [a, b, c], None, FIRST_EXCEPTION)
        settle()
        a.set_result(1)
        b.cancel()
        settle()
        assert task.alive
        c.set_result(1)
        assert task.join(LONG) and task.result == ({a, b, c}, set())

    def test_an_exception_that_was_there(self) -> None:
        a, b, _ = self.futures()
        a.set_exception(KeyError())
        assert wait([a, b], LONG, FIRST_EXCEPTION) == ({a}, {b})
        assert not waiters(b)

    def test_all_completed(self) -> None:
        a, b, c = self.futures()
        task = spawn(wait, [a, b, c, a], return_when=ALL_COMPLETED)
        for future in (a, b):
            settle()
            assert task.alive
            future.set_exception(KeyError())
        settle()
        c.cancel()
        assert task.join(LONG) and task.result == ({a, b, c}, set())

    def test_timeouts_and_kills_leave_nothing(self) -> None:
        a, b, _ = self.futures()
        b.set_result(1)
        for timeout in (0, 0.001):
            assert wait([a, b], timeout) == ({b}, {a})
        with pytest.raises(native.TimeoutError, match=r"1 \(of 2\) futures unfinished"):
            list(as_completed([a, b], 0.001))
        with pytest.raises(native.TimeoutError):
            a.result(0.001)
        with Timeout(0.001, False):
            a.result()
        tasks = [spawn(wait, [a]), spawn(lambda: list(as_completed([a]))), spawn(a.exception)]
        settle()
        assert waiters(a) == 3
        for task in tasks:
            task.kill()
            assert task.join(LONG) and isinstance(task.exception, TaskExit)
        assert not waiters(a)

    def test_nothing_to_wait_for(self) -> None:
        assert wait([]) == (set(), set())
        assert list(as_completed([])) == []

    def test_wrong_condition(self) -> None:
        with pytest.raises(ValueError, match="Invalid return condition"):
            wait([], return_when="sometime")

    def test_as_completed_is_in_order(self) -> None:
        a, b, c = self.futures()
        seen: list[Future[Any]] = []
        task = spawn(lambda: seen.extend(as_completed([a, b, c, a])))
        for future in (c, a, b):
            settle()
            future.set_result(1)
        assert task.join(LONG) and seen == [c, a, b]

    def test_as_completed_given_up(self) -> None:
        a, b, _ = self.futures()
        a.set_result(1)
        iterator: Any = as_completed([a, b])
        assert next(iterator) is a
        iterator.close()
        assert not waiters(b)

    def test_native_futures(self) -> None:
        with native.ThreadPoolExecutor(1) as pool, Ticker() as ticker:
            future = pool.submit(ticker.blocking())
            assert wait([future]).done == {future}
            assert future.result()
            assert list(as_completed([future])) == [future]

    def test_many_waiters_for_one_future(self) -> None:
        future: Future[int] = Future()
        tasks = [spawn(future.result) for _ in range(1000)]
        settle()
        threading.Thread(target=future.set_result, args=(1,)).start()
        for task in tasks:
            assert task.join(LONG) and task.result == 1
        assert not waiters(future)


PROCESSES = """
    import multiprocessing, os, sys
    from greenify.futures import ProcessPoolExecutor, as_completed, wait
    from greenify import spawn, sleep

    def boom():
        raise KeyError("mine")

    if __name__ == "__main__":
        # A job that reads from the pipe ends when this task has run some times more.
        reader, writer = os.pipe()
        missing = []
        def tick():
            while True:
                sleep(0.001)
                if missing:
                    missing.pop()
                    if not missing:
                        os.write(writer, b"x")
        spawn(tick)
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            future = pool.submit(os.read, reader, 1)
            missing.extend(range(5))
            assert future.result(20) == b"x"
            assert list(pool.map(pow, range(5), [2] * 5, chunksize=2)) == [0, 1, 4, 9, 16]
            try:
                pool.submit(boom).result(20)
            except KeyError as exc:
                assert exc.args == ("mine",)
            futures = [pool.submit(pow, 2, n) for n in range(4)]
            assert sorted(f.result() for f in as_completed(futures, 20)) == [1, 2, 4, 8]
            assert wait(futures).done == set(futures)
            future = pool.submit(os.read, reader, 1)
            missing.extend(range(5))
        assert future.done() and future.result() == b"x"
        print("done")
"""


@pytest.mark.parametrize("patched", [False, True])
def test_processes(patched: bool) -> None:
    done = run_python(
        PROCESSES,
        greenify=patched,
        options=[] if patched else ["-W", "ignore::DeprecationWarning"],
        check=True,
    )
    assert done.stdout == "done\n"
