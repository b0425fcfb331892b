"""7. Native threads use patched locks, queues, logging and sockets, with and without a hub of their own."""

from __future__ import annotations

import textwrap

import pytest

from tests.behaviours.scenario import BOTH, check
from tests.support import Mode

# What a C extension does: it starts threads that nobody here has a say in.
START = {
    "saved": """
from _thread import start_new_thread
def start_native(function):
    start_new_thread(function, ())
import sys
""",
    "C": """
import ctypes, sys
kept = []
def start_native(function):
    libc = ctypes.CDLL(None)
    callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: function())
    kept.append(callback)
    thread = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(thread), None, callback, None) == 0
""",
}
PRELUDE = """
if len(sys.argv) > 1:
    import greenify
    greenify.patch_all(only=sys.argv[1] if sys.argv[1] != "all" else None)
    # Saved before the patch, which follows references: taken from what it keeps.
    start_new_thread = greenify.original("_thread", "start_new_thread")
    native_id = greenify.original("_thread", "get_native_id")
import logging, queue, select, socket, subprocess, threading, time

class Native:
    "Runs function(*args) in a native thread."
    def __init__(self, function, *args):
        self.done = threading.Event()
        self.value = self.error = None
        def run():
            try:
                self.value = function(*args)
            except BaseException as exc:
                self.error = exc
            self.done.set()
        start_native(run)
    def result(self):
        assert self.done.wait(30), "the native thread has not ended"
        if self.error is not None:
            raise self.error
        return self.value
"""
STARTS = pytest.mark.parametrize("start", START.values(), ids=START)
GREEN = pytest.mark.parametrize("green", [False, True], ids=["threads", "greenify"])


def run(start: str, code: str, green: bool) -> str:
    arguments = ("all",) if green else ()
    return check(start + PRELUDE + textwrap.dedent(code), False, *arguments)


@STARTS
@GREEN
class TestNativeThreads:
    def test_locks(self, start: str, green: bool) -> None:
        """Mutual exclusion and wake-ups hold between native and green threads."""
        code = """
        lock, rlock, total = threading.Lock(), threading.RLock(), [0, 0]
        def add(number):
            for _ in range(2000):
                with lock:
                    value = total[0]
                    total[0] = value + 1
                with rlock, rlock:
                    value = total[1]
                    total[1] = value + 1
        calls = [kind(add, n) for n in range(3) for kind in (Native, Call)]
        for call in calls:
            call.result()
        assert total == [12000, 12000]

        # Each hands the lock to the other.
        ping, pong = threading.Lock(), threading.Lock()
        ping.acquire(), pong.acquire()
        def answer():
            for _ in range(300):
                ping.acquire()
                pong.release()
        native = Native(answer)
        for _ in range(300):
            ping.release()
            pong.acquire()
        native.result()
        with lock:
            assert Native(lock.acquire, True, 0.01).result() is False
        """
        run(start, code, green)

    def test_conditions_events_semaphores(self, start: str, green: bool) -> None:
        code = """
        condition, items = threading.Condition(), []
        def take():
            with condition:
                assert condition.wait_for(lambda: items, timeout=30)
                return items.pop()
        takers = [kind(take) for kind in (Native, Call) * 3]
        for number in range(6):
            with condition:
                items.append(number)
                condition.notify()
        assert sorted(taker.result() for taker in takers) == list(range(6))

        event, reached = threading.Event(), threading.Semaphore(0)
        def wait():
            reached.release()
            return event.wait(30)
        waiters = [kind(wait) for kind in (Native, Call)]
        for _ in waiters:
            assert reached.acquire(timeout=30)
        Native(event.set).result()
        assert all(waiter.result() for waiter in waiters)

        barrier = threading.Barrier(4)
        assert sorted(c.result() for c in [kind(barrier.wait, 30) for kind in (Native, Call) * 2]) == [0, 1, 2, 3]
        """
        run(start, code, green)

    def test_queues(self, start: str, green: bool) -> None:
        code = """
        for make in (queue.Queue, queue.SimpleQueue, queue.LifoQueue, queue.PriorityQueue):
            jobs, results = make(), make()
            def work():
                for job in iter(jobs.get, -1):
                    results.put(job * 2)
            workers = [kind(work) for kind in (Native, Call) * 2]
            for number in range(1000):
                jobs.put(number)
            answers = sorted(results.get(timeout=30) for _ in range(1000))
            assert answers == [2 * number for number in range(1000)]
            for _ in workers:
                jobs.put(-1)
            if make in (queue.Queue, queue.SimpleQueue):
                for worker in workers:
                    worker.result()
        bounded = queue.Queue(1)
        putter = Native(lambda: [bounded.put(n, timeout=30) for n in range(100)])
        assert [bounded.get(timeout=30) for _ in range(100)] == list(range(100))
        putter.result()
        """
        # Only a first-in first-out queue hands out the four last words last.
        code = code.replace("make in (queue.Queue, queue.SimpleQueue)", "True").replace(
            "(queue.Queue, queue.SimpleQueue, queue.LifoQueue, queue.PriorityQueue)",
            "(queue.Queue, queue.SimpleQueue)",
        )
        run(start, code, green)

    def test_logging(self, start: str, green: bool) -> None:
        code = """
        class Slow(logging.StreamHandler):
            def emit(self, record):
                time.sleep(0.0005)  # holding the handler's lock
                super().emit(record)
        handler = Slow(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log = logging.getLogger("test")
        log.addHandler(handler)
        def talk(name):
            for number in range(20):
                log.warning("%s %d", name, number)
        for call in [kind(talk, f"{kind.__name__}{n}") for n in range(2) for kind in (Native, Call)]:
            call.result()
        """
        lines = run(start, code, green).splitlines()
        assert len(lines) == 80
        for name in ("Native0", "Native1", "Call0", "Call1"):
            assert [line for line in lines if line.startswith(name)] == [
                f"{name} {n}" for n in range(20)
            ]

    def test_sockets_and_waits(self, start: str, green: bool) -> None:
        """Also one socket for two: a native thread receives what a green one sends, and the reverse."""
        code = """
        one, other = socket.socketpair()
        for first, second in ((Native, Call), (Call, Native)):
            about_to = threading.Event()
            def read():
                about_to.set()
                return one.recv(100)
            reader = first(read)
            assert about_to.wait(30)
            second(other.sendall, b"data").result()
            assert reader.result() == b"data"
        def native_things():
            time.sleep(0.001)
            one.settimeout(0.01)
            try:
                one.recv(1)
            except TimeoutError:
                pass
            one.settimeout(None)
            assert select.select([one], [], [], 0.01) == ([], [], [])
            assert socket.getaddrinfo("localhost", 80)
            assert subprocess.run(["echo", "x"], capture_output=True).stdout == b"x\\n"
            with socket.create_server(("127.0.0.1", 0)) as listener:
                client = Call(socket.create_connection, listener.getsockname())
                connection, _ = listener.accept()
                connection.close()
                client.result().close()
            return True
        assert Native(native_things).result()
        one.close(), other.close()
        """
        run(start, code, green)

    def test_starting_and_joining_green_threads(self, start: str, green: bool) -> None:
        code = """
        def parent():
            child = Call(lambda: threading.get_ident())
            assert child.result() == child.ident != threading.get_ident()
            data = threading.local()
            data.value = 1
            assert Call(lambda: hasattr(data, "value")).result() is False
            return threading.current_thread()
        found = Native(parent).result()
        assert found is not threading.main_thread()
        """
        run(start, code, green)


