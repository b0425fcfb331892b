"""What threads and tasks are called, from outside of them."""

from __future__ import annotations

import threading
from types import FrameType
from typing import Any

from greenlet import greenlet

__all__ = ["function_name", "name_by_ident", "name_in", "name_of", "printable"]

_threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


def name_by_ident(ident: int) -> str | None:
    """The name of the thread with this identifier, if `threading` knows it."""
    thread = _threads.get(ident)
    # Not by its property, which a subclass may have replaced.
    name = None if thread is None else vars(thread).get("_name")
    return name if isinstance(name, str) else None


def name_of(g: greenlet | None) -> str:
    """What the greenlet of a thread or a task is called."""
    if g is None:
        return "nobody"
    task: Any = getattr(g, "task", None)
    name = getattr(task, "name", None)
    if isinstance(name, str):
        return name
    ident = getattr(g, "ident", None)
    found = name_by_ident(ident) if isinstance(ident, int) else None
    if found is not None:
        return found
    hub: Any = getattr(g, "hub", None)
    if hub is not None and hub.main is g:
        return f"thread {hub.ident:#x}"
    function = getattr(g, "_function", None)
    # One that has not begun yet is unknown to `threading`.
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        own = vars(thread).get("_name")
        if isinstance(own, str):
            return own
    kind = "thread" if hasattr(g, "_lives") else "greenlet"
    number = ident if isinstance(ident, int) else id(g)
    return f"{kind} {number:#x}" + (f" of {function_name(function)}" if function else "")


# Which function has the thread or task as `self`, and what its name is called there: not a property, which a
# subclass may have replaced.
_NAMED_IN = {"_bootstrap": "_name", "_run_to_end": "name"}


def name_in(frames: list[FrameType]) -> str | None:
    """The name of a thread or task by its frames, the innermost first: they have it while they are kept.

    For who has ended, and for threads that a copy of `threading` has started: `threading` does not know them.
    """
    for frame in frames[-2:]:
        attribute = _NAMED_IN.get(frame.f_code.co_name)
        if attribute is not None:
            name = getattr(frame.f_locals.get("self"), "__dict__", {}).get(attribute)
            if isinstance(name, str):
                return name
    return None


def printable(text: str) -> str:
    """A name for a line of a terminal: what controls that, or breaks the line, as an escape of Python's."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def function_name(function: object) -> str:
    """``module.Class.method`` of something that can be called, without calling anything of it."""
    for _ in range(5):
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if inner is None or not callable(inner):
            break
        function = inner
    name = getattr(function, "__qualname__", None)
    if name is None:
        # The functions of ctypes are objects with a name of their own.
        name = getattr(function, "__dict__", {}).get("__name__") or type(function).__qualname__
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        owner = getattr(function, "__self__", None)
        module = getattr(type(owner), "__module__", None) if owner is not None else None
    if isinstance(module, str) and module != "builtins":
        return f"{module}.{name}"
    return str(name)
