"""The settings that the interpreter keeps per OS thread and that are each green thread's own (`switches`).

Hooks for async generators: a loop sets its own while it runs, and closes what its generators leave behind.
Where a coroutine was made, which a loop in debug mode asks for.  The event loop that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from greenify.core.registry import on_new_hub
from greenify.green._threads.running_loop import running_loop
from greenify.green._threads.switches import Setting

__all__ = [
    "allow",
    "make_set_running_loop",
    "set_asyncgen_hooks",
    "set_coroutine_origin_tracking_depth",
]

_set_hooks = sys.set_asyncgen_hooks
_set_depth = sys.set_coroutine_origin_tracking_depth


def _put_hooks(hooks: Any) -> None:
    _set_hooks(*hooks)


_asyncgen_hooks = Setting(sys.get_asyncgen_hooks, _put_hooks, (None, None))
_origin_depth = Setting(sys.get_coroutine_origin_tracking_depth, _set_depth, 0)


def set_asyncgen_hooks(*args: Any, **kwargs: Any) -> None:
    """`sys.set_asyncgen_hooks`, for the calling thread, green or native."""
    _asyncgen_hooks.change(_set_hooks, *args, **kwargs)


def set_coroutine_origin_tracking_depth(*args: Any, **kwargs: Any) -> None:
    """`sys.set_coroutine_origin_tracking_depth`, for the calling thread, green or native."""
    _origin_depth.change(_set_depth, *args, **kwargs)


# What is adopted from the time before the patch, and whether to; all of it is the process's.
_adopted = [_asyncgen_hooks, _origin_depth]
_allowed = False


def allow(allowed: bool) -> None:
    """Begin to take what is in force on an OS thread for its main thread's, or give that up.

    On this OS thread now, on others when they get a hub.
    """
    global _allowed
    _allowed = allowed
    if allowed:
        _adopt()
    else:
        for setting in _adopted:
            setting.forget()


def _adopt(_hub: object = None) -> None:
    if _allowed:
        for setting in _adopted:
            setting.adopt()


on_new_hub(_adopt)


def make_set_running_loop(
    native_get: Callable[[], Any], native_set: Callable[[Any], None]
) -> tuple[Callable[[Any], None], Callable[[], None]]:
    """`asyncio._set_running_loop` for threads that are greenlets; asyncio keeps the loop per OS thread, in C.

    Args:
        native_get: the C function `asyncio._get_running_loop`.
        native_set: the C function `asyncio._set_running_loop`.

    Returns:
        That function, and one that is to be called when it is taken out of use.
    """
    running = running_loop(native_get, native_set)
    _adopted.append(running)
    running.adopt()

    def _set_running_loop(loop: Any, /) -> None:
        running.change(native_set, loop)

    def forget() -> None:
        _adopted.remove(running)
        running.forget()

    return _set_running_loop, forget
