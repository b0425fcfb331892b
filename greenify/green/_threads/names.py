"""The name that the operating system shows of a thread (`_thread.set_name`, from CPython 3.14 on).

`threading.Thread` gives its own name to the OS thread that it runs on.  A green thread has no OS thread of
its own, and would rename the process as `ps` and `top` show it.  So it keeps its name to itself.
"""

from __future__ import annotations

import _thread
import os
import sys
from collections.abc import Callable
from typing import Any

from greenify.green._threads.green_thread import GreenThread
from greenify.identity import current_thread_greenlet

__all__ = ["get_name", "set_name", "under_own_name"]

_native_set_name: Any = getattr(_thread, "set_name", None)
_native_get_name: Any = getattr(_thread, "_get_name", None)

# What the kernel keeps of a name, in bytes: 15 on Linux, 63 on macOS.
_LONGEST = getattr(_thread, "_NAME_MAXLEN", 15)


def set_name(name: str) -> None:
    """Give the calling thread's OS thread a name; a green thread remembers it, cut in the same way."""
    thread = current_thread_greenlet()
    if not isinstance(thread, GreenThread) or not isinstance(name, str):
        _native_set_name(name)  # raises what the real one raises
        return
    shown = name.encode(sys.getfilesystemencoding(), "replace").partition(b"\0")[0][:_LONGEST]
    vars(thread)["os_name"] = os.fsdecode(shown)


def get_name() -> str:
    """The name that `set_name` has given to the calling thread, or that of its OS thread."""
    thread = current_thread_greenlet()
    if isinstance(thread, GreenThread) and "os_name" in vars(thread):
        found: str = vars(thread)["os_name"]
        return found
    name: str = _native_get_name()
    return name


def under_own_name(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function(*args, **kwargs)`` on a native thread that has the caller's name meanwhile.

    For what asks the operating system, as code in another interpreter does.
    """
    thread = current_thread_greenlet()
    if not isinstance(thread, GreenThread) or "os_name" not in vars(thread):
        return function(*args, **kwargs)
    before = _native_get_name()
    _native_set_name(vars(thread)["os_name"])
    try:
        return function(*args, **kwargs)
    finally:
        _native_set_name(before)
