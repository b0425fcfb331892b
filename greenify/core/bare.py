"""What a hub does without descriptors of its own, as long as the process has none left.

Sleeping and locking take no descriptor with threads, so they must not fail here because there is none for a
kernel queue.  A hub that cannot get its descriptors is *bare*: it sleeps on a native lock, which wakers
release, and asks the kernel about descriptors with poll(2), which needs none.  Whenever it is about to sleep,
and before a descriptor is waited for, it tries again to get what it lacks (`Hub.acquire`), and is a hub like
any other from then on.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import stat
from typing import TYPE_CHECKING, Any, NoReturn

from greenify.core.clock import monotonic as _monotonic
from greenify.core.kernel_queue import EAGER_EVENTS, READ_EVENTS, WRITE_EVENTS

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["SHORTAGES", "BareLoop", "BarePair", "BareQueue"]

_native_lock = _thread.allocate_lock
_fstat = os.fstat
_poll = select.poll

#: What the kernel answers when there is no descriptor, or no memory for one.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

# The longest sleep in seconds: afterwards it tries for descriptors again, for signals are told of by one.
_LONGEST = 0.1

# The same while descriptors are waited for: a waker of another OS thread cannot end poll(2).
_SLICE = 0.005

_IN = select.POLLIN | select.POLLPRI
_EITHER = select.POLLHUP | select.POLLERR


def _refuse() -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class BareQueue:
    """Stands for the kernel queue: reports what somebody waits for, each time it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._known: set[int] = set()

    def fileno(self) -> int:
        """There is none.

        Raises:
            OSError: EMFILE.
        """
        _refuse()

    def register(self, fd: int, mask: int) -> None:
        """Take note of `fd`; refuses what a kernel queue refuses."""
        hub = self._hub
        if hub.acquire():
            hub.descriptors.queue.register(fd, mask)
            return
        kind = stat.S_IFMT(_fstat(fd).st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if fd in self._known:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._known.add(fd)

    def modify(self, fd: int, mask: int) -> None:
        """As `register`, for one that is known."""
        hub = self._hub
        if hub.acquire():
            hub.descriptors.queue.modify(fd, mask)
            return
        _fstat(fd)
        if fd not in self._known:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def unregister(self, fd: int) -> None:
        """Forget `fd`."""
        self._known.discard(fd)

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        """What those who wait in this hub wait for; `timeout` is in seconds, `limit` is not kept."""
        poll = self.waited_for()
        return [] if poll is None else list(map(_translated, poll.poll(int(timeout * 1000))))

    def waited_for(self) -> Any:
        """A poll object with everything that somebody waits for, or None if there is nothing."""
        poll = None
        for descriptor in tuple(self._hub.descriptors.by_fd.values()):
            mask = 0
            if descriptor.read.waiter is not None or descriptor.read.others:
                mask = _IN
            if descriptor.write.waiter is not None or descriptor.write.others:
                mask |= select.POLLOUT
            if mask:
                if poll is None:
                    poll = _poll()
                poll.register(descriptor.fd, mask)
        return poll

    def close(self) -> None:
        """There is nothing to release."""


def _translated(event: tuple[int, int]) -> tuple[int, int]:
    """An event of poll(2) in the terms of the kernel queue.  A closed descriptor is no news for it."""
    fd, found = event
    events = 0
    if found & (_IN | _EITHER):
        events |= READ_EVENTS
    if found & (select.POLLOUT | _EITHER):
        events |= WRITE_EVENTS
    if found & (select.POLLPRI | _EITHER):
        events |= EAGER_EVENTS
    return fd, events


class BarePair:
    """Stands for the pipe that ends a sleep: `BareLoop.wake` does."""

    __slots__ = ()

    hub = None  # looked for in whatever is taken from the ready queue
    reader = writer = None

    def switch(self) -> None:
        """Nothing has arrived by a pipe that does not exist."""

    def take(self) -> bytes:
        """Nothing, likewise."""
        return b""

    def close(self) -> None:
        """There is nothing to release."""


class BareLoop:
    """Stands for the libuv loop: sleeps on a native lock.  Only `wake` may be called from other threads."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = _native_lock()
        self._lock.acquire()
        self.fds: set[int] = set()
        self.pinned: dict[Any, Any] = {}

    @property
    def uv(self) -> Any:
        """libuv's loop, for those who are about to make a handle.

        Raises:
            OSError: EMFILE, there are still no descriptors for it.
        """
        return self._real().uv

    def _real(self) -> Any:
        hub = self._hub
        if not hub.acquire():
            _refuse()
        return hub.loop

    def watch(self, fd: int) -> None:
        """`Loop.watch`, if there are descriptors by now; else OSError, EMFILE."""
        self._real().watch(fd)

    def unwatch(self, fd: int) -> None:
        """Nothing is watched here."""

    def fileno(self) -> int:
        """There is none: OSError, EMFILE."""
        _refuse()

    def wake(self) -> None:
        """End `sleep`, or the next one.  Any OS thread."""
        try:
            self._lock.release()
        except RuntimeError:
            # It has been woken already.
            pass

    def sleep(self, deadline: float | None) -> None:
        """Block until there may be news, or `deadline`, in `time.monotonic` seconds, has passed."""
        hub = self._hub
        if hub.acquire():
            # The real queue has not been looked at yet.
            return
        seconds = _LONGEST
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - _monotonic()))
        queue = hub.descriptors.queue
        poll = queue.waited_for() if isinstance(queue, BareQueue) else None
        if poll is None:
            self._lock.acquire(True, seconds)
        elif not self._lock.acquire(False):
            poll.poll(-int(-min(seconds, _SLICE) * 1000 // 1))

    def turn(self) -> None:
        """There are no handles."""

    def close(self) -> None:
        """There is nothing to release."""

    def forked(self, inside: bool) -> None:
        """There is nothing that a child shares."""
