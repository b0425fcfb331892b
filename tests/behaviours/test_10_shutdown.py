"""10. Shutdown: what runs at the end, in which order, with which exit code, as with threads."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.behaviours.scenario import PRELUDE, check
from tests.support import Mode, run_python

# Each is run with real threads, and has to end in the same way under greenify: exit code, standard output
# and (but for addresses) standard error.
SCENARIOS = {
    "daemon threads are left behind": """
        import time
        def run():
            try:
                time.sleep(1000)
            finally:
                print("never")
        for _ in range(3):
            threading.Thread(target=run, daemon=True).start()
        print("end of main")
        """,
    "daemon thread that is busy": """
        import time
        started = threading.Event()
        def run():
            started.set()
            while True:
                time.sleep(0)
        threading.Thread(target=run, daemon=True).start()
        started.wait()
        """,
    "non-daemon threads are waited for": """
        import time
        ended = threading.Event()
        def late():
            ended.wait()
            print("second")
        def early():
            time.sleep(0.02)
            print("first")
            ended.set()
        threading.Thread(target=late).start()
        threading.Thread(target=early).start()
        print("end of main")
        """,
    "threads started by threads at the end": """
        import time
        def run(depth):
            time.sleep(0.001)
            print(depth)
            if depth:
                threading.Thread(target=run, args=(depth - 1,)).start()
        threading.Thread(target=run, args=(3,)).start()
        """,
    "atexit runs after the threads": """
        import atexit, time
        lock = threading.Lock()
        def last(name):
            with lock:
                time.sleep(0.001)
                print("atexit", name)
        atexit.register(last, "first registered")
        atexit.register(last, "second registered")
        threading.Thread(target=lambda: (time.sleep(0.01), print("thread"))).start()
        """,
    "atexit raises": """
        import atexit
        atexit.register(lambda: 1 / 0)
        atexit.register(print, "other")
        """,
    "sys.exit in main": """
        import sys, time
        threading.Thread(target=lambda: (time.sleep(0.01), print("thread ends"))).start()
        sys.exit(7)
        """,
    "sys.exit with a message": """
        import sys
        sys.exit("message")
        """,
    "sys.exit in a thread ends the thread": """
        import sys
        thread = threading.Thread(target=sys.exit, args=(7,))
        thread.start()
        thread.join()
        print("main goes on")
        """,
    "exception in main": """
        import time
        threading.Thread(target=lambda: (time.sleep(0.01), print("thread ends"))).start()
        raise ValueError("main")
        """,
    "exception in a thread": """
        def fail():
            raise ValueError("thread")
        thread = threading.Thread(target=fail, name="Failing")
        thread.start()
        thread.join()
        print("main goes on")
        """,
    "excepthook": """
        import sys
        threading.excepthook = lambda args: print(args.exc_type.__name__, args.thread.name)
        sys.excepthook = lambda kind, value, traceback: print("main:", value)
        thread = threading.Thread(target=lambda: 1 / 0, name="Failing")
        thread.start()
        thread.join()
        raise ValueError("value")
        """,
    "KeyboardInterrupt in a thread": """
        def interrupt():
            raise KeyboardInterrupt
        thread = threading.Thread(target=interrupt)
        threading.excepthook = lambda args: print(args.exc_type.__name__)
        thread.start()
        thread.join()
        print("main goes on")
        """,
    "interrupt_main": """
        import _thread, time
        thread = threading.Thread(target=_thread.interrupt_main)
        try:
            thread.start()
            time.sleep(1000)
        except KeyboardInterrupt:
            print("interrupted")
        thread.join()
        """,
    "os._exit in a thread": """
        import os, sys
        def leave():
            print("leaving", flush=True)
            os._exit(5)
        threading.Thread(target=leave).start()
        threading.Event().wait()
        """,
    "output without a newline is flushed": """
        import sys
        print("out", end="")
        print("err", end="", file=sys.stderr)
        threading.Thread(target=print, args=(" thread",), kwargs={"end": ""}).start()
        """,
    "pool without shutdown": """
        from concurrent.futures import ThreadPoolExecutor
        import time
        pool = ThreadPoolExecutor(1)
        for number in range(4):
            pool.submit(lambda number=number: (time.sleep(0.001 * number), print(number, flush=True)))
        """,
    "thread that waits for main's end": """
        def wait():
            threading.main_thread().join()
            print("main has ended:", not threading.main_thread().is_alive())
        threading.Thread(target=wait).start()
        """,
    "timer": """
        timer = threading.Timer(0.01, print, ("timer",))
        timer.start()
        cancelled = threading.Timer(1000, print, ("never",))
        cancelled.start()
        cancelled.cancel()
        """,
    "daemon holds the lock that an atexit function wants": """
        import time
        held = threading.Event()
        lock = threading.Lock()
        def hold():
            with lock:
                held.set()
                time.sleep(1000)
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        import atexit
        atexit.register(lambda: print("free:", lock.acquire(timeout=0.01)))
        """,
    "server in a daemon thread": """
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        def serve():
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"hello")
        threading.Thread(target=serve, daemon=True).start()
        with socket.create_connection(listener.getsockname()) as client:
            print(client.recv(10))
        """,
    "recursion error and system exit from deep inside": """
        import sys
        def deep(n):
            if n:
                return deep(n - 1)
            sys.exit(3)
        deep(100)
        """,
}
if sys.version_info >= (3, 12):
    # From there on the interpreter refuses new threads, at some moment after the end of main.
    del SCENARIOS["threads started by threads at the end"]

# The socket of the server is never closed, on purpose.
LOUD = {"server in a daemon thread"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_as_with_threads(name: str) -> None:
    code = textwrap.dedent(SCENARIOS[name])
    if name in LOUD:
        code = "import warnings; warnings.simplefilter('ignore')\n" + code
    natively = outcome(code, False)
    # A check of the check: each scenario has something to say.
    assert natively[1] or natively[0] or natively[2] or "busy" in name
    assert outcome(code, True) == natively
    assert outcome(code, "patch_all") == natively


def outcome(code: str, mode: Mode) -> tuple[int, str, str]:
    result = run_python("import threading\n" + code, greenify=mode)
    return result.returncode, result.stdout, without_places(result.stderr)


def without_places(text: str) -> str:
    """Tracebacks without the frames' places: one mode has a line of its own, and functions have addresses."""
    import re

    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    lines = [line for line in text.splitlines() if not line.startswith((" ", "Traceback"))]
    return "\n".join(lines)


@pytest.mark.parametrize("mode", [False, True])
def test_broken_pipe_at_the_end(mode: Mode) -> None:
    """Whoever reads the output is gone: the exit code is that of every Python program."""
    import os
    import subprocess

    from tests.support import child_env, command_line

    r, w = os.pipe()
    os.close(r)
    code = textwrap.dedent(PRELUDE) + "Call(print, 'nobody reads this').result()\n"
    result = subprocess.run(
        command_line(code, greenify=mode),
        stdout=w,
        stderr=subprocess.PIPE,
        text=True,
        env=child_env({"PYTHONUNBUFFERED": ""}),
        timeout=60,
    )
    os.close(w)
    assert result.returncode == 120
    assert "BrokenPipeError" in result.stderr


def test_nothing_left_to_wait_for_is_no_end() -> None:
    """A main thread that waits for ever waits for ever: Ctrl-C is what ends it."""
    check(
        """
        import os, signal
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            threading.Lock().acquire() and threading.Event().wait()
        except KeyboardInterrupt:
            pass
        """,
        True,
    )
