"""Native threads for calls that cannot be made cooperative."""

from __future__ import annotations

import pytest

from tests.core.run import run

READY = """
import _thread, os, signal
from engine_child import *
from greenify.core.workers import Workers, default_workers

native_sleep = time.sleep
native_lock = _thread.allocate_lock

def native_threads():
    return len(os.listdir("/proc/self/task"))
"""


@pytest.mark.smoke
def test_results_errors_and_concurrency() -> None:
    run(f"""{READY}
begun = []
ticks = 0
def call(value, *, error=None):
    begun.append(value)
    limit = later(20)
    # All at the same time, and the tasks go on meanwhile.
    while len(begun) < 16 or ticks < 5:
        assert time.monotonic() < limit, (begun, ticks)
        native_sleep(0.001)
    if error is not None:
        raise error
    return value, _thread.get_ident()

jobs = [spawn(default_workers.run, call, number) for number in range(16)]
while not all(job.ended for job in jobs):
    core.sleep(0.001)
    ticks += 1
results = [job.join() for job in jobs]
assert [value for value, ident in results] == list(range(16))
assert _thread.get_ident() not in {{ident for value, ident in results}}

error = KeyError("here")
try:
    default_workers.run(call, 1, error=error)
except KeyError as exc:
    assert exc is error
    names = []
    tb = exc.__traceback__
    while tb is not None:
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    assert names[-1] == "call", names
else:
    raise AssertionError("no error")
for error in (SystemExit(1), KeyboardInterrupt(), StopIteration(2)):
    try:
        default_workers.run(call, 1, error=error)
    except BaseException as exc:
        assert exc is error
""")


def test_error_leaves_no_cycle() -> None:
    run(f"""{READY}
import gc, weakref
class Big:
    pass
def call(big):
    raise KeyError
gc.disable()
big = Big()
ref = weakref.ref(big)
try:
    default_workers.run(call, big)
except KeyError:
    pass
del big
limit = later(5)
while ref() is not None and time.monotonic() < limit:
    core.sleep(0.001)
assert ref() is None
assert default_workers.run(lambda: None) is None
""")


def test_limit_and_idle_end() -> None:
    run(f"""{READY}
workers = Workers(limit=3, idle=0.05)
assert workers.threads == 0 and native_threads() == 1
running, peak = [], []
def call(number):
    running.append(number)
    peak.append(len(running))
    native_sleep(0.002)
    running.remove(number)
    return number
jobs = [spawn(workers.run, call, number) for number in range(60)]
assert [job.join(20) for job in jobs] == list(range(60))
assert max(peak) == 3
# One call after the other takes one thread, not as many as there are calls.
assert workers.threads <= 3
limit = later(10)
while workers.threads or native_threads() > 1:
    assert time.monotonic() < limit, (workers.threads, native_threads())
    core.sleep(0.01)
for number in range(5):
    assert workers.run(call, number) == number
    assert workers.threads == 1
    core.sleep(0.001)
""")


def test_call_at_the_moment_a_thread_gives_up() -> None:
    run(f"""{READY}
for idle in (0.0, 0.0005):
    for limit in (1, 2):
        workers = Workers(limit=limit, idle=idle)
        for number in range(400):
            assert workers.run(int, number) == number
            if number % 3 == 0:
                core.sleep(idle)
        jobs = [spawn(lambda: [workers.run(int, n) for n in range(50)]) for _ in range(10)]
        for job in jobs:
            assert job.join(20) == list(range(50))
""")


def test_from_many_threads() -> None:
    run(f"""{READY}
import sys
sys.setswitchinterval(1e-5)
workers = Workers(limit=4, idle=0.001)
ended = core.new_waiter()
left = [8]
counting = native_lock()
errors = []
def thread():
    try:
        core.get_hub()
        jobs = [spawn(lambda: [workers.run(int, n) for n in range(50)]) for _ in range(4)]
        for job in jobs:
            assert job.join(30) == list(range(50))
    except BaseException as exc:
        errors.append(exc)
    finally:
        with counting:
            left[0] -= 1
            last = not left[0]
        if last:
            ended.wake()
for _ in range(8):
    _thread.start_new_thread(thread, ())
assert ended.wait(later(30))
assert not errors, errors
assert workers.threads <= 4
""")


def test_without_a_hub_it_is_a_plain_call() -> None:
    run(f"""{READY}
found = []
done = core.new_waiter()
def thread():
    found.append(default_workers.run(_thread.get_ident) == _thread.get_ident())
    assert core.current_hub() is None
    done.wake()
_thread.start_new_thread(thread, ())
assert done.wait(later(10)) and found == [True]
assert default_workers.threads == 0
""")


def test_killed_before_and_while_it_runs() -> None:
    run(f"""{READY}
from greenify.core.entries import Throw
class Stop(BaseException):
    pass
workers = Workers(limit=1)
hub = core.get_hub()
gate, log, begun = native_lock(), [], []
gate.acquire()
def call(name):
    begun.append(name)
    gate.acquire()
    log.append(name)
    return name
def task(name):
    try:
        return workers.run(call, name)
    except Stop:
        return "stopped"
jobs = [spawn(task, name) for name in "abc"]
while not begun:
    core.sleep(0.001)
for job in jobs[:2]:
    hub.ready.append(Throw(job.greenlet, Stop()))
assert [job.join(10) for job in jobs[:2]] == ["stopped"] * 2
assert hub.lent == 1
gate.release()
while log != ["a"]:
    core.sleep(0.001)
gate.release()
assert jobs[2].join(10) == "c"
# The one that had not started never ran.
assert log == ["a", "c"] and hub.lent == 0
""")


