"""Signals: handlers run at once while everything waits, in the main greenlet, and nothing is lost."""

from __future__ import annotations

import os
import signal
import statistics
import time

import pytest

from tests.core.run import run, running
from tests.support import wait_until_asleep

# How the main greenlet of the child waits, with nothing that would ever end that wait.
WAITS = {
    "sleep": "core.sleep(1000)",
    "long sleep": "core.sleep(1e9)",
    "descriptor": "core.wait(pipe()[0], False)",
    "descriptor with a deadline": "core.wait(pipe()[0], False, later(1000))",
    "waiter": "core.new_waiter().wait()",
    "raw greenlet": "greenlet(core.new_waiter().wait).switch()",
    "raw greenlet that made the waiter": "greenlet(lambda: core.new_waiter().wait()).switch()",
    "behind parked tasks": "[spawn(core.sleep, 1000) for _ in range(100)][0].join()",
    "behind a blocked hub": "core.get_hub().call_soon(core.sleep, 1000); core.sleep(1000)",
}
del WAITS["raw greenlet"]  # a waiter belongs to the greenlet that made it

READY = """
import signal, sys
from greenlet import greenlet
from engine_child import *
from greenify.core.signals import MainHandler
"""


@pytest.mark.smoke
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "main handler"])
@pytest.mark.parametrize("wait", WAITS)
def test_handler_runs_at_once(wait: str, plain: bool) -> None:
    # libuv retries an interrupted system call: without the wake-up pipe the handler would never run.
    code = f"""{READY}
def handler(number, frame):
    print(time.monotonic(), flush=True)
signal.signal(signal.SIGUSR1, handler if {plain} else MainHandler(handler))
def announce():
    core.sleep(0)
    print("ready", flush=True)
spawn(announce)
{WAITS[wait]}
"""
    with running(code) as child:
        assert child.readline() == "ready"
        time.sleep(0.02)
        delays = []
        for _ in range(11):
            sent = time.monotonic()
            child.send_signal(signal.SIGUSR1)
            delays.append(float(child.readline()) - sent)
        # A single slow one is the machine's: a tick or a starved handler would delay them all.
        assert statistics.median(delays) < 0.05, delays


@pytest.mark.smoke
@pytest.mark.parametrize("wait", WAITS)
def test_keyboard_interrupt(wait: str) -> None:
    code = f"""{READY}
def announce():
    core.sleep(0)
    print("ready", flush=True)
spawn(announce)
try:
    {WAITS[wait]}
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
still_works()
"""
    delays = []
    for _ in range(3):
        with running(code) as child:
            assert child.readline() == "ready"
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            delays.append(float(child.readline()) - sent)
            assert child.wait() == 0, child.stderr
            assert child.stderr == ""
    assert min(delays) < 0.05, delays


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="counts switches in /proc")
@pytest.mark.parametrize("wait", WAITS)
def test_no_wake_up_while_idle(wait: str) -> None:
    code = f"""{READY}
reader, writer = pipe()
tasks = [spawn(core.wait, reader, False), spawn(core.sleep, 1000)]
def announce():
    # After some work of every kind, so that nothing is left behind that ticks.
    for _ in range(5):
        core.sleep(0.001)
    core.get_hub().call_soon(core.sleep, 0.001)
    core.sleep(0.005)
    print("ready", flush=True)
spawn(announce)
{WAITS[wait]}
"""

    def switches() -> list[str]:
        found = []
        for task in os.listdir(f"/proc/{child.pid}/task"):
            with open(f"/proc/{child.pid}/task/{task}/status") as file:
                found += [line for line in file if line.startswith("voluntary")]
        return found

    with running(code) as child:
        assert child.readline() == "ready"
        time.sleep(0.05)
        before = switches()
        time.sleep(0.4)
        assert switches() == before


