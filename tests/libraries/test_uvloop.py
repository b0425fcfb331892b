"""uvloop's loop, in C, in green threads."""

from __future__ import annotations

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, run_python

needs("uvloop")
needs("uvicorn")


@both_modes
class TestRun:
    def test_others_run_while_it_waits(self, mode: Mode) -> None:
        check(
            """
    import asyncio, uvloop
    async def main():
        assert type(asyncio.get_running_loop()) is uvloop.Loop
        await asyncio.sleep(0.2)
        return "done"
    assert ticks_during(uvloop.run, main()) == "done"
            """,
            mode,
        )

    def test_its_policy(self, mode: Mode) -> None:
        check(
            """
    import asyncio, uvloop
    # asyncio's policies are on their way out, and say so.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    uvloop.install()
    assert type(asyncio.get_event_loop_policy()) is uvloop.EventLoopPolicy
    async def main(number):
        assert type(asyncio.get_running_loop()) is uvloop.Loop
        await asyncio.sleep(0.2)
        return number
    threads = [Thread(asyncio.run, main(number)) for number in range(5)]
    assert ticks_during(asyncio.run, main(9)) == 9
    assert [thread.end() for thread in threads] == list(range(5))
    asyncio.set_event_loop_policy(None)
            """,
            mode,
        )

    def test_loops_in_many_threads(self, mode: Mode) -> None:
        """Each waits for the one before, in coroutines on loops of their own."""
        check(
            """
    import asyncio, uvloop
    loops = queue.Queue()
    async def main(number):
        loop, mine = asyncio.get_running_loop(), asyncio.Event()
        loops.put((number, loop, mine))
        await mine.wait()
        assert asyncio.get_running_loop() is loop
        return number
    threads = [Thread(uvloop.run, main(number)) for number in range(10)]
    found = sorted((loops.get(timeout=LONG) for _ in threads), key=lambda each: each[0], reverse=True)
    assert len({id(loop) for _, loop, _ in found}) == 10
    for number, loop, event in found:
        loop.call_soon_threadsafe(event.set)
        assert threads[number].end() == number
            """,
            mode,
        )

    def test_the_main_loop_beside_those_of_threads(self, mode: Mode) -> None:
        """Only the main thread's loop has to do with signals."""
        check(
            """
    import asyncio, signal, uvloop
    async def other():
        loop = asyncio.get_running_loop()
        assert "main thread" in outcome(loop.add_signal_handler, signal.SIGUSR2, print)
        await asyncio.sleep(0.05)
    async def main():
        loop, got = asyncio.get_running_loop(), asyncio.Event()
        before = asyncio.create_task(asyncio.to_thread(uvloop.run, other()))
        await asyncio.sleep(0.01)
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        await before
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(got.wait(), LONG)
        assert loop.remove_signal_handler(signal.SIGUSR1)
    for _ in range(2):
        uvloop.run(main())
            """,
            mode,
        )

    def test_what_waits_elsewhere_wakes_it(self, mode: Mode) -> None:
        check(
            """
    import asyncio, subprocess, uvloop
    async def main():
        loop = asyncio.get_running_loop()
        async def upper(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()
        server = await asyncio.start_server(upper, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        def ask():  # blocking, in a thread
            with socket.create_connection(address) as sock:
                sock.sendall(b"one\\n")
                return sock.makefile().read()
        assert await asyncio.gather(*[asyncio.to_thread(ask) for _ in range(20)]) == ["ONE\\n"] * 20
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"two\\n")
        assert await reader.read() == b"TWO\\n"
        writer.close()
        a, b = socket.socketpair()
        a.setblocking(False)
        thread = Thread(lambda: (time.sleep(0.02), b.send(b"x")))
        assert await loop.sock_recv(a, 5) == b"x"
        thread.end()
        a.close(), b.close()
        command = sys.executable, "-c", "print(input())"
        child = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
        assert (await child.communicate(b"hello"))[0] == b"hello\\n"
        assert (await loop.getaddrinfo("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
        server.close()
        await server.wait_closed()
    uvloop.run(main())
            """,
            mode,
        )

    def test_timers_and_blocking_code_in_coroutines(self, mode: Mode) -> None:
        check(
            """
    import asyncio, uvloop
    async def main():
        order = []
        loop = asyncio.get_running_loop()
        for number in (3, 1, 2):
            loop.call_later(number / 50, order.append, number)
        time.sleep(0.03)  # keeps the loop, and nobody else
        await asyncio.sleep(0.1)
        assert outcome(loop.run_forever).startswith("RuntimeError: this event loop is already running")
        other = uvloop.new_event_loop()
        assert outcome(other.run_forever).startswith("RuntimeError: Cannot run the event loop while")
        other.close()
        assert asyncio.get_running_loop() is loop
        return order
    assert ticks_during(uvloop.run, main()) == [1, 2, 3]
            """,
            mode,
        )

    def test_errors_end_the_loop_and_it_can_go_on(self, mode: Mode) -> None:
        check(
            """
    import asyncio, signal, uvloop
    loop = uvloop.new_event_loop()
    def interrupted():
        soon = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        soon.start()
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            return True
        finally:
            soon.join()
    assert interrupted() and interrupted()
    loop.call_soon(sys.exit, 3)
    try:
        loop.run_forever()
    except SystemExit as exc:
        assert exc.code == 3
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.stop()
    loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0.01, "result")) == "result"
    loop.close()
    loop.close()
    assert outcome(loop.run_forever) == "RuntimeError: Event loop is closed"
    async def main():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0.01)
            print("tidied up")
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        print("interrupted")
            """,
            mode,
        )

    def test_unread_data_is_told_again(self, mode: Mode) -> None:
        """libuv leaves what it has no room for, and there is no further news of it."""
        check(
            """
    import asyncio, uvloop
    async def main():
        a, b = socket.socketpair()
        a.setblocking(False)
        b.sendall(b"x" * 10)
        loop, got, done = asyncio.get_running_loop(), [], asyncio.Event()
        def one():
            got.append(a.recv(1))
            if len(got) == 10:
                done.set()
        loop.add_reader(a, one)
        await asyncio.wait_for(done.wait(), LONG)
        loop.remove_reader(a)
        a.close(), b.close()
    uvloop.run(main())
            """,
            mode,
        )

    def test_fork(self, mode: Mode) -> None:
        check(
            """
    import asyncio, uvloop
    uvloop.run(asyncio.sleep(0.01))
    async def main():
        await asyncio.sleep(0.01)
        pid = os.fork()
        if pid:
            return pid
        os._exit(7)
    pid = uvloop.run(main())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    pid = os.fork()
    if not pid:
        async def child():
            await asyncio.to_thread(time.sleep, 0.01)
            return 8
        os._exit(uvloop.run(child()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
            """,
            mode,
        )

    def test_the_end_with_loops_that_run(self, mode: Mode) -> None:
        check(
            """
    import asyncio, uvloop
    started = [threading.Event() for _ in range(3)]
    async def main(event):
        event.set()
        await asyncio.sleep(3600)
    threads = [Thread(uvloop.run, main(event)) for event in started]
    for event in started:
        assert event.wait(LONG)
    print("end", flush=True)
    os._exit(0) if not PATCHED else None  # daemons in C: the plain program may well be aborted
            """,
            mode,
        )

    def test_uvicorn(self, mode: Mode) -> None:
        check(
            """
    import asyncio, urllib.request, uvicorn
    from concurrent.futures import ThreadPoolExecutor
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        assert type(asyncio.get_running_loop()).__module__ == "uvloop"
        await asyncio.to_thread(barrier.wait, LONG)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
    barrier = threading.Barrier(5)
    config = uvicorn.Config(app, port=0, log_level="warning", loop="uvloop", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    def ask():
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        def one(_):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LONG) as answer:
                return answer.read()
        try:
            with ThreadPoolExecutor(5) as pool:
                return list(pool.map(one, range(5)))
        finally:
            server.should_exit = True
    thread = Thread(ask)
    server.run()
    assert thread.end() == [b"ok"] * 5
            """,
            mode,
        )


