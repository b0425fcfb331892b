"""One file descriptor as its hub knows it, and how a greenlet waits for one of its directions.

The kernel reports a change once (`descriptor_set`).  A `Side` (one direction of a descriptor) therefore
remembers an edge that came while nobody waited.  The protocol for a caller is: try the system call, on
EAGAIN `Side.wait`, try again.  `Side.wait` may return although the call still gives EAGAIN, never the other
way round.

A waiter is woken by clearing ``side.waiter`` and putting its greenlet on the hub's ready queue.  Greenlets
may be switched to for other reasons (a signal for the main thread), so a wait loops over its own slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greenify.core.blocking import wait_natively
from greenify.core.clock import monotonic as _monotonic
from greenify.core.timers import Entry
from greenify.core.tracebacks import leave_out_wait
from greenify.core.waiters import HubWaiter, give_back

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Descriptor", "Side"]


class Side:
    """One direction, reading or writing, of one descriptor.  For the hub's own OS thread."""

    __slots__ = (
        "deadline",
        "descriptor",
        "drained",
        "eager",
        "edge",
        "entry",
        "expired",
        "others",
        "waiter",
    )

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.waiter: Any = None  # the greenlet that waits, when it is the only one
        self.others: list[HubWaiter] | None = None  # further waiters on the same side
        self.edge = False  # a change was reported while nobody waited
        # The peer has shut down, hung up or sent urgent data: no further edge may come, so a reader has
        # to try before it waits.
        self.eager = False
        # The kernel has said that its buffer is empty, and no change has been reported since: wait before
        # the next read.  A reader sets it before its system call and takes it back if the answer is no such
        # proof; so a change that is reported meanwhile, on the hub's OS thread, is never overlooked.
        self.drained = False
        self.deadline: float | None = None
        self.entry: Entry | None = None
        self.expired: Any = (
            None  # the greenlet whose deadline has passed and which has not run since
        )

    def wait(self, deadline: float | None = None) -> bool:
        """Park the current greenlet until the kernel reports a change on this side.

        Args:
            deadline: a `time.monotonic` time in seconds, or None to wait without limit.

        Returns:
            False if the deadline passed first; True otherwise (a change, or the descriptor was closed).
        """
        if self.edge:
            self.edge = False
            return True
        hub = self.descriptor.hub
        try:
            g: Any = getcurrent()
            if g.hub is not hub or self.waiter is not None:
                return self._wait_beside(deadline)
        except AttributeError:
            return self._wait_beside(deadline)
        except RuntimeError:
            # The interpreter is being finalised, and there are no greenlets any more.
            descriptor = self.descriptor
            return wait_natively(descriptor.fd, self is not descriptor.read, deadline)
        # Until it runs, a greenlet that was woken shares this state with the next one to wait.
        self.deadline = deadline
        if deadline is not None:
            entry = self.entry
            if entry is None or entry[0] > deadline:
                if entry is not None:
                    hub.timers.cancel(entry)
                self.entry = hub.timers.add(deadline, self)
        try:
            self.waiter = g
            if self.edge:
                # A finaliser that waited has let others run since we looked.
                self.edge = False
                self.waiter = None
                return True
            if hub.next().switch():
                hub.run_interrupts()
            if self.waiter is g:
                self._wait_longer(g)
        except BaseException:
            if self.waiter is g:
                self.waiter = None
            else:
                # A change has come that nobody is going to look at.
                self.edge = True
            if self.expired is g:
                self.expired = None
            leave_out_wait()
            raise
        if deadline is not None and self.expired is g:
            self.expired = None
            return False
        return True

    def _wait_longer(self, g: Any) -> None:
        # Something else has switched to the greenlet; see `HubWaiter.wait_longer`.
        hub = self.descriptor.hub
        taken = 1
        while True:
            hub.park()
            if self.waiter is not g:
                break
            taken += 1
        give_back(hub, g, taken)

    def _wait_beside(self, deadline: float | None) -> bool:
        # A second waiter on the same side, or a greenlet that is not the hub's own (the hub itself while
        # it runs a finaliser, a user's raw greenlet, another OS thread): the general ways know those.
        descriptor = self.descriptor
        if descriptor.hub.foreign():
            from greenify.core.waiting import wait

            return wait(descriptor.fd, self is descriptor.write, deadline)
        waiter = HubWaiter(descriptor.hub)
        if self.others is None:
            self.others = []
        self.others.append(waiter)
        try:
            # The first waiter may just have been woken for what we were too late to see.
            descriptor.hub.descriptors.report_again(descriptor)
            return waiter.wait(deadline)
        except BaseException:
            if waiter.woken:
                self.edge = True
            raise
        finally:
            if self.others is not None and waiter in self.others:
                self.others.remove(waiter)
                if not self.others:
                    self.others = None

    def fire(self) -> None:
        """Wake every waiter of this side, or remember the edge when there is none."""
        self.drained = False
        g = self.waiter
        others = self.others
        if g is None and not others:
            self.edge = True
            return
        if g is not None:
            hub = self.descriptor.hub
            self.waiter = None
            hub.ready.append(g)
            if hub.sleeping:
                # A finaliser closes a descriptor just when the hub goes to sleep.
                hub.interrupt()
        if others:
            for waiter in others:
                waiter.wake()
            # Not before: what an exception of a signal handler interrupts is done again.
            if self.others is others:
                self.others = None

    def release(self) -> None:
        """Wake every waiter for good: the descriptor is about to be closed."""
        entry = self.entry
        if entry is not None:
            self.entry = None
            self.descriptor.hub.timers.cancel(entry)
        self.fire()

    def due(self) -> None:
        """The timer entry of this side has fired; the deadline may have moved meanwhile."""
        deadline = self.deadline
        self.entry = None
        if deadline is None or self.waiter is None:
            # Nobody waits any more, or nobody with a deadline.
            return
        hub = self.descriptor.hub
        if deadline > _monotonic():
            # One entry serves many operations: re-arming when it fires early is rarer than an operation.
            self.entry = hub.timers.add(deadline, self)
            return
        g = self.expired = self.waiter
        # Before the call, after which others may already run: an exception or a finaliser there.
        self.waiter = None
        hub.ready.append(g)


class Descriptor:
    """A file descriptor as one hub knows it."""

    __slots__ = (
        "closed",
        "fd",
        "hub",
        "mask",
        "moved",
        "polled",
        "read",
        "uses",
        "write",
    )

    def __init__(self, hub: Hub, fd: int, mask: int) -> None:
        self.hub = hub
        self.fd = fd
        self.mask = mask
        self.closed = False
        # How many of those who wait poll the file, as `select` does: the kernel lets them go on when the
        # number is closed.
        self.polled = 0
        self.moved = False  # the number has been closed, and `fd` is another one of the same file
        self.uses = 0  # waits by number that share this registration (`DescriptorSet.wait`)
        self.read = Side(self)
        self.write = Side(self)

    def wake_all(self) -> None:
        """Wake the waiters of both sides, for them to look again."""
        self.read.eager = True
        self.read.fire()
        self.write.fire()
