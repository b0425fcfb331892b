"""Real OS threads: wake-ups between them and greenlets, hubs of their own, and what remains when they end."""

from __future__ import annotations

import pytest

from tests.core.run import run

READY = """
import _thread, os, sys
from collections import deque
from engine_child import *

native_sleep = time.sleep
native_lock = _thread.allocate_lock

class Threads:
    # Starts native threads and waits for them, cooperatively; raises what they raised.
    def __init__(self):
        self.running = set()
        self.errors = []
    def start(self, function, *args):
        me = object()
        self.running.add(me)
        def run():
            try:
                function(*args)
            except BaseException as exc:
                self.errors.append(exc)
            finally:
                self.running.discard(me)
        _thread.start_new_thread(run, ())
    def join(self, timeout=40):
        limit = later(timeout)
        while self.running:
            assert time.monotonic() < limit, f"{len(self.running)} threads have not ended"
            core.sleep(0.001)
        if self.errors:
            raise self.errors[0]

threads = Threads()

class Channel:
    # An unbounded queue: the simplest use of a waiter.
    def __init__(self):
        self.items = deque()
        self.waiting = deque()
    def put(self, item):
        self.items.append(item)
        self.wake_one()
    def wake_one(self):
        try:
            waiter = self.waiting.popleft()
        except IndexError:
            return
        waiter.wake()
    def get(self, timeout=20):
        deadline = later(timeout)
        while True:
            try:
                item = self.items.popleft()
            except IndexError:
                pass
            else:
                if self.items:
                    # Whoever was woken for it may have found ours first.
                    self.wake_one()
                return item
            waiter = core.new_waiter()
            self.waiting.append(waiter)
            if self.items:
                # Put in between.
                waiter.wake()
            if not waiter.wait(deadline):
                raise TimeoutError("a wake-up was lost")
            try:
                self.waiting.remove(waiter)
            except ValueError:
                # Whoever has woken us has taken it out.
                pass
"""


@pytest.mark.smoke
def test_hammer_of_100000_operations() -> None:
    run(
        f"""{READY}
sys.setswitchinterval(1e-5)
requests, answers = Channel(), Channel()
COUNT, TASKS, THREADS = 25000, 10, 4

def server():
    while True:
        item = requests.get()
        if item is None:
            return
        answers.put(item + 1)

def client(first, count):
    for number in range(first, first + count):
        requests.put(number)
        total.append(answers.get())

total = deque()
per_task = COUNT // 2 // TASKS
per_thread = COUNT // 2 // THREADS
for number in range(THREADS):
    threads.start(server)
    threads.start(client, number * per_thread, per_thread)
servers = [spawn(server) for _ in range(TASKS)]
clients = [spawn(client, COUNT // 2 + number * per_task, per_task) for number in range(TASKS)]
for job in clients:
    job.join(40)
limit = later(40)
while len(total) < COUNT:
    assert time.monotonic() < limit
    core.sleep(0.001)
for _ in range(THREADS + TASKS):
    requests.put(None)
for job in servers:
    job.join(10)
threads.join()
# Each number was put, taken, answered and taken again.
assert sorted(total) == [number + 1 for number in range(COUNT)]
""",
        timeout=50,
    )


def test_ping_pong_between_sleepers() -> None:
    # Each operation finds the other side asleep, or just going to sleep.
    run(
        f"""{READY}
sys.setswitchinterval(1e-5)
def player(mine, other, count):
    for number in range(count):
        assert mine.get(10) == number
        other.put(number)

for kind in ("native", "hub"):
    def thread(*args):
        if kind == "hub":
            core.get_hub()
        player(*args)
    a, b = Channel(), Channel()
    threads.start(thread, a, b, 5000)
    for number in range(5000):
        a.put(number)
        assert b.get(10) == number
    threads.join()
""",
        timeout=50,
    )


def test_wake_from_a_thread_races_with_the_deadline() -> None:
    run(f"""{READY}
import random
sys.setswitchinterval(1e-5)
rng = random.Random(1)
boxes = Channel()
def waker():
    while True:
        waiter = boxes.get()
        if waiter is None:
            return
        limit = later(rng.random() * 0.0004)
        while time.monotonic() < limit:
            pass
        waiter.wake()
threads.start(waker)
outcomes = []
def task():
    for _ in range(400):
        waiter = core.new_waiter()
        deadline = later(0.0004)
        boxes.put(waiter)
        result = waiter.wait(deadline)
        outcomes.append(result)
        assert result or time.monotonic() >= deadline
        # A late wake-up must not be taken for that of the next wait.
        start = time.monotonic()
        core.sleep(0.0001)
        assert time.monotonic() - start >= 0.0001
jobs = [spawn(task) for _ in range(5)]
for job in jobs:
    job.join(40)
boxes.put(None)
threads.join()
assert len(outcomes) == 2000 and {{True, False}} == set(outcomes)
""")


