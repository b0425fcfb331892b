"""`queue.Queue` under the patch: its class, its attributes and its subclasses are what they were."""

from __future__ import annotations

import pytest

from tests.green._threads.queue_programs import START
from tests.support import run_python

PROGRAMS = {
    "subclass with methods of its own": """
        class Last(queue.Queue):
            def _init(self, maxsize):
                self.stack = []
            def _qsize(self):
                return len(self.stack)
            def _put(self, item):
                self.stack.append(item)
            def _get(self):
                return self.stack.pop()

            def put_two(self, one, two):
                # As recipes do it: what the class documents of its parts.
                with self.mutex:
                    self._put(one)
                    self._put(two)
                    self.unfinished_tasks += 2
                    self.not_empty.notify(2)

        q = Last()
        q.put(1)
        q.put(2)
        print(q.get(), q.get(), q.qsize(), q.empty())
        got = []
        threads = [start(lambda: got.append(q.get())) for _ in range(2)]
        until(lambda: len(q.not_empty._waiters) == 2)
        q.put_two("a", "b")
        for thread in threads:
            thread.join()
        print(sorted(got), q.unfinished_tasks)
        """,
    "put in a subclass that calls the original": """
        class Counting(queue.LifoQueue):
            puts = 0
            def put(self, item, block=True, timeout=None):
                self.puts += 1
                super().put(item, block, timeout)

        q = Counting(2)
        q.put_nowait(1)
        q.put(2)
        try:
            q.put(3, timeout=0.001)
        except queue.Full:
            print("full", q.puts)
        print(q.get(timeout=1), q.get_nowait())
        try:
            q.get(False)
        except queue.Empty:
            print("empty")
        """,
    "somebody else waits on not_empty": """
        q = queue.Queue()
        log = []
        def watch():
            with q.not_empty:
                q.not_empty.wait()
                log.append("woken")
        watcher = start(watch)
        until(lambda: len(q.not_empty._waiters) == 1)
        getters = [start(lambda: log.append(q.get())) for _ in range(2)]
        until(lambda: len(q.not_empty._waiters) == 3)
        for item in (1, 2, 3):
            q.put(item)
        for thread in (watcher, *getters):
            thread.join()
        print(sorted(map(str, log)), q.qsize())
        """,
    "another lock as the mutex": """
        q = queue.Queue()
        q.mutex = threading.RLock()
        q.not_empty = threading.Condition(q.mutex)
        q.not_full = threading.Condition(q.mutex)
        got = []
        getter = start(lambda: got.append(q.get()))
        until(lambda: len(q.not_empty._waiters) == 1)
        with q.mutex:
            q.put(1)
        getter.join()
        print(got)
        """,
    "many getters, each with an item": """
        q = queue.Queue()
        got = []
        everybody = threading.Barrier(6)
        def work():
            got.append(q.get())
            everybody.wait()
        threads = [start(work) for _ in range(5)]
        until(lambda: len(q.not_empty._waiters) == 5)
        for item in range(5):
            q.put(item)
        everybody.wait(10)
        print(sorted(got), q.not_empty._waiters)
        """,
    "getters with and without a time-out": """
        q = queue.Queue()
        got = []
        everybody = threading.Barrier(6)
        def work(*args):
            got.append(q.get(*args))
            everybody.wait(10)
        threads = []
        for args in ((), (True, 60), (True, 60), (), (True, 60)):
            threads.append(start(work, *args))
            until(lambda: len(q.not_empty._waiters) == len(threads))
        for item in range(5):
            q.put(item)
        everybody.wait(10)
        print(sorted(got), q.not_empty._waiters)
        """,
    "a bounded queue": """
        q = queue.Queue(2)
        got = []
        def consume():
            while True:
                item = q.get()
                got.append(item)
                q.task_done()
                time.sleep(0)
        threads = [start(consume) for _ in range(3)]
        for item in range(50):
            q.put(item)
        q.join()
        print(sorted(got) == list(range(50)), q.unfinished_tasks)
        """,
    "whoever holds the mutex is alone": """
        q = queue.Queue()
        q.put(0)
        log = []
        with q.mutex:
            threads = [start(lambda: log.append(q.put(1))), start(lambda: log.append(q.get()))]
            for _ in range(20):
                time.sleep(0)
            print(log, list(q.queue), q.unfinished_tasks)
        for thread in threads:
            thread.join()
        print(sorted(log, key=str), list(q.queue), q.unfinished_tasks)
        """,
    "a limit that is set later": """
        q = queue.Queue()
        q.put(1)
        q.maxsize = 2
        q.put(2)
        putter = start(q.put, 3)
        until(lambda: len(q.not_full._waiters) == 1)
        print(q.get(), q.get())
        putter.join()
        print(q.get(), q.empty())
        """,
    "a condition of one's own": """
        class Told(threading.Condition):
            def notify(self, n=1):
                log.append("told")
                super().notify(n)
        q = queue.Queue()
        log = []
        q.not_empty = Told(q.mutex)
        getter = start(lambda: log.append(q.get()))
        until(lambda: len(q.not_empty._waiters) == 1)
        q.put("item")
        getter.join()
        print(log)
        """,
    "something else than a deque": """
        q = queue.Queue()
        q.queue = [1, 2]
        q.put(3)
        print(q.queue, q.unfinished_tasks)
        try:
            q.get()
        except AttributeError:
            print("AttributeError", q.mutex.locked(), q.queue)
        """,
    "an item that cannot be put": """
        q = queue.PriorityQueue()
        q.put(1)
        try:
            q.put("not comparable")
        except TypeError:
            print("TypeError", q.mutex.locked(), q.unfinished_tasks)
        print(q.get())
        """,
    "shutdown": """
        q = queue.Queue()
        if not hasattr(q, "shutdown"):
            print(["ShutDown"] * 3)
        else:
            log = []
            def work():
                try:
                    q.get()
                except queue.ShutDown:
                    log.append("ShutDown")
            threads = [start(work) for _ in range(2)]
            until(lambda: len(q.not_empty._waiters) == 2)
            q.shutdown()
            for thread in threads:
                thread.join()
            try:
                q.put(1)
            except queue.ShutDown:
                log.append("ShutDown")
            print(log)
        """,
    "shut down before": """
        q = queue.Queue()
        if not hasattr(q, "shutdown"):
            print(["ShutDown"] * 2)
        else:
            q.shutdown()
            log = []
            def work():
                try:
                    q.get()
                except queue.ShutDown:
                    log.append("ShutDown")
            start(work).join()
            work()
            print(log)
        """,
    "wrong time-outs, where nobody has to wait": """
        def outcome(call, *args):
            try:
                return call(*args)
            except Exception as exc:
                return f"{type(exc).__name__}: {exc}"
        from decimal import Decimal
        for timeout in (-1, -0.5, Decimal("0.5"), Decimal("NaN"), "1", 1, 0.0, float("nan"), True):
            for make in (queue.Queue, queue.LifoQueue):
                q = make(2)
                print(timeout, outcome(q.put, "item", True, timeout), outcome(q.put, "other", False, timeout))
                print(outcome(q.get, True, timeout), outcome(q.get, False, timeout), q.qsize())
        """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_with_threads(name: str) -> None:
    import textwrap

    code = START + textwrap.dedent(PROGRAMS[name])
    natively = run_python(code, greenify=False, check=True)
    assert natively.stdout
    assert run_python(code, check=True).stdout == natively.stdout


def test_a_getter_that_is_killed_passes_its_item_on() -> None:
    code = """
    import threading, queue, time
    import greenify
    from greenify.core.entries import Throw

    q = queue.Queue()
    got = []
    found = {}

    def work(name):
        found[name] = greenify.core.hub.getcurrent()
        try:
            got.append((name, q.get()))
        except KeyError:
            got.append((name, "killed"))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    while len(q.not_empty._waiters) < 3:
        time.sleep(0)
    hub = greenify.core.get_hub()
    q.put(1)                                  # wakes a, which shall take it
    hub.ready.appendleft(Throw(found["a"], KeyError()))
    q.put(2)                                  # wakes nobody: a is on its way
    assert len(q.not_empty._waiters) == 2
    for thread in threads:
        thread.join(10)
    print(sorted(got), q.qsize(), len(q.not_empty._waiters))
    """
    shown = run_python(code, check=True).stdout
    assert shown == "[('a', 'killed'), ('b', 1), ('c', 2)] 0 0\n"


def test_a_getter_that_is_woken_while_it_is_being_killed() -> None:
    code = """
    import threading, queue, time
    import greenify
    from greenlet import getcurrent
    from greenify.core.entries import Throw

    class Slow(queue.Queue):
        def _put(self, item):
            super()._put(item)
            if item == 1:
                # With the mutex held: the getter gets its exception and has to wait for the mutex.
                greenify.core.get_hub().ready.append(Throw(found["a"], KeyError()))
                while not self.mutex._turns:
                    time.sleep(0)

    q = Slow()
    got = []
    found = {}

    def work(name):
        found[name] = getcurrent()
        try:
            got.append((name, q.get()))
        except KeyError:
            got.append((name, "killed"))

    def start(name):
        waiting = len(q.not_empty._waiters)
        threads.append(threading.Thread(target=work, args=(name,), daemon=True))
        threads[-1].start()
        while len(q.not_empty._waiters) == waiting:
            time.sleep(0)

    threads = []
    start("a")
    start("b")
    q.put(1)
    for thread in threads:
        thread.join(10)
    start("c")
    q.put(2)
    threads[-1].join(10)
    print(got, q.qsize(), len(q.not_empty._waiters))
    """
    shown = run_python(code, check=True).stdout
    assert shown == "[('a', 'killed'), ('b', 1), ('c', 2)] 0 0\n"


def test_no_task_is_lost_or_counted_twice_among_os_threads() -> None:
    code = """
    import queue, sys, threading
    from greenify import NativeThreadPoolExecutor

    sys.setswitchinterval(1e-6)
    q = queue.Queue()
    ROUNDS = 3000

    def work():
        for _ in range(ROUNDS):
            q.put(1)
            q.get()
            q.task_done()
        return ROUNDS

    with NativeThreadPoolExecutor(3) as pool:
        natives = [pool.submit(work) for _ in range(3)]
        greens = [threading.Thread(target=work) for _ in range(2)]
        for thread in greens:
            thread.start()
        for thread in greens:
            thread.join()
        assert [native.result() for native in natives] == [ROUNDS] * 3
    q.join()
    print(q.unfinished_tasks, q.qsize(), len(q.not_empty._waiters))
    """
    assert run_python(code, check=True, timeout=100).stdout == "0 0 0\n"
