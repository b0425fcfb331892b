"""The hub's own greenlet waits: callbacks and finalisers that block run the cycle on top of its stack."""

from __future__ import annotations

import pytest

from tests.core.run import run

# Asserts that nothing turns: no CPU time is spent, and no round of the hub is run, while everybody waits.
IDLE = """
before = time.process_time()
core.sleep(0.3)
assert time.process_time() - before < 0.1, time.process_time() - before
"""


@pytest.mark.smoke
def test_a_callback_that_blocks() -> None:
    run(f"""
from engine_child import *
order, waiters = [], []
def callback():
    waiters.append(core.new_waiter())
    waiters[0].wait()
    order.append("callback")
core.get_hub().call_soon(callback)
core.sleep(0.01)
order.append("main")
spawn(order.append, "task").join(10)
waiters[0].wake()
while len(order) < 3:
    core.sleep(0.001)
assert order == ["main", "task", "callback"], order
{IDLE}""")


def test_callbacks_on_top_of_each_other() -> None:
    # The second one ends first although it was woken last; the first must not lose its wake-up to it.
    run(f"""
from engine_child import *
hub = core.get_hub()
order = []
waiters = {{}}
def callback(name):
    waiters[name] = waiter = core.new_waiter()
    waiter.wait()
    order.append(name)
names = "abcdef"
for name in names:
    hub.call_soon(callback, name)
settle(10)
assert list(waiters) == list(names)
for name in names:
    waiters[name].wake()
while len(order) < 6:
    core.sleep(0.001)
assert order == list("fedcba"), order
still_works()
{IDLE}""")


def test_wake_ups_in_every_order() -> None:
    run(f"""
import random
from engine_child import *
hub = core.get_hub()
rng = random.Random(1)
ended = []
def callback(name, waiters):
    waiters[name] = waiter = core.new_waiter()
    if rng.random() < 0.5:
        waiter.wait()
    else:
        while not waiter.wait(later(0.001)):
            pass
    ended.append(name)
for _ in range(100):
    waiters = {{}}
    names = list(range(rng.randrange(2, 6)))
    ended.clear()
    for name in names:
        hub.call_soon(callback, name, waiters)
    while len(waiters) < len(names):
        core.sleep(0.001)
    rng.shuffle(names)
    for name in names:
        waiters[name].wake()
        for _ in range(rng.randrange(3)):
            core.sleep(0)
    limit = later(10)
    while len(ended) < len(names):
        assert time.monotonic() < limit
        core.sleep(0.001)
{IDLE}""")


def test_busy_tasks_do_not_hide_the_kernel() -> None:
    # The end mark of the cycle below must survive a nested cycle, or a task that yields for ever keeps that
    # cycle from ever looking at descriptors and clocks again.
    run(f"""
import os
from engine_child import *
hub = core.get_hub()
stop = []
def busy():
    while not stop:
        hub.pause()
for _ in range(3):
    spawn(busy)
reader, writer = pipe()
job = spawn(core.wait, reader, False)
for blocked in (0, 0.001, 0.01, 0.02):
    hub.call_soon(core.sleep, blocked)
    core.sleep(0)
    core.sleep(0.002)
waiters = []
def callback():
    waiters.append(core.new_waiter())
    waiters[0].wait()
hub.call_soon(callback)
core.sleep(0.01)
waiters[0].wake()
core.sleep(0.01)
os.write(writer, b"x")
assert job.join(10) is True
stop.append(True)
core.sleep(0.01)
{IDLE}""")


def test_descriptors_from_the_hub_itself() -> None:
    run(f"""
import os
from engine_child import *
hub = core.get_hub()
left, right = socket_pair()
got = []
def callback(fd):
    got.append(outcome(core.wait, fd, False, later(10)))
hub.call_soon(callback, left)
hub.call_soon(callback, right)
settle()
os.write(left, b"x")
os.write(right, b"x")
while len(got) < 2:
    core.sleep(0.001)
assert got == [True, True]
{IDLE}""")


def test_exception_out_of_a_nested_wait() -> None:
    run(f"""
import logging
from engine_child import *
from greenify.core.entries import Throw

class Stop(Exception):
    pass

records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("greenify").addHandler(handler)

hub = core.get_hub()
seen = []
def callback():
    try:
        core.sleep(1000)
    except Stop:
        seen.append("stopped")
        core.sleep(0.01)
        raise
hub.call_soon(callback)
settle()
spawn(core.sleep, 0.02)
hub.ready.append(Throw(hub.greenlet, Stop()))
core.sleep(0.1)
assert seen == ["stopped"]
assert [record.exc_info[0] for record in records] == [Stop], records
assert hub.timers.pending() == 0
{IDLE}""")


def test_pause_in_the_hub() -> None:
    run("""
        from engine_child import *

        seen = []

        def callback():
            for number in range(5):
                core.sleep(0)
                seen.append(number)

        core.get_hub().call_soon(callback)
        spawn(settle, 20).join(10)
        assert seen == [0, 1, 2, 3, 4]
    """)


def test_callback_starts_tasks_and_waits_for_them() -> None:
    run(f"""
from engine_child import *
hub = core.get_hub()
results = []
def inner(n):
    core.sleep(0.001 * n)
    hub.call_soon(results.append, n)
    core.sleep(0.001)
    return n
def callback():
    results.append([spawn(inner, n).join(10) for n in range(5)])
for _ in range(3):
    hub.call_soon(callback)
while sum(isinstance(r, list) for r in results) < 3:
    core.sleep(0.001)
assert len(results) == 18
{IDLE}""")