def test_several_raising_handlers_at_once() -> None:
    # Each exception may hit the hub while it is busy with the one before.
    code = f"""{READY}
import os
from greenlet import getcurrent
class Stop(BaseException):
    pass
hub = core.get_hub()
def handler(number, frame):
    if getcurrent() is hub.greenlet:
        raise Stop(number)
    # The main greenlet was busy with the one before.
    got.add(number)
    waiter.wake()
numbers = [signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP]
for number in numbers:
    signal.signal(number, handler)
reader, writer = pipe()
tasks = [spawn(core.wait, reader, False) for _ in range(3)]
core.sleep(0)
got = set()
hits = 0
print("ready", flush=True)
for _ in range(10):
    while got != set(numbers):
        waiter = core.new_waiter()
        try:
            if got != set(numbers):
                waiter.wait()
        except Stop as exc:
            hits += 1
            # Python 3.10 runs the next handler at the very beginning of an `except` block.
            while exc is not None:
                if isinstance(exc, Stop):
                    assert exc.args[0] not in got
                    got.add(exc.args[0])
                exc = exc.__context__
    got.clear()
    print("again", flush=True)
assert hits >= 10
os.write(writer, b"x")
assert [task.join(10) for task in tasks] == [True] * 3
still_works()
before = time.process_time()
core.sleep(0.2)
assert time.process_time() - before < 0.1
"""
    with running(code) as child:
        assert child.readline() == "ready"
        for _ in range(10):
            wait_until_asleep(child.pid)
            # Stopped, so that all of them arrive at the same moment.
            child.send_signal(signal.SIGSTOP)
            for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
                child.send_signal(number)
            child.send_signal(signal.SIGCONT)
            assert child.readline() == "again"
        assert child.wait() == 0, child.stderr
        assert child.stderr == ""


def test_handlers_that_raise_in_the_middle_of_the_hub() -> None:
    # Installed behind our back, they raise wherever the hub happens to be; nobody may be forgotten.
    run(f"""{READY}
import os, random
from greenlet import getcurrent

hub = core.get_hub()
rng = random.Random(1)
raised = []
caught = set()
inside = False

class Stop(BaseException):
    pass

def handler(number, frame):
    # In a task it would be the task's own business, and in the middle of a handler that handler's.
    global inside
    if inside or getcurrent() is not hub.greenlet:
        return
    inside = True
    raised.append(Stop(len(raised)))
    inside = False
    raise raised[-1]

def catch(exc):
    # Python 3.10 runs the next handler at the very beginning of an `except` block.
    while exc is not None:
        if isinstance(exc, Stop):
            caught.add(exc.args[0])
        exc = exc.__context__

signal.signal(signal.SIGALRM, handler)
turns = dict()
stop = []

def turn(name):
    turns[name] = turns.get(name, 0) + 1

def by_pipe(name, reader, writer):
    while not stop:
        core.wait(reader, False)
        try:
            os.read(reader, 1)
        except BlockingIOError:
            continue  # everybody is woken, to look again
        turn(name)
        os.write(writer, b"x")

def by_side(name, left):
    side = hub.descriptors.attach(left, True).read
    while not stop:
        try:
            os.read(left, 1)
        except BlockingIOError:
            side.wait()
        else:
            turn(name)
            os.write(left, b"x")

def by_waiter(name, mine, other):
    while not stop:
        waiter = core.new_waiter()
        mine.append(waiter)
        if other:
            other.pop().wake()
        waiter.wait()
        turn(name)

def by_time(name):
    while not stop:
        core.sleep(rng.random() / 1000)
        turn(name)

def by_call(name):
    while not stop:
        called = []
        hub.call_soon(called.append, True)
        while not called:
            core.sleep(0.0005)
        turn(name)

def by_pause(name):
    while not stop:
        core.sleep(0)
        turn(name)
        core.sleep(0.0005)

def by_throw(name):
    from greenify.core.entries import Throw
    class Kick(Exception):
        pass
    while not stop:
        hub.ready.append(Throw(getcurrent(), Kick()))
        try:
            core.new_waiter().wait()
        except Kick:
            turn(name)

jobs = []
for number in range(3):
    a, b = pipe(), pipe()
    jobs.append(spawn(by_pipe, f"pipe {{number}} a", a[0], b[1]))
    jobs.append(spawn(by_pipe, f"pipe {{number}} b", b[0], a[1]))
    os.write(a[1], b"x")
    left, right = socket_pair()
    jobs.append(spawn(by_side, f"side {{number}} a", left))
    jobs.append(spawn(by_side, f"side {{number}} b", left))
    jobs.append(spawn(by_side, f"side {{number}} c", right))
    os.write(right, b"xx")
    jobs.append(spawn(by_time, f"time {{number}}"))
    jobs.append(spawn(by_call, f"call {{number}}"))
    jobs.append(spawn(by_pause, f"pause {{number}}"))
    jobs.append(spawn(by_throw, f"throw {{number}}"))
    one, two = [], []
    jobs.append(spawn(by_waiter, f"waiter {{number}} a", one, two))
    jobs.append(spawn(by_waiter, f"waiter {{number}} b", two, one))
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
limit = later(4)
while time.monotonic() < limit and len(caught) < 1000:
    try:
        core.sleep(1)
    except Stop as exc:
        catch(exc)
signal.setitimer(signal.ITIMER_REAL, 0)
limit = later(10)
while len(raised) > len(caught) and time.monotonic() < limit:
    try:
        core.sleep(0.1)
    except Stop as exc:
        catch(exc)
assert len(raised) == len(caught) > 50, (len(raised), len(caught))
before = dict(turns)
core.sleep(0.3)
stuck = [name for name in turns if turns[name] == before[name] and "side" not in name]
assert not stuck and len(turns) >= 30, (stuck, turns)
assert not any(job.ended for job in jobs)
assert any(turns[name] > before[name] for name in turns if "side" in name), turns
""")


