"""Since when a row is in its state: noted from `listen` on, exact, and never a time of something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from greenify.inspect.asking import ask
from greenify.inspect.report import records, table
from tests.support import run_python, running_python

BEGIN = """
import os, socket, sys, threading, time
import greenify, greenlet
from greenify import inspect
from greenify.core import slices
from greenify.inspect import since, snapshot

now = time.monotonic
def row(name):
    return next(row for row in snapshot().rows if row.name == name)
def start(name, function, *args):
    thread = threading.Thread(target=function, args=args, name=name, daemon=True)
    thread.start()
    return thread
def until(name, state):
    while (found := row(name)).state != state:
        time.sleep(0)
    return found
"""


def situation(program: str, **options: Any) -> None:
    run_python(BEGIN + program + "\nos._exit(0)\n", check=True, **options)


class TestWaiting:
    def test_each_kind_of_wait(self) -> None:
        situation(
            """
inspect.listen()
lock, event = threading.Lock(), threading.Event()
lock.acquire()
one, two = socket.socketpair()
kinds = {
    "lock": lock.acquire, "event": event.wait, "recv": lambda: one.recv(1),
    "sleep": lambda: time.sleep(100), "join": lambda: keeper.join(),
    "timed": lambda: event.wait(100), "native": lambda: greenify.run_in_thread(door.acquire),
}
native = greenify.original("threading")
door = native.Lock(); door.acquire()
keeper = start("keeper", time.sleep, 100)
until("keeper", "waiting")
for name, function in kinds.items():
    begun = now()
    start(name, function)
    assert begun <= until(name, "waiting").since <= now(), name
door.release()
task = greenify.spawn(greenify.sleep, 100)
task.name = "task"
begun = now()
assert begun <= until("task", "waiting").since <= now()
"""
        )

    def test_a_wait_is_as_old_as_its_last_beginning(self) -> None:
        situation(
            """
inspect.listen()
one, two = socket.socketpair()
def echo():
    while True:
        one.send(one.recv(1))
start("echo", echo)
until("echo", "waiting")
for _ in range(3):
    asked = now()
    two.send(b"x"); two.recv(1)
    assert asked <= until("echo", "waiting").since <= now()
"""
        )

    def test_a_wake_up_that_is_taken_back_ends_no_wait(self) -> None:
        situation(
            """
from greenify import tokens
tokens._PATIENCE = 1000.0  # else it is handed the lock, and keeps it, after a millisecond
inspect.listen()
lock = threading.Lock()
lock.acquire()
begun = now()
start("wants", lock.acquire)
found = until("wants", "waiting")
with slices.held():  # so that it does not run either
    for _ in range(100):  # each release wakes it, and the next line takes that back
        lock.release()
        lock.acquire()
assert row("wants").state == "waiting"
assert row("wants").since == found.since
between = now()
lock.release()
found = row("wants")
assert found.state == "ready" and between <= found.since <= now()
"""
        )

    def test_a_raw_greenlet_in_a_thread(self) -> None:
        situation(
            """
inspect.listen()
event = threading.Event()
def inside():
    greenlet.greenlet(event.wait).switch()
begun = now()
start("outside", inside)
found = until("outside", "waiting")
assert found.wait.kind == "Event" and begun <= found.since <= now()
between = now()
event.set()
found = row("outside")
assert found.state == "ready" and between <= found.since <= now()
"""
        )

    def test_who_waits_in_another_scheduler(self) -> None:
        situation(
            """
import gevent
inspect.listen()
time.sleep(0.001)  # there is a note, of this wait
found = []
def look():
    found.append(row("MainThread"))
gevent.get_hub().loop.run_callback(look)
gevent.sleep(0.01)
assert found[0].state != "running" and found[0].since is None, found
"""
        )

    def test_what_has_begun_before_is_unknown(self) -> None:
        situation(
            """
event = threading.Event()
start("early", event.wait)
until("early", "waiting")
assert row("early").since is None
inspect.listen()
assert row("early").since is None
start("later", event.wait)
assert until("later", "waiting").since is not None
inspect.close()
start("after", event.wait)
assert until("after", "waiting").since is None
assert row("later").since is None, "nobody notes any more"
inspect.listen()
assert row("later").since is None, "it may have waited for something else meanwhile"
"""
        )


class TestReady:
    def test_woken_by_another_thread_or_by_a_native_one(self) -> None:
        situation(
            """
inspect.listen()
event, other = threading.Event(), threading.Event()
start("woken", event.wait)
start("from outside", other.wait)
until("woken", "waiting"); until("from outside", "waiting")
begun = now()
event.set()
found = row("woken")
assert found.state == "ready" and begun <= found.since <= now()
done = []
native = greenify.original("threading").Thread(target=lambda: (other.set(), done.append(now())))
begun = now()
native.start()
while not done: pass  # nobody else runs
found = row("from outside")
assert found.state == "ready" and begun <= found.since <= done[0], (found, begun, done)
"""
        )

    def test_woken_twice(self) -> None:
        situation(
            """
