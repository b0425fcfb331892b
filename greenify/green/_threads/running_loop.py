"""The event loop that a thread runs, which asyncio keeps per OS thread, in C; as a setting of the thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify.green._threads.switches import Setting
from greenify.running_loop import NOTHING_RUNS, loop_and_task

__all__ = ["running_loop"]


def running_loop(native_get: Callable[[], Any], native_set: Callable[[Any], None]) -> Setting:
    """The setting that holds the calling thread's running loop, and the task in it.

    Args:
        native_get: the C function `asyncio._get_running_loop`.
        native_set: the C function `asyncio._set_running_loop`.
    """
    # Volatile, for a forked child has none, and nobody is told.
    return Setting(*loop_and_task(native_get, native_set), NOTHING_RUNS, volatile=True)
