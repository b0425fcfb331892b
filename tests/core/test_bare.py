"""A process without a free descriptor: everything that takes none with threads works, and recovers."""

from __future__ import annotations

import textwrap

import pytest

from tests.core.run import run
from tests.green.programs import MODES, both_modes
from tests.green.programs import run as run_program
from tests.support import Mode, run_python

# Leaves no number, or `spare` of them, below the lowest that is free.
HOG = """
    import errno, gc, os, resource, sys, time

    def open_files():
        found = 0
        for fd in range(200):
            try:
                os.fstat(fd)
            except OSError:
                continue
            found += 1
        return found

    def hog(spare=0):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError as exc:
            assert exc.errno == errno.EMFILE
        for _ in range(spare):
            os.close(taken.pop())
        return taken

    def release(taken):
        while taken:
            os.close(taken.pop())
"""


def with_hog(code: str) -> str:
    return HOG + textwrap.indent(textwrap.dedent(code), "    ")


@both_modes
@pytest.mark.parametrize("spare", [0, 2, 7])
class TestThreads:
    def test_sleeping_and_locking(self, mode: Mode, spare: int) -> None:
        program(
            """
            time.sleep(0.001)
            assert not threading.Event().wait(0.001)
            lock = threading.Lock()
            lock.acquire()
            assert not lock.acquire(timeout=0.001)
            results = queue.Queue()
            event = threading.Event()

            def work(number):
                event.wait()
                with lock:
                    results.put(number)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            event.set()
            lock.release()
            assert sorted(results.get() for _ in threads) == list(range(20))
            for thread in threads:
                thread.join()
            """,
            mode,
            spare,
        )

    def test_pipes(self, mode: Mode, spare: int) -> None:
        program(
            """
            release(taken)
            reader, writer = os.pipe()
            taken = hog(spare)

            def read(count):
                return [os.read(reader, 1) for _ in range(count)]

            got = []
            thread = threading.Thread(target=lambda: got.extend(read(3)))
            thread.start()
            for letter in b"abc":
                time.sleep(0.001)
                os.write(writer, bytes((letter,)))
            thread.join()
            assert got == [b"a", b"b", b"c"]
            """,
            mode,
            spare,
        )

    def test_sockets_and_select(self, mode: Mode, spare: int) -> None:
        program(
            """
            import select, socket
            release(taken)
            left, right = socket.socketpair()
            taken = hog(spare)
            asked = threading.Event()

            def serve():
                asked.set()
                assert select.select([left], [], [])[0] == [left]
                left.sendall(left.recv(1))
                left.settimeout(10)
                left.sendall(left.recv(1))

            thread = threading.Thread(target=serve)
            thread.start()
            asked.wait()
            time.sleep(0.001)
            for letter in (b"a", b"b"):
                right.sendall(letter)
                assert right.recv(1) == letter
            thread.join()
            assert select.select([left], [], [], 0.001) == ([], [], [])
            left.close()
            right.close()
            """,
            mode,
            spare,
        )

    def test_signals(self, mode: Mode, spare: int) -> None:
        program(
            """
            came = []
            signal.signal(signal.SIGALRM, lambda *_: came.append(threading.current_thread()))
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            event = threading.Event()
            while not came:
                event.wait(5)
                # With threads the wait goes on after the handler.
                break
            assert came == [threading.main_thread()]
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            signal.pause()
            assert len(came) == 2
            """,
            mode,
            spare,
        )

    def test_native_threads_wake_it(self, mode: Mode, spare: int) -> None:
        program(
            """
            release(taken)
            import _thread
            start = _thread.start_new_thread
            if PATCHED:
                import greenify
                start = greenify.original("_thread").start_new_thread
            taken = hog(spare)
            event = threading.Event()
            start(event.set, ())
            assert event.wait(10)
            """,
            mode,
            spare,
        )


