"""3. asyncio: loops in several threads at once, executors, subprocesses, signals."""

from __future__ import annotations

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode, run_python

SET_UP = """
import asyncio, os, queue, signal, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
"""


def run(code: str, mode: Mode) -> str:
    import textwrap

    return check(SET_UP + textwrap.dedent(code), mode)


class TestLoops:
    @ALL
    def test_several_threads_at_once(self, mode: Mode) -> None:
        """Each loop goes on while the others wait: they talk to each other in a ring."""
        code = """
        count = 5
        loops, ready = {}, threading.Barrier(count)
        order = []
        async def station(number):
            loops[number] = asyncio.get_running_loop()
            inbox = boxes[number] = asyncio.Queue()
            await asyncio.to_thread(ready.wait)
            for turn in range(20):
                if number or turn:
                    order.append(await inbox.get())
                following = (number + 1) % count
                if number == count - 1 and turn == 19:
                    break  # the first one has ended
                loops[following].call_soon_threadsafe(boxes[following].put_nowait, number)
                await asyncio.sleep(0)
            assert asyncio.get_running_loop() is loops[number]
            return number
        boxes = {}
        calls = [Call(asyncio.run, station(number)) for number in range(count)]
        assert [call.result() for call in calls] == list(range(count))
        assert order == [n % count for n in range(count * 20 - 1)]
        assert len(set(map(id, loops.values()))) == count
        """
        run(code, mode)

    @BOTH
    def test_in_main_while_threads_run(self, mode: Mode) -> None:
        code = """
        requests, answers = queue.Queue(), queue.Queue()
        def serve():
            for request in iter(requests.get, None):
                answers.put(request + 1)
        server = Call(serve)
        async def main():
            loop = asyncio.get_running_loop()
            for number in range(50):
                requests.put(number)
                assert await loop.run_in_executor(None, answers.get) == number + 1
            # A thread hands something in without being asked.
            future = loop.create_future()
            Call(loop.call_soon_threadsafe, future.set_result, "done").result()
            return await asyncio.wait_for(future, 30)
        assert asyncio.run(main()) == "done"
        requests.put(None)
        server.result()
        """
        run(code, mode)

    @BOTH
    def test_submitting_to_a_loop_in_another_thread(self, mode: Mode) -> None:
        code = """
        loop = asyncio.new_event_loop()
        runner = threading.Thread(target=loop.run_forever)
        runner.start()
        async def double(number):
            await asyncio.sleep(0.001)
            return 2 * number
        def submit(number):
            return asyncio.run_coroutine_threadsafe(double(number), loop).result(30)
        assert [c.result() for c in [Call(submit, n) for n in range(20)]] == [2 * n for n in range(20)]
        loop.call_soon_threadsafe(loop.stop)
        runner.join()
        loop.close()
        """
        run(code, mode)

    @BOTH
    def test_running_loop_belongs_to_the_thread(self, mode: Mode) -> None:
        code = """
        def running():
            try:
                return asyncio.get_running_loop()
            except RuntimeError:
                return None
        async def main():
            assert running() is not None
            assert await asyncio.to_thread(running) is None
            task = asyncio.current_task()
            def other():
                async def current():
                    return asyncio.current_task(), len(asyncio.all_tasks())
                return asyncio.run(current())
            theirs, count = await asyncio.to_thread(other)
            assert theirs is not task and count == 1
            try:
                asyncio.run(asyncio.sleep(0))
            except RuntimeError as exc:
                assert "running event loop" in str(exc)
            else:
                raise AssertionError
        import warnings
        warnings.filterwarnings("ignore", "coroutine")
        asyncio.run(main())
        assert running() is None
        """
        run(code, mode)