def test_1000_signals_under_load() -> None:
    run(f"""{READY}
import os
from greenlet import getcurrent

hub = core.get_hub()
main = getcurrent()
handled = []
def handler(number, frame):
    assert getcurrent() is main
    handled.append(number)
    if len(handled) % 50 == 0:
        core.sleep(0.001)  # a handler may block

numbers = [signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP]
for number in numbers:
    signal.signal(number, MainHandler(handler))

def ping(reader, writer, count):
    for _ in range(count):
        core.wait(reader, False)
        os.read(reader, 1)
        os.write(writer, b"x")

def sleeper():
    for _ in range(50):
        start = time.monotonic()
        core.sleep(0.001)
        assert time.monotonic() - start >= 0.001

jobs = [spawn(sleeper) for _ in range(20)]
for _ in range(10):
    a, b = pipe(), pipe()
    jobs += [spawn(ping, a[0], b[1], 200), spawn(ping, b[0], a[1], 200)]
    os.write(a[1], b"x")

def kill():
    for count in range(1000):
        os.kill(os.getpid(), numbers[count % 3])
        if count % 3 == 0:
            core.sleep(0)
killer = spawn(kill)
for job in [*jobs, killer]:
    job.join(20)
while len(handled) < 1000:
    core.sleep(0.001)
assert len(handled) == 1000 and set(handled) == set(numbers)
still_works()
""")


