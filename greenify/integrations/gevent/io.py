"""Watching file descriptors.

gevent's io watchers are level-triggered: while the condition holds, the callback is called in every
iteration.  So the loop has an epoll of its own in level-triggered mode, beside the edge-triggered one of the
hub.  (With edges every start of a watcher would have to ask the kernel for the present state.)

A descriptor is registered at the first start of a watcher and stays so when the watcher is stopped: gevent
starts and stops one for every wait, and the next wait will be for the same.  Only when something is reported
that no started watcher wants is the registration reduced.  Closing the watcher ends it.  What was closed
behind our back the kernel has forgotten by itself; nothing here aborts over it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenify.integrations.gevent.names import (
    ERROR,
    EVENTS,
    IOFDSET,
    READWRITE,
    events_to_str,
)
from greenify.integrations.gevent.watchers import watcher

if TYPE_CHECKING:
    from greenify.integrations.gevent.loop import loop as Loop

__all__ = ["io"]

_fcntl = fcntl.fcntl
_F_GETFD = fcntl.F_GETFD


class io(watcher):
    """Happens while `fd` is readable (1) or writable (2), has hung up, or is in error.

    Regular files, which the kernel does not watch, are always ready.

    Raises:
        ValueError: the descriptor is negative or `events` has other bits than 1 and 2.
        OSError: EBADF, the descriptor is not open.
    """

    __slots__ = ("_events", "_fd", "_fresh", "_watched")

    def __init__(
        self, loop: Loop, fd: int, events: int, ref: bool = True, priority: int | None = None
    ) -> None:
        if fd < 0:
            raise ValueError(f"fd must be non-negative: {fd!r}")
        if events & ~READWRITE:
            raise ValueError(f"illegal event mask: {events!r}")
        _fcntl(fd, _F_GETFD)
        self.loop = loop
        self._ref = bool(ref)
        self._priority = priority or 0
        self._callback = self._args = None
        self._active = False
        self._pending = 0
        self._fd = fd
        self._events = events
        # The number may belong to another file than the one we have registered: ask the kernel once.
        self._fresh = True
        self._watched: Any = None

    def start(self, callback: Callable[..., object], *args: Any, pass_events: bool = False) -> None:
        """Call ``callback(*args)``, or ``callback(events, *args)``, as long as the condition holds.

        A descriptor that is not open is reported once, as readable, writable and in error.

        Args:
            callback: what is called in the loop.
            args: its arguments.
            pass_events: put the events that have been seen before them.
        """
        # The hot path of every wait of gevent; so nothing is called that need not be.
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        loop = self.loop
        self._callback = callback
        self._args = (EVENTS, *args) if pass_events else args
        if self._active:
            return
        self._active = True
        if self._ref:
            loop._refs += 1
        watched = self._watched
        if watched is None:
            watched = self._watched = loop._watched(self._fd)
        watched.started.append(self)
        if self._fresh or self._events & ~watched.mask:
            self._fresh = False
            try:
                loop._register(watched)
            except ValueError:
                self.stop()
                raise

    def stop(self) -> None:
        if self._active:
            self._active = False
            if self._ref:
                self.loop._refs -= 1
            self._watched.started.remove(self)
        self._pending = 0
        self._callback = self._args = None

    def close(self) -> None:
        """Stop for good, and forget the descriptor unless another watcher is started on it."""
        self.stop()
        watched = self._watched
        if watched is not None:
            self._watched = None
            if watched.mask and not watched.started:
                self.loop._unregister(watched)

    def _disarm(self) -> None:
        self._watched.started.remove(self)

    @property
    def fd(self) -> int:
        """The descriptor's number; it cannot change while the watcher is active."""
        return self._fd

    @fd.setter
    def fd(self, fd: int) -> None:
        self._not_while_active()
        self._fd = fd
        self._fresh = True
        self._watched = None

    @property
    def events(self) -> int:
        """What is watched for, and libev's mark for a descriptor that the kernel has not been shown yet."""
        return self._events | (IOFDSET if self._fresh else 0)

    @events.setter
    def events(self, events: int) -> None:
        self._not_while_active()
        events &= ~IOFDSET
        if events & ~READWRITE:
            raise ValueError(f"illegal event mask: {events!r}")
        self._events = events

    @property
    def events_str(self) -> str:
        """`events` in words."""
        return events_to_str(self.events)

    def _not_while_active(self) -> None:
        if self._active:
            raise AttributeError("not while the watcher is active; stop it first")

    def _format(self) -> str:
        return f" fd={self._fd} events={self.events_str}"

    def _fail(self) -> None:
        """The descriptor is not open: say so once, as libev does."""
        self._expire()
        self.loop._feed(self, ERROR | READWRITE)
