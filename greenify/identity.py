"""Which thread am I: the one question behind lock ownership, thread ids and thread-local data.

A thread is a greenlet that has the attribute ``hub``: a task, or the main greenlet of an OS thread that
runs a hub.  Raw greenlets that a user starts (SQLAlchemy does) run inside the thread that started them; the
hub's own greenlet, in which finalisers may run, counts as the main thread; an OS thread without a hub is
its root greenlet.
"""

from __future__ import annotations

import _thread
from typing import Any

from greenlet import getcurrent, greenlet

__all__ = ["current_thread_greenlet", "get_ident"]

_native_get_ident = _thread.get_ident


def current_thread_greenlet() -> greenlet:
    """The greenlet that stands for the calling thread."""
    g: Any = getcurrent()
    while not hasattr(g, "hub"):
        parent = g.parent
        if parent is None:
            break
        g = parent
    found: greenlet = g
    return found


def get_ident() -> int:
    """The identifier of the calling thread; in the main greenlet of an OS thread it is that thread's own."""
    g: Any = getcurrent()
    try:
        ident: int = g.ident
        return ident
    except AttributeError:
        pass
    ident = getattr(current_thread_greenlet(), "ident", 0)
    return ident or _native_get_ident()