class TestMainHandler:
    def test_frame_is_the_one_that_waits(self) -> None:
        run(f"""{READY}
def waits_here():
    core.sleep(1000)

def handler(number, frame):
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert names[-2:] == ["waits_here", "<module>"], names
    raise KeyError(number)

signal.signal(signal.SIGUSR1, MainHandler(handler))
import os
spawn(os.kill, os.getpid(), signal.SIGUSR1)
try:
    waits_here()
except KeyError as exc:
    assert exc.args == (signal.SIGUSR1,)
else:
    raise AssertionError("the handler's exception got lost")
assert core.get_hub().timers.pending() == 0
""")

    def test_handler_waits_on_what_main_waits_on(self) -> None:
        run(f"""{READY}
import os
left, right = socket_pair()
side = core.get_hub().descriptors.attach(left, False).read
core.sleep(0)
side.edge = False
log = []
def handler(number, frame):
    log.append("in")
    assert side.wait(later(10)) is True
    log.append(os.read(left, 1))

signal.signal(signal.SIGUSR1, MainHandler(handler))
def task():
    os.kill(os.getpid(), signal.SIGUSR1)
    core.sleep(0.01)
    assert log == ["in"]
    os.write(right, b"1")
    core.sleep(0.01)
    assert log == ["in", b"1"]
    os.write(right, b"2")
job = spawn(task)
while True:
    assert side.wait(later(10)) is True
    try:
        assert os.read(left, 1) == b"2"
        break
    except BlockingIOError:
        pass
job.join(10)
""")

    def test_two_handlers_one_raises(self) -> None:
        run(f"""{READY}
import os
log = []
def raising(number, frame):
    raise KeyError("first")
def other(number, frame):
    log.append("second")
signal.signal(signal.SIGUSR1, MainHandler(raising))
signal.signal(signal.SIGUSR2, MainHandler(other))
def task():
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
spawn(task)
try:
    core.sleep(1000)
except KeyError:
    core.sleep(0.01)
    assert log == ["second"]
else:
    raise AssertionError("the handler's exception got lost")
""")

    def test_in_a_thread_without_a_hub_nothing_changes(self) -> None:
        run(f"""{READY}
import os
log = []
signal.signal(signal.SIGUSR1, MainHandler(lambda *args: log.append(args[0])))
os.kill(os.getpid(), signal.SIGUSR1)
assert log == [signal.SIGUSR1]
assert core.current_hub() is None
""")


class TestWakeupDescriptor:
    def test_of_the_user_gets_every_number(self) -> None:
        run(f"""{READY}
import os
reader, writer = pipe()
signal.set_wakeup_fd(writer)
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
    signal.signal(number, lambda *_: None)
hub = core.get_hub()
for _ in range(3):
    spawn(os.kill, os.getpid(), signal.SIGUSR1)
    spawn(os.kill, os.getpid(), signal.SIGUSR2)
    core.wait(reader, False)
    assert sorted(os.read(reader, 100)) == sorted([signal.SIGUSR1, signal.SIGUSR2])
# Many wake-ups of our own in between, in multiples of what one read takes.
for count in (4095, 4096, 8192):
    for _ in range(count):
        hub.interrupt()
    os.kill(os.getpid(), signal.SIGALRM)
    core.wait(reader, False)
    assert os.read(reader, 100) == bytes([signal.SIGALRM]), count
""")

    def test_full_pipe(self) -> None:
        # Wake-ups that nobody has read keep the pipe full; the hub still wakes, and empties it.
        run(f"""{READY}
import _thread, os
hub = core.get_hub()
fill(hub.pair.writer.fileno())
hub.interrupt()
log = []
signal.signal(signal.SIGALRM, lambda *_: log.append(1))
os.kill(os.getpid(), signal.SIGALRM)
core.sleep(0)
waiter = core.new_waiter()
_thread.start_new_thread(waiter.wake, ())
assert waiter.wait(later(10)) and log == [1]
core.sleep(0.01)
assert outcome(os.read, hub.pair.reader.fileno(), 1) == "EAGAIN"
still_works()
""")

    def test_exception_while_the_pipe_is_read(self) -> None:
        # Whatever is interrupted there, the pipe has to be read again afterwards.
        run(f"""{READY}
import _thread, os
hub = core.get_hub()
class Stop(Exception):
    pass
def raising(numbers):
    hub.on_signals = original
    hub.descriptors.by_fd[hub.pair.reader.fileno()].read.waiter = None
    raise Stop
original = hub.on_signals
hub.on_signals = raising
signal.signal(signal.SIGALRM, lambda *_: None)
spawn(os.kill, os.getpid(), signal.SIGALRM)
try:
    core.sleep(1000)
except Stop:
    pass
for _ in range(3):
    os.kill(os.getpid(), signal.SIGALRM)
    core.sleep(0.01)
    assert outcome(os.read, hub.pair.reader.fileno(), 1) == "EAGAIN"
""")
