"""What the programs of this folder share: a patched process, and calls that wait on native threads."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.support import run_python

READY = """
import greenify
greenify.patch_all()
import _thread, contextvars, gc, os, signal, sys, threading, time, weakref
from greenify.green._foreign import (
    NOT_YET, OwnThread, compute, hand_over, own_thread, run_back, try_again)
from greenify.core.native import own_threads

native = greenify.original("_thread")
native_sleep = greenify.original("time").sleep
LONG = 20.0

def until(condition):
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, condition
        time.sleep(0.001)

class Gate:
    '''A native lock that a call in C, or as good as in C, waits for.'''
    def __init__(self):
        self.lock = native.allocate_lock()
        self.lock.acquire()
        self.begun = []
    def wait(self, value=None):
        self.begun.append(value)
        assert self.lock.acquire(True, LONG)
        return value
    def open(self):
        self.lock.release()

def start(function, *args, **kwargs):
    thread = threading.Thread(target=function, args=args, kwargs=kwargs)
    thread.start()
    return thread
"""

#: For programs of `tests.green.programs` that are patched: from ``hold()`` on, each call that is handed over
#: holds still on its native thread until another green thread has gone on, so that neither a clock nor an end
#: of a time slice has to do with it.  ``ticked`` says how far that one has come each time.
HELD = """
    import greenify
    from greenify.core.workers import Workers

    counts = [0]
    def count():
        while True:
            counts[0] += 1
            time.sleep(0.001)
    threading.Thread(target=count, daemon=True).start()
    ticked = []
    submit, native_sleep = Workers._submit, greenify.original("time").sleep
    def held(pool, job):
        function = job.function
        def call(*args, **kwargs):
            before, limit = counts[0], time.monotonic() + LONG
            while counts[0] < before + 3 and time.monotonic() < limit:
                native_sleep(0.001)
            ticked.append(counts[0] - before)
            return function(*args, **kwargs)
        job.function = call
        submit(pool, job)
    def hold():
        Workers._submit = held
"""


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in a patched process; it has to succeed and to say nothing on standard error."""
    result = run_python(READY + code, greenify=False, check=True, **options)
    assert result.stderr == "", result.stderr
    return result
