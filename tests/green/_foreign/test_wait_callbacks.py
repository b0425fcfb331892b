"""A library's wait callback: set for moments only, and never seen by calls that run elsewhere."""

from __future__ import annotations

import pytest

from tests.green._foreign.waiting_library import check


def test_waits_on_the_hub() -> None:
    check("""
first = Connection()
task = start(ask, first)
until(lambda: first.polls)
assert Library.callback is None and gc.isenabled() and not own_threads()
first.other.send(b"an")
until(lambda: first.polls > 1)
first.other.send(b"swer\\n")
assert result(task) == b"answer\\n"
assert Library.seen == [True] and not own_threads()
""")


def test_not_while_others_call_natively() -> None:
    check("""
first, second = Connection(), Connection()
gate = Gate()
elsewhere = start(greenify.run_in_thread, callback.unused, gate.wait, 5)
until(lambda: gate.begun)
task = start(ask, first)
until(lambda: Library.seen)
first.other.send(b"1\\n")
assert result(task) == b"1\\n" and Library.seen == [False]
gate.open()
assert result(elsewhere) == 5
second.other.send(b"2\\n")
assert result(start(ask, second)) == b"2\\n" and Library.seen == [False, True]
""")


def test_others_begin_when_there_is_no_window() -> None:
    check("""
first = Connection()
at, found = [], []
def natively():
    at.append("about to")
    callback.unused(lambda: found.append(Library.callback))
def during():
    native.start_new_thread(natively, ())
    limit = time.monotonic() + LONG
    while not at and time.monotonic() < limit:
        native_sleep(0.001)
    native_sleep(0.02)
    assert at and not found and Library.callback is not None
task = start(ask, first, None, during)
until(lambda: found)
assert found == [None]
first.other.send(b"1\\n")
assert result(task) == b"1\\n"

# One that the library refuses before it looks has a window, too.
def fail():
    raise KeyError
def failing():
    try:
        ask(first, None, fail)
    except KeyError:
        return "failed"
assert result(start(failing)) == "failed"
assert Library.callback is None and gc.isenabled()
callback.unused(int)
""")


def test_finalisers_where_native_calls_begin_and_end() -> None:
    """The collector comes there, too; what it calls may wait for a call on another native thread."""
    check("""
first, done = [], []

def finaliser():
    if native.get_ident() in first:
        gate = Gate()
        native.start_new_thread(lambda: (callback.unused(int), gate.open()), ())
        done.append(gate.wait("waited"))

class Calls(list):
    def append(self, call):
        super().append(call)
        finaliser()
    def pop(self):
        finaliser()
        return super().pop()

def call():
    first.append(native.get_ident())
    callback.unused(done.append, "called")
    done.append("end")

callback._natively = Calls()
native.start_new_thread(call, ())
until(lambda: "end" in done)
assert done == ["waited", "called", "waited", "end"] and not callback._natively
""")


def test_looks_again() -> None:
    check("""
first = Connection()
task = start(ask, first)
until(lambda: first.polls)
first.other.send(b"a")
until(lambda: first.polls > 1)
first.kept = b"\\n"
assert result(task) == b"a\\n"
""")


def test_what_hits_the_caller_is_held() -> None:
    check("""
first = Connection()
interrupted = []
def interrupt():
    interrupted.append(first.polls)
    time.sleep(0)
def asking():
    try:
        ask(first, interrupt)
    except greenify.TaskExit as exc:
        return exc
task = start(asking)
until(lambda: first.polls)
killers = [start(task.kill) for _ in range(3)]
until(lambda: interrupted)
time.sleep(0.01)
assert task.alive
first.other.send(b"1\\n")
assert type(result(task)) is greenify.TaskExit and len(interrupted) == 1
for killer in killers:
    killer.join()
# It can be used on.
first.other.send(b"2\\n")
assert result(start(ask, first)) == b"2\\n"

# Several: the last one counts, and knows the one before.
def timed():
    try:
        with greenify.Timeout(0.01):
            ask(first, lambda: start(task.kill, ZeroDivisionError("second")))
    except ZeroDivisionError as exc:
        return exc
task = start(timed)
until(lambda: type(turns_of(first, Busy)._held) is ZeroDivisionError)
first.other.send(b"3\\n")
exc = result(task)
assert type(exc.__context__) is greenify.Timeout

# An interrupt that fails is told, and changes nothing.
import logging
said = []
logging.getLogger("greenify").addFilter(lambda record: said.append(record.getMessage()))
def broken():
    raise KeyError
def asking():
    try:
        with greenify.Timeout(0.01):
            ask(first, broken)
    except greenify.Timeout:
        return "timed out"
task = start(asking)
until(lambda: said)
first.other.send(b"4\\n")
assert result(task) == "timed out"
""")


def test_a_descriptor_that_is_closed() -> None:
    check("""
class Closed(Connection):
    def poll(self):
        self.polls += 1
        return closed, False

first = Closed()
closed = os.dup(first.mine.fileno())
os.close(closed)
callback._poll = Closed.poll
def asking():
    try:
        ask(first)
    except OSError as exc:
        return exc.errno, first.polls
assert result(start(asking)) == (9, 2)
""")


def test_a_call_from_another_os_thread_waits_natively() -> None:
    """An object whose calls are not replaced, in a window by chance."""
    check("""
first = Connection()
got = []
native.start_new_thread(lambda: (callback._wait(first), got.append(first.got)), ())
until(lambda: first.polls)
first.other.send(b"1\\n")
until(lambda: got)
assert got == [b"1\\n"]
""")


def test_a_fork_by_another_os_thread_in_a_window() -> None:
    check("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
first = Connection()
codes = []
fork, waitpid = (greenify.original("os").fork, greenify.original("os").waitpid)
def forks():
    child = fork()
    if not child:
        code = 1
        try:
            callback.unused(int)
            code = 0 if Library.callback is None and gc.isenabled() else 2
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(waitpid(child, 0)[1]))
def during():
    native.start_new_thread(forks, ())
    limit = time.monotonic() + LONG
    while not codes and time.monotonic() < limit:
        native_sleep(0.001)
    assert codes == [0] and Library.callback is not None and not gc.isenabled()
task = start(ask, first, None, during)
until(lambda: codes)
first.other.send(b"1\\n")
assert result(task) == b"1\\n"
""")


@pytest.mark.parametrize("where", ["green", "main"])
def test_in_a_child(where: str) -> None:
    check(f"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
where = {where!r}
first, second = Connection(), Connection()
gate = Gate()
elsewhere = start(greenify.run_in_thread, callback.unused, gate.wait)
until(lambda: gate.begun)
def forks():
    child = os.fork()
    if not child:
        code = 1
        try:
            second.other.send(b"1\\n")
            assert result(start(ask, second)) == b"1\\n" and Library.seen == [True]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if where == "main":
    forks()
else:
    result(start(forks))
gate.open()
result(elsewhere)
""")
