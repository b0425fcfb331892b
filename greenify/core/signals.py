"""Signals: wake the hub when one arrives, and run handlers in the main greenlet.

libuv retries interrupted system calls, so a sleeping loop would starve Python's handlers.  The main
thread's hub therefore gives one end of its pair to `signal.set_wakeup_fd`: the byte that the interpreter's
C handler writes ends the sleep, and Python runs its handlers as soon as it is back in the interpreter.
There is no polling tick.  `pyuv.Signal` is not used: it would replace the handler of the process.

Python runs a handler in whatever greenlet is current.  With threads it runs in the main thread, wherever
that waits; `MainHandler` keeps that promise.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from greenify.core import hub as _hub

__all__ = ["MainHandler", "chain", "chained", "hold_wakeup_fd"]

_set_wakeup_fd = signal.set_wakeup_fd
_user_fd = -1


def hold_wakeup_fd(hub: _hub.Hub) -> None:
    """Make the pair of `hub`, the main thread's, the process's wake-up descriptor."""
    global _user_fd
    if not _hub.is_main_thread():
        return
    previous = _set_wakeup_fd(hub.pair.writer.fileno(), warn_on_full_buffer=False)
    if previous != -1 and previous not in _our_fds:
        _user_fd = previous
    _our_fds.add(hub.pair.writer.fileno())
    hub.on_signals = _forward


_our_fds: set[int] = set()


def chained() -> int:
    """The wake-up descriptor that the user has set, or -1."""
    return _user_fd


def chain(fd: int) -> int:
    """Set the user's wake-up descriptor, which gets every signal number after the hub has; -1 for none.

    Returns the one set before.
    """
    global _user_fd
    previous, _user_fd = _user_fd, fd
    return previous


def _forward(numbers: bytes) -> None:
    fd = _user_fd
    if fd == -1:
        return
    try:
        os.write(fd, numbers)
    except OSError:
        # Full or closed.  The interpreter would at most warn: the reader has bytes enough, or is gone.
        pass


class MainHandler:
    """A signal handler that runs in the main greenlet, at the place where that waits.

    Args:
        original: the user's handler, called as ``original(signum, frame)``.
    """

    __slots__ = ("original",)

    def __init__(self, original: Callable[[int, FrameType | None], Any]) -> None:
        self.original = original

    def __call__(self, signum: int, frame: FrameType | None) -> Any:
        hub = _hub.current_hub()
        if hub is None or hub.in_main():
            return self.original(signum, frame)
        hub.interrupt_main(partial(self.original, signum, hub.main_frame() or frame))
        return None


_hub.on_new_hub(hold_wakeup_fd)
