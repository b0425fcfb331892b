"""greenify.aio: coroutines and tasks in one OS thread."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from greenlet import GreenletExit

import greenify
from greenify import aio, core
from greenify.core import get_hub
from greenify.errors import HubError, TaskExit
from greenify.task import Task, spawn
from greenify.timeout import Timeout
from tests.model.threads import settle
from tests.support import Mode, run_python

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    """No test leaves a coroutine behind, and its loop can be closed and started again."""
    yield
    assert not asyncio.all_tasks(aio.get_loop())
    aio.close()


class Log(list[str]):
    """A coroutine that waits for ever and says how it ends."""

    async def wait(self, cleanup: float = 0) -> None:
        try:
            self.append("begun")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.append("cancelled")
            await asyncio.sleep(cleanup)
            self.append("cleaned up")
            raise


class TestRun:
    def test_results_and_errors(self) -> None:
        async def call(value: Any) -> Any:
            await asyncio.sleep(0)
            if isinstance(value, BaseException):
                raise value
            return value

        assert aio.run(call(1)) == 1
        for error in (KeyError("x"), SystemExit(3), KeyboardInterrupt(), TaskExit()):
            with pytest.raises(type(error)) as caught:
                aio.run(call(error))
            assert caught.value is error
        assert aio.run(call(2)) == 2  # the loop has survived them

    def test_many_tasks_share_one_loop(self) -> None:
        """What blocks one coroutine is ended by another one, of another task."""
        loops = set()
        barrier: list[asyncio.Future[int]] = []

        async def call(number: int) -> int:
            loops.add(asyncio.get_running_loop())
            future = asyncio.get_running_loop().create_future()
            barrier.append(future)
            if len(barrier) == 50:
                for place, each in enumerate(barrier):
                    each.set_result(place)
            return number + 0 * await future

        tasks = [spawn(aio.run, call(number)) for number in range(50)]
        for number, task in enumerate(tasks):
            assert task.join(30) and task.result == number
        assert loops == {aio.get_loop()}

    def test_tasks_run_meanwhile(self) -> None:
        beats = 0

        def beat() -> None:
            nonlocal beats
            while True:
                core.sleep(0.001)
                beats += 1

        beating = spawn(beat)

        async def call() -> None:
            while beats < 5:
                await asyncio.sleep(0.001)

        with Timeout(30):
            aio.run(call())

        async def busy() -> None:
            # Never waits for anything but its turn.
            target = beats + 5
            while beats < target:
                await asyncio.sleep(0)

        with Timeout(30):
            aio.run(busy())
        beating.kill()
        beating.join()

    def test_the_main_thread_has_no_running_loop(self) -> None:
        aio.run(asyncio.sleep(0))
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

        async def inner() -> int:
            return 1

        async def outer() -> None:
            loop = asyncio.get_running_loop()
            # A loop of asyncio's own, which is blocked meanwhile.
            assert aio.run(inner()) == 1
            assert asyncio.get_running_loop() is loop
            core.sleep(0.001)
            assert asyncio.get_running_loop() is loop
            assert [value async for value in generate()] == [0, 1]

        async def generate() -> AsyncIterator[int]:
            yield 0
            yield 1

        asyncio.run(outer())

    def test_any_awaitable(self) -> None:
        class Awaitable:
            def __await__(self) -> Iterator[Any]:
                yield from asyncio.sleep(0).__await__()
                return 7

        assert aio.run(Awaitable()) == 7
        loop = aio.get_loop()
        future = loop.create_future()
        loop.call_later(0.001, future.set_result, 8)
        assert aio.run(future) == 8
        with pytest.raises(TypeError):
            aio.run(1)  # type: ignore[arg-type]

    def test_context(self) -> None:
        async def call() -> str:
            before = variable.get()
            variable.set("theirs")
            await asyncio.sleep(0)
            return before + " " + variable.get()

        def task() -> str:
            variable.set("mine")
            found = aio.run(call())
            return found + " " + variable.get()

        spawned = spawn(task)
        spawned.join()
        assert spawned.result == "mine theirs mine"
        assert variable.get() == "unset"

    def test_not_by_its_own_coroutines(self) -> None:
        async def outer() -> None:
            with pytest.raises(HubError, match="await it"):
                aio.run(asyncio.sleep(0))

        aio.run(outer())

    def test_from_other_os_threads(self) -> None:
        """Each has a loop of its own."""
        loops = []

        async def call() -> None:
            loops.append(asyncio.get_running_loop())
            await asyncio.sleep(0.001)

        def work() -> None:
            aio.run(call())
            aio.close()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        aio.run(call())
        for thread in threads:
            thread.join()
        assert len(set(loops)) == 4
        assert [loop.is_closed() for loop in loops].count(False) == 1

    def test_calls_from_tasks_end_its_sleep(self) -> None:
        """Its loop's methods may be called by every greenlet."""
        loop = aio.get_loop()
        event = asyncio.Event()
        task = spawn(aio.run, event.wait())
        settle()
        event.set()
        assert task.join(30)
        times: list[float] = []
        future = loop.create_future()
        settle()
        loop.call_later(0.01, lambda: (times.append(time.monotonic()), future.set_result(None)))
        start = time.monotonic()
        with Timeout(30):
            aio.run(future)
        assert times[0] - start >= 0.009


