"""asyncio's running loop and task, from CPython 3.14 on fields of the interpreter's state of an OS thread.

asyncio's C code compares a task's loop with the one that runs there, and refuses to enter a task while
another one is entered.  A green thread may be left in the middle of a task, where a coroutine blocks; so loop
and task are a setting of the thread that runs the loop, and followed while any loop runs on the OS thread.
"""

from __future__ import annotations

import _asyncio
from typing import Any

from greenify.green._threads.switches import Setting

__all__ = ["RUNNING", "set_running_loop"]

_get_loop: Any = _asyncio._get_running_loop
_set_loop: Any = _asyncio._set_running_loop
# From CPython 3.12 on.
_current_task: Any = getattr(_asyncio, "current_task", None)
_swap_task: Any = getattr(_asyncio, "_swap_current_task", None)


def _get() -> tuple[Any, Any]:
    loop = _get_loop()
    return (None, None) if loop is None else (loop, _current_task(loop))


def _put(value: tuple[Any, Any]) -> None:
    loop, task = value
    running = _get_loop()
    if running is not None:
        _swap_task(running, None)
    _set_loop(loop)
    if task is not None:
        _swap_task(loop, task)


RUNNING = Setting(_get, _put, (None, None), volatile=True)
"""The loop that the thread runs, and the task that it is in."""


def set_running_loop(loop: Any, /) -> None:
    """`asyncio._set_running_loop`, for the calling thread, green or native."""
    RUNNING.change(_set_loop, loop)
