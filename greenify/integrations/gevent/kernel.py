"""The kernel queue of a gevent loop: which descriptors it watches, and how it is kept right."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

from greenify.core.kernel_queue import make_queue
from greenify.integrations.gevent.names import MASKS, REVENTS

if TYPE_CHECKING:
    from collections import deque

    from greenify.core.guests import Guest
    from greenify.integrations.gevent.io import io

__all__ = ["KernelQueue", "Watched"]

if not hasattr(select, "epoll"):
    raise ImportError("greenify's loop for gevent needs epoll, which only Linux has")

_fstat = os.fstat


class Watched:
    """A descriptor's number as one loop knows it."""

    __slots__ = ("fd", "mask", "started")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.mask = 0  # READ and WRITE as the kernel has them registered; 0 for not at all
        self.started: list[io] = []

    def wanted(self) -> int:
        """What the started watchers ask for together."""
        events = 0
        for what in self.started:
            events |= what._events
        return events


class KernelQueue:
    """What a loop knows of descriptors: a level-triggered epoll, which watchers of `io` share."""

    def __init__(self) -> None:
        self._destroyed = False
        self._fds: dict[int, Watched] = {}
        self._always: dict[int, Watched] = {}  # regular files, which are always ready
        # How many idle, prepare and check watchers and files are active, and whether a fork is to be told.
        self._special = 0
        self._happened: deque[Any]  # watchers that are pending
        self._guest: Guest | None = None
        self._open()

    def _open(self) -> None:
        self._queue = make_queue()
        self._poll = self._queue.poll

    def _watched(self, fd: int) -> Watched:
        watched = self._fds.get(fd)
        if watched is None:
            watched = self._fds[fd] = Watched(fd)
        return watched

    def _register(self, watched: Watched) -> None:
        """Have the kernel report what the started watchers want: for new watchers, and when that grows."""
        if self._destroyed:
            raise ValueError("operation on a destroyed loop")
        fd = watched.fd
        events = watched.wanted() | watched.mask
        mask = MASKS[events]
        known = bool(watched.mask)
        watched.mask = events
        try:
            try:
                if known:
                    self._queue.modify(fd, mask)
                else:
                    self._queue.register(fd, mask)
            except FileNotFoundError:
                # Closed behind our back, and the number belongs to another file now.
                self._queue.register(fd, mask)
            except FileExistsError:
                self._queue.modify(fd, mask)
            if fd in self._always:
                self._forget_file(watched)
        except PermissionError:
            # The kernel does not watch this kind of file: it never blocks.
            watched.mask = 0
            if fd not in self._always:
                self._always[fd] = watched
                self._special += 1
        except OSError:
            watched.mask = 0
            for what in tuple(watched.started):
                what._fail()
        except ValueError:
            # Somebody has closed our kernel queue.
            self._reopen()

    def _unregister(self, watched: Watched) -> None:
        """Have the kernel report nothing any more."""
        if watched.mask:
            watched.mask = 0
            try:
                self._queue.unregister(watched.fd)
            except (OSError, ValueError):
                # Closed already: the kernel has forgotten it.
                pass
        if watched.fd in self._always:
            self._forget_file(watched)

    def _forget_file(self, watched: Watched) -> None:
        if self._always.pop(watched.fd, None) is not None:
            self._special -= 1

    def _reduce(self, watched: Watched) -> None:
        """The kernel has reported what no started watcher wants: have it reported no longer."""
        events = watched.wanted()
        try:
            if events:
                self._queue.modify(watched.fd, MASKS[events])
            else:
                # Hang-ups are reported even to those who ask for nothing.
                self._queue.unregister(watched.fd)
            watched.mask = events
        except OSError:
            # The number is another file's or nobody's, and yet the old one lives on under another number and
            # reports.  The kernel offers no way to get rid of it but a new queue.
            self._reopen()

    def _reopen(self) -> None:
        """Begin with a new kernel queue: after a fork, and when the old one cannot be put right."""
        # Attached again by `run`, whose locals are stale now.
        self._close_queue()
        self._open()
        for watched in list(self._fds.values()):
            watched.mask = 0
            if watched.started:
                self._register(watched)

    def _close_queue(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.leave()
            return
        try:
            self._queue.close()
        except OSError:
            # Somebody else has closed it, by number.
            pass

    def _is_broken(self) -> bool:
        """Whether somebody has closed the kernel queue, by its number."""
        try:
            _fstat(self._queue.fileno())
            self._poll(0, 1)
        except (OSError, ValueError):
            return True
        return False

    def _sort_out(self, found: list[tuple[int, int]]) -> None:
        """Make pending who waits for what the kernel has reported."""
        fds = self._fds
        happened = self._happened
        for fd, events in found:
            watched = fds.get(fd)
            if watched is None:
                # Ours is only what we have registered.
                continue
            events = REVENTS[events & 63]
            wanted = 0
            for what in watched.started:
                own = what._events
                wanted |= own
                own &= events
                if own:
                    if not what._pending:
                        happened.append(what)
                    what._pending |= own
            if watched.mask & events & ~wanted:
                self._reduce(watched)
