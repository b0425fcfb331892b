"""gevent's greenlets as threads: each has an identity and thread-local data of its own.

That is what gevent's own patch makes of them, and what programs for gevent rely on: a connection per
greenlet, kept in a `threading.local`.  A raw greenlet, whose end nobody is told of, counts as part of the
thread that runs gevent's hub.
"""

from __future__ import annotations

from typing import Any

from greenify.identity import on_task_end
from greenify.local import forget_thread

__all__ = ["adopt"]


def adopt(g: Any) -> bool:
    """Whether `g`, a child of gevent's hub, is a thread; called by whoever asks which thread is running."""
    if hasattr(g, "locals"):
        return True
    rawlink = getattr(g, "rawlink", None)
    if rawlink is None or g.dead:
        return False
    g.locals = None
    g.ident = id(g)
    rawlink(_ended)
    return True


def _ended(g: Any) -> None:
    forget_thread(g)
    for function in on_task_end:
        function(g.ident)
