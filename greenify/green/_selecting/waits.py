"""Waiting on descriptors that belong to others: the common part of `select` and `poll`.

The native call with a zero time-out has the exact semantics; in between, something has to wait for a change.
For one direction of one descriptor that is the hub's own kernel queue (`alone`), for everything else the
hub's interest list (`until`).
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.descriptors import Descriptor, Side
from greenify.core.hub import Hub
from greenify.core.kernel_queue import ONCE
from greenify.core.registry import get_hub
from greenify.core.workers import default_workers
from greenify.green._selecting.interests import EVENTS, RDHUP, WRITING, Refused, Wait, interests_of

__all__ = ["Closed", "alone", "until", "until_on_thread"]

Found = TypeVar("Found")

_native_poll: Any = select.poll

# The longest wait on a native thread, in seconds: such a wait cannot be called off.
_SLICE = 1.0

# How often a wait looks for itself when its news may be another file's, in seconds.
_PAUSE = 0.02


class Closed(dict[int, int]):
    """The events of a wait of which descriptors have been closed: true, even if there are none.

    The kernel, too, looks at the numbers once more when something has come for a file that had one of them,
    or when time is up.  A closed number has the event POLLNVAL, with which it counts as ready for `select`.
    """

    def __bool__(self) -> bool:
        return True


# The events of either direction, with those that the kernel reports to both.
_BOTH = select.POLLHUP | select.POLLERR
_OF_READING = select.POLLIN | select.POLLRDNORM | select.POLLRDBAND | select.POLLPRI | RDHUP | _BOTH
_OFWRITING = WRITING | _BOTH


def alone(hub: Hub, fd: int, mask: int, deadline: float | None) -> bool | dict[int, int] | None:
    """Wait for events of one direction of one descriptor, on the hub's own kernel queue.

    Cheaper than an interest list: no second queue to look at, and the greenlet is switched to directly (a
    byte there and back, waited for by `select`: 13.9 instead of 21.7 us).

    Args:
        hub: the calling OS thread's.
        fd: the native call has just found nothing on it.
        mask: the POLL* events to watch, POLLERR and POLLHUP included if they count.
        deadline: a `time.monotonic` time in seconds, or None.

    Returns:
        True if something has come, for the native call to look at: it may be nothing that was asked for, and
        whoever goes on waiting has to do so with `until`, or he would turn in a loop.  False if the deadline
        has passed.  None if this cannot be waited for here at all, but with `until`.  If the number was
        closed meanwhile: what there is to report by then.
    """
    if not mask & ~_OF_READING:
        writing = False
    elif not mask & ~_OFWRITING:
        writing = True
    else:
        return None
    descriptors = hub.descriptors
    descriptor = descriptors.by_fd.get(fd)
    try:
        if descriptor is None or descriptor.closed:
            if not ONCE:
                return None
            descriptor = descriptors.by_fd[fd] = Descriptor(hub, fd, mask | ONCE)
            side = descriptor.write if writing else descriptor.read
            descriptors.queue.register(fd, mask | ONCE)
        else:
            read = descriptor.read
            write = descriptor.write
            if (
                # It has an owner, such as a socket, for whom it reports more than is wanted here.
                not descriptor.mask & ONCE
                # The first event would use up the registration for all.
                or read.waiter is not None
                or write.waiter is not None
                or read.others
                or write.others
            ):
                return None
            descriptor.mask = mask | ONCE
            side = write if writing else read
            side.edge = False
            try:
                descriptors.queue.modify(fd, mask | ONCE)
            except FileNotFoundError:
                # Closed, and another file by now.
                descriptors.queue.register(fd, mask | ONCE)
    except OSError:
        # What this means is for `until` to say.
        descriptors.by_fd.pop(fd, None)
        return None
    descriptor.polled += 1
    try:
        come = side.wait(deadline)
        return _closed_alone(descriptor, side, fd, come, deadline) if descriptor.moved else come
    finally:
        descriptor.polled -= 1
        if descriptor.moved:
            descriptors.let_go(descriptor)


def _closed_alone(
    descriptor: Descriptor, side: Side, fd: int, come: bool, deadline: float | None
) -> Closed:
    # The number has been closed meanwhile: the wait goes on with the same file.
    poll = _native_poll()
    poll.register(fd, descriptor.mask & EVENTS)
    while True:
        found = poll.poll(0)
        if found or not come:
            return Closed(found)
        side.edge = False
        descriptor.hub.descriptors.queue.modify(descriptor.fd, descriptor.mask)
        come = side.wait(deadline)


Look = Callable[[Mapping[int, int]], Found]


def until(look: Look[Found], masks: Mapping[int, int], deadline: float | None) -> Found:
    """Call `look` at every change on a set of descriptors, until it finds something.

    Parks the current greenlet on its hub.  `look` has been called, in vain, just before.

    Args:
        look: makes the native call with a zero time-out; its result counts as found if it is true.  It is
            given the events that were reported, by descriptor, or none if it has to find out by itself.
        masks: for each descriptor the POLL* events to watch, POLLERR and POLLHUP included if they count.
            It must not change meanwhile.
        deadline: a `time.monotonic` time in seconds, or None.

    Returns:
        What `look` returned last: a false value when the deadline has passed.
    """
    try:
        while True:
            hub = get_hub()
            interests = interests_of(hub)
            wait = Wait(hub, masks)
            try:
                expired = interests.add(wait) and not wait.wait(deadline)
                if wait.copies:
                    # The native call would find the numbers closed, or other files there.
                    return look(_events_of_closed(wait, expired, deadline))
            finally:
                interests.remove(wait)
            events = wait.events
            if interests.doubtful and not interests.doubtful.isdisjoint(events):
                events = {}
            found = look(events)
            if found or expired:
                return found
    except Refused:
        return until_on_thread(look, masks.items(), deadline)


def _events_of_closed(wait: Wait, expired: bool, deadline: float | None) -> Closed:
    """What there is for a wait of which descriptors have been closed."""
    while True:
        found = wait.look()
        if found or expired:
            return Closed(found)
        # Another file has the number by now, and nothing to report.
        wait.woken = False
        wait.wait(_monotonic() + _PAUSE)
        expired = deadline is not None and _monotonic() >= deadline


def until_on_thread(
    look: Look[Found], masks: Iterable[tuple[int, int]], deadline: float | None
) -> Found:
    """The same as `until` with a native thread to wait on, for when the kernel refuses what that needs."""
    poll = _native_poll()
    for fd, mask in masks:
        poll.register(fd, mask)
    while True:
        left = _SLICE if deadline is None else min(deadline - _monotonic(), _SLICE)
        default_workers.run(poll.poll, max(0, -int(-left * 1000 // 1)))
        expired = deadline is not None and _monotonic() >= deadline
        found = look({})
        if found or expired:
            return found
        # Not to turn at full speed around an event that was not asked for.
        core.sleep(0.01)
