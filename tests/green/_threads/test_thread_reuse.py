"""A greenlet is several threads, one after the other, and nobody can tell; events without conditions."""

from __future__ import annotations

import sys

import pytest

from tests.support import run_python

BEGIN = """
import contextvars, gc, sys, threading, time, weakref
from greenlet import getcurrent

seen = []

def in_a_thread(work):
    def run():
        seen.append(id(getcurrent()))
        work()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not thread.is_alive()

def same():
    "Whether the last two threads were one greenlet."
    return seen[-1] == seen[-2]
"""


def run(program: str) -> str:
    return run_python(BEGIN + program, check=True, timeout=40).stdout


class TestReuse:
    @pytest.mark.parametrize("green", [False, True], ids=["plain", "patched"])
    def test_signal_mask(self, green: bool) -> None:
        # Each thread begins with the mask of its starter, whatever the last one in its greenlet had.
        program = """
import signal
masks, lives = [], []
def ask():
    lives.append(getattr(getcurrent(), "_lives", 0))
    masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    ask()
for _ in range(2):
    in_a_thread(block)
    in_a_thread(ask)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
in_a_thread(block)
in_a_thread(ask)
# One greenlet is all of them.
assert not GREEN or lives == [1, 2, 3, 4, 5, 6], lives
assert masks == 2 * [{signal.SIGUSR2}, set()] + [{signal.SIGUSR1, signal.SIGUSR2}, {signal.SIGUSR1}], masks
"""
        run_python(f"GREEN = {green}" + BEGIN + program, check=True, timeout=40, greenify=green)

    def test_one_after_the_other(self) -> None:
        run(
            """
in_a_thread(int)
in_a_thread(int)
assert same()
# Several at once are several, and those are there for the next ones.
def together():
    found, go = [], threading.Event()
    def work():
        found.append(id(getcurrent()))
        go.wait()
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    return set(found)
first, second = together(), together()
assert len(first) == len(second) == 5 and first == second and seen[-1] in first
"""
        )

    def test_nothing_is_left_of_the_last_one(self) -> None:
        run(
            """
data, variable = threading.local(), contextvars.ContextVar("variable", default=None)
def first():
    data.value = 1
    variable.set(1)
    getcurrent().mine = 1
    sys.settrace(lambda *_: None)
found = []
def second():
    found.append((hasattr(data, "value"), variable.get(), hasattr(getcurrent(), "mine"), sys.gettrace()))
in_a_thread(first)
in_a_thread(second)
assert same() and found == [(False, None, False, None)], found
"""
        )

    def test_errors_end_one_thread_only(self) -> None:
        out = run(
            """
def fail():
    raise ValueError("once")
threading.excepthook = lambda args: print(args.exc_type.__name__, args.thread.name.partition(" ")[0])
in_a_thread(fail)
in_a_thread(sys.exit)
in_a_thread(int)
assert same()
"""
        )
        # A hook of the program's own is told of SystemExit, too.
        assert out == "ValueError Thread-1\nSystemExit Thread-2\n"

    def test_not_if_somebody_watches_it(self) -> None:
        run(
            """
kept = weakref.WeakKeyDictionary()
def keep():
    kept[getcurrent()] = "of the first"
in_a_thread(keep)
found = []
in_a_thread(lambda: found.append(kept.get(getcurrent())))
assert found == [None] and not kept
"""
        )

    def test_a_late_exception_meets_nobody(self) -> None:
        run(
            """
from greenify.green._threads.green_thread import GreenThread
found = []
def first():
    # It is on the ready queue when this thread ends, and when the next one waits.
    thread = getcurrent()
    assert isinstance(thread, GreenThread)
    thread.throw_soon(KeyError("late"))
def second():
    time.sleep(0)
    time.sleep(0)
    found.append("whole")
in_a_thread(first)
in_a_thread(second)
assert found == ["whole"]
"""
        )

    def test_not_with_a_wake_up_on_its_way(self) -> None:
        run(
            """
from greenify import core
def late():
    core.get_hub().ready.append(getcurrent())
in_a_thread(late)
in_a_thread(int)
assert not same()
"""
        )

    def test_at_most_so_many_are_kept(self) -> None:
        run(
            """
from greenify import core
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(300)]
for thread in threads:
    thread.start()
go.set()
for thread in threads:
    thread.join()
assert 0 < len(core.get_hub().spares) <= 64
assert not core.get_hub().tasks
"""
        )

    def test_a_hub_that_closes_ends_them(self) -> None:
        run(
            """
import greenify
from greenify import core
from greenify.green._threads.green_thread import GreenThread
native = greenify.original("threading")
def in_a_native_thread():
    core.get_hub()
    in_a_thread(int)
    assert len(core.current_hub().spares) == 1
thread = native.Thread(target=in_a_native_thread)
thread.start()
while thread.is_alive():
    time.sleep(0.001)
gc.collect()
assert not [g for g in gc.get_objects() if isinstance(g, GreenThread) and g.hub.ident != core.get_hub().ident]
"""
        )

    @pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no os.fork here")
    def test_one_that_has_forked_ends_the_child(self) -> None:
        run(
            """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
status = []
def fork():
    pid = os.fork()
    if pid:
        status.append(os.waitpid(pid, 0)[1])
in_a_thread(int)
in_a_thread(fork)
assert same() and status == [0], status
"""
        )