class TestCancellingCoroutines:
    @pytest.mark.parametrize("how", [TaskExit, GreenletExit, Timeout])
    def test_it_ends_before_the_caller_goes_on(self, how: type[BaseException]) -> None:
        log = Log()

        def call() -> None:
            try:
                if how is Timeout:
                    with Timeout(0.01):
                        aio.run(log.wait(cleanup=0.01))
                else:
                    aio.run(log.wait(cleanup=0.01))
            except (TaskExit, GreenletExit, Timeout) as exc:
                log.append(type(exc).__name__)

        task = spawn(call)
        if how is not Timeout:
            while not log:
                core.sleep(0)
            task.kill(how)
        assert task.join(30)
        assert log == ["begun", "cancelled", "cleaned up", how.__name__]

    def test_interrupted_before_it_begins(self) -> None:
        """Its first step is still to come: it never runs."""
        log = Log()
        aio.get_loop()
        settle()
        timeout = Timeout(0)
        timeout.start()
        get_hub().look()  # the interruption is ahead of the loop now
        with pytest.raises(Timeout):
            aio.run(log.wait())
        assert log == []

    def test_killed_twice(self) -> None:
        """The second time its cleaning up is interrupted."""
        log = Log()
        task = spawn(aio.run, log.wait(cleanup=1000))
        while "begun" not in log:
            core.sleep(0)
        task.kill()
        while "cancelled" not in log:
            core.sleep(0)
        task.kill()
        assert task.join(30)
        assert log == ["begun", "cancelled"]

    def test_a_coroutine_that_refuses(self) -> None:
        async def refuse() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "no"
            raise AssertionError

        with pytest.raises(Timeout), Timeout(0.01):
            aio.run(refuse())

    def test_an_error_while_it_is_cancelled_is_reported(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise KeyError("cleaning up")

        with pytest.raises(Timeout), Timeout(0.01):
            aio.run(fail())
        assert "failed when it was cancelled" in caplog.text and "cleaning up" in caplog.text

    def test_cancelled_by_itself(self) -> None:
        async def cancel() -> None:
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            await asyncio.sleep(0)

        with pytest.raises(asyncio.CancelledError):
            aio.run(cancel())


class TestWait:
    def test_results_and_errors(self, caplog: pytest.LogCaptureFixture) -> None:
        def work(value: Any) -> Any:
            core.sleep(0.001)
            if isinstance(value, BaseException):
                raise value
            return value

        async def main() -> None:
            assert await aio.wait(spawn(work, 1)) == 1
            error = KeyError("x")
            with pytest.raises(KeyError) as caught:
                await aio.wait(spawn(work, error))
            assert caught.value is error
            ended = spawn(work, 2)
            while ended.alive:
                await asyncio.sleep(0)
            assert await aio.wait(ended) == 2
            assert await asyncio.gather(*[aio.wait(spawn(work, n)) for n in range(20)]) == list(
                range(20)
            )

        aio.run(main())

    def test_not_started(self) -> None:
        with pytest.raises(HubError, match="before it is started"):
            aio.run(aio.wait(Task(print)))

    def test_a_killed_task_is_a_cancelled_one(self) -> None:
        async def main() -> None:
            task = spawn(core.sleep, 1000)
            asyncio.get_running_loop().call_later(0.001, task.kill)
            with pytest.raises(asyncio.CancelledError, match="was killed"):
                await aio.wait(task)

        aio.run(main())

    def test_cancelling_kills_the_task(self) -> None:
        log = []

        def work() -> None:
            try:
                core.sleep(1000)
            finally:
                core.sleep(0.01)
                log.append("task ends")

        async def main() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(aio.wait(spawn(work)), 0.01)
            log.append("coroutine goes on")

        aio.run(main())
        assert log == ["task ends", "coroutine goes on"]

    def test_shielded(self) -> None:
        gate = greenify.Event()
        task = spawn(gate.wait)

        async def main() -> None:
            waiting = asyncio.ensure_future(aio.wait(task))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 0.001)
            assert task.alive
            gate.set()
            assert await waiting is True

        aio.run(main())

    def test_nothing_stays_behind(self) -> None:
        gate = greenify.Event()
        task = spawn(gate.wait)

        async def main() -> None:
            ending = asyncio.ensure_future(aio._end_of(task))
            await asyncio.sleep(0)
            assert len(task._done._waiters) == 1
            ending.cancel()
            await asyncio.wait([ending])
            assert not task._done._waiters

        aio.run(main())
        gate.set()
        task.join()

    def test_a_task_of_another_os_thread(self) -> None:
        started: list[Task[str]] = []
        ready = threading.Event()
        go = greenify.Event()

        def work() -> str:
            go.wait(30)
            return "from there"

        def thread() -> None:
            started.append(spawn(work))
            ready.set()
            started[0].join()

        native = threading.Thread(target=thread)
        native.start()
        ready.wait(30)
        aio.get_loop().call_later(0.01, go.set)
        assert aio.run(aio.wait(started[0])) == "from there"
        native.join()

    def test_in_and_out(self) -> None:
        """A chain: a coroutine waits for a task, which runs a coroutine, which waits for a task ..."""

        async def coroutine(depth: int) -> int:
            found = await aio.wait(spawn(task, depth))
            assert found is not None
            return found

        def task(depth: int) -> int:
            return depth if depth == 20 else aio.run(coroutine(depth + 1))

        assert task(0) == 20


