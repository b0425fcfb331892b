"""Calls that wait in C, one after the other: the others run between them, and nothing else is disturbed."""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode, run_python

READY = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    def native_tasks():
        return sorted(os.listdir("/proc/self/task"))

    def until(condition):
        limit = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < limit, "it has not come to be"
            time.sleep(0.001)
"""


@pytest.mark.smoke
@both_modes
def test_the_others_run_between_the_calls(mode: Mode) -> None:
    run(
        READY
        + """
    ticks = []
    waits = [0]
    def wait():
        while len(ticks) < 10:
            libc.usleep(30_000)
            waits[0] += 1
            assert waits[0] < 500
    def tick():
        while len(ticks) < 10:
            time.sleep(0.001)
            ticks.append(waits[0])
    threads = [Thread(wait), Thread(tick)]
    for thread in threads:
        thread.end()
    """,
        mode,
    )


@both_modes
def test_in_the_main_thread(mode: Mode) -> None:
    run(
        READY
        + """
    done = []
    thread = Thread(lambda: (time.sleep(0.01), done.append(1)))
    waits = 0
    while not done:
        libc.usleep(30_000)
        waits += 1
        assert waits < 500
    """,
        mode,
    )


@both_modes
def test_no_system_call_is_interrupted(mode: Mode) -> None:
    # libc gives EINTR to its caller, as C libraries do that know nothing of Python.
    run(
        READY
        + """
    stop = []
    def tick():
        while not stop:
            time.sleep(0.001)
    thread = Thread(tick)
    interrupted = 0
    for _ in range(10):
        interrupted += libc.poll(None, 0, 40) != 0
        interrupted += libc.usleep(20_000) != 0
    stop.append(1)
    thread.end()
    # The timer of the slices counts the little that is computed between the calls (docs/limits.md).
    assert interrupted <= (2 if PATCHED else 0), interrupted
    """,
        mode,
    )


def test_no_switch_in_the_middle_of_a_call_back_into_greenify() -> None:
    run(
        READY
        + """
    # A handler that comes while a lock is being taken is not a place to switch: the count stays right.
    lock, counter = threading.Lock(), [0]
    def work():
        for _ in range(5):
            libc.usleep(15_000)
            for _ in range(2000):
                with lock:
                    value = counter[0]
                    counter[0] = value + 1
    threads = [Thread(work) for _ in range(3)]
    for thread in threads:
        thread.end()
    assert counter == [30_000]
    """,
        "patch_all",
    )


def test_an_idle_process_is_not_woken() -> None:
    run(
        READY
        + """
    import greenify
    native_sleep = greenify.original("time").sleep
    end = threading.Event()
    threads = [Thread(end.wait) for _ in range(3)]
    found = []
    def switches():
        counts = []
        for task in native_tasks():
            if int(task) != threading.get_native_id():
                with open(f"/proc/self/task/{task}/status") as file:
                    counts += [(task, line) for line in file if line.startswith("voluntary")]
        return counts
    def watch():
        # On a native thread, while the hub sleeps: its thread, and the one that looks at it.
        for _ in range(200):
            before = switches()
            native_sleep(0.2)
            if before == switches():
                found.append(len(before))
                break
    greenify.run_in_thread(watch)
    assert found and found[0] >= 2, found
    # And when the hub wakes, it looks again.
    done = []
    thread = Thread(lambda: (time.sleep(0.01), done.append(1)))
    waits = 0
    while not done:
        libc.usleep(30_000)
        waits += 1
        assert waits < 500
    end.set()
    """,
        "patch_all",
    )


def test_it_ends_with_the_last_green_thread_and_comes_with_the_next() -> None:
    run(
        READY
        + """
    from greenify.core.native import own_threads
    for _ in range(3):
        end = threading.Event()
        thread = Thread(end.wait)
        time.sleep(0)
        assert len(native_tasks()) == 2
        assert threading.active_count() == 2
        end.set()
        thread.end()
        until(lambda: len(native_tasks()) == 1)
    """,
        "patch_all",
    )


def test_a_fork_finds_no_native_thread() -> None:
    # From CPython 3.12 on it would warn of it.
    run(
        READY
        + """
    end = threading.Event()
    thread = Thread(end.wait)
    time.sleep(0)
    for _ in range(20):
        assert len(native_tasks()) == 2
        pid = os.fork()
        if pid == 0:
            done = []
            assert len(native_tasks()) == 1
            Thread(lambda: (time.sleep(0.001), done.append(1)))
            for _ in range(500):
                if done:
                    os._exit(7)
                libc.usleep(30_000)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 7 << 8
    end.set()
    thread.end()
    """,
        "patch_all",
        timeout=120,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("case", ["a slice ends in it", "the native thread imports"])
def test_a_forks_hooks_and_the_native_thread(case: str) -> None:
    # A hook from before greenify's import is the last to run before the fork: here slices end in it.
    result = run_python(
        """
        import os, sys, time

        counted = []
        def hook():
            if watched:
                end = time.process_time() + 0.1
                while time.process_time() < end:
                    pass
                counted.append(len(os.listdir("/proc/self/task")))

        watched = False
        os.register_at_fork(before=hook)
        import greenify
        greenify.patch_all()
        import threading
        from greenify import core
        from greenify.core import ticker

        class Looker:
            tick = ticker.TICK
            def look(self, turns, still, due):
                pass
            def wakes(self, now):
                pass
            def idle(self):
                pass
            def asleep(self):
                # Called at the end of the thread, too.
                if watched:
                    import colorsys

        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        time.sleep(0)
        if "imports" in sys.argv[1]:
            ticker.attach(core.get_hub(), Looker())
        assert "colorsys" not in sys.modules
        watched = True
        pid = os.fork()
        if not pid:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert counted == [1], counted
        assert ("colorsys" in sys.modules) == ("imports" in sys.argv[1])
        end.set()
        """,
        case,
        greenify=False,
        check=True,
    )
    assert result.stderr == ""


def test_the_programs_end_does_not_wait_for_it() -> None:
    run(READY + "    Thread(time.sleep, LONG * 10)\n    time.sleep(0)\n", "patch_all")


def test_count_does_not_count_it() -> None:
    run(
        READY
        + """
    import _thread
    end = threading.Event()
    threads = [Thread(end.wait) for _ in range(3)]
    until(lambda: len(native_tasks()) == 2)
    until(lambda: _thread._count() == 3)
    end.set()
    """,
        "patch_all",
    )
