"""Finalisers that block, wake and close: the garbage collector calls them at any moment."""

from __future__ import annotations

import pytest

from tests.core.run import run

# A cycle that only the collector frees, whose finaliser calls `action()` in whatever greenlet is current.
CYCLES = """
import gc, os
from greenlet import getcurrent
from engine_child import *

hub = core.get_hub()
finalised = []
started = [0]

class Cycle:
    def __init__(self, action):
        self.action = action
        self.me = self
        started[0] += 1

    def __del__(self):
        self.action()
        finalised.append(getcurrent() is hub.greenlet)

def everywhere():
    # Makes garbage in the hub's own greenlet, too: in callbacks, in timers, and while it looks and sleeps.
    Cycle(action)
    hub.call_soon(Cycle, action)
    hub.call_soon(gc.collect, 0)
    hub.timers.add(time.monotonic(), Due())

class Due:
    def due(self):
        Cycle(action)
        gc.collect(0)
"""

LOAD = """
def ping(reader, writer, count):
    for _ in range(count):
        core.wait(reader, False)
        os.read(reader, 1)
        os.write(writer, b"x")
        if count % 5 == 0:
            everywhere()

def sleeper(count):
    for number in range(count):
        core.sleep(0.0005)
        everywhere()

gc.set_threshold(1)
jobs = []
for _ in range(3):
    a, b = pipe(), pipe()
    jobs += [spawn(ping, a[0], b[1], 60), spawn(ping, b[0], a[1], 60)]
    os.write(a[1], b"x")
jobs += [spawn(sleeper, 40) for _ in range(3)]
for job in jobs:
    job.join(20)
gc.set_threshold(700, 10, 10)
limit = later(10)
def finish():
    # What the last finalisers in the hub still wait for.
    while len(finalised) < started[0]:
        assert time.monotonic() < limit, (len(finalised), started)
        core.sleep(0.001)
        gc.collect()
finish()
# While one collection waits for its finalisers there is no other: some more in the hub itself.
while finalised.count(True) < 20:
    assert time.monotonic() < limit, finalised.count(True)
    hub.call_soon(Cycle, action)
    hub.call_soon(gc.collect, 0)
    core.sleep(0.001)
# Nothing is left to the end of the interpreter, where no thread can be started.
finish()
still_works()
before = time.process_time()
core.sleep(0.2)
assert time.process_time() - before < 0.1
assert hub.timers.pending() == 0
"""

ACTIONS = {
    "sleep": "def action():\n    core.sleep(0.0002)",
    "pause": "def action():\n    core.sleep(0)",
    "woken by a task": """
def action():
    waiter = core.new_waiter()
    spawn(waiter.wake)
    assert waiter.wait(later(10))
""",
    "woken by a callback": """
def action():
    waiter = core.new_waiter()
    hub.call_soon(waiter.wake)
    waiter.wait()
""",
    "woken by another thread": """
import _thread
def action():
    waiter = core.new_waiter()
    _thread.start_new_thread(waiter.wake, ())
    assert waiter.wait(later(10))
""",
    "descriptor": """
def action():
    reader, writer = pipe()
    hub.timers.add(later(0.0002), Write(writer))
    assert core.wait(reader, False, later(10))
    os.close(reader)
    os.close(writer)
class Write:
    def __init__(self, fd):
        self.fd = fd
    def due(self):
        os.write(self.fd, b"x")
""",
    "closes what others wait on": """
def action():
    # A task waits on it already, or is about to: both get EBADF.
    left, right = socket_pair()
    waits = spawn(outcome, core.wait, left, False)
    closing.append((left, right, waits))
    if len(closing) > 3:
        left, right, waits = closing.pop(0)
        core.forget(left)
        os.close(left)
        os.close(right)
        ended.append(waits)
closing, ended = [], []
""",
    "wakes": """
def action():
    parked.append(core.new_waiter())
    while len(parked) > 1:
        parked.pop(0).wake()
    job = spawn(lambda: core.new_waiter().wait(later(0.001)))
parked = []
""",
}


@pytest.mark.parametrize("name", ACTIONS)
def test_finaliser(name: str) -> None:
    run(CYCLES + ACTIONS[name] + LOAD)


@pytest.mark.smoke
def test_finaliser_closes_a_descriptor_just_before_the_hub_sleeps() -> None:
    # Between its last look at the ready queue and the kernel's sleep, everything that makes somebody ready
    # has to end that sleep.
    run("""
        import os
        from engine_child import *

        hub = core.get_hub()
        left, right = socket_pair()

        # What the hub calls last before it sleeps runs "finalisers".
        real_next = type(hub.timers).next
        def next_with_finaliser(self):
            if actions and hub.sleeping:
                actions.pop()()
            return real_next(self)
        type(hub.timers).next = next_with_finaliser

        def close():
            core.forget(left)
            os.close(left)
        actions = [close]
        assert outcome(core.wait, left, False) == "EBADF"

        waiter = core.new_waiter()
        actions = [waiter.wake]
        waiter.wait()

        done = []
        actions = [lambda: hub.call_soon(done.append, 1)]
        core.sleep(0.2)
        assert done == [1]

        # It blocks: the cycle on top must leave the flag as it was, or nobody wakes the sleep below.
        import _thread
        waiter = core.new_waiter()
        flags = []
        def block():
            core.sleep(0.01)
            flags.append(hub.sleeping)
            _thread.start_new_thread(wake_later, ())
        def wake_later():
            native_sleep(0.05)
            waiter.wake()
        native_sleep = time.sleep
        actions = [block]
        assert waiter.wait(later(10))
        assert flags == [True]

        # It starts a task with a deadline of its own, which the sleep below does not know yet.
        woken = []
        def block_and_spawn():
            spawn(lambda: (core.sleep(0.02), woken.append(time.monotonic())))
            core.sleep(0.001)
        actions = [block_and_spawn]
        start = time.monotonic()
        core.sleep(1)
        assert woken and woken[0] - start < 0.5, woken
    """)