class TestLoop:
    def test_as_the_main_loop(self) -> None:
        async def main() -> str:
            assert isinstance(asyncio.get_running_loop(), aio.EventLoop)
            assert await aio.wait(spawn(core.sleep, 0.001)) is None
            return "done"

        loop = aio.EventLoop()
        try:
            assert loop.run_until_complete(main()) == "done"
        finally:
            loop.close()

    def test_a_coroutine_that_waits_for_another_loop(self) -> None:
        """It blocks in the middle of its task: the other loop's tasks run meanwhile."""

        async def inner() -> tuple[Any, Any]:
            before = asyncio.current_task()
            await asyncio.sleep(0.001)
            assert asyncio.current_task() is before
            return asyncio.get_running_loop(), before

        async def outer() -> list[tuple[Any, Any]]:
            me = asyncio.get_running_loop(), asyncio.current_task()
            found = [me]
            for _ in range(3):
                found.append(aio.run(inner()))
                assert (asyncio.get_running_loop(), asyncio.current_task()) == me
                await asyncio.sleep(0)
                assert (asyncio.get_running_loop(), asyncio.current_task()) == me
            return found

        for factory in (asyncio.new_event_loop, aio.EventLoop):
            loop = factory()
            try:
                found = loop.run_until_complete(outer())
            finally:
                loop.close()
            assert [each[0] for each in found] == [loop, *[aio.get_loop()] * 3]
            assert len({task for _, task in found}) == 4
            assert asyncio._get_running_loop() is None

    def test_signals(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            event = asyncio.Event()
            before = signal.getsignal(signal.SIGUSR1)
            loop.add_signal_handler(signal.SIGUSR1, event.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(event.wait(), 30)
            assert loop.remove_signal_handler(signal.SIGUSR1)
            assert not loop.remove_signal_handler(signal.SIGUSR1)
            assert signal.getsignal(signal.SIGUSR1) is before

        aio.run(main())

    def test_close_cancels_what_is_left(self) -> None:
        log = Log()
        loop = aio.get_loop()
        task = loop.create_task(log.wait())
        while "begun" not in log:
            core.sleep(0)
        aio.close()
        assert log == ["begun", "cancelled", "cleaned up"] and task.cancelled()
        assert loop.is_closed() and aio.get_loop() is not loop

    def test_subprocesses_and_executors(self) -> None:
        async def main() -> None:
            process = await asyncio.create_subprocess_exec(
                "echo", "hello", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert out == b"hello\n" and process.returncode == 0
            assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(1))
            await writer.drain()
            writer.close()

        server = aio.run(asyncio.start_server(echo, "127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        aio.run(main())
        server.close()
        aio.run(server.wait_closed())


MODES = pytest.mark.parametrize("mode", [False, "patch_all"], ids=["plain", "patched"])

AIOHTTP = """
    import asyncio
    import greenify
    from greenify import aio, import_patched, spawn
    import aiohttp

    # A server in green threads, a client session that many tasks share, all in one OS thread.
    http = import_patched("http.server")

    class Handler(http.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            greenify.sleep(0.01)
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    class Server(http.ThreadingHTTPServer):
        request_queue_size = 128  # all connect at once

    server = Server(("127.0.0.1", 0), Handler)
    serving = spawn(server.serve_forever, 0.01)

    async def connect():
        return aiohttp.ClientSession(f"http://127.0.0.1:{server.server_port}")

    async def get(path):
        async with session.get(path) as answer:
            return await answer.text()

    session = aio.run(connect())
    tasks = [spawn(aio.run, get(f"/{number}")) for number in range(40)]
    for number, task in enumerate(tasks):
        task.join()
        assert task.result == f"/{number}"
    try:
        with greenify.Timeout(0.001):
            aio.run(get("/late"))
    except greenify.Timeout:
        pass
    aio.run(session.close())
    server.shutdown()
    server.server_close()
    serving.join()
    print("done")
"""


@MODES
class TestPrograms:
    def test_aiohttp(self, mode: Mode) -> None:
        assert run_python(AIOHTTP, greenify=mode, check=True, timeout=60).stdout == "done\n"

    def test_threads_of_the_program(self, mode: Mode) -> None:
        """Plain: OS threads with loops of their own.  Patched: green threads that share one."""
        run_python(
            """
            import asyncio, sys, threading
            from greenify import aio, changes

            async def call(number):
                loops.add(asyncio.get_running_loop())
                await asyncio.sleep(0.01)
                return number

            def work(number):
                results.append(aio.run(call(number)))
                if not changes():
                    aio.close()

            loops, results = set(), []
            threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert sorted(results) == list(range(10))
            assert len(loops) == (1 if changes() else 10)
            """,
            greenify=mode,
            check=True,
            timeout=30,
        )

    def test_end_of_the_program(self, mode: Mode) -> None:
        """Coroutines that are left are cancelled, and nothing is complained about."""
        done = run_python(
            """
            import asyncio, atexit
            from greenify import aio

            async def wait():
                try:
                    await asyncio.sleep(1000)
                finally:
                    print("cleaned up")

            aio.get_loop().create_task(wait())
            aio.run(asyncio.sleep(0.001))
            """,
            greenify=mode,
            check=True,
            timeout=30,
        )
        assert (done.stdout, done.stderr) == ("cleaned up\n", "")

    def test_after_a_fork(self, mode: Mode) -> None:
        done = run_python(
            """
            import asyncio, os, sys
            from greenify import aio
            aio.run(asyncio.sleep(0))
            loop = aio.get_loop()
            pid = os.fork()
            if not pid:
                assert aio.get_loop() is not loop
                aio.run(asyncio.sleep(0.001))
                print("child")
                sys.exit()
            assert os.waitpid(pid, 0)[1] == 0
            assert aio.get_loop() is loop
            aio.run(asyncio.sleep(0.001))
            """,
            greenify=mode,
            check=True,
            timeout=30,
        )
        assert done.stdout == "child\n"

    def test_debug_mode(self, mode: Mode) -> None:
        """asyncio then checks that its methods are called in the right thread."""
        run_python(
            """
            import asyncio, threading
            from greenify import aio, spawn
            aio.get_loop().set_debug(True)
            aio.get_loop().slow_callback_duration = 100
            task = spawn(aio.run, asyncio.sleep(0.001))
            task.join()
            task.result
            """,
            greenify=mode,
            check=True,
            timeout=30,
            env={"PYTHONASYNCIODEBUG": "1"},
        )


class TestOtherThreads:
    """An OS thread's loop ends with the thread, whoever has started that."""

    @pytest.mark.parametrize("how", ["threading", "_thread", "executor"])
    def test_loop_ends_with_its_thread(self, how: str) -> None:
        code = """
            import _thread, asyncio, gc, os, sys, threading, time
            import greenify
            from greenify import aio, futures

            log = []
            kept = []

            async def endless():
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    log.append("cancelled")

            async def numbers():
                try:
                    yield 1
                finally:
                    log.append("closed")

            async def main():
                kept.append((asyncio.get_running_loop(), asyncio.ensure_future(endless()), numbers()))
                await anext(kept[-1][2])

            def work():
                greenify.sleep(0)
                aio.run(main())
                log.append("worked")

            def in_a_thread():
                log.clear()
                if sys.argv[1] == "threading":
                    thread = threading.Thread(target=work)
                    thread.start()
                elif sys.argv[1] == "_thread":
                    _thread.start_new_thread(work, ())
                else:
                    with futures.NativeThreadPoolExecutor(1) as pool:
                        pool.submit(work).result()
                # The end of the OS thread, which nothing waits for.
                while not kept[-1:] or not kept[-1][0].is_closed():
                    time.sleep(0.001)
                assert log == ["worked", "cancelled", "closed"], log
                assert kept[-1][1].cancelled()
                kept.clear()

            in_a_thread()
            assert not aio._servers
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                in_a_thread()
            deadline = time.monotonic() + 20
            while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
                time.sleep(0.001)  # the hub is closed after the loop
            assert len(os.listdir("/proc/self/fd")) <= before
            print("end")
        """
        assert run_python(code, how, greenify=False, check=True).stdout == "end\n"
