"""Fork: the child keeps the forking greenlet, has an engine of its own, and leaves the parent's alone."""

from __future__ import annotations

import pytest

from tests.core.run import run
from tests.support import run_python

# `forked(where, child)` forks there, runs `child()` in the new process and returns its exit status.
READY = """
import _thread, os, signal, sys
from greenlet import getcurrent, greenlet
from engine_child import *

native_sleep = time.sleep

def fork_and_run(child):
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    return pid

def status_of(pid):
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        core.sleep(0.002)

def forked(where, child):
    result = []
    def here():
        result.append(fork_and_run(child))
    if where == "main":
        here()
    elif where == "task":
        spawn(here).join(10)
    elif where == "raw in main":
        greenlet(here).switch()
    elif where == "raw in task":
        spawn(lambda: greenlet(here).switch()).join(10)
    elif where == "task of a task":
        spawn(lambda: spawn(here).join(10)).join(10)
    elif where == "native thread":
        done = core.new_waiter()
        _thread.start_new_thread(lambda: (here(), done.wake()), ())
        done.wait()
    elif where == "native thread with a hub":
        done = core.new_waiter()
        def thread():
            core.sleep(0)
            core.get_hub()
            here()
            done.wake()
        _thread.start_new_thread(thread, ())
        done.wait()
    elif where == "task of another thread":
        done = core.new_waiter()
        def thread():
            core.get_hub()
            spawn(here).join(10)
            done.wake()
        _thread.start_new_thread(thread, ())
        done.wait()
    elif where == "hub":
        core.get_hub().call_soon(here)
        while not result:
            core.sleep(0)
    else:
        raise AssertionError(where)
    return status_of(result[0])
"""

PLACES = [
    "main",
    "task",
    "raw in main",
    "raw in task",
    "task of a task",
    "native thread",
    "native thread with a hub",
    "task of another thread",
    "hub",
]


@pytest.mark.smoke
@pytest.mark.parametrize("place", PLACES)
def test_child_works_and_parent_keeps_its_events(place: str) -> None:
    run(
        f"""{READY}
left, right = socket_pair()
reader, writer = pipe()
side = core.get_hub().descriptors.attach(left, True).read
core.sleep(0)
side.edge = False
jobs = [spawn(core.wait, fd, False) for fd in (left, reader)]
jobs += [spawn(side.wait), spawn(core.sleep, 0.2)]
settle()
parent = core.get_hub()
parent_id = os.getpid()

def child():
    assert core.current_hub() is not parent
    # The same files, in a kernel queue of its own.
    waits = [spawn(core.wait, fd, False, later(10)) for fd in (left, reader)]
    waits.append(spawn(core.wait, right, True, later(10)))
    settle()
    os.write(right, b"c")
    os.write(writer, b"c")
    assert [wait.join(10) for wait in waits] == [True] * 3
    still_works()
    core.forget(left)
    core.forget(reader)
    for fd in (left, right, reader, writer):
        os.close(fd)
    still_works()
    assert core.get_hub().pid == os.getpid() != parent_id
    # Signals reach the child's hub.
    times = []
    signal.signal(signal.SIGALRM, lambda *_: times.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    start = time.monotonic()
    core.sleep(0.3)
    assert times and times[0] - start < 0.2, times
    # Nobody of the parent's runs here.
    assert not any(job.ended for job in jobs)

assert forked({place!r}, child) == 0
# The child's bytes woke the parent too: they are the same files.
assert [job.join(10) for job in jobs[:3]] == [True] * 3
assert os.read(left, 10) == b"c" and os.read(reader, 10) == b"c"
jobs[3].join(10)
assert core.get_hub() is parent
again = [spawn(core.wait, left, False), spawn(core.wait, reader, False)]
settle()
os.write(right, b"p")
os.write(writer, b"p")
assert [job.join(10) for job in again] == [True] * 2
still_works()
""",
        timeout=40,
    )


ENDS = {
    "sys.exit": "sys.exit(7)",
    "os._exit": "os._exit(7)",
    "sys.exit after waiting": "core.sleep(0.01); sys.exit(7)",
    "collected, then sys.exit": "core.sleep(0.01); import gc; gc.collect(); sys.exit(7)",
}


@pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev"])
@pytest.mark.parametrize("end", ENDS)
def test_child_of_the_main_greenlet_ends(end: str, options: tuple[str, ...]) -> None:
    out = run(
        f"""{READY}
import atexit
parent_id = os.getpid()
def say(text):
    os.write(1, (text + (" in parent" if os.getpid() == parent_id else " in child") + "\\n").encode())
atexit.register(say, "atexit")
class Object:
    def __del__(self):
        say("del")
def parked(wait):
    thing = Object()
    try:
        wait()
    finally:
        say("finally")
left, right = socket_pair()
waits = [
    lambda: core.new_waiter().wait(later(0.2)),
    lambda: core.wait(left, False),
    lambda: core.sleep(0.1),
    lambda: core.wait(left, False, later(0.1)),
]
jobs = [spawn(parked, wait) for wait in waits]
raw = greenlet(lambda: parked(lambda: core.new_waiter().wait(later(0.1))), core.get_hub().greenlet)
core.get_hub().ready.append(raw)
never = spawn(say, "started")
settle(0)
core.sleep(0)
pid = os.fork()
if pid == 0:
    {ENDS[end]}
assert status_of(pid) == 7
say("child has ended")
os.write(right, b"x")
for job in jobs:
    job.join(10)
core.sleep(0.12)
""",
        options=options,
    )
    lines = out.splitlines()
    at_exit = ["atexit in child"] if "sys.exit" in end else []
    assert [line for line in lines if line.endswith("child")] == at_exit, out
    assert lines.count("finally in parent") == 5
    assert lines.count("del in parent") == 5


def test_forked_task_ends_quietly() -> None:
    # With threads: the child ends with status 0 when its only thread does, and runs no exit handlers.
    out = run(f"""{READY}
import atexit
parent_id = os.getpid()
atexit.register(lambda: print("atexit", os.getpid() == parent_id, flush=True))
def in_child():
    core.sleep(0.01)
    os.write(1, b"task of the child\\n")
def task():
    pid = os.fork()
    if pid == 0:
        spawn(in_child)
        return None
    return pid
pid = spawn(task).join(10)
assert os.getpid() == parent_id
assert status_of(pid) == 0
""")
    assert out == "task of the child\natexit True\n"


def test_error_that_leaves_a_forked_task() -> None:
    # The main greenlet of the parent is not there: its code must not run in the child.
    result = run(f"""{READY}
parent_id = os.getpid()
pids = []
sys.stderr = sys.stdout
def raising(error):
    pid = os.fork()
    if pid == 0:
        raise error
    pids.append(pid)
hub = core.get_hub()
try:
    for error in (KeyError("from the child"), SystemExit(3), KeyboardInterrupt()):
        for wait in (False, True):
            def task():
                if wait:
                    core.sleep(0)
                raising(error)
            g = greenlet(task, hub.greenlet)
            g.hub = hub
            hub.start(g)
            core.sleep(0.01)
    assert [status_of(pid) for pid in pids] == [0] * 6
except BaseException:
    assert os.getpid() == parent_id, "the parent's code goes on in the child"
    raise
finally:
    assert os.getpid() == parent_id, "the parent's code goes on in the child"
    print("parent", flush=True)
""")
    assert result.count("parent\n") == 1
    assert result.count("KeyError: 'from the child'") == 2


def test_fork_in_the_hub_and_return() -> None:
    # The hub's greenlet is no thread: the child ends where the callback does.
    out = run(f"""{READY}
pids = []
def callback():
    pid = os.fork()
    if pid == 0:
        core.sleep(0.01)
        os.write(1, b"child\\n")
    else:
        pids.append(pid)
def task():
    for _ in range(20):
        core.sleep(0.005)
    os.write(1, b"task\\n")
job = spawn(task)
core.get_hub().call_soon(callback)
job.join(10)
assert status_of(pids[0]) == 0
print("end", flush=True)
""")
    assert sorted(out.split()) == ["child", "end", "task"]


def test_child_of_a_child_and_descriptors() -> None:
    out = run(
        f"""{READY}
reader, writer = os.pipe()
def generation(number):
    still_works()
    spawn(core.sleep, 1000)
    settle()
    os.write(writer, f"{{open_files()}} ".encode())
    if number < 20:
        def child():
            generation(number + 1)
            sys.stdout.flush()
        pid = fork_and_run(child)
        status = status_of(pid)
        if status:
            os._exit(status)
generation(0)
counts = os.read(reader, 1000).split()
print(*map(int, counts))
""",
        timeout=40,
    )
    counts = [int(word) for word in out.split()]
    assert len(counts) == 21
    assert max(counts) <= counts[0] + 2, counts


def test_20_forks_leave_no_descriptor_in_the_parent() -> None:
    run(f"""{READY}
still_works()
before = open_files()
for where in ("main", "task") * 10:
    assert forked(where, still_works) == 0
assert open_files() == before
""")


