"""The interest list of a hub: what several descriptors of others' are waited for with at once.

It is a second kernel queue, which the hub's own queue nests.

* The kernel allows any number of queues to watch a descriptor, so nothing here disturbs its owner, and it
  drops closed descriptors by itself.
* A registration reports once (EPOLLONESHOT) and then rests, so a descriptor that nobody waits for any more
  wakes nobody.  It stays in the list: waiting again takes one system call for each descriptor, which also
  makes the kernel report the present state and shows whether the number belongs to another file by now.
  So nothing has to be known about who closes what.
"""

from __future__ import annotations

import _thread
import errno
import select
from collections.abc import Callable, Mapping
from typing import Any

from greenify.core.fork import fork_hooks
from greenify.core.hub import Hub
from greenify.core.kernel_queue import NO_ROOM, make_queue
from greenify.core.placement import high_copy
from greenify.core.waiters import HubWaiter

__all__ = ["EVENTS", "RDHUP", "REFUSALS", "WRITING", "Interests", "Refused", "Wait", "interests_of"]

_native: Any = select
_native_poll: Any = select.poll

# What the kernel answers when it has no room for one more registration, or for one more queue.
REFUSALS = NO_ROOM | {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

# How many events are taken by one system call.
_BATCH = 512


class Refused(Exception):
    """The kernel has no room for what a wait needs."""


class Wait(HubWaiter):
    """A greenlet that waits for any of several events."""

    __slots__ = ("copies", "events", "masks")

    def __init__(self, hub: Hub, masks: Mapping[int, int]) -> None:
        HubWaiter.__init__(self, hub)
        self.masks = masks
        self.events: dict[int, int] = {}  # what has been reported: events by descriptor
        self.copies: dict[
            int, int
        ] = {}  # what is watched for descriptors that have been closed since

    def look(self) -> dict[int, int]:
        """Ask the kernel, without waiting, in the terms of `events`."""
        poll = _native_poll()
        for fd, mask in self.masks.items():
            poll.register(fd, mask)
        return dict(poll.poll(0))


class _Kqueue:  # pragma: no cover - macOS and the BSDs
    """A kqueue with the operations of an epoll.  Urgent data comes with reading there."""

    def __init__(self) -> None:
        self._queue = _native.kqueue()
        self.fileno = self._queue.fileno
        self.close = self._queue.close

    def register(self, fd: int, mask: int) -> None:
        how = _native.KQ_EV_ADD | (_native.KQ_EV_ONESHOT if mask & _ONCE else _native.KQ_EV_CLEAR)
        if mask & ~WRITING & EVENTS:
            self._change(fd, _native.KQ_FILTER_READ, how)
        if mask & WRITING:
            self._change(fd, _native.KQ_FILTER_WRITE, how)

    modify = register

    def unregister(self, fd: int) -> None:
        for kind in (_native.KQ_FILTER_READ, _native.KQ_FILTER_WRITE):
            try:
                self._change(fd, kind, _native.KQ_EV_DELETE)
            except FileNotFoundError:
                # That direction was never asked for, or has reported.
                pass

    def _change(self, fd: int, kind: int, how: int) -> None:
        try:
            self._queue.control([_native.kevent(fd, kind, how)], 0)
        except OSError as exc:
            if exc.errno == errno.EINVAL:  # what kqueue says of files it cannot watch
                raise PermissionError(errno.EPERM, exc.strerror) from None
            raise

    def poll(self, _: float, limit: int) -> list[tuple[int, int]]:
        found = []
        for event in self._queue.control(None, limit, 0):
            writing = event.filter == _native.KQ_FILTER_WRITE
            mask = WRITING if writing else EVENTS & ~WRITING
            found.append((event.ident, mask))
        return found


WRITING = select.POLLOUT | select.POLLWRNORM | select.POLLWRBAND
EVENTS = 0xFFFF  # the events among the bits of a mask
if hasattr(select, "epoll"):
    RDHUP: int = _native.EPOLLRDHUP
    _ONCE: int = _native.EPOLLONESHOT
    _EDGE: int = _native.EPOLLET
    _make_queue: Callable[[], Any] = make_queue
else:  # pragma: no cover - macOS and the BSDs
    RDHUP = 0
    _ONCE = 1 << 30
    _EDGE = 1 << 31
    _make_queue = _Kqueue


class Interests:
    """The interest list of one hub.  Only for the hub's own OS thread."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.queue = _make_queue()
        self._armed: dict[int, int] = {}  # the masks of all registrations, those at rest included
        self._waits: dict[int, dict[Wait, int]] = {}  # with the events for that descriptor
        # Numbers that had to be registered anew.  The file that was registered under the number before may
        # be open elsewhere and still be reported, so the reports for these prove nothing.
        self.doubtful: set[int] = set()
        self._names: dict[int, int] = {}  # of copies: the number that was closed
        self._taking = False  # whether `switch` has events of which nobody has been told
        hub.descriptors.polls = self._waits
        hub.descriptors.closing = self._keep
        self._side = hub.descriptors.attach(self.queue.fileno(), False).read
        hub.private_fds.add(self.queue.fileno())

    def add(self, wait: Wait) -> bool:
        """Have `wait` woken by the events in its masks; False if one of its descriptors is not open."""
        waits = self._waits
        armed = self._armed
        modify = self.queue.modify
        side = self._side
        side.waiter = self
        if side.edge:
            # What came while nobody waited is still in the queue, and hides further news.
            side.edge = False
            self.hub.ready.append(self)
        complete = True
        for fd, mask in wait.masks.items():
            sharing = waits.get(fd)
            if sharing is None:
                waits[fd] = {wait: mask}
                mask |= _ONCE
            else:
                sharing[wait] = mask
                mask = (mask | armed.get(fd, 0) | _EDGE) & ~_ONCE
            if fd in armed:
                try:
                    modify(fd, mask)
                    armed[fd] = mask
                    continue
                except OSError:
                    # Closed, or another file by now.
                    self.doubtful.add(fd)
                del armed[fd]
            complete &= self._register(fd, mask)
        return complete

    def remove(self, wait: Wait) -> None:
        """Have `wait` woken no more.  The registrations stay, to report once more at most."""
        waits = self._waits
        copies = wait.copies
        for fd in wait.masks:
            number = copies.get(fd, fd) if copies else fd
            sharing = waits.get(number)
            if sharing is None or sharing.pop(wait, None) is None:
                break  # `add` has not come to this one
            if not sharing:
                del waits[number]
                if number != fd:
                    self._let_go(number)
        if not waits:
            self._side.waiter = None

    def _keep(self, fd: int) -> None:
        """Let those who wait for `fd`, which is about to be closed, go on with its file.  Any OS thread."""
        waits = self._waits.get(fd)
        copy = high_copy(fd) if waits else -1
        if copy < 0 or not waits:
            return
        mask = self._armed.get(fd, 0)
        for each in waits.values():
            mask |= each
        self.hub.private_fds.add(copy)
        self._names[copy] = fd
        self._waits[copy] = waits
        self._armed[copy] = mask
        for wait in waits:
            wait.copies[fd] = copy
        # From here on events come under the new number.
        try:
            self.queue.register(copy, mask)
        except OSError as exc:
            if exc.errno not in NO_ROOM:
                raise
            # There is no room for both.  What has come meanwhile is reported when the new one is registered.
            self._forget(fd)
            self.queue.register(copy, mask)
        del self._waits[fd]
        self._forget(fd)

    def _forget(self, fd: int) -> None:
        """Take back the registration of a number, if it has one."""
        if self._armed.pop(fd, None) is not None:
            try:
                self.queue.unregister(fd)
            except OSError:
                # The kernel has dropped it already.
                pass

    def _let_go(self, copy: int) -> None:
        if self._names.pop(copy, None) is not None:
            self._armed.pop(copy, None)
            self.hub.descriptors.close_copy(self.queue, copy)

    def _register(self, fd: int, mask: int) -> bool:
        """Add a registration; False if `fd` is not open."""
        try:
            self.queue.register(fd, mask)
        except FileExistsError:
            # Somebody has closed it and put the same file under the same number again.
            self.queue.modify(fd, mask)
        except PermissionError:
            # A regular file: what it has to report, the native call has reported before.
            return True
        except OSError as exc:
            if exc.errno in REFUSALS:
                raise Refused from exc
            if exc.errno != errno.EBADF:
                raise
            return False
        self._armed[fd] = mask
        return True

    def switch(self) -> None:
        """The hub runs this as if it were a greenlet, whenever the queue has something to report."""
        if self._waits:
            self._side.waiter = self
        find = self._waits.get
        names = self._names
        if self._taking:
            # A finaliser waits on top of another call of this, which has taken events and told nobody yet.
            self._all_look()
        self._taking = True
        self.hub.taking = self
        try:
            while True:
                found = self.queue.poll(0, _BATCH)
                for fd, events in found:
                    waits = find(fd)
                    if waits is None:
                        # The wait it was meant for has ended otherwise.
                        if self._armed.get(fd, 0) & _EDGE:
                            self._drop(fd)
                        continue
                    rest = 0
                    name = names.get(fd, fd) if names else fd
                    for wait, mask in waits.items():
                        if events & mask:
                            wait.events[name] = events & mask
                            wait.wake()
                        else:
                            rest |= mask
                    if rest:
                        self._rearm(fd, rest | _EDGE)
                if len(found) < _BATCH:
                    return
        except BaseException:
            # An exception of a signal handler.
            self._all_look()
            raise
        finally:
            self._taking = False
            self.hub.taking = None

    def _all_look(self) -> None:
        # For themselves, for what has been reported is lost, or has not reached them.
        for waits in list(self._waits.values()):
            for wait in list(waits):
                wait.wake()

    def _rearm(self, fd: int, mask: int) -> None:
        # An event that this waiter did not ask for (errors and hang-ups always come) has used up the
        # registration.  Edge-triggered, it is reported once more and then no longer.
        if self._armed.get(fd) == mask:
            return
        try:
            self.queue.modify(fd, mask)
            self._armed[fd] = mask
        except OSError:
            # Closed since then: nothing more will come from it.
            self._armed.pop(fd, None)

    def _drop(self, fd: int) -> None:
        del self._armed[fd]
        try:
            self.queue.unregister(fd)
        except OSError:
            # Closed since then: the kernel has dropped it.
            pass

    def close(self) -> None:
        """Release the queue."""
        self._side.waiter = None
        if not self.hub.abandoned and not self.hub.foreign():
            self.hub.descriptors.forget(self.queue.fileno())
        self.hub.private_fds.discard(self.queue.fileno())
        self.queue.close()


class _Slot:
    """Closes a thread's interest list when the thread ends."""

    __slots__ = ("interests",)

    def __init__(self, interests: Interests) -> None:
        self.interests = interests

    def __del__(self) -> None:
        # In a forked child too, where the kernel queue is the parent's as well: only the copy is closed.
        self.interests.close()


_local: Any = _thread._local()


def interests_of(hub: Hub) -> Interests:
    """The interest list of `hub`, which is the calling OS thread's.

    Raises:
        Refused: the kernel has no room for it.
    """
    try:
        interests: Interests = _local.slot.interests
        if interests.hub is hub:
            return interests
    except AttributeError:
        # The first wait of this thread.
        pass
    try:
        interests = Interests(hub)
    except OSError as exc:
        if exc.errno in REFUSALS:
            raise Refused from exc
        raise
    _local.slot = _Slot(interests)
    return interests


def _after_fork_in_child() -> None:
    _local.__dict__.clear()


fork_hooks.append(_after_fork_in_child)