def test_imported_before_the_patch_and_restored() -> None:
    run_python(
        """
        import asyncio, uvloop, threading, time
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("uvloop")
        done = []
        async def main(number):
            await asyncio.sleep(0.05)
            done.append(number)
        threads = [threading.Thread(target=uvloop.run, args=(main(number),)) for number in range(3)]
        for thread in threads:
            thread.start()
        uvloop.run(main(3))
        for thread in threads:
            thread.join()
        assert sorted(done) == [0, 1, 2, 3]
        greenify.restore()
        assert "run_forever" not in vars(uvloop.Loop) and "close" not in vars(uvloop.Loop)
        uvloop.run(main(4))
        """,
        greenify=False,
        check=True,
    )


def test_a_time_out_ends_the_loop() -> None:
    run_python(
        """
        import asyncio, uvloop
        import greenify
        loop = uvloop.new_event_loop()
        try:
            with greenify.Timeout(0.05):
                loop.run_forever()
        except greenify.Timeout:
            pass
        else:
            raise SystemExit("no time-out")
        task = greenify.spawn(loop.run_forever)
        greenify.sleep(0.05)
        task.kill()
        task.join()
        assert not loop.is_running()
        assert loop.run_until_complete(asyncio.sleep(0, 5)) == 5
        loop.close()
        """,
        greenify="patch_all",
        check=True,
    )