def test_wakeup_descriptor_of_the_child() -> None:
    # Its number is free in the child: signal numbers must not go into the next file that gets it.
    run(
        f"""{READY}
core.sleep(0)
def child():
    fds = [os.open("/dev/null", os.O_RDONLY)]
    assert signal.set_wakeup_fd(-1) == -1
    signal.signal(signal.SIGUSR1, lambda *_: None)
    pairs = [pipe() for _ in range(5)]
    os.kill(os.getpid(), signal.SIGUSR1)
    native_sleep(0.001)
    for reader, writer in pairs:
        assert outcome(os.read, reader, 10) == "EAGAIN"
    still_works()
assert forked("main", child) == 0

reader, writer = pipe()
core.signals.chain(writer)
def child():
    assert signal.set_wakeup_fd(-1) == writer
    signal.set_wakeup_fd(writer)
    core.sleep(0)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    spawn(os.kill, os.getpid(), signal.SIGUSR1)
    core.sleep(0.01)
    assert os.read(reader, 10) == bytes([signal.SIGUSR1])
assert forked("main", child) == 0
""".replace("core.signals.chain", "__import__('greenify.core.signals').core.signals.chain")
    )


def test_waiters_of_the_parent_are_dead_in_the_child() -> None:
    run(f"""{READY}
waiters = []
def wait():
    waiters.append(core.new_waiter())
    waiters[-1].wait()
jobs = [spawn(wait)]
done = core.new_waiter()
def thread():
    waiters.append(core.new_waiter())
    waiters[-1].wait()
    done.wake()
_thread.start_new_thread(thread, ())
while len(waiters) < 2:
    core.sleep(0.001)
def child():
    assert [waiter.alive for waiter in waiters] == [False] * 2
    own = core.new_waiter()
    assert own.alive
    for waiter in waiters:
        waiter.wake()
    still_works()
for where in ("main", "task"):
    assert forked(where, child) == 0
assert [waiter.alive for waiter in waiters] == [True] * 2
for waiter in waiters:
    waiter.wake()
jobs[0].join(10)
assert done.wait(later(10))
""")


def test_fork_while_threads_are_busy() -> None:
    run(
        f"""{READY}
from greenify.core.workers import default_workers
sys.setswitchinterval(1e-5)
stop = []
left = [3]
def thread(seconds):
    while not stop:
        reader, writer = pipe()
        job = spawn(core.wait, reader, False)
        core.sleep(0)
        os.write(writer, b"x")
        job.join(10)
        core.forget(reader)
        os.close(reader)
        os.close(writer)
    left[0] -= 1
for _ in range(3):
    _thread.start_new_thread(thread, (0.001,))
callers = [spawn(lambda: [default_workers.run(native_sleep, 0.0005) for _ in range(100)]) for _ in range(4)]
for number in range(12):
    assert forked(("main", "task")[number % 2], lambda: (still_works(), default_workers.run(int, 1))) == 0
for caller in callers:
    caller.join(20)
stop.append(True)
limit = later(10)
while left[0]:
    assert time.monotonic() < limit
    core.sleep(0.001)
""".replace(
            "job = spawn(core.wait, reader, False)\n        core.sleep(0)",
            "core.get_hub()\n        job = spawn(core.wait, reader, False)\n        core.sleep(0)",
        ),
        timeout=40,
    )


class TestHooksFromBefore:
    """Hooks for the child that were registered before greenify was imported."""

    PROGRAM = """
import asyncio, os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
parent = os.getpid()
told = []

def hook():
    # It waits, and starts a thread of its own.
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    thread.start()
    thread.join()
    told.append(ran.is_set())

os.register_at_fork(after_in_child=hook)
if sys.argv[1] == "patched":
    import greenify
    greenify.patch_all()

def other():
    while not stop.wait(0.001):
        if os.getpid() != parent:
            told.append("a thread of the parent's")

def fork():
    pid = os.fork()
    if pid == 0:
        try:
            time.sleep(0.02)
            os._exit(42 if told == [True] else 1)
        finally:
            os._exit(2)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

stop, statuses = threading.Event(), []
others = [threading.Thread(target=other) for _ in range(3)]
for thread in others:
    thread.start()
fork()
forking = threading.Thread(target=fork)
forking.start()
forking.join()
stop.set()
assert statuses == [42, 42], statuses
"""

    @pytest.mark.parametrize("mode", ["plain", "patched"])
    def test_they_find_the_childs_own_threads(self, mode: str) -> None:
        result = run_python(self.PROGRAM, mode, greenify=False, check=True)
        # asyncio has a hook, too, and says so when it cannot do its work.
        assert result.stderr == ""
