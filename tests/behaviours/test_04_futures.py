"""4. concurrent.futures: pools of threads, of processes, and of real threads."""

from __future__ import annotations

from pathlib import Path

from tests.behaviours.scenario import ALL, BOTH, check, check_file
from tests.support import Mode


class TestThreadPool:
    @ALL
    def test_concurrency(self, mode: Mode) -> None:
        """All its threads run at once; no more than it may have."""
        code = """
        from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
        barrier = threading.Barrier(50)
        with ThreadPoolExecutor(50, thread_name_prefix="mine") as pool:
            futures = [pool.submit(barrier.wait, 30) for _ in range(50)]
            assert sorted(future.result() for future in futures) == list(range(50))
            assert all(name.startswith("mine") for name in pool.map(lambda _: threading.current_thread().name, range(9)))
        running, most, lock = 0, 0, threading.Lock()
        def work(number):
            global running, most
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.002)
            with lock:
                running -= 1
            return number * number
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(30))) == [n * n for n in range(30)]
            assert most == 4
            assert {f.result() for f in as_completed([pool.submit(work, n) for n in range(5)])} == {0, 1, 4, 9, 16}
            gate = threading.Event()
            slow, quick = pool.submit(gate.wait, 30), pool.submit(int, "3")
            done, rest = wait([slow, quick], return_when=FIRST_COMPLETED)
            assert done == {quick} and rest == {slow}
            try:
                slow.result(timeout=0.001)
            except TimeoutError:
                print("timed out")
            except Exception as exc:  # of its own in 3.10
                print(type(exc).__name__ == "TimeoutError" and "timed out")
            queued = [pool.submit(gate.wait, 30) for _ in range(10)]
            assert queued[-1].cancel() and queued[-1].cancelled()
            gate.set()
            failing = pool.submit(int, "x")
            assert isinstance(failing.exception(), ValueError)
            called = threading.Event()
            failing.add_done_callback(lambda future: called.set())
            assert called.wait(30)
        try:
            pool.submit(int)
        except RuntimeError:
            print("shut down")
        """
        assert check(code, mode) == "timed out\nshut down\n"

    @BOTH
    def test_exit(self, mode: Mode) -> None:
        """The end of the program waits for what was submitted, and for nothing else."""
        code = """
        from concurrent.futures import ThreadPoolExecutor
        import time
        idle = ThreadPoolExecutor(3, initializer=print, initargs=("initialised",))
        idle.submit(int).result()
        pool = ThreadPoolExecutor(3)
        end_of_main = threading.Event()
        turns = [threading.Event() for _ in range(4)]
        def late(number):
            end_of_main.wait()
            turns[number].wait()
            print("late", number)
            turns[number + 1].set()
        for number in range(3):
            pool.submit(late, number)
        forgotten = ThreadPoolExecutor(1)
        forgotten.submit(int)
        del forgotten
        other = ThreadPoolExecutor(1)
        gate = threading.Event()
        other.submit(gate.wait, 30)
        cancelled = [other.submit(print, "never") for _ in range(3)]
        other.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in cancelled)
        gate.set()
        print("end of main")
        end_of_main.set()
        turns[0].set()
        """
        assert check(code, mode) == "initialised\nend of main\nlate 0\nlate 1\nlate 2\n"


class TestProcessPool:
    @BOTH
    def test_work(self, tmp_path: Path, mode: Mode) -> None:
        """The other threads run while it works."""
        code = """
        import os, sys, time, warnings
        from concurrent.futures import ProcessPoolExecutor, as_completed
        import multiprocessing
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        def square(number):
            return number * number, os.getpid()
        def fail():
            raise LookupError("remote")
        def threads():
            calls = [Call(lambda n=n: n) for n in range(3)]
            return [call.result() for call in calls]
        if __name__ == "__main__":
            ticks, stop = [], threading.Event()
            def tick():
                while not stop.wait(0.001):
                    ticks.append(1)
            ticker = Call(tick)
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
                results = list(pool.map(square, range(50), chunksize=5))
                assert [n for n, _ in results] == [n * n for n in range(50)]
                assert os.getpid() not in {pid for _, pid in results}
                assert isinstance(pool.submit(fail).exception(), LookupError)
                assert pool.submit(threads).result() == [0, 1, 2]
                assert len(list(as_completed([pool.submit(square, n) for n in range(10)]))) == 10
                before = len(ticks)
                pool.submit(time.sleep, 0.05).result()
                assert len(ticks) > before, "the ticker stood still"
            stop.set()
            ticker.result()
        """
        check_file(tmp_path, code, mode)

    @BOTH
    def test_worker_that_dies(self, tmp_path: Path, mode: Mode) -> None:
        code = """
        import os, warnings
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool
        import multiprocessing
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        if __name__ == "__main__":
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                assert isinstance(pool.submit(os._exit, 1).exception(), BrokenProcessPool)
        """
        check_file(tmp_path, code, mode)


