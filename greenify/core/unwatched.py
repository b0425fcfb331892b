"""Descriptors that the kernel queue has no room for, though it could watch them.

epoll takes 500 duplicates of one open file at a time where its own descriptor is in another epoll, as ours is
in libuv's (`path_limits` in Linux's fs/eventpoll.c: EINVAL), and so many descriptors per user as
/proc/sys/fs/epoll/max_user_watches says (ENOSPC).  Real threads wait in as many as they like.  So who waits
for such a descriptor looks again by the clock, and each look asks for room first.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.kernel_queue import NO_ROOM, WRITE

if TYPE_CHECKING:
    from greenify.core.descriptor_set import DescriptorSet
    from greenify.core.descriptors import Descriptor

__all__ = ["Unwatched"]

_poll = select.poll

_EVENTS = select.POLLIN | select.POLLOUT

# Seconds between two looks.
_PAUSE = 0.02


class Unwatched:
    """Those of one hub.  Its own OS thread only."""

    __slots__ = ("_descriptors", "_entry", "_of")

    def __init__(self, of: DescriptorSet) -> None:
        self._of = of
        self._descriptors: set[Descriptor] = set()
        self._entry: Any = None

    def __contains__(self, descriptor: Descriptor) -> bool:
        return descriptor in self._descriptors

    def add(self, descriptor: Descriptor) -> None:
        """Wake who waits for `descriptor` again and again, until there is room or it is closed."""
        self._descriptors.add(descriptor)
        if self._entry is None:
            self._arm()

    def _arm(self) -> None:
        self._entry = self._of.hub.timers.add(_monotonic() + _PAUSE, self)

    def due(self) -> None:
        """Called by the hub, for a look."""
        self._entry = None
        looked = tuple(self._descriptors)
        left = [descriptor for descriptor in looked if not descriptor.closed]
        while left and self._watched(left[-1]):
            left.pop().wake_all()
        self._descriptors.difference_update(looked)
        self._descriptors.update(left)
        if not self._descriptors:
            return
        poll = _poll()
        for descriptor in left:
            # All of it: a bit says how to report, and is in both.
            writing = descriptor.mask & WRITE == WRITE
            poll.register(descriptor.fd, _EVENTS if writing else select.POLLIN)
        news = {fd for fd, _ in poll.poll(0)}
        for descriptor in left:
            if descriptor.fd in news:
                descriptor.wake_all()
        if self._entry is None:
            self._arm()

    def _watched(self, descriptor: Descriptor) -> bool:
        try:
            self._of.queue.register(descriptor.fd, descriptor.mask)
        except FileExistsError:
            return True
        except OSError as exc:
            # Another error says that it was closed without our knowledge: that is found out at its next use.
            return exc.errno not in NO_ROOM
        return True
