"""Waiting for children: the ``wait`` family of `os`, which reaps by the native calls (see `children.py`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from greenify import core
from greenify.core.tracebacks import leave_out_twin
from greenify.green._files.descriptor_io import runs_natively
from greenify.green._processes.children import EVENTS, on_own_thread, wait_for_change, wait_for_end

__all__ = ["wait", "wait3", "wait4", "waitid", "waitpid"]

_waitpid = os.waitpid
_wait3 = os.wait3
_wait4 = os.wait4
_waitid: Any = getattr(os, "waitid", None)


def _reap(call: Callable[[int], tuple[Any, ...]], pid: int, options: int) -> tuple[Any, ...]:
    """``call(options)``, `call` being one of the ``wait`` family for `pid`, without blocking siblings."""
    if options & os.WNOHANG or options & ~EVENTS or runs_natively():
        return call(options)
    while True:
        found = call(options | os.WNOHANG)
        if found[0]:
            return found
        if pid > 0 and not options:
            wait_for_end(pid)
        elif _waitid is None:
            return on_own_thread(call, options)
        else:
            wait_for_change(*_which(pid), os.WEXITED | options)


def _which(pid: int) -> tuple[int, int]:
    """What `pid` means to ``waitpid``, in the terms of ``waitid``."""
    if pid > 0:
        return os.P_PID, pid
    if pid == -1:
        return os.P_ALL, 0
    return os.P_PGID, -pid or os.getpgrp()


def waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """`os.waitpid`; waits for one child, any child or a process group."""
    try:
        pid, status = _reap(lambda flags: _waitpid(pid, flags), pid, options)
        return pid, status
    except BaseException:
        leave_out_twin()
        raise


def wait() -> tuple[int, int]:
    """`os.wait`; waits for any child."""
    try:
        return waitpid(-1, 0)
    except BaseException:
        leave_out_twin()
        raise


def wait3(options: int) -> tuple[int, int, Any]:
    """`os.wait3`; waits for any child and tells what it has used."""
    try:
        pid, status, usage = _reap(_wait3, -1, options)
        return pid, status, usage
    except BaseException:
        leave_out_twin()
        raise


def wait4(pid: int, options: int) -> tuple[int, int, Any]:
    """`os.wait4`; as `waitpid`, and tells what the child has used."""
    try:
        pid, status, usage = _reap(lambda flags: _wait4(pid, flags), pid, options)
        return pid, status, usage
    except BaseException:
        leave_out_twin()
        raise


def waitid(idtype: int, ident: int, options: int, /) -> Any:
    """`os.waitid`; waits for the chosen children and the chosen events."""
    if options & os.WNOHANG or options & ~(EVENTS | os.WNOWAIT) or runs_natively():
        return _waitid(idtype, ident, options)
    events = options & ~os.WNOWAIT
    try:
        while True:
            found = _waitid(idtype, ident, options | os.WNOHANG)
            if found is not None:
                return found
            if events == os.WEXITED and idtype == os.P_PID:
                wait_for_end(ident)
            elif events == os.WEXITED and idtype == getattr(os, "P_PIDFD", None):
                if not os.get_blocking(ident):
                    return _waitid(idtype, ident, options)
                core.wait(ident, False)
            else:
                wait_for_change(idtype, ident, events)
    except BaseException:
        leave_out_twin()
        raise
