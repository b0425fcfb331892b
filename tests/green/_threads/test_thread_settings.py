"""Hooks for async generators and the running loop are a thread's, also when the loop ran before the patch."""

from __future__ import annotations

import textwrap

from tests.green import programs
from tests.green.programs import both_modes
from tests.support import Mode, run_python


def run(code: str, mode: Mode) -> str:
    return programs.run(textwrap.indent(textwrap.dedent(code), " " * 4), mode)


def followed(code: str) -> str:
    """Run a program that asks `followed()` whether anybody looks at the switches of the OS thread."""
    asking = """
            import asyncio, signal
            import greenlet

            def followed():
                time.sleep(0)
                return greenlet.gettrace() is not None

            def running():
                try:
                    return asyncio.get_running_loop(), asyncio.current_task()
                except RuntimeError:
                    return None
    """
    return run(textwrap.dedent(asking) + textwrap.dedent(code), "patch_all")


class TestCost:
    """Switches are followed only while a thread has been left in the middle of what its loop runs."""

    def test_loops_that_wait_cost_nothing(self) -> None:
        followed(
            """
            async def main():
                loops.append(asyncio.get_running_loop())
                ends.append(asyncio.Event())
                mine = running()
                ready.set()
                await ends[-1].wait()
                assert running() == mine
                return [number async for number in numbers()]

            async def numbers():
                for number in range(3):
                    yield number
                    await asyncio.sleep(0)

            loops, ends, threads, ready = [], [], [], threading.Event()
            assert not followed()
            for count in range(3):
                ready.clear()
                threads.append(Thread(asyncio.run, main()))
                assert ready.wait(LONG)
                settle()
                assert not followed() and running() is None
            for loop, event, thread in zip(loops, ends, threads):
                loop.call_soon_threadsafe(event.set)
                assert thread.end() == [0, 1, 2]
                assert not followed() and running() is None
            """
        )

    def test_a_coroutine_that_blocks(self) -> None:
        """What it has is its own; as soon as it has ended its step, the others have their peace again."""
        followed(
            """
            async def main():
                mine = running()
                assert mine[1] is not None
                ready.set()
                go.wait(LONG)
                assert running() == mine
                here.set()
                await asyncio.to_thread(end.wait, LONG)
                assert running() == mine

            async def other():
                mine = running()
                await asyncio.sleep(0.001)
                assert running() == mine and mine[0] is not None
                return mine

            ready, go, here, end = (threading.Event() for _ in range(4))
            thread = Thread(asyncio.run, main())
            assert ready.wait(LONG)
            assert followed() and running() is None
            # A loop that waits and goes on beside it.
            one, two = asyncio.run(other()), Thread(asyncio.run, other()).end()
            assert one[0] is not two[0] and running() is None
            go.set()
            assert here.wait(LONG)
            settle()
            assert not followed() and running() is None
            end.set()
            thread.end()
            assert not followed() and running() is None
            """
        )

    def test_a_handler_of_a_signal_while_the_loop_waits(self) -> None:
        """It runs where the main thread waits: in the loop, which it may use, or run others beside."""
        followed(
            """
            def handle(signum, frame):
                loop = asyncio.get_running_loop()
                seen.append((loop, asyncio.current_task()))
                time.sleep(0.001)   # others run meanwhile
                seen.append((asyncio.get_running_loop(), asyncio.current_task()))
                loop.call_soon_threadsafe(woken.set)

            def work(loop):
                for number in range(3):
                    arrived.clear()
                    assert not followed() and running() is None
                    signal.raise_signal(signal.SIGUSR1)
                    assert arrived.wait(LONG)
                    settle()
                return running()

            async def main():
                loop = asyncio.get_running_loop()
                thread = Thread(work, loop)
                for number in range(3):
                    await woken.wait()
                    woken.clear()
                    loop.call_soon(arrived.set)
                # Not by waiting for the thread: it looks while the loop waits.
                assert await asyncio.to_thread(thread.end) is None
                assert seen == [(loop, None)] * 6, seen

            seen, woken, arrived = [], asyncio.Event(), threading.Event()
            signal.signal(signal.SIGUSR1, handle)
            asyncio.run(main())
            assert not followed() and running() is None
            """
        )

    def test_a_loop_that_is_interrupted_while_it_waits(self) -> None:
        followed(
            """
            class Stop(Exception):
                pass

            def handle(signum, frame):
                raise Stop

            signal.signal(signal.SIGUSR1, handle)

            async def main():
                Thread(signal.raise_signal, signal.SIGUSR1)
                await asyncio.sleep(LONG)

            for _ in range(3):
                assert outcome(asyncio.run, main()) == "Stop: "
                assert not followed() and running() is None
                assert Thread(running).end() is None
            """
        )


