"""6. Fork: the child runs only the forking thread, everything works in it, and the parent loses nothing."""

from __future__ import annotations

import textwrap

import pytest

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode

PRELUDE = """
import os, queue, select, signal, socket, subprocess, sys, time, warnings
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)

def fork(function, *args):
    "Run `function` in a child and return its pid; the child's status is 0 if that returns None."
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert function(*args) is None
            sys.stdout.flush()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid

def wait_for(pid):
    found, status = os.waitpid(pid, 0)
    assert found == pid and status == 0, status
"""


class TestChild:
    @pytest.mark.parametrize("where", ["main", "thread"])
    @ALL
    def test_only_the_forking_thread_runs(self, where: str, mode: Mode) -> None:
        code = """
        counts = [0, 0, 0]
        stop = threading.Event()
        def count(number):
            while not stop.wait(0.001):
                counts[number] += 1
        others = [Call(count, number) for number in range(3)]
        while not all(counts):
            time.sleep(0.001)
        def child():
            before = counts[:]
            assert threading.active_count() == 1
            assert threading.enumerate() == [threading.current_thread()]
            assert threading.main_thread() is threading.current_thread()
            time.sleep(0.05)
            assert counts == before, "another thread goes on in the child"
        def scenario():
            wait_for(fork(child))
        scenario() if WHERE == "main" else Call(scenario).result()
        before = counts[:]
        while not all(now > was for now, was in zip(counts, before)):
            time.sleep(0.001)
        stop.set()
        for other in others:
            other.result()
        """
        check(PRELUDE + f"WHERE = {where!r}\n" + textwrap.dedent(code), mode)

    @pytest.mark.parametrize("where", ["main", "thread"])
    @BOTH
    def test_everything_works_in_it(self, where: str, mode: Mode) -> None:
        code = """
        listener = socket.create_server(("127.0.0.1", 0))
        def child():
            time.sleep(0.001)
            one, other = socket.socketpair()
            with one, other:
                reader = Call(one.recv, 10)
                other.sendall(b"hello")
                assert reader.result() == b"hello"
            with socket.create_connection(listener.getsockname()) as connection:
                assert connection.recv(10) == b"welcome"
            jobs = queue.Queue()
            getter = Call(jobs.get)
            jobs.put("job")
            assert getter.result() == "job"
            lock = threading.RLock()
            with lock:
                pass
            assert not threading.Event().wait(0.001)
            out = subprocess.run(["echo", "out"], capture_output=True, text=True, check=True)
            assert out.stdout == "out\\n"
            wait_for(fork(grandchild))
            assert socket.getaddrinfo("localhost", 80)
        def grandchild():
            time.sleep(0.001)
            assert Call(lambda: 3).result() == 3
        def scenario():
            # The parent has waited in every way before: there is something to inherit.
            time.sleep(0.001)
            assert socket.getaddrinfo("localhost", 80)
            Call(time.sleep, 0.001).result()
            pid = fork(child)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"welcome")
            wait_for(pid)
        scenario() if WHERE == "main" else Call(scenario).result()
        listener.close()
        """
        check(PRELUDE + f"WHERE = {where!r}\n" + textwrap.dedent(code), mode)

    @BOTH
    def test_never_takes_the_parents_events(self, mode: Mode) -> None:
        """The parent waits on a socket; the child waits on its copy, closes it, and goes on."""
        code = """
        one, other = socket.socketpair()
        far, near = socket.socketpair()
        about_to = threading.Event()
        def read():
            about_to.set()
            return one.recv(100)
        reader = Call(read)
        about_to.wait()
        time.sleep(0.01)
        def child():
            # Its own waits on the same descriptors, and closing them, are its own business.
            assert select.select([one], [], [], 0.01) == ([], [], [])
            assert Call(select.select, [one], [], [], 0.01).result() == ([], [], [])
            one.close()
            other.close()
            near.sendall(b"closed")
            assert near.recv(10) == b"go"
        pid = fork(child)
        assert far.recv(10) == b"closed"
        for number in range(3):
            other.sendall(b"event %d" % number)
            assert reader.result() == b"event %d" % number
            reader = Call(read)
        far.sendall(b"go")
        wait_for(pid)
        other.close()
        assert reader.result() == b""
        one.close(), far.close(), near.close()
        """
        check(PRELUDE + textwrap.dedent(code), mode)

    @BOTH
    def test_returns_to_the_end_of_the_program(self, mode: Mode) -> None:
        """A child that simply goes on runs the rest of the program, its atexit functions, and flushes."""
        code = """
        import atexit
        atexit.register(lambda: print("atexit", os.getpid() == parent))
        parent = os.getpid()
        other = threading.Thread(target=threading.Event().wait, daemon=True)
        other.start()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            wait_for(pid)
        """
        assert check(PRELUDE + textwrap.dedent(code), mode) == "atexit False\natexit True\n"


