"""Whose turn it is with an object that runs on the hub or on its native thread."""

from __future__ import annotations

from tests.green._foreign.waiting_library import check


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


def test_a_finaliser_on_the_native_thread() -> None:
    """The collector comes there between two calls, too; who has the turn may wait for that very thread."""
    check("""
first, second = Connection(), Connection()
turns, gate, got = turns_of(first, Busy), Gate(), []

def finaliser():
    if turns.begin():
        return turns.natively(callback, None, second.ask, (), {})
    return turns.thread.call(callback.without(second.ask))

# Nobody has the turn.
second.other.send(b"1\\n")
turns.thread._workers.start(lambda: got.append(finaliser()))
until(lambda: got)

# A call is about to begin on this thread.
turns.thread._workers.start(lambda: (gate.wait(), got.append(finaliser())))
until(lambda: gate.begun)
def natively():
    assert turns.begin()
    return turns.natively(callback, None, first.ask, (), {})
task = start(natively)
until(lambda: turns.taken)
second.other.send(b"2\\n")
first.other.send(b"answer\\n")
gate.open()
assert result(task) == b"answer\\n" and not turns.taken

# Another waits on the hub.
turns.thread._workers.start(lambda: (gate.wait(), got.append(finaliser())))
until(lambda: len(gate.begun) == 2)
task = start(ask, first)
until(lambda: turns.on_hub)
second.other.send(b"3\\n")
gate.open()
until(lambda: len(got) == 3)
assert got == [b"1\\n", b"2\\n", b"3\\n"]
first.other.send(b"answer\\n")
assert result(task) == b"answer\\n" and not turns.taken
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
