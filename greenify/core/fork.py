"""Fork: the child keeps the forking greenlet only, as a fork keeps the forking thread only.

The child never touches the parent's kernel queues, which a fork shares: a removal in the child would remove
the parent's registration.  Ours is closed by number; libuv's is replaced by an empty one under the same
number, which the loop may then close like any other.  The hubs themselves are kept: a greenlet that is
collected would run its ``finally`` blocks, which a vanished thread never does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from greenify.core import placement, signals, slices, waiters
from greenify.core import registry as _registry
from greenify.core.collector import thawed
from greenify.core.entries import Call
from greenify.core.hub import Hub

__all__ = ["fork_hooks"]

_kept: list[Any] = []

# Called in the child, after the engine has been renewed: for state of higher rooms that a fork invalidates.
fork_hooks: list[Any] = []


def _after_in_child() -> None:
    placement.forked()
    waiters.generation += 1
    slices.forked()
    old = _registry.current_hub()
    lost = _registry.abandon_all()
    _kept.extend(lost)
    # Before its number can become another file's.
    signals.release_wakeup_fd()
    for hub in lost:
        _release(hub, inside=hub is old and hub.in_loop)
        for descriptor in hub.descriptors.by_fd.values():
            descriptor.closed = True
    if old is not None:
        _adopt(old)
    for hook in fork_hooks:
        hook()


def _release(hub: Hub, inside: bool) -> None:
    """Close the descriptors of a hub of the parent."""
    with contextlib.suppress(OSError):  # a kqueue is not inherited
        hub.descriptors.close()
    hub.pair.close()
    hub.loop.forked(inside)


def _adopt(old: Hub) -> None:
    """Move the forking greenlet from the parent's hub to one of the child's own."""
    current = getcurrent()
    if current is old.greenlet:
        # A callback or a finaliser has forked.  The hub is no thread: the child ends where that does.
        old.ready.clear()
        old.ready.append(Call(os._exit, 0))
    top: Any = current
    threads = [top]
    while top.parent is not None and top.parent is not old.greenlet:
        top = top.parent
        threads.append(top)
    if top.parent is None:
        # The main greenlet has forked: a hub is made when something has to wait.
        if hasattr(top, "hub"):
            del top.hub
        return
    fresh = Hub()
    fresh.main = top
    for each in threads:
        # Not only the top: a child that forks again has the thread of the first fork below.
        if getattr(each, "hub", None) is old:
            each.hub = fresh
    top.hub = fresh
    fresh.tasks.add(top)
    _registry.install(fresh)
    # Started now, for it has to catch what leaves the task: its parent would be the parent process's
    # main greenlet.
    end: Any = greenlet(_await_end, fresh.greenlet)
    end.hub = fresh
    end.switch(current)
    top.parent = end


def _await_end(forked: greenlet) -> None:
    """Let `forked` go on, and end the process when its task and all others have ended.

    With threads the process lives on until the last thread has ended and then exits with status 0, without
    finalising the interpreter.
    """
    try:
        forked.switch()
    except (SystemExit, GreenletExit):
        # As in a thread, that is an end like any other.
        pass
    except BaseException as exc:
        sys.excepthook(type(exc), exc, exc.__traceback__)
    hub = _registry.get_hub()
    hub.tasks = {task for task in hub.tasks if not task.dead}
    if hub.tasks:
        hub.last = waiters.HubWaiter(hub)
        hub.last.wait()
    os._exit(0)


os.register_at_fork(after_in_child=_after_in_child)


def come_first() -> None:
    """Have the engine renewed before the hooks of the program run in a child.

    The interpreter calls them in the order of their registration, and those from before greenify's import
    would find the parent's hub: what they wait for, or start, would run the parent's threads.
    """
    with thawed():
        holders = gc.get_referrers(_after_in_child)
    for holder in holders:
        # The interpreter's list, for whose order it has no function.
        if (
            type(holder) is list
            and holder.count(_after_in_child) == 1
            and holder[0] is not _after_in_child
        ):
            holder.remove(_after_in_child)
            holder.insert(0, _after_in_child)


come_first()
