"""Threads of libraries that live in C: native, and otherwise threads as the program's others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.green._foreign.foreign import run

PACKAGE = """
import threading

class Own(threading.Thread):
    pass

def start(target, *args, daemon=None):
    thread = threading.Thread(target=target, args=args, daemon=daemon)
    thread.start()
    return thread

def work(function):
    return function()
"""

READY = """
import sys
sys.path.insert(0, sys.argv[1])
from greenify.green._foreign import library_threads
import library, library.inner
from functools import partial
main = native.get_ident()
found = []
def note():
    found.append((native.get_ident() != main, threading.current_thread().name))
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "library" / "inner.py").write_text(PACKAGE)
    return str(tmp_path)


def check(folder: str, code: str) -> str:
    import textwrap

    from tests.green._foreign import foreign
    from tests.support import run_python

    program = foreign.READY + textwrap.dedent(READY) + textwrap.dedent(code)
    result = run_python(program, folder, greenify=False, check=True)
    assert result.stderr == "", result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("start", "is_native"),
    [
        ("library.start(note)", True),
        ("library.inner.start(note)", True),
        ("library.Own(target=note)", True),
        ("threading.Thread(target=library.work, args=(note,))", True),
        ("threading.Thread(target=partial(library.inner.work, note))", True),
        ("threading.Thread(target=note)", False),
    ],
)
def test_which_ones(folder: str, start: str, is_native: bool) -> None:
    check(
        folder,
        f"""
        library_threads.add("library")
        thread = {start}
        if not thread.ident:
            thread.start()
        thread.join(LONG)
        assert found == [({is_native}, thread.name)], found
        library_threads.remove("library")
        found.clear()
        thread = {start}
        if not thread.ident:
            thread.start()
        thread.join(LONG)
        assert found == [(False, thread.name)], found
        """,
    )


def test_a_longer_name_is_another_package(folder: str) -> None:
    check(
        folder,
        """
        library_threads.add("libr"); library_threads.add("library.inner")
        library.start(note).join(LONG)
        library.inner.start(note).join(LONG)
        assert [native for native, name in found] == [False, True]
        """,
    )


def test_green_threads_join_it_and_go_on(folder: str) -> None:
    check(
        folder,
        """
        library_threads.add("library")
        gate = Gate()
        thread = library.start(gate.wait)
        until(lambda: gate.begun)
        assert thread.is_alive() and thread in threading.enumerate()
        thread.join(0.001)
        assert thread.is_alive()
        ticks = []
        def open():
            ticks.append(1)
            gate.open()
        opener = start(open)
        thread.join(LONG)     # cooperatively, or nobody would open
        assert not thread.is_alive() and thread not in threading.enumerate()
        opener.join(LONG)
        """,
    )


def test_locks_events_and_queues_work_between(folder: str) -> None:
    check(
        folder,
        """
        import queue
        from concurrent.futures import Future
        library_threads.add("library")
        asked, answers, event, future = queue.Queue(), queue.SimpleQueue(), threading.Event(), Future()
        condition = threading.Condition()
        def serve():
            for item in iter(asked.get, None):
                answers.put(item + 1)
            assert event.wait(LONG)
            future.set_result(threading.get_ident())
        thread = library.start(serve)
        for number in range(50):
            asked.put(number)
            assert answers.get(timeout=LONG) == number + 1
        asked.put(None)
        event.set()
        assert future.result(LONG) == thread.ident != threading.get_ident()
        thread.join(LONG)
        """,
    )


def test_what_it_starts_for_the_user_is_green(folder: str) -> None:
    check(
        folder,
        """
        from concurrent.futures import ThreadPoolExecutor
        library_threads.add("library")
        with ThreadPoolExecutor(2) as pool:
            library.start(lambda: pool.submit(note).result(LONG)).join(LONG)
        assert [native for native, name in found] == [False]
        """,
    )


def test_the_programs_end_waits_unless_it_is_a_daemon(folder: str) -> None:
    out = check(
        folder,
        """
        library_threads.add("library")
        lock = native.allocate_lock()
        lock.acquire()
        library.start(lock.acquire, daemon=True)
        def last():
            native_sleep(0.05)
            print("ended")
        library.start(last, daemon=False)
        """,
    )
    assert out == "ended\n"


def test_an_error_is_reported_as_any_threads(folder: str) -> None:
    check(
        folder,
        """
        library_threads.add("library")
        errors = []
        threading.excepthook = lambda args: errors.append((args.exc_type, args.thread))
        def fail():
            raise KeyError
        thread = library.start(fail)
        thread.join(LONG)
        assert errors == [(KeyError, thread)]
        """,
    )


def test_a_forked_child_does_not_have_it(folder: str) -> None:
    check(
        folder,
        """
        import warnings
        library_threads.add("library")
        gate = Gate()
        thread = library.start(gate.wait)
        until(lambda: gate.begun)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from CPython 3.12 on, as with threads
            pid = os.fork()
        if pid == 0:
            assert not thread.is_alive() and threading.enumerate() == [threading.main_thread()]
            library.start(note).join(LONG)
            assert found[0][0]
            os._exit(7)
        assert os.waitpid(pid, 0)[1] == 7 << 8
        gate.open()
        thread.join(LONG)
        """,
    )


def test_nothing_is_asked_while_no_package_is_named() -> None:
    run("""
from greenify.green._foreign import library_threads
library_threads.wanted = None   # would fail if it were called
start(int).join(LONG)
""")