inspect.listen()
from greenify import core
hub = core.get_hub()
def thread():
    greenlets.append(greenlet.getcurrent())
    event.wait()
greenlets, event = [], threading.Event()
start("woken", thread)
until("woken", "waiting")
event.set()
first = row("woken").since
hub.ready.append(greenlets[0])  # a spurious one
assert row("woken").since == first
"""
        )

    def test_letting_others_run(self) -> None:
        situation(
            """
inspect.listen()
def spins():
    while True: time.sleep(0)
start("spins", spins)
until("spins", "ready")
for _ in range(3):
    begun = now()
    time.sleep(0)
    assert begun <= row("spins").since <= now()
"""
        )

    def test_new_ones(self) -> None:
        situation(
            """
inspect.listen()
begun = now()
task = greenify.spawn(time.sleep, 100)
task.name = "new"
found = row("new")
assert found.state == "new" and begun <= found.since <= now()
time.sleep(0)
# A greenlet that has been another thread's.
thread = start("short", int)
thread.join()
begun = now()
import _thread
ident = _thread.start_new_thread(time.sleep, (100,))
found, = [row for row in snapshot().rows if row.ident == ident]
assert found.since is None or begun <= found.since <= now()
"""
        )


def test_a_trace_beside_it(tmp_path: Path) -> None:
    situation(
        f"""
inspect.listen()
event = threading.Event()
begun = now()
start("waits", event.wait)
until("waits", "waiting")
with greenify.trace({os.fspath(tmp_path / "trace")!r}):
    assert begun <= row("waits").since <= now(), "noted before"
    start("other", event.wait)
    assert begun <= until("other", "waiting").since <= now()
    between = now()
    event.set()
    found = row("waits")
    assert found.state == "ready" and between - 128e-9 <= found.since <= now()
until("MainThread", "running")
event.clear()
start("last", event.wait)
until("last", "waiting")
between = now()
event.set()
found = row("last")
assert found.state == "ready" and between <= found.since <= now()
inspect.close()
from greenify import core
hub = core.get_hub()
assert hub.ready is hub._queue
assert ("next" in vars(hub)) == (sys.version_info < (3, 11))
"""
    )


def test_a_second_hub() -> None:
    situation(
        """
inspect.listen()
native = greenify.original("threading")
there, end = native.Event(), native.Event()
def other():
    task = greenify.spawn(greenify.sleep, 100)
    task.name = "second hub"
    greenify.sleep(0.001)
    there.set()
    end.wait()
begun = now()
thread = native.Thread(target=other)
thread.start()
there.wait()
assert begun <= row("second hub").since <= now()
end.set()
thread.join()
"""
    )


def test_the_child_of_a_fork() -> None:
    situation(
        """
inspect.listen()
time.sleep(0.001)
child = os.fork()
if not child:
    begun = now()
    start("in the child", time.sleep, 100)
    assert begun <= until("in the child", "waiting").since <= now()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
begun = now()
start("in the parent", time.sleep, 100)
assert begun <= until("in the parent", "waiting").since <= now()
"""
    )


BLOCKED = """
import ctypes, os, threading, time
print(os.getpid(), flush=True)
reader, writer = os.pipe()
buffer = ctypes.create_string_buffer(1)
def waits():
    event.wait()
event = threading.Event()
threading.Thread(target=waits, name="waits", daemon=True).start()
threading.Thread(target=time.sleep, args=(0.01,), name="sleeps", daemon=True).start()
time.sleep(0.02)
event.set()
# The clock of the time slices goes on while the answers are made, and no mask keeps its signal away: it would
# end a sleep.  A read goes on.
ctypes.CDLL(None).read(reader, buffer, 1)
"""


def test_ps_says_it_of_a_loop_that_is_blocked(tmp_path: Path) -> None:
    script = tmp_path / "blocked.py"
    script.write_text(BLOCKED)
    with running_python(script, options=("--inspect",)) as program:
        pid = int(program.readline())
        seen: list[float] = []
        while len(seen) < 3:
            answer = ask(pid, "snapshot")
            rows = {row["name"]: row for row in records(answer)}
            if "waits" in rows and rows["waits"]["state"] == "ready":
                seen.append(rows["waits"]["for"])
                line = next(line for line in table([rows["waits"]]) if line.startswith("waits"))
                assert f"ready {rows['waits']['for']:.1f} s" in line
        assert seen == sorted(seen)
        assert rows["MainThread"]["state"] == "running"
