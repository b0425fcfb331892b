"""A library with a wait callback, for the tests of `wait_callbacks` and `turns`."""

from __future__ import annotations

from tests.green._foreign.foreign import run

__all__ = ["check"]

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