def program(code: str, mode: Mode, spare: int) -> None:
    start = f"import queue, signal, threading\nspare = {spare}\ntaken = hog(spare)\n"
    run_program(with_hog(start + textwrap.dedent(code)), mode)


class TestRecovery:
    @pytest.mark.parametrize("mode", MODES[1:], ids=["patched"])
    def test_takes_descriptors_when_there_are_some(self, mode: Mode) -> None:
        run_program(
            with_hog("""
            import socket
            from greenify import core

            release(hog())
            before = open_files()
            taken = hog()
            time.sleep(0.001)
            hub = core.get_hub()
            assert hub.bare is not None and not hub.private_fds
            left, right = None, None
            thread = Thread(time.sleep, 0.05)
            release(taken)
            left, right = socket.socketpair()
            reader = Thread(left.recv, 1)
            settle()
            assert hub.bare is None and len(hub.private_fds) == 9
            right.send(b"x")
            assert reader.end() == b"x"
            thread.end()
            assert open_files() == before + 2 + len(hub.private_fds)
            left.close()
            right.close()
            """),
            mode,
        )

    def test_waits_from_before_are_woken_after(self) -> None:
        run_program(
            with_hog("""
            from greenify import core

            pipes = [os.pipe() for _ in range(3)]
            taken = hog()
            readers = [Thread(os.read, reader, 1) for reader, _ in pipes]
            time.sleep(0.001)
            assert core.get_hub().bare is not None
            release(taken)
            while core.get_hub().bare is not None:
                time.sleep(0.001)
            assert core.get_hub().bare is None
            for _, writer in pipes:
                os.write(writer, b"x")
            assert [reader.end() for reader in readers] == [b"x"] * 3
            """),
            "patch_all",
        )

    def test_wakeup_descriptor_is_held_after(self) -> None:
        run_program(
            with_hog("""
            import signal
            from greenify import core
            from greenify.core.signals import holding

            taken = hog()
            time.sleep(0.001)
            assert holding() is None
            release(taken)
            while core.get_hub().bare is not None:
                time.sleep(0.001)
            assert holding() is core.get_hub()
            came = []
            signal.signal(signal.SIGALRM, lambda *_: came.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            signal.pause()
            assert came == [1]
            """),
            "patch_all",
        )

    def test_nothing_is_left_of_what_was_tried(self) -> None:
        # With every number of descriptors too few.
        run(
            with_hog("""
            from greenify import core

            gc.disable()
            for spare in range(8):
                taken = hog(spare)
                before = open_files()
                core.sleep(0.001)
                assert core.get_hub().bare is not None
                assert open_files() == before, (spare, open_files(), before)
                release(taken)
            taken = hog(20)
            core.sleep(0.001)
            assert core.get_hub().bare is None
            print("has them")
            """)
        )

    def test_forked_child_of_a_bare_hub(self) -> None:
        run_program(
            with_hog("""
            taken = hog()
            time.sleep(0.001)
            pid = os.fork()
            if not pid:
                time.sleep(0.001)
                release(taken)
                reader, writer = os.pipe()
                thread = Thread(os.read, reader, 1)
                settle()
                os.write(writer, b"x")
                assert thread.end() == b"x"
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            """),
            "patch_all",
        )

    def test_libuv_streams_get_the_error(self) -> None:
        run(
            with_hog("""
            from greenify import core
            from greenify.io import UDPEndpoint

            taken = hog()
            core.sleep(0.001)
            try:
                UDPEndpoint(("127.0.0.1", 0))
            except OSError as exc:
                assert exc.errno == errno.EMFILE, exc
            else:
                raise AssertionError("no error")
            """)
        )


def test_ctrl_c_reaches_a_bare_hub() -> None:
    result = run_python(
        with_hog("""
    import _thread, threading
    hog()
    threading.Timer(0.05, _thread.interrupt_main).start()
    try:
        threading.Event().wait(20)
    except KeyboardInterrupt:
        print("interrupted")
    """),
        greenify="patch_all",
        check=True,
    )
    assert result.stdout == "interrupted\n"
