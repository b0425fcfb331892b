"""A library's wait callback: set for moments only, and never seen by calls that run elsewhere."""

from __future__ import annotations

import pytest

from tests.green._foreign.foreign import run

LIBRARY = """
from greenify.green._foreign.turns import Turns, turns_of
from greenify.green._foreign.wait_callbacks import NOTHING, WaitCallback

sockets = greenify.original("socket")

class Library:
    '''Looks for its callback once in each call, as C code does, and waits by it, or natively.'''
    callback = None
    seen = []

def put(callback):
    Library.callback = callback

class Connection:
    '''An answer is a line from the other end of a pair.'''
    def __init__(self):
        self.mine, self.other = sockets.socketpair()
        self.mine.setblocking(False)
        self.got = b""
        self.kept = b""  # has come, and the descriptor does not tell
        self.polls = 0
    def poll(self):
        self.polls += 1
        kept, self.kept = self.kept, b""
        try:
            self.got += kept or self.mine.recv(100)
        except BlockingIOError:
            pass
        return NOTHING if self.got.endswith(b"\\n") else (self.mine.fileno(), False)
    def ask(self, during=None):
        found = Library.callback is not None
        Library.seen.append(found)
        if during is not None:
            during()
        if found:
            Library.callback(self)
        else:
            while self.poll() is not NOTHING:
                native_sleep(0.001)
        got, self.got = self.got, b""
        return got

callback = WaitCallback(lambda: Library.callback, put, Connection.poll)

class Busy(Exception):
    pass

def ask(connection, interrupt=None, during=None):
    turns = turns_of(connection, Busy)
    assert turns.begin()
    result = NOT_YET
    try:
        if callback.here():
            result = callback.call(turns, interrupt, connection.ask, during)
        if result is not NOT_YET:
            return result
    finally:
        if result is not NOT_YET or sys.exc_info()[1] is not None:
            turns.end()
    return turns.natively(callback, interrupt, connection.ask, (during,), {})

def start(function, *args):
    return greenify.spawn(function, *args)

def result(task):
    assert task.join(LONG)
    return task.result
"""


def check(code: str) -> None:
    run(LIBRARY + code)


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


def test_who_has_the_turn_calls_again() -> None:
    """A finaliser does, wherever it comes: natively, as long as the C code does not wait for an answer."""
    check("""
first, second = Connection(), Connection()
second.other.send(b"again\\n")
turns = turns_of(first, Busy)

def again():
    assert not turns.begin()
    return turns.thread.call(callback.without(second.ask))

class Finalised:
    def __init__(self):
        self.me = self
    def __del__(self):
        got.append(again())

def before():
    assert turns.begin()
    try:
        Finalised()
        gc.collect()
    finally:
        turns.end()

def afterwards(row):
    got.append(again())
    return row

def with_casts():
    assert turns.begin()
    try:
        return callback.call(turns, None, lambda: afterwards(first.ask()), calls_back=True)
    finally:
        turns.end()

got = []
result(start(before))
assert got == [b"again\\n"] and not turns.taken
second.other.send(b"once more\\n")
first.other.send(b"row\\n")
assert result(start(with_casts)) == b"row\\n"
assert got == [b"again\\n", b"once more\\n"] and not turns.taken
""")


def test_a_handler_calls_after_the_native_call_that_it_interrupts() -> None:
    check("""
first, second = Connection(), Connection()
turns = turns_of(first, Busy)
began, order = [], []

def handler(signum, frame):
    began.append(turns.begin())
    turns.thread.call(order.append, "handler")

signal.signal(signal.SIGUSR1, handler)

def interrupt():
    until(lambda: Library.seen)
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.01)
    assert not order and turns.taken
    first.other.send(b"1\\n")

task = start(interrupt)
assert ask(first) == b"1\\n"  # in the main thread
until(lambda: order)
assert began == [False] and not turns.taken
result(task)
""")


def test_who_has_a_turn_does_not_wait_for_another() -> None:
    """A finaliser would: its turn could be given to a wait below it, which does not go on before."""
    check("""
from greenify.green._foreign.turns import in_turn
one, other = Connection(), Connection()
first, second = turns_of(one, Busy), turns_of(other, Busy)

def hold():
    assert second.begin()
    held.wait()
    second.end()

def ask_for_both():
    assert not in_turn() and first.begin() and in_turn()
    got.append(second.begin())
    first.end()
    assert not in_turn()

got, held = [], threading.Event()
holding = start(hold)
until(lambda: second.taken)
result(start(ask_for_both))
held.set()
result(holding)
result(start(lambda: (got.append(second.begin()), second.end())))
assert got == [False, True]
""")


def test_turns() -> None:
    check("""
first = Connection()
turns = turns_of(first, Busy)
assert turns_of(first, Busy) is turns and not turns.taken
running = start(ask, first)
until(lambda: turns.taken)
queued = start(ask, first)
killed = start(ask, first)
time.sleep(0)
assert not turns.try_to_begin() and Library.seen == [True]
killed.kill()
killed.join()
first.other.send(b"1\\n")
assert result(running) == b"1\\n"
first.other.send(b"2\\n")
assert result(queued) == b"2\\n"
assert turns.try_to_begin()
kept = Gate()
turns.dropped.append(kept)
kept = weakref.ref(kept)
turns.end()
assert kept() is None

# When the interpreter is being finalised, who waits on the hub will not go on.
from greenify.green._foreign import turns as module
running = start(ask, first)
until(lambda: turns.taken)
at_the_end, module.alone_at_the_end = module.alone_at_the_end, lambda: True
try:
    turns.begin()
except Busy:
    module.alone_at_the_end = at_the_end
first.other.send(b"4\\n")
assert result(running) == b"4\\n" and module.alone_at_the_end is at_the_end

# The thread whose call is under way would wait for itself.
def itself(*args):
    wait_callbacks._wait_for = wait
    try:
        ask(first)
    except Busy:
        busy.append(first)
    return wait(*args)
from greenify.green._foreign import wait_callbacks
wait, busy = wait_callbacks._wait_for, []
wait_callbacks._wait_for = itself
task = start(ask, first)
until(lambda: busy)
first.other.send(b"3\\n")
assert result(task) == b"3\\n"
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
