"""How the kernel schedules a thread: the functions of `os` that take its native identifier.

A green thread's stands for its OS thread.
"""

from __future__ import annotations

import os
from typing import Any

from greenify.green._threads.native_ids import os_thread_of

__all__ = [
    "getpriority",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setparam",
    "sched_setscheduler",
    "setpriority",
]

_getpriority = os.getpriority
_setpriority = os.setpriority
# Not on macOS.
_sched_getaffinity: Any = getattr(os, "sched_getaffinity", None)
_sched_getparam: Any = getattr(os, "sched_getparam", None)
_sched_getscheduler: Any = getattr(os, "sched_getscheduler", None)
_sched_rr_get_interval: Any = getattr(os, "sched_rr_get_interval", None)
_sched_setaffinity: Any = getattr(os, "sched_setaffinity", None)
_sched_setparam: Any = getattr(os, "sched_setparam", None)
_sched_setscheduler: Any = getattr(os, "sched_setscheduler", None)


def getpriority(which: int, who: int) -> int:
    """`os.getpriority`."""
    return _getpriority(which, os_thread_of(who))


def setpriority(which: int, who: int, priority: int) -> None:
    """`os.setpriority`."""
    _setpriority(which, os_thread_of(who), priority)


def sched_getaffinity(pid: int, /) -> set[int]:
    """`os.sched_getaffinity`."""
    found: set[int] = _sched_getaffinity(os_thread_of(pid))
    return found


def sched_getparam(pid: int, /) -> Any:
    """`os.sched_getparam`."""
    return _sched_getparam(os_thread_of(pid))


def sched_getscheduler(pid: int, /) -> int:
    """`os.sched_getscheduler`."""
    found: int = _sched_getscheduler(os_thread_of(pid))
    return found


def sched_rr_get_interval(pid: int, /) -> float:
    """`os.sched_rr_get_interval`."""
    found: float = _sched_rr_get_interval(os_thread_of(pid))
    return found


def sched_setaffinity(pid: int, mask: Any, /) -> None:
    """`os.sched_setaffinity`."""
    _sched_setaffinity(os_thread_of(pid), mask)


def sched_setparam(pid: int, param: Any, /) -> None:
    """`os.sched_setparam`."""
    _sched_setparam(os_thread_of(pid), param)


def sched_setscheduler(pid: int, policy: int, param: Any, /) -> None:
    """`os.sched_setscheduler`."""
    _sched_setscheduler(os_thread_of(pid), policy, param)
