"""What the programs of `tests/core` share: tasks of the bare engine, and counts of what must not grow."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import Any

from greenlet import greenlet

from greenify import core


class Job:
    """A function running as a greenlet of the hub, as a task of the higher rooms would."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function = function
        self.args = args
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.joiner: core.Waiter | None = None
        self.hub = core.get_hub()
        self.greenlet: Any = greenlet(self._run, self.hub.greenlet)
        self.greenlet.hub = self.hub
        self.hub.start(self.greenlet)

    def _run(self) -> None:
        try:
            self.result = self.function(*self.args)
        except Exception as exc:
            self.error = exc
        finally:
            self.ended = True
            self.hub.finished(self.greenlet)
            if self.joiner is not None:
                self.joiner.wake()

    def join(self, timeout: float | None = None) -> Any:
        """The function's result; raises its error, or TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended:
            self.joiner = core.new_waiter()
            if not self.joiner.wait(deadline):
                raise TimeoutError(f"{self.function} has not ended")
        if self.error is not None:
            raise self.error
        return self.result


def spawn(function: Callable[..., Any], *args: Any) -> Job:
    """Run `function` as a greenlet of this thread's hub."""
    return Job(function, *args)


def settle(rounds: int = 4) -> None:
    """Let everything that is ready run until it waits."""
    for _ in range(rounds):
        core.sleep(0)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What a call returned, or the name of the error it raised (OSError: its number's name)."""
    import errno

    try:
        return function(*args)
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, repr(exc))


def later(seconds: float) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")) - 1


def resident() -> int:
    """Resident memory in bytes, after a collection."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def socket_pair() -> tuple[int, int]:
    """Two connected, non-blocking stream sockets, as plain descriptors."""
    import socket

    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    return left.detach(), right.detach()


def pipe() -> tuple[int, int]:
    """The reading and the writing end of a non-blocking pipe."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def fill(fd: int) -> int:
    """Write to a non-blocking pipe or socket until it takes no more; returns the number of bytes."""
    total = 0
    try:
        while True:
            total += os.write(fd, bytes(65536))
    except BlockingIOError:
        return total


def still_works() -> None:
    """The engine waits on descriptors and on time, and other tasks run meanwhile."""
    reader, writer = pipe()
    waiting = spawn(core.wait, reader, False, later(10))
    settle()
    assert not waiting.ended
    os.write(writer, b"x")
    assert waiting.join(10) is True
    os.close(reader)
    os.close(writer)
    start = time.monotonic()
    core.sleep(0.01)
    assert time.monotonic() - start >= 0.01
