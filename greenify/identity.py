"""Which thread am I: the one question behind lock ownership, thread ids and thread-local data.

A thread is a greenlet that has the attribute ``hub``: a task, or the main greenlet of an OS thread that
runs a hub.  Raw greenlets that a user starts (SQLAlchemy does) run inside the thread that started them; the
hub's own greenlet, in which finalisers may run, counts as the main thread; an OS thread without a hub is
its root greenlet.  The hub of another scheduler says by its attribute ``greenify_adopt`` which of those below
it are threads.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

__all__ = ["current_thread_greenlet", "get_ident", "on_task_end"]

_native_get_ident = _thread.get_ident


#: Called at the end of every task with its identifier, which may be another thread's soon.
on_task_end: list[Callable[[int], None]] = []


def _root() -> greenlet:
    g = getcurrent()
    while g.parent is not None:
        g = g.parent
    return g


# What stands for the main thread while the interpreter is finalised: then `getcurrent` raises RuntimeError
# (from greenlet 3.5 on), yet finalisers and callbacks of weak references still use locks; logging's do.
_main = _root()


def current_thread_greenlet() -> greenlet:
    """The greenlet that stands for the calling thread."""
    try:
        g: Any = getcurrent()
    except RuntimeError:
        return _main
    if not hasattr(g, "hub"):
        while not hasattr(g, "hub"):
            parent = g.parent
            if parent is None:
                # A native thread runs the call of the thread that it stands for (`green._foreign.calls`).
                g = getattr(g, "stands_for", g)
                break
            adopt = getattr(parent, "greenify_adopt", None)
            if adopt is not None and adopt(g):
                break
            g = parent
        else:
            # A raw greenlet inside of that thread, which must not become a part of another one.
            g.inner = True
    found: greenlet = g
    return found


def get_ident() -> int:
    """The identifier of the calling thread; in the main greenlet of an OS thread it is that thread's own."""
    try:
        g: Any = getcurrent()
        ident: int = g.ident
        return ident
    except (AttributeError, RuntimeError):
        pass
    ident = getattr(current_thread_greenlet(), "ident", 0)
    return ident or _native_get_ident()