class TestLocks:
    @BOTH
    def test_fork_while_locks_are_held(self, mode: Mode) -> None:
        """The forking thread's own locks stay its own; the library's (logging, queue of threads) are free."""
        code = """
        import logging
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        mine, reentrant = threading.Lock(), threading.RLock()
        held, release = threading.Event(), threading.Event()
        others = threading.Lock()
        def hold():
            with others, logging.getLogger().handlers[0].lock:
                held.set()
                release.wait()
        holder = Call(hold)
        held.wait()
        def child():
            assert mine.locked()
            mine.release()
            reentrant.release()
            with mine, reentrant:
                pass
            # Nobody is left who could release it.
            assert not others.acquire(timeout=0.01)
            logging.warning("logged in the child")
        mine.acquire()
        reentrant.acquire()
        pid = fork(child)
        mine.release()
        reentrant.release()
        wait_for(pid)
        release.set()
        holder.result()
        """
        assert check(PRELUDE + textwrap.dedent(code), mode) == "logged in the child\n"

    @BOTH
    def test_at_fork_hooks(self, mode: Mode) -> None:
        """They run in the documented order, in the forking thread, and may use cooperative things."""
        code = """
        seen = []
        lock = threading.Lock()
        def hook(name):
            def call():
                time.sleep(0.001)
                seen.append((name, threading.current_thread() is forking))
            return call
        def take():
            lock.acquire()
        for name in "ab":
            os.register_at_fork(before=hook("before " + name), after_in_parent=hook("parent " + name),
                                after_in_child=hook("child " + name))
        os.register_at_fork(before=take, after_in_parent=lock.release, after_in_child=lock.release)
        def child():
            assert seen == [("before b", True), ("before a", True), ("child a", True), ("child b", True)], seen
            assert not lock.locked()
        def scenario():
            global forking
            forking = threading.current_thread()
            wait_for(fork(child))
        scenario()
        assert seen[2:] == [("parent a", True), ("parent b", True)], seen
        del seen[:]
        Call(scenario).result()
        assert seen[2:] == [("parent a", True), ("parent b", True)], seen
        """
        check(PRELUDE + textwrap.dedent(code), mode)


class TestServers:
    @ALL
    def test_prefork(self, mode: Mode) -> None:
        """Workers forked from a master share a listening socket, with threads in each."""
        code = """
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        def serve(connection):
            with connection:
                data = connection.recv(100)
                connection.sendall(b"%d %s" % (os.getpid(), data))
        def worker():
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()
        workers = [fork(worker) for _ in range(3)]
        def ask(number):
            with socket.create_connection(listener.getsockname()) as connection:
                connection.sendall(b"%d" % number)
                pid, answer = connection.recv(100).split()
                assert int(pid) in workers and int(answer) == number
        for call in [Call(ask, number) for number in range(60)]:
            call.result()
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        for pid in workers:
            assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)
        listener.close()
        """
        check(PRELUDE + textwrap.dedent(code), mode)
