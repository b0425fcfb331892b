"""gevent's loop on greenify's hub: the module that gevent sees as its core.

The thread sleeps in libuv, together with greenify's hub of the same OS thread (`greenify/core/guests.py`).
Where libuv has nothing that gevent wants it is made up for here: priorities (`cycle.py`), prepare and fork
watchers (`watchers.py`), level-triggered descriptors (`kernel.py`).
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable
from typing import Any

from gevent._hub_local import get_hub_if_exists
from gevent._interfaces import ILoop
from zope.interface import implementer

from greenify._version import __version__
from greenify.core.guests import invitations
from greenify.core.hub import Hub
from greenify.core.loop import libuv_version
from greenify.integrations.gevent import io as _io
from greenify.integrations.gevent import signals as _signals
from greenify.integrations.gevent import stat as _stat
from greenify.integrations.gevent import watchers as _watchers
from greenify.integrations.gevent.callbacks import callback
from greenify.integrations.gevent.cycle import Cycle
from greenify.integrations.gevent.names import (
    EVENTS,
    MAXPRI,
    MINPRI,
    NONE,
    READ,
    READWRITE,
    WRITE,
    backend_flags,
    events_to_str,
)

__all__ = [
    "EVENTS",
    "MAXPRI",
    "MINPRI",
    "NONE",
    "READ",
    "READWRITE",
    "WRITE",
    "callback",
    "get_header_version",
    "get_version",
    "loop",
    "recommended_backends",
    "supported_backends",
    "time",
]

# Looked for by gevent under this name.
_events_to_str = events_to_str


def get_version() -> str:
    """What this loop is made of."""
    return f"greenify-{__version__} libuv-{libuv_version}"


get_header_version = get_version


def supported_backends() -> list[str]:
    """How descriptors are watched."""
    return ["default"]


recommended_backends = supported_backends


@implementer(ILoop)
class loop(Cycle):
    """One event loop for gevent.  For one OS thread at a time; the methods that others may call say so.

    Args:
        flags: what to ask of libev; checked and without effect.
        default: the process's default loop, the one with child watchers.  There is one: asking for it again
            returns the same object until that is destroyed.
    """

    MAXPRI = MAXPRI
    MINPRI = MINPRI

    #: Timers are not rounded; what remains is the kernel's slack.
    approx_timer_resolution = 0.00005

    WatcherType = _watchers.watcher
    starting_timer_may_update_loop_time = True

    _the_default: loop | None = None

    def __new__(cls, flags: Any = None, default: bool | None = None) -> loop:
        known = cls._the_default
        if default is not False and known is not None and not known._destroyed:
            return known
        return super().__new__(cls)

    def __init__(
        self, flags: int | str | Iterable[str] | None = None, default: bool | None = None
    ) -> None:
        self.origflags_int = backend_flags(flags)
        if self is type(self)._the_default:
            return
        self._default = default is not False
        super().__init__()
        self._kept: set[_watchers.watcher] = set()  # active ones that nobody else refers to
        self._children = _signals.Children(self)
        _loops.add(self)
        if self._default:
            type(self)._the_default = self
            _signals.keep_wakeup_fd()

    # Watchers.

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> _io.io:
        """A watcher of a descriptor; see `io.io`."""
        return _io.io(self, fd, events, ref, priority)

    def timer(
        self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> _watchers.timer:
        """A watcher of the clock; see `watchers.timer`."""
        return _watchers.timer(self, after, repeat, ref, priority)

    def signal(self, signum: int, ref: bool = True, priority: int | None = None) -> _signals.signal:
        """A watcher of a signal; see `signals.signal`."""
        return _signals.signal(self, signum, ref, priority)

    def idle(self, ref: bool = True, priority: int | None = None) -> _watchers.idle:
        """A watcher of nothing happening; see `watchers.idle`."""
        return _watchers.idle(self, ref, priority)

    def prepare(self, ref: bool = True, priority: int | None = None) -> _watchers.prepare:
        """A watcher of iterations, before the kernel is looked at."""
        return _watchers.prepare(self, ref, priority)

    def check(self, ref: bool = True, priority: int | None = None) -> _watchers.check:
        """A watcher of iterations, after the kernel has been looked at."""
        return _watchers.check(self, ref, priority)

    def fork(self, ref: bool = True, priority: int | None = None) -> _watchers.fork:
        """A watcher of forks, in the child; see `watchers.fork`."""
        return _watchers.fork(self, ref, priority)

    def async_(self, ref: bool = True, priority: int | None = None) -> _watchers.async_:
        """A watcher that other OS threads can send; see `watchers.async_`."""
        return _watchers.async_(self, ref, priority)

    def child(self, pid: int, trace: int = 0, ref: bool = True) -> _signals.child:
        """A watcher of a child process; see `signals.child`."""
        return _signals.child(self, pid, trace, ref)

    def stat(
        self,
        path: str | bytes | os.PathLike[Any],
        interval: float = 0.0,
        ref: bool = True,
        priority: int | None = None,
    ) -> _stat.stat:
        """A watcher of a path; see `stat.stat`."""
        return _stat.stat(self, path, interval, ref, priority)

    def install_sigchld(self) -> None:
        """Make child watchers work (again): children have to become zombies."""
        self._children.install()

    def reset_sigchld(self) -> None:
        """Leave SIGCHLD to the user, who has just set it to its default or to be ignored."""
        self._children.reset()

    # Life.

    def destroy(self) -> bool | None:
        """Release what the loop holds.  Its watchers and `run` do not work any more.

        Returns:
            True; None if it was destroyed already.
        """
        if self._destroyed:
            return None
        for signum_watcher in [w for w in self._kept if isinstance(w, _signals.signal)]:
            signum_watcher.stop()
        self._children.forked()
        self._destroyed = True
        self._stop = True
        self._close_queue()
        self._callbacks.clear()
        self._kept.clear()
        for watched in self._fds.values():
            # Whoever starts a watcher from now on is going to be told.
            watched.mask = 0
        _loops.discard(self)
        if type(self)._the_default is self:
            type(self)._the_default = None
        return True

    def __del__(self) -> None:
        if not getattr(self, "_destroyed", True):
            self.destroy()

    def reinit(self) -> None:
        """After a fork, in the child: fork watchers are going to happen.

        Everything else has been done by the time the fork returns, in whatever way the process was forked.
        """
        if self._destroyed:
            raise ValueError("operation on destroyed loop")
        self._tell_forked()

    def _after_fork(self) -> None:
        """In the child of a fork."""
        # The kernel queue is shared with the parent: closed here, never touched.
        self._reopen()
        self._children.forked()
        self._tell_forked()

    def _tell_forked(self) -> None:
        if not self._forked:
            self._forked = True
            self._special += 1

    def ref(self) -> None:
        """Keep the loop running, as an active watcher does."""
        self._refs += 1

    def unref(self) -> None:
        """Undo `ref`."""
        self._refs -= 1

    def verify(self) -> None:
        """Check the books: the watchers that are started on a descriptor are active."""
        for watched in self._fds.values():
            assert all(what.active for what in watched.started), watched.started

    @property
    def ptr(self) -> int | None:
        """Something true while the loop is usable."""
        return None if self._destroyed else id(self)

    @property
    def default(self) -> bool:
        """Whether this is the process's default loop."""
        return self._default and not self._destroyed

    @property
    def iteration(self) -> int:
        """How many iterations there have been."""
        return self._iterations

    @property
    def depth(self) -> int:
        """How many calls of `run` are under way."""
        return self._depth

    @property
    def backend(self) -> str:
        """How descriptors are watched."""
        return "default"

    @property
    def backend_int(self) -> int:
        """`backend` as one of libev's numbers: none of them."""
        return 0

    @property
    def pendingcnt(self) -> int:
        """How many watchers are pending."""
        return len(self._happened)

    @property
    def activecnt(self) -> int:
        """How many active watchers and callbacks keep the loop running."""
        if self._destroyed:
            raise ValueError("operation on destroyed loop")
        return self._refs + len(self._callbacks)

    def fileno(self) -> int | None:
        """The descriptor of the loop's kernel queue."""
        return None if self._destroyed else self._queue.fileno()

    def debug(self) -> list[str]:
        """What the loop is watching, in words."""
        watching: list[Any] = [what for watched in self._fds.values() for what in watched.started]
        watching += [entry[2] for entry in self._timers.heap if entry[2] is not None]
        watching += [*self._idle, *self._prepare, *self._check, *self._fork, *self._kept]
        return [repr(what) for what in watching]

    def _format(self) -> str:
        if self._destroyed:
            return "destroyed"
        parts = [self.backend]
        if self._default:
            parts.append("default")
        parts.append(f"pending={self.pendingcnt}")
        parts.append(f"ref={self.activecnt}")
        parts.append(f"fileno={self.fileno()}")
        parts.append(f"callbacks={len(self._callbacks)}")
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"


# The name that `async_` had before it became a keyword; gevent still has it.
setattr(loop, "async", loop.async_)

_loops: weakref.WeakSet[loop] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for known in list(_loops):
        known._after_fork()


class _Starter:
    """Starts gevent's hub: an entry of the ready queue."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Any) -> None:
        self._hub = hub

    def switch(self) -> None:
        known = self._hub.loop
        if known is not None and not known.depth:
            self._hub.switch()


def _start_hub(hub: Hub) -> bool:
    # Somebody waits in greenify before anybody has waited in gevent: nobody has switched to gevent's hub yet.
    gevent_hub = get_hub_if_exists()
    known = getattr(gevent_hub, "loop", None)
    if not isinstance(known, loop) or known._destroyed or known._depth or not known.activecnt:
        return False
    hub.ready.append(_Starter(gevent_hub))
    return True


os.register_at_fork(after_in_child=_after_fork_in_child)
invitations.append(_start_hub)