class TestRealThreads:
    """`greenify.NativeThreadPoolExecutor`: the documented way."""

    SET_UP = """
import _thread, concurrent.futures, sys, time
from concurrent.futures import wait, as_completed
import greenify
native_id = greenify.original("_thread", "get_native_id")
native_lock = greenify.original("_thread", "allocate_lock")
"""

    def run(self, code: str, mode: Mode = True) -> str:
        import textwrap

        return check(self.SET_UP + textwrap.dedent(code), mode)

    @ALL
    def test_runs_on_real_threads(self, mode: Mode) -> None:
        """Calls that block their OS threads run at once, while green threads go on."""
        code = """
        locks = [native_lock() for _ in range(3)]
        for lock in locks:
            lock.acquire()
        running = threading.Semaphore(0)
        def block(lock):
            running.release()
            lock.acquire()
            return native_id()
        with greenify.NativeThreadPoolExecutor(3) as pool:
            assert isinstance(pool, concurrent.futures.Executor)
            futures = [pool.submit(block, lock) for lock in locks]
            assert all(isinstance(future, concurrent.futures.Future) for future in futures)
            waiting = [Call(future.result) for future in futures]
            for _ in futures:
                assert running.acquire(timeout=30)
            assert Call(lambda: "others run").result() == "others run"
            for lock in locks:
                lock.release()
            ids = {call.result() for call in waiting}
            assert len(ids) == 3 and native_id() not in ids
            assert list(pool.map(str, range(20))) == [str(n) for n in range(20)]
            assert len(list(as_completed([pool.submit(int) for _ in range(20)]))) == 20
            assert isinstance(pool.submit(int, "x").exception(), ValueError)
        try:
            pool.submit(int)
        except RuntimeError as exc:
            print(exc)
        """
        assert self.run(code, mode) == "cannot schedule new futures after shutdown\n"

    def test_limit_and_cancelling(self) -> None:
        code = """
        gate = native_lock()
        gate.acquire()
        pool = greenify.NativeThreadPoolExecutor(1)
        started = threading.Event()
        first = pool.submit(lambda: (started.set(), gate.acquire(), "first")[2])
        rest = [pool.submit(native_id) for _ in range(5)]
        assert started.wait(30)
        assert first.running() and not any(future.running() or future.done() for future in rest)
        assert rest[0].cancel() and not first.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in rest)
        gate.release()
        assert first.result(30) == "first"
        for wrong in (0, -1):
            try:
                greenify.NativeThreadPoolExecutor(wrong)
            except ValueError as exc:
                print(exc)
        """
        assert self.run(code) == "max_workers must be greater than 0\n" * 2

    def test_with_asyncio(self) -> None:
        code = """
        import asyncio
        async def main():
            loop = asyncio.get_running_loop()
            with greenify.NativeThreadPoolExecutor() as pool:
                ids = await asyncio.gather(*[loop.run_in_executor(pool, native_id) for _ in range(10)])
            assert native_id() not in ids
        asyncio.run(main())
        """
        self.run(code)

    def test_end_of_the_program_waits(self) -> None:
        code = """
        import os
        sleep = greenify.original("time", "sleep")
        pool = greenify.NativeThreadPoolExecutor(2)
        for number in range(3):
            # One write each: two native threads that print may mix their lines.
            pool.submit(lambda n=number: (sleep(0.01 * n), os.write(1, b"late %d\\n" % n)))
        del pool
        os.write(1, b"end of main\\n")
        """
        assert sorted(self.run(code).splitlines()) == ["end of main", "late 0", "late 1", "late 2"]

    def test_in_a_forked_child(self) -> None:
        code = """
        import os, warnings
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        pool = greenify.NativeThreadPoolExecutor(2)
        gate = native_lock()
        gate.acquire()
        kept = pool.submit(gate.acquire)
        pid = os.fork()
        if not pid:
            os._exit(0 if pool.submit(native_id).result(30) != native_id() else 1)
        assert os.waitpid(pid, 0) == (pid, 0)
        gate.release()
        assert kept.result(30) is True
        """
        self.run(code)