class TestEvents:
    def test_condition_is_made_when_asked_for(self) -> None:
        run(
            """
event = threading.Event()
assert "_cond" not in vars(event)
order = []
def work(number):
    assert event.wait(30)
    order.append(number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
# Those who wait already stand in its queue; so do those who come later.
assert isinstance(event._cond, threading.Condition) and len(event._cond._waiters) == 3
assert event._cond is event._cond
threads.append(threading.Thread(target=work, args=(3,)))
threads[-1].start()
assert not event.wait(0) and not event.wait(0.001)
event.set()
event.clear()
for thread in threads:
    thread.join()
assert order == [0, 1, 2, 3]
"""
        )

    def test_woken_in_order(self) -> None:
        run(
            """
event, order = threading.Event(), []
threads = [threading.Thread(target=lambda n=n: (event.wait(), order.append(n))) for n in range(5)]
for thread in threads:
    thread.start()
event.set()
for thread in threads:
    thread.join()
assert order == [0, 1, 2, 3, 4]
"""
        )

    def test_who_has_left_is_not_woken_any_more(self) -> None:
        run(
            """
from greenify import core
from greenify.core.entries import Throw

event, end = threading.Event(), threading.Event()
left = []
def wait(*timeout):
    left.append(getcurrent())
    try:
        event.wait(*timeout)
    except KeyError:
        end.wait()

hub = core.get_hub()
for timeout in ((), (60,)):
    thread = threading.Thread(target=wait, args=timeout)
    thread.start()
    while not event._parked:
        time.sleep(0)
    # `set`, on another OS thread, has taken it out but not woken it yet.
    waiter = event._parked.pop()
    hub.ready.append(Throw(left[-1], KeyError()))
    while not end._parked:
        time.sleep(0)
    waiter.release()
    assert left[-1] not in hub.ready
    end.set()
    thread.join()
    end.clear()
"""
        )

    def test_subclasses_and_copies(self) -> None:
        run(
            """
import copy, pickle
class Counted(threading.Event):
    def __init__(self):
        super().__init__()
        self.sets = 0
    def set(self):
        self.sets += 1
        super().set()
counted = Counted()
counted.set()
assert counted.sets == 1 and counted.wait() and copy.copy(counted)._cond is counted._cond
for event in (threading.Event(), counted):
    try:
        pickle.dumps(event)
    except TypeError:
        continue
    raise AssertionError("a lock has been pickled")
assert not hasattr(threading.Event, "_cond")
"""
        )

    def test_from_before_the_patch_and_after_it(self) -> None:
        program = """
import greenify, threading, time
before = threading.Event()
had = set(vars(threading.Event))
greenify.patch_all()
def used(event):
    thread = threading.Thread(target=event.wait, args=(30,))
    thread.start()
    assert not event.wait(0.001)
    event.set()
    thread.join(30)
    assert not thread.is_alive()
    event.clear()
    assert not event.is_set()
during = threading.Event()
used(before)
used(during)
during, untouched = threading.Event(), threading.Event()
greenify.restore()
assert set(vars(threading.Event)) == had
for event in (before, during, untouched):
    used(event)
"""
        run_python(program, greenify=False, check=True, timeout=40)


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="from CPython 3.13 on a thread has a handle, and no lock"
)
def test_the_lock_of_a_thread() -> None:
    run(
        """
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
lock = thread._tstate_lock
assert lock.locked() and not lock.acquire(False) and not lock.acquire(timeout=0.001)
joined = []
def join():
    thread.join()
    joined.append(thread.is_alive())
others = [threading.Thread(target=join) for _ in range(3)]
for other in others:
    other.start()
go.set()
assert lock.acquire(timeout=30) and lock.locked() and not lock.acquire(False)
lock.release()
for other in others:
    other.join()
assert joined == [False] * 3 and not thread.is_alive()
try:
    lock.release()
except RuntimeError:
    pass
else:
    raise AssertionError("released twice")
"""
    )


class TestRawGreenlets:
    """A suspended raw greenlet stays a part of the thread that has started it, also when that has ended."""

    @pytest.mark.parametrize(
        "ask",
        ["threading.get_ident()", "time.sleep(0)", "threading.Event().wait(0.001)"],
        ids=["identity", "pause", "wait"],
    )
    def test_its_greenlet_is_not_used_again(self, ask: str) -> None:
        run(
            f"""
from greenlet import greenlet
inner, idents = [], []
def raw():
    {ask}
    back.switch()
    idents.append(threading.get_ident())
    lock.acquire()
    main.switch()
def first():
    global back
    back = getcurrent()
    idents.append(threading.get_ident())
    inner.append(greenlet(raw))
    inner[0].switch()
in_a_thread(first)
main, lock, go = getcurrent(), threading.RLock(), threading.Event()
def second():
    seen.append(id(getcurrent()))
    idents.append(threading.get_ident())
    go.wait()
    assert not lock.acquire(False)  # it is not this thread's
thread = threading.Thread(target=second)
thread.start()
while len(idents) < 2:
    time.sleep(0)
assert not same()
inner[0].switch()
assert idents[2] == idents[0] != idents[1]
go.set()
thread.join()
"""
        )

    def test_one_that_nobody_has_seen_is_a_limit(self) -> None:
        """docs/limits.md: it has neither waited nor asked for its thread while that lived."""
        run(
            """
from greenlet import greenlet
inner, idents = [], []
def raw():
    back.switch()
    idents.append(threading.get_ident())
    main.switch()
def first():
    global back
    back = getcurrent()
    inner.append(greenlet(raw))
    inner[0].switch()
in_a_thread(first)
main, go = getcurrent(), threading.Event()
def second():
    seen.append(id(getcurrent()))
    idents.append(threading.get_ident())
    go.wait()
thread = threading.Thread(target=second)
thread.start()
while not idents:
    time.sleep(0)
assert same()
inner[0].switch()
assert idents[1] == idents[0]
go.set()
thread.join()
"""
        )