def test_no_thread_can_be_started() -> None:
    run(f"""{READY}
from greenify.core import native as module
def refuse(*args):
    raise RuntimeError("can't start new thread")
start, module._start_native = module._start_native, refuse
workers = Workers(limit=2)
ran = []
for _ in range(3):
    try:
        workers.run(ran.append, 1)
    except RuntimeError as exc:
        assert "can't start" in str(exc)
    else:
        raise AssertionError("no error")
    assert workers.threads == 0
module._start_native = start
assert workers.run(int, 5) == 5
assert not ran
# With a thread that exists, the call waits for that one.
gate = native_lock()
gate.acquire()
first = spawn(workers.run, gate.acquire)
settle()
module._start_native = refuse
second = spawn(workers.run, int, 6)
settle()
assert not second.ended
gate.release()
assert first.join(10) is True and second.join(10) == 6
""")


@pytest.mark.parametrize("how", ["signal handler", "finaliser"])
def test_run_inside_run(how: str) -> None:
    # A handler or a finaliser comes in the middle of `run` and calls it again: nothing may be locked then.
    run(f"""{READY}
import gc, itertools
workers = Workers(limit=4, idle=0.0005)
inner = [0]
def again(*args):
    if args:
        hit_soon()
    assert workers.run(int, 7) == 7
    inner[0] += 1
# Two signals for each call, one in the middle of the other's handler.  A timer that goes on by itself would, on a
# busy machine, keep the handler running for ever.
signals_left = 0
delays = itertools.cycle(range(1, 40))
def hit_soon():
    global signals_left
    if signals_left:
        signals_left -= 1
        signal.setitimer(signal.ITIMER_REAL, next(delays) * 2e-5)
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        again()
def work():
    global signals_left
    while time.monotonic() < limit:
        if {how == "finaliser"}:
            Cycle()
        else:
            signals_left = 2
            hit_soon()
        assert workers.run(int, 6) == 6
limit = later(1.5)
if {how == "finaliser"}:
    gc.set_threshold(1)
else:
    signal.signal(signal.SIGALRM, again)
work()
signal.setitimer(signal.ITIMER_REAL, 0)
gc.set_threshold(700)
assert inner[0] > 50, inner
""")


def test_pool_starts_anew_after_a_fork() -> None:
    run(f"""{READY}
workers = Workers(limit=2, idle=100)
gate = native_lock()
gate.acquire()
jobs = [spawn(pool.run, gate.acquire) for pool in (workers, workers, default_workers)]
waiting = spawn(workers.run, int, 1)
settle()
assert workers.threads == 2 and not waiting.ended
pid = os.fork()
if pid == 0:
    for pool in (workers, default_workers):
        assert pool.run(int, 7) == 7
        assert pool.threads == 1
    assert native_threads() == 3
    os._exit(7)
assert default_workers.run(os.waitpid, pid, 0)[1] == 7 << 8
for _ in range(3):
    gate.release()
    while not gate.locked():  # by the next job
        core.sleep(0.001)
assert waiting.join(10) == 1
assert [job.join(10) for job in jobs] == [True] * 3
""")


def test_1000_calls_leave_nothing() -> None:
    run(f"""{READY}
for _ in range(200):
    default_workers.run(int, 1)
before, files = resident(), open_files()
jobs = [spawn(lambda: [default_workers.run(bytes, 1000) for _ in range(100)]) for _ in range(10)]
for job in jobs:
    job.join(30)
del jobs, job
for _ in range(3000):
    default_workers.run(int, 1)
assert open_files() == files
assert resident() - before < 4 << 20, resident() - before
""")


def test_idle_pool_does_not_tick() -> None:
    run(f"""{READY}
default_workers.run(int, 1)
def switches():
    # Of the other thread: this one is busy reading them.
    found = []
    for task in set(os.listdir("/proc/self/task")) - {{str(os.getpid())}}:
        with open(f"/proc/self/task/{{task}}/status") as file:
            found += [line for line in file if line.startswith("voluntary")]
    return found
native_sleep(0.02)
before = switches()
native_sleep(0.3)
assert len(before) == 1 and switches() == before
""")


def test_quick_calls_take_no_more_threads_than_there_are_callers() -> None:
    """Whoever is idle is found, and not forgotten while another one takes what it was called for."""
    run(f"""{READY}
pool = Workers(limit=10_000)
def several():
    for _ in range(300):
        pool.run(os.getppid)
for job in [spawn(several) for _ in range(20)]:
    job.join()
# A few more: one that has done its work is not idle at once.  It were thousands.
assert 1 <= pool.threads <= 200, pool.threads
pool.dismiss()
limit = later(20)
while pool.threads:
    assert time.monotonic() < limit, pool.threads
    core.sleep(0.001)
""")


@pytest.mark.parametrize("limit, idle", [(3, 0.0005), (1, 10.0), (50, 0.0)])
def test_no_call_is_lost_while_threads_come_and_go(limit: int, idle: float) -> None:
    run(f"""{READY}
pool = Workers(limit={limit}, idle={idle})
done, ended = [], []
def submit(number):
    for turn in range(1000):
        pool.start(done.append, turn)
        if not turn % 50:
            native_sleep(0.001)
    ended.append(number)
for number in range(6):
    _thread.start_new_thread(submit, (number,))
until = later(40)
while len(done) < 6000:
    assert time.monotonic() < until, (len(done), ended, pool.threads)
    core.sleep(0.001)
assert sorted(done) == sorted([*range(1000)] * 6)
assert pool.threads <= {limit}
""")