class TestExecutors:
    @BOTH
    def test_run_in_executor_and_to_thread(self, mode: Mode) -> None:
        """All at once, results and exceptions; the loop goes on meanwhile."""
        code = """
        import contextvars
        variable = contextvars.ContextVar("variable", default="unset")
        async def main():
            loop = asyncio.get_running_loop()
            barrier = threading.Barrier(5)
            with ThreadPoolExecutor(4) as pool:
                waiting = [loop.run_in_executor(pool, barrier.wait, 30) for _ in range(4)]
                await asyncio.sleep(0.001)
                assert not any(future.done() for future in waiting)
                await asyncio.to_thread(barrier.wait, 30)
                assert len(set(await asyncio.gather(*waiting))) == 4
            variable.set("set")
            assert await asyncio.to_thread(variable.get) == "set"
            assert await loop.run_in_executor(None, variable.get) == "unset"
            try:
                await asyncio.to_thread(int, "x")
            except ValueError:
                print("raised")
            address = await loop.getaddrinfo("127.0.0.1", 80)
            assert address[0][4] == ("127.0.0.1", 80)
        asyncio.run(main())
        """
        assert run(code, mode) == "raised\n"


class TestStreams:
    @BOTH
    def test_server_and_threaded_clients(self, mode: Mode) -> None:
        """One process: a server on asyncio, clients on blocking sockets in threads."""
        code = """
        async def handle(reader, writer):
            async for line in reader:
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        def client(address, number):
            with socket.create_connection(address) as connection, connection.makefile("rw") as stream:
                for turn in range(5):
                    stream.write(f"line {number} {turn}\\n")
                    stream.flush()
                    assert stream.readline() == f"LINE {number} {turn}\\n"
            return number
        async def main():
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            async with server:
                calls = [asyncio.to_thread(client, address, number) for number in range(5)]
                assert await asyncio.gather(*calls) == list(range(5))
        asyncio.run(main())
        """
        run(code, mode)


class TestSystem:
    @BOTH
    def test_subprocesses(self, mode: Mode) -> None:
        code = """
        async def talk(number):
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out, _ = await process.communicate(b"%d" % number)
            assert out == b"%d" % number
            return process.returncode
        async def main():
            assert await asyncio.gather(*map(talk, range(10))) == [0] * 10
            process = await asyncio.create_subprocess_shell("exit 3")
            assert await process.wait() == 3
            process = await asyncio.create_subprocess_exec("sleep", "1000")
            process.kill()
            assert await process.wait() == -signal.SIGKILL
        ticks = []
        stop = threading.Event()
        def tick():
            while not stop.wait(0.001):
                ticks.append(1)
        ticker = Call(tick)
        asyncio.run(main())
        assert subprocess.run(["true"]).returncode == 0
        stop.set()
        ticker.result()
        assert ticks
        """
        run(code, mode)

    @BOTH
    def test_subprocess_in_a_thread_s_loop(self, mode: Mode) -> None:
        code = """
        async def shell():
            process = await asyncio.create_subprocess_shell("echo out; exit 4", stdout=subprocess.PIPE)
            out, _ = await process.communicate()
            return out, process.returncode
        assert [c.result() for c in [Call(asyncio.run, shell()) for _ in range(3)]] == [(b"out\\n", 4)] * 3
        """
        run(code, mode)

    @BOTH
    def test_signals(self, mode: Mode) -> None:
        code = """
        async def main():
            loop, seen = asyncio.get_running_loop(), asyncio.Queue()
            for number in (signal.SIGUSR1, signal.SIGTERM):
                loop.add_signal_handler(number, seen.put_nowait, number)
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
                await asyncio.to_thread(os.kill, os.getpid(), number)
                assert await asyncio.wait_for(seen.get(), 30) == number
            assert loop.remove_signal_handler(signal.SIGTERM)
        asyncio.run(main())
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

        async def interrupted():
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                print("cancelled")
                raise
        try:
            asyncio.run(interrupted())
        except KeyboardInterrupt:
            print("interrupted")
        """
        # Cancelled from 3.11 on; before, the loop is stopped first and cancels its tasks afterwards.
        assert run(code, mode) == "cancelled\ninterrupted\n"


@ALL
def test_one_copy_of_asyncios_c_module(mode: Mode) -> None:
    run_python(
        """
        import sys
        assert "greenify" not in sys.modules or "asyncio" not in sys.modules
        import asyncio
        import _asyncio
        assert asyncio.Task is _asyncio.Task and asyncio.events._get_running_loop is _asyncio._get_running_loop
        async def main():
            return asyncio.current_task().get_coro().__name__
        assert asyncio.run(main()) == "main"
        """,
        greenify=mode,
        check=True,
    )
