"""11. Garbage collection: finalisers that lock, close and put, at any moment."""

from __future__ import annotations

import textwrap

import pytest

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode

# A finaliser runs wherever the collector happens to: in the middle of any wait, of the hub's own code, of a
# patched call.  These programs make it run as often as possible (a threshold of 1: at every allocation).
SET_UP = """
import gc, queue, socket, subprocess, sys, time, weakref

class Garbage:
    "Part of a cycle, so that only the collector frees it."
    def __init__(self, finalise):
        self.finalise, self.cycle = finalise, self
    def __del__(self):
        self.finalise()

def litter(finalise, stop):
    while not stop.is_set():
        Garbage(finalise)
        time.sleep(0)

class often:
    def __enter__(self):
        self.before = gc.get_threshold()
        gc.set_threshold(1)
    def __exit__(self, *exc_info):
        gc.set_threshold(*self.before)
        gc.collect()

def traffic():
    "A bit of everything that waits."
    jobs, answers = queue.Queue(2), queue.SimpleQueue()
    lock, condition = threading.Lock(), threading.Condition()
    one, other = socket.socketpair()
    def echo():
        for item in iter(jobs.get, None):
            with lock:
                answers.put(item)
            other.sendall(b"x")
    def work():
        for number in range(40):
            jobs.put(number)
            assert answers.get() == number
            assert one.recv(1) == b"x"
            with condition:
                condition.wait(0.0001)
        jobs.put(None)
    for call in [Call(echo), Call(work)]:
        call.result()
    one.close(), other.close()
"""


def run(code: str, mode: Mode) -> str:
    return check(SET_UP + textwrap.dedent(code), mode)


FINALISERS = {
    "lock": """
shared = threading.Lock()
def finalise():
    if shared.acquire(timeout=0.0001):
        ran.append(1)
        shared.release()
""",
    "rlock": """
shared = threading.RLock()
def finalise():
    with shared:
        ran.append(1)
""",
    "socket": """
def finalise():
    one, other = socket.socketpair()
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    one.close(), other.close()
    ran.append(1)
""",
    "queue": """
# As the documentation of `queue` has it: a SimpleQueue's put is re-entrant.
left = queue.SimpleQueue()
def finalise():
    left.put("finalised")
    ran.append(1)
""",
    "event": """
event = threading.Event()
def finalise():
    event.set()
    event.wait()
    time.sleep(0)
    ran.append(1)
""",
    "thread": """
def finalise():
    if len(ran) < 20:
        threading.Thread(target=ran.append, args=(1,)).start()
""",
    "logging": """
import io, logging
logging.basicConfig(stream=io.StringIO())
def finalise():
    logging.warning("finalised")
    ran.append(1)
""",
    "pipe": """
import os
def finalise():
    r, w = os.pipe()
    with open(r, "rb") as reader, open(w, "wb") as writer:
        writer.write(b"x")
        writer.flush()
        assert reader.read(1) == b"x"
    ran.append(1)
""",
}


class TestFinalisers:
    @pytest.mark.parametrize("finaliser", FINALISERS.values(), ids=FINALISERS)
    @BOTH
    def test_in_the_middle_of_traffic(self, finaliser: str, mode: Mode) -> None:
        code = """
        stop = threading.Event()
        with often():
            litterer = Call(litter, finalise, stop)
            traffic()
            while not ran:
                time.sleep(0.001)
            stop.set()
            litterer.result()
        """
        # What a finaliser raises is printed on standard error, which has to stay empty.
        run("ran = []\n" + finaliser + textwrap.dedent(code), mode)

    @BOTH
    def test_lock_that_a_waiting_thread_holds(self, mode: Mode) -> None:
        """The finaliser waits until the other thread lets go, wherever it runs: even if nobody else is there."""
        code = """
        lock, held, release = threading.Lock(), threading.Event(), threading.Event()
        def hold():
            with lock:
                held.set()
                release.wait()
        holder = Call(hold)
        held.wait()
        order = []
        def finalise():
            order.append("waits")
            with lock:
                order.append("has it")
        gc.disable()  # or the timer's thread may be the one that collects, and waits for itself
        Garbage(finalise)
        releaser = threading.Timer(0.02, release.set)
        releaser.start()
        gc.collect()
        assert order == ["waits", "has it"]
        holder.result()
        releaser.join()
        """
        run(code, mode)

    @BOTH
    def test_what_was_dropped_is_closed(self, mode: Mode) -> None:
        """Sockets, files and processes that nobody holds any more are closed: the other end sees it."""
        code = """
        import warnings
        warnings.simplefilter("ignore", ResourceWarning)
        import os
        def dropped(make):
            r, w = make()
            about_to = threading.Event()
            def read():
                about_to.set()
                return r.recv(1) if hasattr(r, "recv") else r.read(1)
            reader = Call(read)
            about_to.wait()
            cycle = [w]
            cycle.append(cycle)
            del w, cycle
            gc.collect()
            assert reader.result() == b""
            r.close()
        def pipe():
            r, w = os.pipe()
            return open(r, "rb"), open(w, "wb")
        dropped(socket.socketpair)
        dropped(pipe)
        dropped(lambda: (lambda a, b: (a, b.makefile("wb")))(*socket.socketpair()))
        """
        run(code, mode)

    @BOTH
    def test_thread_objects_are_freed(self, mode: Mode) -> None:
        code = """
        class Data:
            pass
        def work(data):
            time.sleep(0.001)
        gone = []
        for _ in range(50):
            data = Data()
            gone.append(weakref.ref(data))
            thread = threading.Thread(target=work, args=(data,))
            gone.append(weakref.ref(thread))
            thread.start()
            thread.join()
        del data, thread
        gc.collect()
        # The last one may still be on its way out.
        time.sleep(0.01)
        assert sum(ref() is not None for ref in gone) <= 2, gone
        """
        run(code, mode)

    @ALL
    def test_weak_references_and_callbacks(self, mode: Mode) -> None:
        code = """
        jobs = queue.SimpleQueue()
        class Thing:
            pass
        def drop():
            for _ in range(100):
                thing = Thing()
                weakref.finalize(thing, jobs.put, "gone")
                del thing
                time.sleep(0)
        call = Call(drop)
        assert [jobs.get() for _ in range(100)] == ["gone"] * 100
        call.result()
        """
        run(code, mode)
