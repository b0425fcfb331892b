"""Fork: the child keeps the forking greenlet only, as a fork keeps the forking thread only.

The child never touches the parent's loop: kernel queues are shared across a fork, so a removal in the
child would remove the parent's registration.  The descriptors of the parent's queues are closed by number,
and the objects are kept: a handle that is collected would make libuv remove registrations, and a greenlet
that is collected would run its ``finally`` blocks, which a vanished thread never does.
"""

from __future__ import annotations

import os
from typing import Any

from greenlet import getcurrent, greenlet

from greenify.core import hub as _hub
from greenify.core import signals, slices, waiters

__all__ = ["fork_hooks"]

_close = os.close
_kept: list[Any] = []

# Called in the child, after the engine has been renewed: for state of higher rooms that a fork invalidates.
fork_hooks: list[Any] = []


def _after_in_child() -> None:
    waiters.generation += 1
    slices.forked()
    old = _hub.current_hub()
    lost = _hub.abandon_all()
    _kept.extend(lost)
    # Before its number can become another file's.
    signals.release_wakeup_fd()
    for hub in lost:
        hub.pair.reader.detach()
        hub.pair.writer.detach()
        for fd in hub.private_fds:
            _close(fd)
        for descriptor in hub.descriptors.by_fd.values():
            descriptor.closed = True
    if old is not None:
        _adopt(old)
    for hook in fork_hooks:
        hook()


def _adopt(old: _hub.Hub) -> None:
    """Move the forking greenlet from the parent's hub to one of the child's own."""
    top: Any = getcurrent()
    while top.parent is not None and top.parent is not old.greenlet:
        top = top.parent
    if top.parent is None:
        # The main greenlet has forked: a hub is made when something has to wait.
        if hasattr(top, "hub"):
            del top.hub
        return
    fresh = _hub.Hub()
    fresh.main = top
    top.hub = fresh
    top.parent = greenlet(_last_task_ended, fresh.greenlet)
    fresh.tasks.add(top)
    _hub.install(fresh)


def _last_task_ended(*_: Any) -> None:
    # The greenlet that forked has ended.  With threads the process lives on until the last thread has
    # ended and then exits with status 0, without finalising the interpreter.
    hub = _hub.get_hub()
    hub.tasks = {task for task in hub.tasks if not task.dead}
    if hub.tasks:
        hub.last = waiters.HubWaiter(hub)
        hub.last.wait()
    os._exit(0)


os.register_at_fork(after_in_child=_after_in_child)