class TestAsyncGenerators:
    @both_modes
    def test_the_end_of_one_loop_leaves_the_others_generators_alone(self, mode: Mode) -> None:
        code = """
            import asyncio
            ready, ended = threading.Event(), threading.Event()

            async def numbers():
                for n in range(5):
                    yield n

            async def long():
                ready.set()
                # Another loop begins and ends, in a thread of its own, before the first item and between two.
                got = []
                async for n in numbers():
                    got.append(n)
                    await asyncio.to_thread(lambda: asyncio.run(short()))
                return got

            async def short():
                async for n in numbers():
                    await asyncio.sleep(0)
                    break

            threads = [Thread(asyncio.run, long()) for _ in range(5)]
            assert [t.end() for t in threads] == [[0, 1, 2, 3, 4]] * 5
            assert asyncio.run(long()) == [0, 1, 2, 3, 4]
        """
        run(code, mode)

    @both_modes
    def test_what_is_left_behind_is_closed_by_the_loop_that_began_it(self, mode: Mode) -> None:
        code = """
            import asyncio
            closed_in = {}

            async def numbers(name):
                try:
                    while True:
                        yield name
                finally:
                    closed_in[name] = asyncio.get_running_loop()

            async def work(name):
                generator = numbers(name)
                await generator.__anext__()
                await asyncio.to_thread(barrier.wait, LONG)
                del generator
                return asyncio.get_running_loop()

            barrier = threading.Barrier(4)
            threads = {name: Thread(asyncio.run, work(name)) for name in "abcd"}
            loops = {name: t.end() for name, t in threads.items()}
            assert closed_in == loops and len(set(loops.values())) == 4
        """
        run(code, mode)

    @both_modes
    def test_nothing_of_a_loop_stays(self, mode: Mode) -> None:
        code = """
            import asyncio
            go = [threading.Event() for _ in range(3)]

            async def work(number):
                await asyncio.to_thread(go[number].wait, LONG)

            def hooks():
                return tuple(sys.get_asyncgen_hooks())

            def loop(number):
                asyncio.run(work(number))
                return hooks()

            threads = [Thread(loop, number) for number in range(3)]
            for number in (1, 0, 2):
                settle()
                assert hooks() == (None, None)
                assert Thread(hooks).end() == (None, None)
                go[number].set()
                assert threads[number].end() == (None, None)
            assert hooks() == (None, None)
        """
        run(code, mode)

    @both_modes
    def test_a_generator_that_is_run_by_hand_beside_a_loop(self, mode: Mode) -> None:
        """No hook of another thread's loop hears of it."""
        code = """
            import asyncio

            async def numbers():
                yield 1

            def by_hand():
                generator = numbers()
                try:
                    generator.__anext__().send(None)
                except StopIteration as exc:
                    del generator
                    return exc.value

            async def main():
                loop = asyncio.get_running_loop()
                assert await asyncio.to_thread(by_hand) == 1
                return len(loop._asyncgens)

            assert asyncio.run(main()) == 0
        """
        run(code, mode)

    @both_modes
    def test_the_functions(self, mode: Mode) -> None:
        """One hook of the two is set, or none; what cannot be called is refused."""
        code = """
            def first(generator): pass
            def last(generator): pass

            def work():
                hooks = sys.get_asyncgen_hooks
                assert hooks() == (None, None)
                sys.set_asyncgen_hooks(first)
                sys.set_asyncgen_hooks(finalizer=last)
                settle()
                assert hooks() == (first, last) and hooks().finalizer is last
                sys.set_asyncgen_hooks()
                assert hooks() == (first, last)
                print(outcome(sys.set_asyncgen_hooks, 1))
                print(outcome(sys.set_asyncgen_hooks, first, None, 1))
                print(outcome(sys.set_asyncgen_hooks, nothing=1))
                print(outcome(sys.set_coroutine_origin_tracking_depth, -1))
                print(outcome(sys.set_coroutine_origin_tracking_depth, depth=3))
                print(outcome(sys.set_coroutine_origin_tracking_depth))
                print(sys.get_coroutine_origin_tracking_depth())
                sys.set_asyncgen_hooks(None)
                settle()
                assert hooks() == (None, last)

            Thread(work).end()
            print(sys.get_asyncgen_hooks() == (None, None), sys.get_coroutine_origin_tracking_depth())
        """
        assert run(code, mode) == run(code, False)


class TestDebug:
    @both_modes
    def test_origins_of_coroutines(self, mode: Mode) -> None:
        code = """
            import asyncio

            async def nothing(): pass

            def origin():
                made = nothing()
                made.close()
                return made.cr_origin is not None

            async def debugged():
                before = origin()
                theirs = await asyncio.to_thread(origin)
                other = await asyncio.to_thread(lambda: asyncio.run(plain()))
                return before, theirs, other, origin()

            async def plain():
                return origin()

            assert Thread(lambda: asyncio.run(debugged(), debug=True)).end() == (True, False, False, True)
            assert asyncio.run(debugged(), debug=True) == (True, False, False, True)
            assert not origin()
        """
        run(code, mode)


