"""Waiting for child processes without a SIGCHLD handler.

Three rules keep us apart from anybody else who waits for children:

* the only thing that reaps is the caller's own call, made natively with WNOHANG, so its result, its errors
  and whom it may reap are the kernel's; what is added here is only the sleep in between;
* the end of one child is waited for on a pidfd, which reaps nothing;
* everything else (any child, a process group, stops and continuations) is waited for by a native thread in
  ``waitid`` with WNOWAIT, which leaves the child waitable.  An epoll over the pidfds of the known children
  would need no thread, but would miss children that C code forks, or that the kernel hands to us as the
  reaper of orphans, while somebody waits already.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.core.workers import Workers

__all__ = ["EVENTS", "on_own_thread", "wait_for_change", "wait_for_end", "wait_on_pidfd"]

T = TypeVar("T")

_close = os.close
_pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
_waitid: Callable[[int, int, int], Any] | None = getattr(os, "waitid", None)

#: The options of ``waitpid`` and ``waitid`` that name events; any thread of the process may wait for them.
EVENTS = (
    getattr(os, "WEXITED", 0)
    | getattr(os, "WSTOPPED", 0)
    | getattr(os, "WCONTINUED", 0)
    | os.WUNTRACED
)

# A thread each, which ends with its call: waiting for a child may last for ever, and must not keep others
# (the resolvers of the default pool) from their work.
_threads = Workers(limit=1 << 20, idle=0.0)
fork_hooks.append(_threads._reset)


def on_own_thread(function: Callable[..., T], *args: Any) -> T:
    """Call ``function(*args)`` on a native thread of its own and wait for it cooperatively.

    The thread starts with the signal mask of the calling OS thread.  When the waiting greenlet is killed,
    the call goes on and its outcome is dropped.
    """
    return _threads.run(function, *args)


def wait_for_end(pid: int, deadline: float | None = None) -> bool:
    """Wait until the child `pid` has ended (it may have been reaped meanwhile); reaps nothing.

    Args:
        pid: a child of this process that nobody else reaps right now.
        deadline: a `time.monotonic` time in seconds, or None.

    Returns:
        False if the deadline passed first.
    """
    fd = _open_pidfd(pid)
    if fd is None:
        return _wait_without_pidfd(pid, deadline)
    if fd < 0:
        return True
    return wait_on_pidfd(fd, deadline)


def wait_on_pidfd(fd: int, deadline: float | None) -> bool:
    """Wait until the child of the pidfd `fd` has ended, and close that; the rest as `wait_for_end`."""
    try:
        arrived = core.wait(fd, False, deadline)
    except OSError:
        # Somebody has closed every descriptor of the process, ours too: let the caller look.
        return True
    except BaseException:
        _close(fd)
        raise
    _close(fd)
    return arrived


def _open_pidfd(pid: int) -> int | None:
    """A pidfd; -1 if there is no such process any more; None if pidfds cannot be had."""
    if _pidfd_open is None:
        return None
    try:
        return _pidfd_open(pid)
    except ProcessLookupError:
        return -1
    except OSError:
        # No such system call, one that a sandbox refuses, or no descriptor left.
        return None


def _wait_without_pidfd(pid: int, deadline: float | None) -> bool:
    if deadline is None and _waitid is not None:
        wait_for_change(os.P_PID, pid, os.WEXITED)
        return True
    # As subprocess does: look again and again, at most 50 ms late.
    delay = 0.0005
    while not _ended(pid):
        delay = min(delay * 2, 0.05)
        if deadline is not None:
            remaining = deadline - _monotonic()
            if remaining <= 0:
                return False
            delay = min(delay, remaining)
        core.sleep(delay)
    return True


def _ended(pid: int) -> bool:
    if _waitid is None:
        # Looking means reaping, which is for the caller to do.
        core.sleep(0.02)
        return True
    try:
        return _waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def wait_for_change(idtype: int, ident: int, events: int) -> None:
    """Wait until a ``waitid`` with these arguments would return, or fail; reaps nothing.

    For systems that have ``os.waitid``.
    """
    assert _waitid is not None
    try:
        on_own_thread(_waitid, idtype, ident, events | os.WNOWAIT)
    except ChildProcessError:
        # The caller's own call will say so.
        pass
