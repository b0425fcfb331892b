"""The event loop that runs, and the task in it: what asyncio keeps per OS thread.

From CPython 3.14 on the task stands beside the loop.  asyncio's C code compares a task's loop with the one
there, and refuses to enter a task while another one is entered; and a greenlet may be left in the middle of a
task, where a coroutine blocks.  So whoever puts another loop in place has to take the task along.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["NOTHING_RUNS", "loop_and_task"]

_Running = tuple[Any, Any]

#: What runs on an OS thread at first.
NOTHING_RUNS: _Running = (None, None)


def loop_and_task(
    get_loop: Callable[[], Any], set_loop: Callable[[Any], object]
) -> tuple[Callable[[], _Running], Callable[[_Running], None]]:
    """Two functions: one tells the calling OS thread's running loop and its task, one puts them in place.

    Where each loop has a task of its own, the task told is None.

    Args:
        get_loop: `asyncio._get_running_loop`.
        set_loop: `asyncio._set_running_loop`.
    """
    if sys.version_info < (3, 14) or importlib.util.find_spec("_asyncio") is None:
        # Tasks are kept by loop.

        def put_loop(running: _Running) -> None:
            set_loop(running[0])

        return lambda: (get_loop(), None), put_loop
    # Not before asyncio itself is imported: up to CPython 3.12 that would make a second `_asyncio`, whose
    # tasks asyncio knows nothing of.
    import _asyncio

    current_task: Any = _asyncio.current_task  # type: ignore[attr-defined,unused-ignore]
    swap_task: Any = _asyncio._swap_current_task  # type: ignore[attr-defined,unused-ignore]

    def get() -> _Running:
        loop = get_loop()
        return NOTHING_RUNS if loop is None else (loop, current_task(loop))

    def put(running: _Running) -> None:
        loop, task = running
        present = get_loop()
        if present is not None:
            swap_task(present, None)
        set_loop(loop)
        if task is not None:
            swap_task(loop, task)

    return get, put