def test_calls_from_threads_while_the_hub_goes_to_sleep() -> None:
    run(f"""{READY}
sys.setswitchinterval(1e-5)
hub = core.get_hub()
called = []
def caller(number):
    for count in range(500):
        before = len(called)
        hub.call_soon(called.append, (number, count))
        if count % 7 == 0:
            # With nobody else to wake the hub, this one has to.
            limit = later(10)
            while len(called) == before:
                assert time.monotonic() < limit
                native_sleep(0.0001)
for number in range(4):
    threads.start(caller, number)
while len(called) < 2000:
    waiter = core.new_waiter()
    hub.call_soon(lambda: None)
    waiter.wait(later(0.05))
threads.join()
for number in range(4):
    assert [count for who, count in called if who == number] == list(range(500))
""")


def test_tasks_started_from_threads() -> None:
    run(f"""{READY}
hub = core.get_hub()
ran = deque()
def body(number):
    core.sleep(0)
    ran.append((number, _thread.get_ident()))
for number in range(4):
    threads.start(lambda number: [hub.call_soon(spawn, body, number) for _ in range(200)], number)
limit = later(20)
while len(ran) < 800:
    assert time.monotonic() < limit, len(ran)
    core.sleep(0.001)
assert sorted(number for number, ident in ran) == sorted(list(range(4)) * 200)
assert {{ident for number, ident in ran}} == {{_thread.get_ident()}}
threads.join()
""")


def test_a_thread_without_a_hub_blocks_natively() -> None:
    run(f"""{READY}
log = []
def thread():
    assert core.current_hub() is None
    start = time.monotonic()
    core.sleep(0.01)
    core.sleep(0)
    assert time.monotonic() - start >= 0.01
    waiter = core.new_waiter()
    assert isinstance(waiter, core.ThreadWaiter)
    start = time.monotonic()
    assert waiter.wait(start + 0.02) is False
    assert time.monotonic() - start >= 0.02
    assert waiter.wait(start) is False
    waiter.wake()
    waiter.wake()
    assert waiter.wait() is True and waiter.wait(start) is True
    reader, writer = pipe()
    assert core.wait(reader, False, later(0.01)) is False
    assert core.wait(reader, False, later(-1)) is False
    assert core.wait(writer, True) is True
    os.write(writer, b"x")
    assert core.wait(reader, False, later(0)) is True
    assert core.wait(os.open(os.devnull, os.O_RDWR), False) is True
    assert outcome(core.wait, 999, False) == "EBADF"
    os.read(reader, 1)
    fds.append((reader, writer))
    log.append(core.wait(reader, False))
    assert core.current_hub() is None
fds = []
threads.start(thread)
while not fds:
    core.sleep(0.001)
core.sleep(0.02)
assert not log
os.write(fds[0][1], b"x")
threads.join()
assert log == [True]
""")


def test_hubs_of_several_threads() -> None:
    run(f"""{READY}
left, right = socket_pair()
hubs = set()
def thread(number):
    hub = core.get_hub()
    hubs.add(hub)
    assert core.get_hub() is hub and core.current_hub() is hub and hub.ident == _thread.get_ident()
    order = []
    def task(n):
        core.sleep(0.001 * n)
        order.append(n)
    jobs = [spawn(task, n) for n in (3, 1, 2)]
    for job in jobs:
        job.join(10)
    assert order == [1, 2, 3]
    still_works()
    # The same descriptor in the kernel queues of all of them.
    reads = spawn(core.wait, left, False, later(10))
    ready.append(number)
    assert reads.join(10) is True
ready = []
for number in range(8):
    threads.start(thread, number)
own = spawn(core.wait, left, False, later(10))
while len(ready) < 8:
    core.sleep(0.001)
core.sleep(0.01)
os.write(right, b"x")
threads.join()
assert own.join(10) is True
assert len(hubs) == 8 and core.get_hub() not in hubs
assert core.home_hub() is core.get_hub()
""")


def test_forget_wakes_the_hubs_of_all_threads() -> None:
    run(f"""{READY}
left, right = socket_pair()
results = []
parked = []
def thread():
    core.get_hub()
    job = spawn(outcome, core.wait, left, False)
    core.sleep(0)
    parked.append(1)
    results.append(job.join(10))
for _ in range(6):
    threads.start(thread)
while len(parked) < 6:
    core.sleep(0.001)
core.sleep(0.01)
core.forget(left)
os.close(left)
threads.join()
assert results == ["EBADF"] * 6
""")


