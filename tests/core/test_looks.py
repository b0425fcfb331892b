"""The greenlet that leaves looks at the kernel queue itself, instead of the hub."""

from __future__ import annotations

import sys

import pytest

from tests.core.run import run

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="CPython 3.10 runs signal handlers at jumps, so that greenlets leave by way of the hub (`Hub.__init__`)",
)

LOOKS = """
import greenlet, os, time
from engine_child import *
from greenify import core
hub = core.get_hub()

class Queue:
    # The kernel queue, with something between it and the hub.
    def __init__(self, after):
        self.queue, self.after = hub.descriptors.queue, after
        hub.descriptors.queue = self
    def poll(self, timeout, limit):
        found = self.queue.poll(timeout, limit)
        return self.after(found)
    def __getattr__(self, name):
        return getattr(self.queue, name)

def byte_after_byte(here, there, number):
    # Each waits for what the other has just sent: nobody else is ready.
    for _ in range(number):
        os.write(there, b"x")
        core.wait(here, False)
        os.read(here, 1)

one, to_one = os.pipe()
two, to_two = os.pipe()
"""


def test_it_does_not_go_by_way_of_the_hub() -> None:
    run(
        f"""{LOOKS}
by_whom = []
def after(found):
    if found:
        by_whom.append(greenlet.getcurrent() is hub.greenlet)
    return found
Queue(after)
jobs = [spawn(byte_after_byte, one, to_two, 20), spawn(byte_after_byte, two, to_one, 20)]
for job in jobs:
    job.join(10)
assert by_whom.count(False) >= 15 and by_whom.count(True) <= 2, by_whom
"""
    )


@pytest.mark.parametrize("error", ["AttributeError", "IndexError", "KeyboardInterrupt"])
def test_an_exception_there(error: str) -> None:
    # As a signal handler raises it: what the kernel has reported must not get lost with it.
    run(
        f"""{LOOKS}
raising = []
def after(found):
    if found and raising and greenlet.getcurrent() is hub.main:
        raise raising.pop()
    return found
Queue(after)
jobs = [spawn(byte_after_byte, one, to_two, 3), spawn(byte_after_byte, two, to_one, 3)]
third, to_third = os.pipe()
waiter = core.new_waiter()
reader = spawn(lambda: (core.wait(third, False), waiter.wake()))
core.sleep(0)
os.write(to_third, b"x")
raising.append({error}("here"))
try:
    while raising:
        core.sleep(0)
    raise SystemExit("where is the exception?")
except {error} as exc:
    assert str(exc) == "here"
for job in (*jobs, reader):
    job.join(10)
assert waiter.wait(time.monotonic() + 10)
# The hub goes on as before.
before = hub.turns
core.sleep(0.01)
assert spawn(int).join(10) == 0 and hub.turns > before
"""
    )


def test_it_finds_a_callback_or_a_deadline() -> None:
    # Those are the hub's: user code must not run in a greenlet that waits for something else.
    run(
        f"""{LOOKS}
where = []
class Target:
    def due(self):
        where.append(greenlet.getcurrent() is hub.greenlet)
def work():
    for _ in range(3):
        hub.call_soon(lambda: where.append(greenlet.getcurrent() is hub.greenlet))
        core.sleep(0)
        hub.timers.add(time.monotonic() - 1, Target())
        core.sleep(0)
        waiter = core.new_waiter()
        hub.call_soon(hub.call_soon, waiter.wake)
        waiter.wait()
spawn(work).join(10)
while len(where) < 6:
    core.sleep(0)
assert where == [True] * 6, where
"""
    )
