"""Code that runs while the interpreter is finalised, when greenlet tells nobody apart any more."""

from __future__ import annotations

import pytest

from tests.support import Mode, run_python

CODE = """
    import logging, queue, sys, threading

    logging.basicConfig(format="%(threadName)s: %(message)s")

    class Finalised:
        def __init__(self):
            self.lock = threading.RLock()
            self.condition = threading.Condition()
            self.event = threading.Event()
            self.queue = queue.Queue()
            self.simple = queue.SimpleQueue()
            self.local = threading.local()
            self.local.name = "mine"
            self.ident = threading.get_ident()
            # They are gone from their modules by then.
            self.get_ident, self.current, self.log = (
                threading.get_ident, threading.current_thread, logging.warning
            )

        def __del__(self):
            print("finalising")
            with self.lock, self.lock:
                print("lock")
            with self.condition:
                self.condition.notify_all()
            self.event.set()
            print("event", self.event.wait(1))
            for each in (self.queue, self.simple):
                each.put("item")
                print("queue", each.get())
            print("local", self.local.name)
            print("ident", self.get_ident() == self.ident, self.current().name)
            self.log("logged")

    kept = Finalised()
    print("end of main")
"""


@pytest.mark.parametrize("mode", [False, True, "patch_all"])
def test_locks_queues_and_identity(mode: Mode) -> None:
    done = run_python(CODE, greenify=mode, check=True)
    assert done.stderr == "MainThread: logged\n"
    assert done.stdout.splitlines() == [
        "end of main",
        "finalising",
        "lock",
        "event True",
        "queue item",
        "queue item",
        "local mine",
        "ident True MainThread",
    ]


@pytest.mark.parametrize("mode", [False, True])
def test_logging_handler_that_outlives_the_modules(mode: Mode) -> None:
    """The logging module takes its lock in a callback of a weak reference to the handler."""
    done = run_python("import logging; kept = logging.StreamHandler()", greenify=mode, check=True)
    assert done.stderr == ""


WAITING = """
    import builtins, os, queue, socket, subprocess, threading, time
    import greenify  # the control run has it imported, too

    class Waits:
        def __init__(self, hub):
            self.lock = threading.Lock()
            self.condition = threading.Condition()
            self.event = threading.Event()
            self.queue = queue.SimpleQueue()
            self.left, self.right = socket.socketpair()
            self.left.settimeout(0.01)
            self.sleep, self.clock = time.sleep, time.monotonic
            self.empty = queue.Empty
            if hub:
                time.sleep(0.001)

        def __del__(self):
            start = self.clock()
            self.sleep(0.02)
            self.sleep(0)
            print("slept", self.clock() - start >= 0.02)
            self.lock.acquire()
            print("lock", self.lock.acquire(timeout=0.01))
            with self.condition:
                print("condition", self.condition.wait(0.01))
            print("event", self.event.wait(0.01))
            try:
                self.queue.get(timeout=0.01)
            except self.empty:
                print("queue empty")
            try:
                self.left.recv(1)
            except TimeoutError:
                print("socket")
            self.left.close()
            self.right.close()

    builtins.kept = Waits({hub})
    print("end of main")
"""


@pytest.mark.parametrize("hub", [False, True], ids=["without a hub", "with a hub"])
@pytest.mark.parametrize("mode", [False, True, "patch_all"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_waiting(mode: Mode, hub: bool, unbuffered: str) -> None:
    """Nobody else runs any more: whoever waits blocks, as without the patch, until its time is up."""
    env = {"PYTHONUNBUFFERED": unbuffered}
    done = run_python(WAITING.format(hub=hub), greenify=mode, check=True, env=env)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "end of main",
        "slept True",
        "lock False",
        "condition False",
        "event False",
        "queue empty",
        "socket",
    ]
