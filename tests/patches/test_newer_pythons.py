"""What CPython 3.14 and 3.15 have brought works as with threads, where no other test is nearer to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode, run_python, running_python

since_314 = pytest.mark.skipif(sys.version_info < (3, 14), reason="new in CPython 3.14")

# Each waits for an asyncio task; `print` says that it has begun.
ASYNCIO_PROGRAM = """
import asyncio, os, threading, time
async def inner():
    print(os.getpid(), flush=True)
    await asyncio.Event().wait()
async def outer():
    async with asyncio.TaskGroup() as group:
        group.create_task(inner(), name="the inner one")
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
asyncio.run(outer())
"""


@since_314
@both_modes
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_asyncio_tools_see_the_tasks_of_a_process(mode: Mode, command: str) -> None:
    with running_python(ASYNCIO_PROGRAM, greenify=mode) as program:
        pid = program.readline().strip()
        # The task has printed before it waits: ask until it stands in the event's wait.
        for _ in range(50):
            found = subprocess.run(
                [sys.executable, "-m", "asyncio", command, pid],
                capture_output=True,
                text=True,
                timeout=60,
            )
            if "Event.wait" in found.stdout:
                break
        assert found.returncode == 0, found.stderr
        assert "the inner one" in found.stdout and "Task-1" in found.stdout, found.stdout


@since_314
@both_modes
def test_code_run_from_another_process(mode: Mode) -> None:
    """`sys.remote_exec` runs a script in the main thread, which waits for green threads now and then."""
    run(
        """
    import subprocess, sys, tempfile
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "script.py")
        with open(script, "w") as file:
            file.write("import __main__, threading\\n"
                       "__main__.found = threading.current_thread() is threading.main_thread()\\n"
                       "__main__.came.set()\\n")
        found = None
        came = threading.Event()
        asker = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])",
             str(os.getpid()), script])
        while not came.wait(0.01):
            assert asker.poll() in (None, 0)
        assert asker.wait(30) == 0
    assert found is True
    """,
        mode,
    )


@since_314
@both_modes
@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_workers_of_a_pool_are_ended(mode: Mode, how: str) -> None:
    run_python(
        f"""
        import signal, time
        from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
        import multiprocessing

        def main():
            pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver"))
            assert pool.submit(abs, -1).result() == 1
            (worker,) = pool._processes.values()
            future = pool.submit(time.sleep, 1000)
            while not future.running():  # else it is cancelled
                time.sleep(0.001)
            pool.{how}()
            try:
                future.result(30)
            except BrokenExecutor:
                pass
            else:
                raise AssertionError
            worker.join(30)
            # A pool that notices first ends its workers by itself, too.
            assert worker.exitcode in (-signal.SIGTERM, -signal.SIGKILL), worker.exitcode
        if __name__ == "__main__":
            main()
        """,
        greenify=mode,
        check=True,
    )


@pytest.mark.skipif(
    sys.version_info < (3, 14) or sys.platform != "linux",
    reason="forkserver is the default on Linux from CPython 3.14 on",
)
@both_modes
def test_pools_without_a_start_method(mode: Mode) -> None:
    run_python(
        """
        import multiprocessing, sys, threading
        from concurrent.futures import ProcessPoolExecutor
        def main():
            ticks = []
            stop = threading.Event()
            def tick():
                while not stop.wait(0.001):
                    ticks.append(1)
            thread = threading.Thread(target=tick)
            thread.start()
            with ProcessPoolExecutor(2) as pool:
                assert list(pool.map(pow, range(9), [2] * 9)) == [n * n for n in range(9)]
            with multiprocessing.Pool(2) as pool:
                assert pool.map(abs, range(-9, 0)) == [*range(9, 0, -1)]
            stop.set(); thread.join()
            assert multiprocessing.get_start_method() == "forkserver"
            assert ticks
        if __name__ == "__main__":
            main()
        """,
        greenify=mode,
        check=True,
    )


@since_314
@both_modes
def test_the_handle_of_a_threads_end(mode: Mode) -> None:
    run(
        """
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    assert not thread._os_thread_handle.is_done()
    thread.start()
    assert thread._os_thread_handle.ident == thread.ident and not thread._os_thread_handle.is_done()
    go.set()
    thread._os_thread_handle.join()
    assert thread._os_thread_handle.is_done() and not thread.is_alive()
    """,
        mode,
    )


def test_arguments_of_rlocks() -> None:
    """Refused from CPython 3.15 on, after a warning in 3.14."""
    same_output("""
    import _thread
    warnings.simplefilter("always")
    for make in (threading.RLock, _thread.RLock):
        for args, more in (((), {}), ((1,), {}), ((), {"blocking": 1})):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = outcome(make, *args, **more)
            print(args, more, found if isinstance(found, str) else "a lock", [str(w.message) for w in told])
    """)


def test_communicate_with_a_closed_stdin() -> None:
    same_output("""
    import subprocess
    for give in ((), (None,), (b"",), (b"more",)):
        for stderr in (None, subprocess.PIPE):
            child = subprocess.Popen([sys.executable, "-c", "print(1)"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=stderr)
            child.stdin.close()
            child.wait()
            print(give, outcome(child.communicate, *give))
            child.stdout.close()
            if stderr is not None:
                child.stderr.close()
    """)


def test_timeouts_of_simple_queues() -> None:
    """CPython 3.15 takes what can be made a float."""
    same_output("""
    from decimal import Decimal
    from fractions import Fraction
    class Float:
        def __float__(self): return 0.001
    class Index:
        def __index__(self): return 0
    values = [Float(), Index(), True, "1", b"1"]
    values += [Decimal("0.001"), Fraction(1, 1000), Decimal(-1), Decimal("NaN")]
    for value in values:
        print(outcome(queue.SimpleQueue().get, True, value))
    """)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="new in CPython 3.15")
@both_modes
def test_where_every_import_is_lazy(mode: Mode) -> None:
    run_python(
        """
        import queue, socket, sys, threading, time
        from concurrent.futures import ThreadPoolExecutor
        assert sys.get_lazy_imports() == "all"
        left, right = socket.socketpair()
        ticks = queue.Queue()
        with ThreadPoolExecutor(3) as pool:
            received = pool.submit(left.recv, 1)
            slept = pool.submit(time.sleep, 0.001)
            pool.submit(lambda: (ticks.put(1), right.send(b"x")))
            assert received.result(30) == b"x" and slept.result(30) is None
        assert ticks.get() == 1
        left.close(); right.close()
        """,
        greenify=mode,
        check=True,
        env={"PYTHON_LAZY_IMPORTS": "all"},
    )


@pytest.mark.skipif(sys.version_info < (3, 15), reason="new in CPython 3.15")
def test_a_programs_filter_of_lazy_imports_is_kept() -> None:
    run_python(
        """
        import sys
        asked = []
        sys.set_lazy_imports("all")
        sys.set_lazy_imports_filter(lambda importing, imported, names: asked.append((importing, imported)))
        import greenify
        greenify.Lock
        asked.clear()
        import wave, greenify.io
        assert ("__main__", "wave") in asked and ("__main__", "greenify.io") in asked, asked
        assert not [each for each in asked if each[0].startswith("greenify")]
        assert "wave" in sys.modules  # it has been refused
        """,
        greenify=False,
        check=True,
    )
