"""The kernel queue below a hub's descriptors, edge-triggered: epoll on Linux, kqueue on macOS and BSD."""

from __future__ import annotations

import errno
import os
import select
from typing import Any

from greenify.core.placement import high_copy

__all__ = [
    "EAGER_EVENTS", "NO_ROOM", "ONCE", "READ", "READ_EVENTS", "WRITE", "WRITE_EVENTS", "make_queue",
]  # fmt: skip

#: What the kernel answers when it has no room for one more registration or level of nested queues, or
#: (EINVAL) when a single file is registered under hundreds of numbers.
NO_ROOM = frozenset({errno.EINVAL, errno.ENOSPC, errno.ELOOP})


class _KQueue:
    """The operations of an epoll that are used here, over kqueue with EV_CLEAR (its edge-triggered mode)."""

    def __init__(self) -> None:
        self._kq = select.kqueue()  # type: ignore[attr-defined,unused-ignore]

    def fileno(self) -> int:
        fd: int = self._kq.fileno()
        return fd

    def register(self, fd: int, mask: int) -> None:
        # Adding a filter again re-reports its state, so this is `modify` too.
        kevent: Any = select.kevent  # type: ignore[attr-defined,unused-ignore]
        changes = [kevent(fd, _KQ_READ, _KQ_ADD)]
        if mask & WRITE:
            changes.append(kevent(fd, _KQ_WRITE, _KQ_ADD))
        try:
            self._kq.control(changes, 0)
        except OSError as exc:
            if exc.errno == errno.EINVAL:  # what kqueue says of files it cannot watch
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
            raise

    modify = register

    def unregister(self, fd: int) -> None:
        kevent: Any = select.kevent  # type: ignore[attr-defined,unused-ignore]
        for kind in (_KQ_READ, _KQ_WRITE):
            try:
                self._kq.control([kevent(fd, kind, _KQ_DELETE)], 0)
            except FileNotFoundError:
                # That direction was never asked for.
                pass

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        found = []
        for event in self._kq.control(None, limit, None if timeout < 0 else timeout):
            mask = WRITE_EVENTS if event.filter == _KQ_WRITE else READ_EVENTS
            if event.flags & _KQ_EOF:
                mask |= EAGER_EVENTS
            found.append((event.ident, mask))
        return found

    def close(self) -> None:
        self._kq.close()


if hasattr(select, "epoll"):
    # RDHUP and PRI come with reading: after them a short read no longer proves an empty buffer.
    READ: int = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
    WRITE: int = select.EPOLLOUT | select.EPOLLET
    READ_EVENTS: int = select.EPOLLIN | select.EPOLLRDNORM | select.EPOLLRDBAND
    EAGER_EVENTS: int = select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLHUP | select.EPOLLERR
    WRITE_EVENTS: int = (
        select.EPOLLOUT
        | select.EPOLLWRNORM
        | select.EPOLLWRBAND
        | select.EPOLLHUP
        | select.EPOLLERR
    )
    # In the mask of a registration that rests when it has reported.  0 where there is no such thing.
    ONCE: int = select.EPOLLONESHOT

    _epoll: Any = select.epoll

    def make_queue() -> Any:
        """A kernel queue whose descriptor has a high number (`placement`)."""
        queue = _epoll()
        copy = high_copy(queue.fileno())
        if copy < 0:
            return queue
        queue.close()
        return _epoll.fromfd(copy)

else:  # pragma: no cover - macOS and the BSDs
    READ = 1
    WRITE = 2
    READ_EVENTS = 1
    WRITE_EVENTS = 2
    EAGER_EVENTS = 4
    ONCE = 0
    _KQ_READ = select.KQ_FILTER_READ  # type: ignore[attr-defined,unused-ignore]
    _KQ_WRITE = select.KQ_FILTER_WRITE  # type: ignore[attr-defined,unused-ignore]
    _KQ_ADD = select.KQ_EV_ADD | select.KQ_EV_CLEAR  # type: ignore[attr-defined,unused-ignore]
    _KQ_DELETE = select.KQ_EV_DELETE  # type: ignore[attr-defined,unused-ignore]
    _KQ_EOF = select.KQ_EV_EOF  # type: ignore[attr-defined,unused-ignore]

    def make_queue() -> Any:
        return _KQueue()
