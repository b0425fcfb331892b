"""What a time-out or a kill shows: the program's own frames, down to the call that waited."""

from __future__ import annotations

import re
import sys

import pytest

from tests.support import run_python

CODE = """
    import logging, sys, traceback
    import greenify
    if sys.argv[1] == "patched":
        greenify.patch_all()
    import queue, socket, threading, time

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    events = greenify.Event(), greenify.Queue(), greenify.Lock()
    events[2].acquire()
    left, right = socket.socketpair()
    calls = [greenify.sleep, events[0].wait, events[1].get, events[2].acquire]
    if sys.argv[1] == "patched":
        lock = threading.Lock()
        lock.acquire()
        calls += [time.sleep, threading.Event().wait, queue.Queue().get, lock.acquire]
    arguments = {greenify.sleep: (100,), time.sleep: (100,)}

    def waits(call):
        call(*arguments.get(call, ()))

    def show(title):
        print(title)
        traceback.print_exc(file=sys.stdout)

    for call in calls:
        try:
            with greenify.Timeout(0.001):
                waits(call)
        except greenify.Timeout:
            show("with")
        try:
            with greenify.Timeout(0.001, KeyError("own")):
                waits(call)
        except KeyError:
            show("own exception")
        timeout = greenify.Timeout(0.001)
        timeout.start()
        try:
            try:
                waits(call)
            finally:
                timeout.cancel()
        except greenify.Timeout:
            show("start and cancel")
        for error in (greenify.TaskExit, ValueError("killed")):
            task = greenify.spawn(waits, call)
            greenify.sleep(0)
            task.kill(error)
            task.join()
            try:
                task.result
            except BaseException:
                show("task")
    left.close()
    right.close()
"""

OURS = re.compile(r'File ".*/greenify/(?:core|green|[a-z_]+\.py).*')


def shown(*args: str, options: tuple[str, ...] = ()) -> str:
    return run_python(CODE, *args, greenify=False, check=True, options=options).stdout


def test_ends_in_the_programs_code() -> None:
    for which, calls in (("unpatched", 4), ("patched", 8)):
        text = shown(which)
        assert text.count("in waits\n") == 6 * calls, text  # the log has one more of each kill
        ours = [line for line in OURS.findall(text) if not line.endswith("in result")]
        assert ours == []


def test_development_mode_shows_all() -> None:
    assert "hub.next().switch()" in shown("unpatched", options=("-X", "dev"))


def test_errors_of_the_programs_keep_theirs() -> None:
    # An error that has only happened within a time-out, or in a task, is shown whole below the program.
    code = """
        import traceback, sys, greenify

        def work():
            greenify.Channel(-1)

        def fails(call):
            try:
                call()
            except ValueError:
                traceback.print_exc(file=sys.stdout)

        def limited():
            with greenify.Timeout(10):
                work()

        fails(limited)
        task = greenify.spawn(work)
        task.join()
        fails(lambda: task.result)
    """
    done = run_python(code, greenify=False, check=True)
    assert done.stdout.count("channel.py") == 2, done.stdout


INSIDE = """
    import os, sys, traceback
    import greenify
    PATCHED = sys.argv[1] == "patched"
    if PATCHED:
        greenify.patch_all()
    import queue, socket, threading, time

    lock, reentrant, condition = threading.Lock(), threading.RLock(), threading.Condition()
    condition.acquire()
    lock.acquire()
    threading.Thread(target=reentrant.acquire).start()
    left, right = socket.socketpair()
    reading, writing = os.pipe()
    # In C, natively.
    C = {
        "sleep": lambda: time.sleep(100),
        "sleep(0)": lambda: [time.sleep(0) for _ in iter(int, 1)],
        "greenify.sleep": lambda: greenify.sleep(100),
        "lock": lambda: lock.acquire(),
        "lock, limited": lambda: lock.acquire(timeout=100),
        "with lock": lambda: lock.__enter__(),
        "RLock": lambda: reentrant.acquire(),
        "RLock, limited": lambda: reentrant.acquire(timeout=100),
    }
    PYTHON = {
        "Event": lambda: threading.Event().wait(),
        "Event, limited": lambda: threading.Event().wait(100),
        "Condition": lambda: condition.wait(),
        "Queue": lambda: queue.Queue().get(),
        "recv": lambda: left.recv(1),
        "recvfrom": lambda: left.recvfrom(1),
        "read": lambda: os.read(reading, 1),
    }
    def inside(name, call):
        try:
            call()
        except BaseException as exc:
            print("==", name, type(exc).__name__)
            print("".join(traceback.format_exception(exc)))
    def limited(name, call):
        try:
            with greenify.Timeout(0.001):
                inside(name, call)
        except greenify.Timeout:
            pass

    for kind, calls in ("C", C), ("PYTHON", PYTHON):
        print("=====", kind)
        for name, call in calls.items():
            task = greenify.spawn(inside, name, call)
            greenify.sleep(0)
            task.kill()
            task.join()
            task = greenify.spawn(limited, name, call)
            task.join()
    # A handler's frames are the program's.
    import signal
    def handler(*args):
        raise KeyError("from the handler")
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    print("===== handler")
    try:
        time.sleep(100)
    except KeyError:
        traceback.print_exc(file=sys.stdout)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="CPython 3.10 raises again with the old traceback"
)
def test_seen_from_inside() -> None:
    # By the code that is interrupted, before it has ended.
    text = run_python(INSIDE, "patched", greenify=False, check=True).stdout
    _, in_c, in_python, handler = re.split(r"===== .*\n", text)
    assert in_c.count("==") == 16 and in_python.count("==") == 14, text
    assert OURS.findall(in_c) == []
    assert "/greenify/core/" not in in_python
    assert "in handler" in handler and handler.count("File") >= 2, handler
    assert "/greenify/core/waiters.py" not in handler and "/greenify/green/time.py" not in handler

    shown_whole = run_python(
        INSIDE, "patched", greenify=False, check=True, options=["-X", "dev"]
    ).stdout
    assert "hub.next().switch()" in shown_whole
