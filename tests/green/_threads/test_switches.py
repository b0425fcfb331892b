"""State of the OS thread that is swapped when threads switch, and that costs nothing while nobody has any."""

from __future__ import annotations

from tests.support import run_python

BEGIN = """
import greenlet, os, threading, warnings, weakref
from greenify.green._threads.switches import Setting, follow, unfollow

class Field:
    "A field of the OS thread's state."
    value, puts = 0, 0
    def get(self):
        return self.value
    def put(self, value):
        self.value = value
        self.puts += 1

field = Field()
setting = Setting(field.get, field.put, 0)

def set(value):
    setting.change(field.put, value)

def step(count=3):
    "Let all others run."
    import time
    for _ in range(count):
        time.sleep(0)

def thread(function, *args):
    made = threading.Thread(target=function, args=args, daemon=True)
    made.start()
    return made
"""


def run(program: str) -> str:
    return run_python(BEGIN + program, check=True, timeout=40).stdout


class TestSetting:
    def test_each_thread_has_its_own(self) -> None:
        run(
            """
seen = []
def work(value):
    seen.append(field.value)
    set(value)
    for _ in range(5):
        step()
        assert field.value == value
threads = [thread(work, n) for n in (1, 2, 3)]
for each in threads:
    each.join()
    assert field.value == 0
assert seen == [0, 0, 0]
"""
        )

    def test_what_was_in_force_before_is_the_main_threads(self) -> None:
        run(
            """
field.value = 7
def work():
    set(1)
    step()
    assert field.value == 1
each = thread(work)
step(1)
assert field.value == 7
each.join()
assert field.value == 7
def fresh():
    assert field.value == 0
    done.append(1)
done = []
thread(fresh).join()
assert done
"""
        )

    def test_adopted_without_a_change(self) -> None:
        run(
            """
field.value = 7
setting.adopt()
seen = []
thread(lambda: seen.append(field.value)).join()
assert seen == [0] and field.value == 7
"""
        )

    def test_a_thread_that_ends_leaves_nothing(self) -> None:
        """Nor to the next thread that is run by the same greenlet."""
        run(
            """
seen = []
for _ in range(3):
    def work():
        seen.append(field.value)
        set(5)
    thread(work).join()
    assert field.value == 0
assert seen == [0, 0, 0]
"""
        )

    def test_the_call_fails(self) -> None:
        """What it has done until then is the thread's all the same."""
        run(
            """
def half(value):
    field.put(value)
    raise ZeroDivisionError
def work():
    try:
        setting.change(half, 4)
    except ZeroDivisionError:
        step()
        seen.append(field.value)
seen = []
thread(work).join()
assert seen == [4] and field.value == 0
"""
        )

    def test_volatile(self) -> None:
        run(
            """
setting = Setting(field.get, field.put, 0, volatile=True)
def work():
    set(1)
    field.value = 2     # by somebody in C
    step()
    assert field.value == 2
    done.append(1)
done = []
thread(work).join()
assert done and field.value == 0
"""
        )

    def test_raw_greenlets_are_part_of_their_thread(self) -> None:
        run(
            """
def work():
    set(1)
    def inner():
        assert field.value == 1
        set(2)
        step()
        assert field.value == 2
        greenlet.getcurrent().parent.switch()
        assert field.value == 3
        done.append(1)
    raw = greenlet.greenlet(inner)
    raw.switch()
    assert field.value == 2
    step()
    set(3)
    raw.switch()
done = []
thread(work).join()
assert done and field.value == 0
"""
        )

    def test_in_a_forked_child(self) -> None:
        """The forking thread keeps its own, as far as it is still in force; the others are gone."""
        run(
            """
warnings.simplefilter("ignore", DeprecationWarning)
field.value = 7
other = Field()
second = Setting(other.get, other.put, 0)
def work():
    set(1)
    second.change(other.put, 1)
    step()
    pid = os.fork()
    if pid == 0:
        step()
        assert field.value == 1
        seen = []
        thread(lambda: seen.append(field.value)).join()
        assert seen == [0] and field.value == 1
        set(0)
        assert greenlet.gettrace() is not None      # the other setting
        second.change(other.put, 0)
        assert greenlet.gettrace() is None
        os._exit(42)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
statuses = []
thread(work).join()
assert statuses == [42]
"""
        )

    def test_a_greenlet_that_is_dropped_is_collected(self) -> None:
        run(
            """
def inner():
    set(1)
    main.switch()
main = greenlet.getcurrent()
raw = greenlet.greenlet(inner)
raw.hub = None          # a thread's, as tasks have it
raw.switch()
assert field.value == 0
gone = weakref.ref(raw)
del raw
assert gone() is None and field.value == 0
"""
        )


class TestCost:
    def test_nobody_looks_at_switches_before_and_after(self) -> None:
        run(
            """
assert greenlet.gettrace() is None
go = threading.Event()
def work():
    set(1)
    assert greenlet.gettrace() is not None
    go.wait()
    set(0)
    assert greenlet.gettrace() is None
    set(2)
each = thread(work)
step()
assert greenlet.gettrace() is not None
thread(int).join()
go.set()
each.join()
step()
# It ended with its setting.
assert greenlet.gettrace() is None
"""
        )

    def test_a_switch_within_a_thread_puts_nothing(self) -> None:
        run(
            """
def work():
    set(1)
    before = field.puts
    for _ in range(10):
        greenlet.greenlet(int).switch()
    assert field.puts == before
    done.append(1)
done = []
thread(work).join()
assert done
"""
        )


class TestFollowers:
    def test_several_and_somebody_elses(self) -> None:
        run(
            """
seen = []
def theirs(event, args):
    seen.append("theirs")
greenlet.settrace(theirs)
def one(origin, target):
    seen.append("one")
def two(origin, target):
    seen.append("two")
follow(one); follow(two); follow(one)
greenlet.greenlet(int).switch()
assert seen == ["one", "two", "theirs"] * 2, seen
seen.clear()
unfollow(two); unfollow(two)
greenlet.greenlet(int).switch()
assert seen == ["one", "theirs"] * 2, seen
unfollow(one)
assert greenlet.gettrace() is theirs
"""
        )

    def test_somebody_has_put_another_in_place(self) -> None:
        """Whether or not it calls ours, each follower is called once."""
        run(
            """
for calls_ours in (False, True):
    seen = []
    def one(origin, target):
        seen.append("one")
    follow(one)
    ours = greenlet.gettrace()
    def theirs(event, args):
        seen.append("theirs")
        if calls_ours:
            ours(event, args)
    greenlet.settrace(theirs)
    follow(one)
    greenlet.greenlet(int).switch()
    assert seen == ["one", "theirs"] * 2, seen
    unfollow(one)
    greenlet.settrace(None)
"""
        )
