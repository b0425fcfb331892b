"""A descriptor closed, replaced or reused while somebody waits on it.

With one libuv ``Poll`` per descriptor each of these ends the process: libuv aborts when the kernel answers
EBADF or ENOENT for a descriptor that it polls.
"""

from __future__ import annotations

import pytest

from tests.core.run import run

WAITERS = ["task", "second", "raw", "raw in task", "hub"]

# argv: how to wait, how to close. Prints what the wait ended with.
PROGRAM = """
import ctypes, os, select, sys
import _socket
from greenlet import greenlet
from engine_child import *

how, way = sys.argv[1:]
fd, right = socket_pair()
limit = 10 if way.startswith("forget") else 0.1
found = []

def watch():
    found.append(outcome(core.wait, fd, False, later(limit)))

def in_raw():
    raw = greenlet(watch)
    raw.switch()

if how == "task":
    jobs = [spawn(watch)]
elif how == "second":
    jobs = [spawn(watch), spawn(watch), spawn(watch)]
elif how == "raw":
    jobs = []
    def close_from_task():
        close()
    # The main greenlet waits inside a raw greenlet: somebody else has to close.
elif how == "raw in task":
    jobs = [spawn(in_raw)]
elif how == "hub":
    jobs = []
    core.get_hub().call_soon(watch)

def close():
    if way == "forget":
        core.forget(fd)
        os.close(fd)
    elif way == "forget, reuse":
        core.forget(fd)
        os.close(fd)
        assert os.dup(right) == fd
    elif way == "os.close":
        os.close(fd)
    elif way == "C socket close":
        _socket.socket(fileno=fd).close()
    elif way == "libc close":
        assert ctypes.CDLL(None).close(fd) == 0
    elif way == "dup2 of a pipe":
        os.dup2(pipe()[0], fd)
    elif way == "dup2 of a file":
        os.dup2(os.open(sys.executable, os.O_RDONLY), fd)
    elif way == "reuse by a pipe":
        os.close(fd)
        assert pipe()[0] == fd
    elif way == "reuse by a file":
        os.close(fd)
        assert os.open(sys.executable, os.O_RDONLY) == fd
    elif way == "reuse by a socket":
        os.close(fd)
        assert os.dup(right) == fd
    elif way == "reuse by an epoll":
        os.close(fd)
        globals()["other"] = other = select.epoll()
        assert other.fileno() == fd
    else:
        raise AssertionError(way)

if how == "raw":
    spawn(close)
    in_raw()
else:
    settle()
    assert not found
    close()
    settle()
    # New waits on whatever has the number now, at once and after libuv has slept.
    for _ in range(2):
        try:
            core.wait(fd, False, later(0.01))
        except OSError:
            pass
        core.sleep(0.01)
for job in jobs:
    job.join(10)
while not found:
    core.sleep(0.01)
still_works()
print(*sorted(set(map(str, found))))
"""


@pytest.mark.smoke
@pytest.mark.parametrize("how", WAITERS)
@pytest.mark.parametrize("way", ["forget", "forget, reuse"])
def test_forget_wakes_with_ebadf(how: str, way: str) -> None:
    assert run(PROGRAM, how, way) == "EBADF\n"


@pytest.mark.parametrize("how", WAITERS)
@pytest.mark.parametrize(
    "way",
    [
        "os.close",
        "C socket close",
        "libc close",
        "dup2 of a pipe",
        "dup2 of a file",
        "reuse by a pipe",
        "reuse by a file",
        "reuse by a socket",
        "reuse by an epoll",
    ],
)
def test_closed_behind_our_back(how: str, way: str) -> None:
    # As with a thread that blocks in the kernel, nobody tells the waiter: it has its deadline, or the
    # error that the next user of the number brings along.
    assert run(PROGRAM, how, way) in {"False\n", "EBADF\n"}
