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
