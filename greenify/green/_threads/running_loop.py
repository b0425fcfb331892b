"""The event loop that a thread runs, which asyncio keeps per OS thread, in C; as a setting of the thread.

From CPython 3.14 on the task that runs stands beside the loop.  asyncio's C code compares a task's loop with
the one there, and refuses to enter a task while another one is entered; and a green thread may be left in the
middle of a task, where a coroutine blocks.  So there the two go together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from greenify.green._threads.switches import Setting

__all__ = ["running_loop"]


def running_loop(native_get: Callable[[], Any], native_set: Callable[[Any], None]) -> Setting:
    """The setting that holds the calling thread's running loop.

    Args:
        native_get: the C function `asyncio._get_running_loop`.
        native_set: the C function `asyncio._set_running_loop`.
    """
    # Volatile, for a forked child has none, and nobody is told.
    if sys.version_info < (3, 14):
        return Setting(native_get, native_set, None, volatile=True)
    # Not before asyncio itself is imported: up to CPython 3.12 that would make a second `_asyncio`, whose
    # tasks asyncio knows nothing of.
    import _asyncio

    current_task: Any = _asyncio.current_task  # type: ignore[attr-defined,unused-ignore]
    swap_task: Any = _asyncio._swap_current_task  # type: ignore[attr-defined,unused-ignore]

    def get() -> tuple[Any, Any]:
        loop = native_get()
        return (None, None) if loop is None else (loop, current_task(loop))

    def put(value: tuple[Any, Any]) -> None:
        loop, task = value
        present = native_get()
        if present is not None:
            swap_task(present, None)
        native_set(loop)
        if task is not None:
            swap_task(loop, task)

    return Setting(get, put, (None, None), volatile=True)