class TestOwnHub:
    def test_native_thread_with_a_hub(self) -> None:
        """A native thread that starts green threads of its own gets a hub of its own, and gives it up."""
        code = """
        import os
        from greenify import core
        import greenify
        def with_hub():
            hub = core.get_hub()
            assert hub is not main_hub
            task = greenify.spawn(lambda: (time.sleep(0.01), native_id())[1])
            task.join()
            inside = Call(lambda: native_id())
            assert inside.result() == native_id()
            jobs.put(native_id())
            assert answers.get(timeout=30) == "answer"
            with lock:
                return native_id()
        main_hub = core.get_hub()
        jobs, answers, lock = queue.Queue(), queue.Queue(), threading.Lock()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            lock.acquire()
            natives = [Native(with_hub) for _ in range(2)]
            ids = {jobs.get(timeout=30) for _ in natives}
            assert len(ids) == 2 and native_id() not in ids
            for _ in natives:
                answers.put("answer")
            lock.release()
            assert {native.result() for native in natives} == ids
        """
        run(START["saved"], code, True)


@BOTH
def test_thread_pool_of_the_standard_library_from_native_code(mode: Mode) -> None:
    """A sqlite callback, a ctypes callback: Python code that C calls back may wait."""
    code = """
    import ctypes, sqlite3, time
    event = threading.Event()
    setter = threading.Timer(0.02, event.set)
    setter.start()
    connection = sqlite3.connect(":memory:")
    connection.create_function("wait", 0, lambda: event.wait(30))
    assert connection.execute("select wait()").fetchone() == (1,)
    connection.close()
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    def by_value(a, b):
        time.sleep(0.001)
        return a[0] - b[0]
    numbers = (ctypes.c_int * 5)(3, 1, 5, 2, 4)
    ctypes.CDLL(None).qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), compare(by_value))
    assert list(numbers) == [1, 2, 3, 4, 5]
    setter.join()
    """
    check(code, mode)
