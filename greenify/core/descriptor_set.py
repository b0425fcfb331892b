"""The file descriptors of a hub.

A hub owns one edge-triggered kernel queue (epoll on Linux, kqueue on macOS and the BSDs) and libuv sleeps
on that queue's own descriptor.  Compared with one libuv ``Poll`` per descriptor, which was measured first:

* it cannot abort: the kernel drops a closed descriptor by itself, and a reused number raises here what
  kills the process inside libuv;
* a whole batch of events costs one system call and no callback from C (echo with 1 / 100 / 1,000
  connections: 1.0 / 1.0 / 1.2 times the rate of persistent ``Poll`` handles);
* a descriptor is registered once in its life, at its first wait.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from greenify.core.blocking import bad_descriptor
from greenify.core.clock import monotonic as _monotonic
from greenify.core.descriptors import Descriptor
from greenify.core.kernel_queue import NO_ROOM, ONCE, READ, WRITE
from greenify.core.placement import high_copy
from greenify.core.unwatched import Unwatched

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["DescriptorSet"]

_poll = select.poll
_close = os.close

# The longest sleep that is asked of the kernel, in seconds: it counts milliseconds in an int.
_LONGEST = 1e6


class DescriptorSet:
    """The descriptors of one hub and the kernel queue that reports on them.

    `forget` may be called from any OS thread; everything else only from the hub's own.
    """

    def __init__(self, hub: Hub, queue: Any) -> None:
        self.hub = hub
        self.queue = queue
        self.by_fd: dict[int, Descriptor] = {}
        #: What polls several descriptors at once, by number, and what is called before one is closed.
        self.polls: Mapping[int, object] = {}
        self.closing: Callable[[int], None] | None = None
        self.unwatched = Unwatched(self)

    def fileno(self) -> int:
        """The descriptor of the kernel queue, readable when there is something to report."""
        fd: int = self.queue.fileno()
        return fd

    def attach(self, fd: int, writing: bool, uses: int = 0) -> Descriptor:
        """Register `fd`, or make an existing registration report its present state once more.

        Args:
            uses: 1 for a wait by number, 0 for an owner who keeps the registration.

        Raises:
            PermissionError: the kernel cannot wait on this kind of file (regular files): it never blocks.
            OSError: EBADF, the descriptor is not open.
        """
        mask = READ | WRITE if writing else READ
        known = self.by_fd.get(fd)
        if known is not None and not known.closed:
            mask |= known.mask & ~ONCE
            try:
                self.queue.modify(fd, mask)
            except FileNotFoundError:
                # Otherwise the number was closed without our knowledge and belongs to another file now.
                there = known in self.unwatched
            else:
                there = True
            if there:
                if known.uses or known.mask & ONCE:
                    known.uses += uses
                known.mask = mask
                return known
        # First, for others may take its events before `register` has returned to us (see `Side.due`).
        fresh = self.by_fd[fd] = Descriptor(self.hub, fd, mask)
        fresh.uses = uses
        try:
            self.register(fresh)
        except FileExistsError:
            self.queue.modify(fd, mask)
        except BaseException:
            if known is not None:
                self.by_fd[fd] = known
            else:
                del self.by_fd[fd]
            raise
        if known is not None:
            known.closed = True
            known.wake_all()
        return fresh

    def report_again(self, descriptor: Descriptor) -> None:
        """Have the kernel report the present state of `descriptor` once more."""
        try:
            self.queue.modify(descriptor.fd, descriptor.mask)
        except OSError:
            # Closed without our knowledge: who waits on it keeps waiting, as in the kernel.
            pass

    def report_all(self) -> None:
        """Have the kernel report the present state of every descriptor once more."""
        for descriptor in list(self.by_fd.values()):
            if not descriptor.closed:
                self.report_again(descriptor)

    def want_write(self, descriptor: Descriptor) -> None:
        """Have the write side of `descriptor` reported as well.  The present state is reported again.

        Most descriptors never wait for writing, and events they do not ask for cost nothing.
        """
        descriptor.mask |= WRITE
        try:
            self.queue.modify(descriptor.fd, descriptor.mask)
        except FileNotFoundError:
            if descriptor not in self.unwatched:
                # Closed and reused without our knowledge: this registration belongs to the new file.
                self.register(descriptor)

    def register(self, descriptor: Descriptor) -> None:
        """Tell the kernel queue of `descriptor`, or look at it by the clock where that has no room."""
        try:
            self.queue.register(descriptor.fd, descriptor.mask)
        except OSError as exc:
            if exc.errno not in NO_ROOM:
                raise
            self.unwatched.add(descriptor)

    def forget(self, fd: int) -> None:
        """Wake whoever waits on `fd`, which is about to be closed, with EBADF.  Any OS thread."""
        if self.keep_for_polls(fd):
            return
        descriptor = self.by_fd.get(fd)
        if descriptor is not None and not descriptor.closed:
            self._unregister(descriptor)

    def keep_for_polls(self, fd: int) -> bool:
        """Have those who poll `fd`, which may be closed at any time, go on with its file.  Any OS thread.

        Returns:
            Whether the registration of `fd` itself has become theirs.
        """
        if fd in self.polls and self.closing is not None:
            self.closing(fd)
        descriptor = self.by_fd.get(fd)
        return (
            descriptor is not None
            and not descriptor.closed
            and descriptor.polled > 0
            and self._keep(descriptor)
        )

    def _unregister(self, descriptor: Descriptor) -> None:
        """End the registration of `descriptor`.  Any OS thread."""
        try:
            self.queue.unregister(descriptor.fd)
        except (OSError, ValueError):
            # Closed behind our back already: the kernel has dropped it, or the queue went with its thread.
            pass
        # In this order: the hub's thread registers the number anew once it sees that it is closed.
        descriptor.closed = True
        if self.hub.foreign():
            # Even if nobody waits: somebody may be just about to, on the hub's own thread.
            self.hub.call_from_thread(self._drop, descriptor)
        else:
            self._drop(descriptor)

    def _keep(self, descriptor: Descriptor) -> bool:
        """Let those who poll `descriptor`, whose number is about to be closed, poll the same file on.

        The descriptor gets another number, until `let_go`.

        Returns:
            False if there is no number left.
        """
        fd = descriptor.fd
        copy = high_copy(fd)
        if copy < 0:
            return False
        self.hub.private_fds.add(copy)
        descriptor.fd = copy
        descriptor.moved = True
        # In this order, for events may come at once.
        self.by_fd[copy] = descriptor
        self.register(descriptor)
        self.by_fd.pop(fd, None)
        try:
            self.queue.unregister(fd)
        except OSError:
            # The kernel has dropped it already.
            pass
        return True

    def let_go(self, descriptor: Descriptor) -> None:
        """Close what `_keep` has kept open, if nobody polls it any more."""
        copy = descriptor.fd
        if not descriptor.closed and not descriptor.polled:
            descriptor.closed = True
            self.by_fd.pop(copy, None)
            self.close_copy(self.queue, copy)

    def close_copy(self, queue: Any, copy: int) -> None:
        """Close a number of our own under which a file is registered in `queue`."""
        self.hub.private_fds.discard(copy)
        try:
            # The file may be open elsewhere, and would be reported under this number for ever.
            queue.unregister(copy)
        except OSError:
            pass
        _close(copy)

    def _drop(self, descriptor: Descriptor) -> None:
        if self.by_fd.get(descriptor.fd) is descriptor:
            del self.by_fd[descriptor.fd]
        descriptor.read.release()
        descriptor.write.release()

    def wait(self, fd: int, writing: bool, deadline: float | None) -> bool:
        """Wait on a descriptor that somebody else owns, and leave no registration behind.

        Returns:
            False if the deadline passed first.

        Raises:
            PermissionError: this kind of file cannot be waited on (it never blocks).
            OSError: EBADF, it is not open, or was closed while we waited.
        """
        known = self.by_fd.get(fd)
        if known is not None:
            # What it remembers is older than the state that `attach` asks the kernel to report.
            (known.write if writing else known.read).edge = False
        descriptor = self.attach(fd, writing, uses=1)
        side = descriptor.write if writing else descriptor.read
        try:
            arrived = side.wait(deadline)
            if descriptor.closed:
                raise bad_descriptor()
            return arrived
        finally:
            # This wait may have eaten an edge that the descriptor's owner has not seen.
            side.edge = True
            if descriptor.uses:
                descriptor.uses -= 1
                # Not `forget`: the number stays open, and others may poll it.
                if not (descriptor.uses or descriptor.polled) and self.by_fd.get(fd) is descriptor:
                    self._unregister(descriptor)

    def adopt(self, descriptor: Descriptor) -> None:
        """Keep the registration: a long-lived owner (a cooperative socket) has taken it over."""
        descriptor.uses = 0

    def register_all(self, besides: object) -> None:
        """Tell a new kernel queue of every descriptor but that of `besides`; who waits looks again."""
        for descriptor in list(self.by_fd.values()):
            if descriptor.read.waiter is not besides and not descriptor.closed:
                try:
                    self.register(descriptor)
                except OSError:
                    # Closed without our knowledge: it is found out at its next use.
                    pass
                descriptor.wake_all()

    def wake_all(self) -> None:
        """Wake every waiter, to look again: after an exception hit the hub in mid-dispatch."""
        for descriptor in list(self.by_fd.values()):
            descriptor.wake_all()

    def waiting(self, besides: object) -> bool:
        """Whether anybody but `besides` waits on any descriptor."""
        return any(
            side.waiter not in (None, besides) or side.others
            # A copy, for another thread may close descriptors meanwhile.
            for descriptor in tuple(self.by_fd.values())
            for side in (descriptor.read, descriptor.write)
        )

    def block(self, timeout: float | None) -> None:
        """Block the OS thread until there is something to report, or for `timeout` seconds.

        For the one case in which libuv cannot be entered: something inside it is what has to wait.
        """
        bare = self.hub.bare
        if bare is not None:
            bare.sleep(None if timeout is None else _monotonic() + timeout)
            return
        poll = _poll()
        poll.register(self.queue.fileno(), select.POLLIN)
        poll.poll(None if timeout is None else max(0, -int(-min(timeout, _LONGEST) * 1000 // 1)))

    def close(self) -> None:
        """Release the kernel queue."""
        self.queue.close()
