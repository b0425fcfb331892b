"""Patching late: what was taken or made before the patch follows it, or is named in the warning."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import run_python

# A module of the user's, imported before the patch.
APP = """
import functools, logging, queue, select, socket, threading, time
from _thread import allocate_lock, get_ident, start_new_thread
from os import read
from queue import SimpleQueue
from socket import create_connection, getaddrinfo
from subprocess import run
from threading import Condition, Event, Lock, RLock, Thread, local
from time import sleep

lock = Lock()
rlock = RLock()
condition = Condition()
plain_condition = Condition(Lock())
event = Event()
jobs = queue.Queue()
simple = SimpleQueue()
logger = logging.getLogger("app")
state = local()


def defaults(seconds, _sleep=sleep, *, other=time.sleep):
    _sleep(seconds)
    other(seconds)


def closure():
    inner = sleep
    return lambda seconds: inner(seconds)


nap = closure()
later = functools.partial(sleep, 0.2)
table = {"sleep": sleep, "rows": [sleep]}
pair = (sleep, 1)


class Worker:
    pause = sleep
    pause_static = staticmethod(sleep)
    lock_class = Lock
    lock = Lock()

    def __init__(self):
        self.mutex = Lock()
        self.acquire = self.mutex.acquire
        self.sleep = sleep


class Slotted:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = RLock()


worker = Worker()
slotted = Slotted()
"""

CONCURRENTLY = """
import threading, time