def test_hub_of_an_ended_thread_is_released() -> None:
    run(f"""{READY}
import gc
def thread():
    still_works()
    # Left behind, parked in every way.
    reader, writer = pipe()
    spawn(core.sleep, 1000)
    spawn(core.wait, writer, True)
    job = spawn(core.wait, reader, False)
    waiters.append(None)
    def wait():
        waiters[-1] = core.new_waiter()
        waiters[-1].wait()
    spawn(wait)
    settle()
    core.sleep(0.001)
    os.close(reader)
    os.close(writer)
def rounds(count):
    for _ in range(count):
        threads.start(thread)
        threads.join()
        # The thread's end comes a moment after its function's.
        limit = later(10)
        while len(os.listdir("/proc/self/task")) > 1:
            assert time.monotonic() < limit
            core.sleep(0.0005)
        assert len(core.registry.hubs) == 1
waiters = []
core.get_hub()
rounds(5)
before, memory = open_files(), resident()
rounds(150)
# At once, not when the collector comes by.
limit = later(10)
while open_files() > before and time.monotonic() < limit:
    core.sleep(0.001)
assert open_files() == before, (open_files(), before)
for waiter in waiters:
    # Nobody is there any more.
    waiter.wake()
waiters.clear()
gc.collect()
assert resident() - memory < 16 << 20, resident() - memory
still_works()
""")


def test_hub_of_a_thread_of_a_c_library() -> None:
    # Its thread state goes with the last PyGILState_Release, and whatever libuv still calls holds one, too.
    run(f"""{READY}
import ctypes
libc = ctypes.CDLL(None)
ended = []
def thread(_):
    still_works()
    ended.append(core.get_hub())
callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(thread)
core.get_hub()
def rounds(count):
    for _ in range(count):
        ident = ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(ident), None, callback, None) == 0
        assert libc.pthread_join(ident, None) == 0
        assert ended.pop() not in core.registry.hubs
rounds(2)
before = open_files()
rounds(20)
assert open_files() == before
still_works()
""")


def test_threads_end_while_others_wake_them() -> None:
    # The pipe of a hub that is closed must not be written to: its number may be another file's by then.
    run(f"""{READY}
sys.setswitchinterval(1e-5)
stop = []
current = deque(maxlen=8)
def short():
    hub = core.get_hub()
    def task():
        waiter = core.new_waiter()
        current.append((hub, waiter))
        waiter.wait(later(0.002))
    spawn(task).join(10)
def hammer():
    while not stop:
        for hub, waiter in tuple(current):
            hub.interrupt()
            waiter.wake()
            hub.call_soon(int)
            core.forget(999)
def canary():
    while not stop:
        reader, writer = pipe()
        native_sleep(0.0001)
        assert outcome(os.read, reader, 1) == "EAGAIN"
        os.close(reader)
        os.close(writer)
for _ in range(2):
    threads.start(hammer)
threads.start(canary)
for _ in range(150):
    threads.start(short)
    while len(threads.running) > 6:
        core.sleep(0.0005)
stop.append(1)
threads.join()
""")


def test_spawning_and_forgetting_on_all_sides() -> None:
    run(f"""{READY}
import random
sys.setswitchinterval(1e-5)
def thread(seed):
    rng = random.Random(seed)
    core.get_hub()
    for _ in range(60):
        left, right = socket_pair()
        jobs = [spawn(outcome, core.wait, fd, False, later(10)) for fd in (left, right, left)]
        # All wait: one that began after the closing could meet the next file of that number.
        settle(2)
        # From now on, whoever takes it closes it.
        shared.append(left)
        settle(rng.randrange(4))
        if rng.random() < 0.5:
            try:
                os.write(right, b"x")
            except BrokenPipeError:
                # Another thread has closed `left` already.
                pass
        try:
            fd = shared.popleft()
        except IndexError:
            pass
        else:
            core.forget(fd)
            os.close(fd)
        for job in jobs[::2]:
            assert job.join(10) in (True, "EBADF"), job.result
        # Its other end is closed by now, or will be.
        assert jobs[1].join(10) in (True, "EBADF"), jobs[1].result
        core.forget(right)
        os.close(right)
shared = deque()
for seed in range(6):
    threads.start(thread, seed)
threads.join()
still_works()
""")


def test_pause_and_sleep_of_many_threads() -> None:
    run(f"""{READY}
def thread():
    core.get_hub()
    counts = []
    def task():
        for _ in range(100):
            core.sleep(0)
        counts.append(1)
    jobs = [spawn(task) for _ in range(20)]
    for job in jobs:
        job.join(20)
    assert len(counts) == 20
for _ in range(5):
    threads.start(thread)
threads.join()
""")


def test_tasks_do_not_pile_up_on_the_stack() -> None:
    # Each task begins while the one before it is being left.  Were its stack to begin where that one's ends,
    # some thousands of them would overrun this small one.
    run(f"""{READY}
def thread():
    core.get_hub()
    begun = []
    def task():
        begun.append(1)
        gate.wait(later(20))
    gate = greenify.Event()
    jobs = [spawn(task) for _ in range(5000)]
    core.sleep(0)
    assert len(begun) == 5000
    gate.set()
    for job in jobs:
        job.join(20)
import greenify
_thread.stack_size(256 * 1024)
threads.start(thread)
threads.join()
""")