def test_blocks_inside_libuv() -> None:
    # A Python callback that libuv calls (a stream's) waits: libuv cannot be entered again meanwhile.
    run("""
        import _thread, os
        from engine_child import *
        from greenify.core.loop import pyuv

        hub = core.get_hub()
        log = []

        def callback(timer):
            timer.close()
            log.append("in")
            core.sleep(0.01)
            reader, writer = pipe()
            job = spawn(lambda: (core.sleep(0.005), os.write(writer, b"x")))
            assert core.wait(reader, False, later(10))
            waiter = core.new_waiter()
            _thread.start_new_thread(lambda: (native_sleep(0.01), waiter.wake()), ())
            assert waiter.wait(later(10))
            core.forget(reader)
            os.close(reader)
            core.new_waiter().wait(later(0.001))
            log.append("out")

        native_sleep = time.sleep
        ticks = []
        def ticking():
            while "out" not in log:
                core.sleep(0.002)
                ticks.append(1)
        job = spawn(ticking)
        for _ in range(3):
            timer = pyuv.Timer(hub.loop.uv)
            hub.users += 1
            timer.start(callback, 0.001, 0)
        while log.count("out") < 3:
            core.sleep(0.001)
        hub.users -= 3
        job.join(10)
        assert len(ticks) >= 3
        still_works()
        before = time.process_time()
        core.sleep(0.2)
        assert time.process_time() - before < 0.1
    """)


def test_errors_of_callbacks_inside_libuv() -> None:
    # pyuv prints and swallows what a callback raises, and SystemExit ends the process there and then.
    run("""
        import logging
        from engine_child import *
        from greenify.core.loop import pyuv

        records = []
        handler = logging.Handler()
        handler.emit = records.append
        logging.getLogger("greenify").addHandler(handler)
        hub = core.get_hub()
        hub.users += 1

        def raising(error):
            timer = pyuv.Timer(hub.loop.uv)
            def callback(timer):
                timer.close()
                raise error
            timer.start(callback, 0.001, 0)

        raising(ValueError("bad"))
        core.sleep(0.02)
        assert [record.exc_info[0] for record in records] == [ValueError]
        for error in (KeyboardInterrupt(), SystemExit(3)):
            raising(error)
            try:
                core.sleep(1)
            except (KeyboardInterrupt, SystemExit) as exc:
                assert exc is error
            else:
                raise AssertionError("swallowed")
        assert len(records) == 1
        hub.users -= 1
        still_works()
    """)


# A finaliser comes where the kernel has handed over its events and nobody has been told of them.
TAKEN = """
from engine_child import *

hub = core.get_hub()

class Queue:
    def __init__(self, queue, finalise):
        self.queue, self.finalise = queue, finalise
    def __getattr__(self, name):
        return getattr(self.queue, name)
    def poll(self, *args):
        found = self.queue.poll(*args)
        if found and self.finalise is not None:
            finalise, self.finalise = self.finalise, None
            finalise()
        return found

def watch(holder, reader, wait):
    # One waits for `reader`, and a finaliser in the poll that learns of it waits for that one.
    seen, waiting = [], []
    def read():
        wait()
        seen.append(os.read(reader, 1))
        waiting[0].wake()
    def finalise():
        waiting.append(core.new_waiter())
        seen.append(waiting[0].wait(later(10)))
    job = spawn(read)
    settle()
    holder.queue = queue = Queue(holder.queue, finalise)
    os.write(writer, b"x")
    job.join(10)
    limit = later(5)
    while len(seen) < 2:
        assert time.monotonic() < limit, seen
        core.sleep(0.001)
    holder.queue = queue.queue
    assert seen == [b"x", True], seen

reader, writer = pipe()
watch(hub.descriptors, reader, lambda: core.wait(reader, False))
from greenify.green import select
from greenify.green._selecting.interests import interests_of
other, _ = pipe()
watch(interests_of(hub), reader, lambda: select.select([reader, other], [], []))
watch(hub.descriptors, reader, lambda: select.select([reader, other], [], []))
still_works()
before = time.process_time()
core.sleep(0.2)
assert time.process_time() - before < 0.1
"""


def test_a_finaliser_waits_for_what_its_poll_has_taken() -> None:
    run(TAKEN)