class TestRunningLoop:
    @both_modes
    def test_what_asyncio_makes_in_c(self, mode: Mode) -> None:
        """Futures, tasks and awaitables find the loop of their thread, or none."""
        code = """
            import asyncio

            async def answer():
                await asyncio.sleep(0)
                future = asyncio.Future()
                asyncio.get_running_loop().call_soon(future.set_result, 42)
                assert asyncio.current_task().get_loop() is future.get_loop() is asyncio.get_event_loop()
                return await future

            def without():
                return asyncio._get_running_loop(), outcome(asyncio.get_running_loop), asyncio.run(answer())

            async def main():
                first = await asyncio.gather(*[asyncio.to_thread(without) for _ in range(5)])
                return first, await answer()

            found, mine = asyncio.run(main())
            assert mine == 42
            assert found == [(None, "RuntimeError: no running event loop", 42)] * 5
        """
        run(code, mode)

    @both_modes
    def test_a_child_of_a_fork_has_none(self, mode: Mode) -> None:
        code = """
            import asyncio
            warnings.simplefilter("ignore")

            async def forks():
                pid = os.fork()
                if pid == 0:
                    settle()
                    status = 1
                    try:
                        assert asyncio._get_running_loop() is None
                        asyncio.run(asyncio.sleep(0.001))
                        assert asyncio._get_running_loop() is None
                        status = 42
                    finally:
                        os._exit(status)
                await asyncio.sleep(0.001)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

            assert asyncio.run(forks()) == 42
            assert Thread(asyncio.run, forks()).end() == 42
        """
        run(code, mode)


def run_late(program: str) -> str:
    begin = """
        import asyncio, sys, threading, time, warnings
        warnings.simplefilter("ignore")

        def patch():
            import greenify
            greenify.patch_all()

        def running():
            return asyncio._get_running_loop()

        async def numbers():
            for n in range(3):
                yield n
    """
    code = textwrap.dedent(begin) + textwrap.dedent(program)
    return run_python(code, greenify=False, check=True, timeout=40).stdout


class TestLatePatch:
    """`patch_all` while loops run."""

    def test_in_a_native_thread(self) -> None:
        run_late(
            """
            loop = asyncio.new_event_loop()
            runner = threading.Thread(target=loop.run_forever)
            runner.start()

            async def work():
                await asyncio.sleep(0.001)
                future = asyncio.Future()
                loop.call_soon(future.set_result, [n async for n in numbers()])
                assert asyncio.get_running_loop() is loop is asyncio.current_task().get_loop()
                return await asyncio.wait_for(future, 30)

            def ask():
                return asyncio.run_coroutine_threadsafe(work(), loop).result(30)

            assert ask() == [0, 1, 2]
            patch()
            assert ask() == [0, 1, 2] and running() is None
            loop.call_soon_threadsafe(loop.stop)
            runner.join()
            # The OS thread has ended with its loop; another one begins without any.
            found = []
            thread = threading.Thread(target=lambda: found.append((running(), sys.get_asyncgen_hooks())))
            thread.start()
            thread.join()
            assert found == [(None, (None, None))]
            """
        )

    def test_inside_a_coroutine(self) -> None:
        run_late(
            """
            def other():
                assert running() is None and sys.get_asyncgen_hooks() == (None, None)
                async def inner():
                    return [n async for n in numbers()], running()
                got, theirs = asyncio.run(inner())
                assert running() is None
                return got, theirs

            async def main():
                generator = numbers()
                assert await generator.__anext__() == 0
                mine = running()
                patch()
                assert running() is mine
                await asyncio.sleep(0.001)
                got, theirs = await asyncio.to_thread(other)
                assert got == [0, 1, 2] and theirs is not mine is running()
                return [n async for n in generator]

            assert asyncio.run(main()) == [1, 2]
            assert running() is None and sys.get_asyncgen_hooks() == (None, None)

            async def again():
                return len([n async for n in numbers()])

            assert asyncio.run(again()) == 3
            """
        )

    def test_taken_back_inside_a_coroutine(self) -> None:
        """The loop goes on, and when it has ended, nothing of it is left."""
        run_late(
            """
            async def main():
                patch()
                thread = threading.Thread(target=lambda: asyncio.run(asyncio.sleep(0.001)))
                thread.start()
                await asyncio.to_thread(thread.join)
                await asyncio.get_running_loop().shutdown_default_executor()
                import greenify
                greenify.restore()
                assert running() is not None
                await asyncio.sleep(0.001)
                return [n async for n in numbers()]

            assert asyncio.run(main()) == [0, 1, 2]
            import greenlet
            greenlet.greenlet(int).switch()
            assert running() is None and sys.get_asyncgen_hooks() == (None, None)
            assert greenlet.gettrace() is None
            """
        )