def concurrently(function, *args, seconds=0.2, count=10):
    start = time.monotonic()
    threads = [threading.Thread(target=function, args=args) for _ in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    taken = time.monotonic() - start
    assert seconds * 0.9 <= taken < seconds * (count - 1), taken
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def run(code: str, folder: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `code`, warnings being errors, with the modules in `folder`."""
    env = {"PYTHONPATH": str(folder)} if folder else {}
    return run_python(code, greenify=False, check=True, env=env, **options)


class TestReferences:
    @pytest.mark.smoke
    def test_functions(self, app: Path) -> None:
        run(
            "import app, greenify, functools\n"
            + CONCURRENTLY
            + """
greenify.patch_all()
assert app.sleep is time.sleep
concurrently(app.sleep, 0.2)
concurrently(app.defaults, 0.1)
concurrently(app.nap, 0.2)
concurrently(app.later)
concurrently(app.worker.sleep, 0.2)
concurrently(app.table["sleep"], 0.2)
concurrently(app.table["rows"][0], 0.2)
concurrently(app.pair[0], 0.2)
""",
            app,
        )

    def test_a_builtin_in_a_class_does_not_become_a_method(self, app: Path) -> None:
        run(
            "import app, greenify\n"
            + CONCURRENTLY
            + """
greenify.patch_all()
concurrently(app.worker.pause, 0.2)
concurrently(app.Worker.pause, 0.2)
concurrently(app.worker.pause_static, 0.2)
assert app.worker.lock_class() is not None
""",
            app,
        )

    def test_classes_and_functions_of_the_library(self, app: Path) -> None:
        run(
            """
            import app, greenify, _thread, os, queue, socket, threading
            greenify.patch_all()
            assert app.Lock is threading.Lock and app.local is threading.local
            assert app.allocate_lock is _thread.allocate_lock
            assert app.start_new_thread is _thread.start_new_thread
            assert app.get_ident is threading.get_ident
            assert app.SimpleQueue is queue.SimpleQueue
            assert app.getaddrinfo is socket.getaddrinfo
            assert app.read is os.read
            assert isinstance(app.lock, type(threading.Lock()))
            """,
            app,
        )

    def test_native_modules_keep_the_originals(self) -> None:
        run(
            """
            import _socket, _signal, greenify
            names = (_socket, "getaddrinfo"), (_socket, "close"), (_signal, "set_wakeup_fd")
            native = [id(getattr(*name)) for name in names]
            greenify.patch_all()
            assert [id(getattr(*name)) for name in names] == native
            """
        )

    def test_restore(self, app: Path) -> None:
        run(
            """
            import app, greenify, time
            def state():
                worker = app.Worker
                things = (
                    app.sleep, app.lock, app.rlock, app.condition._lock, app.condition.acquire.__self__,
                    app.plain_condition.release.__self__, app.simple, app.state, app.worker.mutex,
                    app.worker.acquire.__self__, app.slotted.lock, vars(worker)["pause"],
                    vars(worker)["pause_static"].__func__, app.defaults.__defaults__[0],
                    app.defaults.__kwdefaults__["other"], app.nap.__closure__[0].cell_contents,
                    app.later.func, app.table["sleep"], app.table["rows"][0], app.pair[0],
                )
                return [id(thing) for thing in things]
            app.simple.put(1)
            app.state.value = 1
            before = state()
            for _ in range(2):
                greenify.patch_all()
                assert not set(before) & set(state())
                app.simple.put(2)
                app.state.value = 2
                greenify.restore()
                assert state() == before
            assert [app.simple.get_nowait() for _ in range(3)] == [1, 2, 2]
            assert app.simple.empty() and app.state.value == 2
            assert app.lock.acquire(False) and app.rlock.acquire(False)
            """,
            app,
        )


class TestLocks:
    def test_unheld_locks_exclude(self, app: Path) -> None:
        run(
            """
            import app, greenify, threading, time
            greenify.patch_all()
            inside = []
            def work(lock):
                with lock:
                    inside.append(1)
                    assert len(inside) == 1
                    time.sleep(0.01)
                    inside.pop()
            locks = (
                app.lock, app.rlock, app.condition, app.plain_condition, app.Worker.lock,
                app.worker.mutex, app.slotted.lock, app.jobs.mutex,
            )
            for lock in locks:
                threads = [threading.Thread(target=work, args=(lock,)) for _ in range(5)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
            """,
            app,
        )

    def test_held_stays_held(self, app: Path) -> None:
        run(
            """
            import app, greenify, threading, time
            app.lock.acquire()
            app.rlock.acquire(); app.rlock.acquire()
            app.worker.acquire()
            greenify.patch_all()
            assert app.lock.locked() and app.worker.mutex.locked()
            order = []
            def work(lock):
                with lock: order.append("other")
            for lock, releases in ((app.lock, 1), (app.rlock, 2), (app.worker.mutex, 1)):
                thread = threading.Thread(target=work, args=(lock,))
                thread.start()
                time.sleep(0.05)
                for _ in range(releases):
                    assert order == []
                    lock.release()
                thread.join()
                assert order == ["other"]
                order.clear()
            """,
            app,
        )

    def test_held_state_goes_back(self, app: Path) -> None:
        run(
            """
            import app, greenify, _thread
            app.lock.acquire(); app.rlock.acquire()
            greenify.patch_all()
            app.lock.release(); app.rlock.release()
            app.worker.mutex.acquire(); app.slotted.lock.acquire(); app.slotted.lock.acquire()
            greenify.restore()
            assert not app.lock.locked() and app.worker.mutex.locked()
            assert not app.rlock._is_owned()
            assert app.slotted.lock._is_owned()
            app.slotted.lock.release(); app.slotted.lock.release()
            assert not app.slotted.lock._is_owned()
            """,
            app,
        )

    def test_conditions_events_and_queues(self, app: Path) -> None:
        run(
            """
            import app, greenify, threading
            app.jobs.put("before")
            app.simple.put("before")
            greenify.patch_all()
            assert app.jobs.get() == app.simple.get() == "before"
            got = []
            threads = [
                threading.Thread(target=lambda: got.append(app.jobs.get(timeout=10))),
                threading.Thread(target=lambda: got.append(app.simple.get(timeout=10))),
                threading.Thread(target=lambda: got.append(app.event.wait(10))),
            ]
            for condition in (app.condition, app.plain_condition):
                def wait(condition=condition):
                    with condition:
                        got.append(condition.wait(10))
                threads.append(threading.Thread(target=wait))
            for thread in threads: thread.start()
            import time
            time.sleep(0.05)
            assert got == []
            app.jobs.put("after"); app.simple.put("after"); app.event.set()
            for condition in (app.condition, app.plain_condition):
                with condition: condition.notify()
            for thread in threads: thread.join()
            assert sorted(map(str, got)) == ["True", "True", "True", "after", "after"], got
            """,
            app,
        )

    def test_logging(self) -> None:
        result = run(
            """
            import logging, sys
            class Slow(logging.StreamHandler):
                def emit(self, record):
                    time.sleep(0.02)
                    super().emit(record)
            logging.basicConfig(handlers=[Slow(sys.stdout)], format="%(message)s")
            logger = logging.getLogger("app")
            import greenify
            greenify.patch_all()
            import threading, time
            threads = [threading.Thread(target=logger.warning, args=(str(n),)) for n in range(5)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """
        )
        assert sorted(result.stdout.split()) == ["0", "1", "2", "3", "4"]

    def test_imports_in_two_threads(self, tmp_path: Path) -> None:
        (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.1)\nvalue = 1\n")
        run(
            """
            import greenify
            greenify.patch_all()
            import threading
            values = []
            def work():
                import slow
                values.append(slow.value)
            threads = [threading.Thread(target=work) for _ in range(5)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert values == [1] * 5
            """,
            tmp_path,
        )


class TestThreadLocals:
    def test_values_are_taken_over_and_separate(self, app: Path) -> None:
        run(
            """
            import app, greenify, threading
            app.state.value = "main"
            greenify.patch_all()
            assert app.state.value == "main"
            seen = []
            thread = threading.Thread(target=lambda: seen.append(hasattr(app.state, "value")))
            thread.start(); thread.join()
            assert seen == [False]
            """,
            app,
        )

    def test_subclasses(self) -> None:
        run(
            """
            import threading
            class Base(threading.local):
                made = 0
                def __init__(self, first, *, second=0):
                    super().__init__()
                    type(self).made += 1
                    self.values = (first, second)
            class Derived(Base):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                @property
                def total(self): return sum(self.values)
            state = Derived(1, second=2)
            state.extra = "main"
            kinds = [Base, Derived]
            import greenify
            greenify.patch_all()
            assert kinds == [Base, Derived] and issubclass(Base, threading.local)
            assert type(state) is Derived and state.extra == "main" and state.total == 3
            assert Derived.made == 1
            seen = []
            def work():
                seen.append((state.total, hasattr(state, "extra")))
                state.values = (10, 10)
            thread = threading.Thread(target=work)
            thread.start(); thread.join()
            assert seen == [(3, False)] and state.total == 3 and Derived.made == 2
            assert Derived(5).total == 5
            greenify.restore()
            assert type(state) is Derived and not issubclass(Base, greenify.local.local)
            assert state.total == 3 and state.extra == "main"
            """
        )


class TestWarning:
    def test_nothing_to_say_of_the_standard_library(self) -> None:
        # Every module of it that can be imported; -W error makes a warning fail.
        run(
            """
            import importlib, io, sys, warnings
            skipped = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "test"}
            stdout, sys.stdout = sys.stdout, io.StringIO()
            count = 0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for name in sorted(sys.stdlib_module_names - skipped):
                    if name.startswith("__"):
                        continue
                    try:
                        importlib.import_module(name)
                        count += 1
                    except ImportError:
                        pass  # of another platform, or not built
                for name in ("asyncio", "concurrent.futures.process", "multiprocessing.managers",
                             "multiprocessing.pool", "logging.handlers", "xmlrpc.server",
                             "http.server", "unittest.mock", "wsgiref.simple_server"):
                    importlib.import_module(name)
            sys.stdout = stdout
            assert count > 200
            import greenify
            greenify.patch_all()
            greenify.restore()
            """
        )

    @pytest.mark.parametrize("name", ["requests", "urllib3", "rich.progress", "trustme", "pytest"])
    def test_nothing_to_say_of_other_packages(self, name: str) -> None:
        run(f"import {name}, greenify\ngreenify.patch_all()\ngreenify.restore()")

    def test_names_what_was_not_reached(self) -> None:
        result = run(
            """
            import threading, warnings
            import greenify
            def main():
                mutex = threading.Lock()
                held = threading.Lock()
                class Owner: pass
                owner = Owner()
                owner.mutex = mutex
                registry["held"] = held
                del held
                with registry["held"]:
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always")
                        greenify.patch_all()
                return caught, owner
            registry = {}
            caught, owner = main()
            (warning,) = caught
            assert warning.category is greenify.LatePatchWarning
            assert warning.filename == "<string>" and warning.lineno == 15, (warning.filename, warning.lineno)
            print(warning.message)
            assert type(owner.mutex).__module__ == type(registry["held"]).__module__ == "_thread"
            """
        )
        text = result.stdout
        assert "Owner object at" not in text
        assert "Owner" in text
        assert "the variable 'mutex' of main() in <string>" in text
        assert "_thread.lock at ['held'] of a dict: in use by a 'with' block" in text
        assert "greenify.patch_all() in the first lines" in text

    def test_running_native_threads(self) -> None:
        result = run(
            """
            import threading, warnings
            import greenify
            ready, stop = threading.Event(), threading.Event()
            def work():
                ready.set()
                stop.wait()
            thread = threading.Thread(target=work, name="pump")
            thread.start()
            ready.wait()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                greenify.patch_all()
            (warning,) = caught
            print(warning.message)
            stop.set()
            thread.join()
            assert not thread.is_alive()
            """
        )
        assert "a native thread that was running already: 'pump'" in result.stdout

    def test_as_an_error_it_leaves_nothing_patched(self) -> None:
        run(
            """
            import greenify, threading, time
            def main():
                lock = threading.Lock()
                holder.append(lock)
                greenify.patch_all()
            holder = []
            try:
                main()
            except greenify.LatePatchWarning:
                pass
            else:
                raise AssertionError
            assert greenify.changes() == ()
            assert time.sleep.__module__ == "time"
            greenify.patch_all()
            """
        )

    def test_second_call_says_nothing_new(self) -> None:
        run(
            """
            import greenify, warnings, threading
            def main():
                lock = threading.Lock()
                holder.append(lock)
                greenify.patch_all(only=["thread", "queue"])
            holder = []
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                main()
            assert len(caught) == 1
            greenify.patch_all(only=["thread", "queue"])
            greenify.patch_all()
            """
        )


class TestNativeThreads:
    """Threads that were started before the patch go on as native ones."""

    PATCH = """
import warnings
import greenify

def patch():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        greenify.patch_all()
    return "".join(str(warning.message) for warning in caught)
"""

    def test_waiting_for_a_queue(self) -> None:
        run(
            self.PATCH
            + """
import queue, threading, time
jobs, results = queue.Queue(), queue.Queue()
def work():
    for number in iter(jobs.get, None):
        time.sleep(0.01)
        results.put(number * 2)
thread = threading.Thread(target=work, name="pump")
thread.start()
text = patch()
assert "'pump'" in text
for number in range(5): jobs.put(number)
jobs.put(None)
assert [results.get(timeout=10) for _ in range(5)] == [0, 2, 4, 6, 8]
thread.join(10)
assert not thread.is_alive()
"""
        )

    def test_waiting_for_a_condition(self) -> None:
        result = run(
            self.PATCH
            + """
import threading
condition = threading.Condition()
got = []
def work():
    with condition:
        got.append(condition.wait(10))
thread = threading.Thread(target=work)
thread.start()
while not condition._waiters: pass
print(patch())
with condition:
    condition.notify()
thread.join(10)
assert got == [True]
"""
        )
        assert "._lock: a native thread waits for a condition with it" in result.stdout

    def test_holding_locks(self) -> None:
        result = run(
            self.PATCH
            + """
import threading
rlock, lock, within = threading.RLock(), threading.Lock(), threading.Lock()
ready, stop = threading.Event(), threading.Event()
def work():
    rlock.acquire(); lock.acquire()
    with within:
        ready.set()
        stop.wait()
    lock.release(); rlock.release()
thread = threading.Thread(target=work)
thread.start()
ready.wait()
print(patch())
assert lock.locked() and within.locked()
stop.set()
thread.join(10)
for each in (rlock, lock, within):
    assert each.acquire(timeout=10)
"""
        )
        assert "_thread.RLock at __main__.rlock: held by a native thread" in result.stdout
        assert "_thread.lock at __main__.within: in use by a 'with' block" in result.stdout
        assert "__main__.lock" not in result.stdout

    def test_waiting_for_a_simple_queue(self) -> None:
        result = run(
            self.PATCH
            + """
import queue, threading
simple = queue.SimpleQueue()
got = []
def work():
    got.append(simple.get())
thread = threading.Thread(target=work)
thread.start()
import sys
while sys._current_frames()[thread.ident].f_code is not work.__code__: pass
print(patch())
simple.put(1)
thread.join(10)
assert got == [1]
"""
        )
        assert "SimpleQueue at __main__.simple" in result.stdout

    def test_executor_from_before(self) -> None:
        run(
            self.PATCH
            + """
import threading, time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
assert pool.submit(pow, 2, 3).result() == 8
text = patch()
assert "ThreadPoolExecutor-0_0" in text
assert [pool.submit(pow, 2, n).result(10) for n in range(4)] == [1, 2, 4, 8]
pool.shutdown()
"""
        )

    def test_patching_from_one(self) -> None:
        run(
            """
            import threading, time
            import greenify, greenify.patches
            for name in greenify.ORDER: greenify.patches._load(name)
            errors = []
            def work():
                try:
                    greenify.patch_all()
                except BaseException as exc:
                    errors.append(exc)
            thread = threading.Thread(target=work)
            thread.start()
            while thread.is_alive(): pass
            assert not errors, errors
            start = time.monotonic()
            threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert time.monotonic() - start < 8  # one after the other: ten
            """
        )


class TestWhilePatching:
    def test_module_that_patches_when_it_is_imported(self, tmp_path: Path) -> None:
        (tmp_path / "patches_itself.py").write_text(
            "import greenify\ngreenify.patch_all()\nvalue = 1\n"
        )
        run(
            """
            import patches_itself
            assert patches_itself.value == 1
            import threading
            threads = [threading.Thread(target=__import__, args=("colorsys",)) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """,
            tmp_path,
        )

    def test_finalisers_wait(self) -> None:
        # One that drops a lock while references are being rewritten would make a mess of them.
        run(
            """
            import gc, threading
            class Cycle:
                def __init__(self):
                    self.me, self.lock = self, threading.Lock()
                def __del__(self): deleted.append(self.lock)
            deleted = []
            import greenify, greenify.patches
            for name in greenify.ORDER: greenify.patches._load(name)
            for _ in range(500): Cycle()
            gc.set_threshold(1)
            greenify.patch_all()
            gc.collect()
            assert len(deleted) == 500 and gc.isenabled()
            green = type(threading.Lock())
            assert all(isinstance(lock, green) for lock in deleted[-100:])
            """
        )


class TestOthers:
    def test_epoll_objects(self) -> None:
        run(
            """
            import select, socket
            left, right = socket.socketpair()
            epoll = select.epoll()
            epoll.register(left, select.EPOLLIN)
            import greenify
            greenify.patch_all()
            import threading, time
            threading.Timer(0.1, right.send, (b"x",)).start()
            start = time.monotonic()
            assert epoll.poll(10) == [(left.fileno(), select.EPOLLIN)]
            assert time.monotonic() - start < 5
            """
        )

    def test_poll_objects_are_named(self) -> None:
        result = run(
            """
            import select, warnings
            poll = select.poll()
            import greenify
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                greenify.patch_all()
            print(caught[0].message)
            """
        )
        assert "select.poll at __main__.poll: which cannot be converted" in result.stdout

    def test_selectors(self) -> None:
        run(
            """
            import selectors, socket
            left, right = socket.socketpair()
            made = [selectors.DefaultSelector(), selectors.PollSelector(), selectors.SelectSelector()]
            for selector in made: selector.register(left, selectors.EVENT_READ)
            import greenify
            greenify.patch_all()
            import threading
            for selector in made:
                threading.Timer(0.05, right.send, (b"x",)).start()
                assert [key.fileobj for key, _ in selector.select(10)] == [left]
                left.recv(1)
            """
        )

    def test_mocked_function(self) -> None:
        run(
            """
            import time
            from unittest import mock
            import greenify
            with mock.patch("socket.getaddrinfo"):
                greenify.patch_all(only="time")
            with mock.patch("time.sleep") as sleep:
                time.sleep(100)
                sleep.assert_called_once_with(100)
            greenify.restore()
            """
        )

    def test_frozen_heap(self, app: Path) -> None:
        run(
            """
            import app, gc, greenify, threading, time
            gc.freeze()
            greenify.patch_all()
            assert app.sleep is time.sleep
            assert type(app.worker.mutex) is type(threading.Lock())
            """,
            app,
        )

    def test_looks_at_the_heap_a_few_times_only(self, app: Path) -> None:
        # Each look costs a fraction of a millisecond per 10,000 objects: see references.py.
        result = run(
            """
            import app, gc, greenify, greenify.patches
            for name in greenify.ORDER: greenify.patches._load(name)
            looks = []
            plain = gc.get_referrers
            def get_referrers(*things):
                looks.append(len(things))
                return plain(*things)
            gc.get_referrers = get_referrers
            greenify.patch_all()
            print(len(looks))
            """,
            app,
        )
        assert 1 <= int(result.stdout) <= 4


class TestEnd:
    def test_process_ends(self) -> None:
        # The interpreter waits for the locks of its threads, the main one's among them.
        run("import threading, greenify\ngreenify.patch_all()")
        run("import threading, greenify\ngreenify.patch_all()\ngreenify.restore()")
