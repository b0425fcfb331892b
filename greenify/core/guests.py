"""Another scheduler's loop as the guest of a hub: both live in one OS thread and sleep in one libuv loop.

A guest (gevent's hub with its loop) is a greenlet that runs callbacks, which switch to greenlets of its own.
While it runs, it is the one that sleeps, for itself and for the hub.  The hub's greenlet gets its turn when
there is something on its ready queue.  The other way round the guest stands on that queue all the time, and
puts itself back whenever it is taken; so whatever greenlet of either scheduler waits, and whichever of the
two it waits in, the other one goes on, and the hub never sleeps by itself.

The guest has a kernel queue of its own.  libuv polls it beside the hub's.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.entries import Mark

if TYPE_CHECKING:
    from greenlet import greenlet

    from greenify.core.hub import Hub

__all__ = ["Guest", "invitations", "invite"]

_select = select.select
_poll = select.poll

# libuv counts milliseconds.  Shorter sleeps, in seconds, are asked of select(), which counts microseconds and
# takes descriptors below its limit only.
_SHORT = 0.002
_SELECTABLE = 1024

# The longest sleep that is asked of poll(), in seconds: it counts milliseconds in an int.
_LONGEST = 1e6

#: Asked by a hub that is about to sleep with ``function(hub)`` whether a loop that does not run has something
#: to do.  One that has leaves on the ready queue what starts it, and says True.
invitations: list[Callable[[Hub], bool]] = []


def invite(hub: Hub) -> bool:
    """Whether a guest's loop is going to be started."""
    return any(function(hub) for function in invitations)


class Guest:
    """The place of a foreign loop in a hub.  Everything but `wake` is for the hub's own OS thread.

    Of several that run (one inside of a callback of another) only the last has its turns.

    Args:
        hub: the hub of this OS thread.
        queue: the guest's own kernel queue, open until `leave` closes it.
    """

    __slots__ = ("_present", "_queue", "_running", "fd", "greenlet", "host")

    hub = None  # looked for in whatever is taken from the queue: this is no greenlet of the hub

    def __init__(self, hub: Hub, queue: Any) -> None:
        self.host = hub
        self.fd: int = queue.fileno()
        self.greenlet: Any = None
        self._queue = queue
        self._running: list[greenlet] = []
        self._present = False
        hub.loop.watch(self.fd)
        hub.private_fds.add(self.fd)
        if not hub.in_loop:
            # libuv tells its kernel queue of new handles only now: see the short sleeps.
            hub.loop.turn()

    def enter(self, greenlet: greenlet) -> None:
        """The loop runs from now on, in `greenlet`, the current one."""
        self._running.append(greenlet)
        self.greenlet = greenlet
        hub = self.host
        hub.guests.append(self)
        if not self._present:
            self._present = True
            hub.ready.append(self)

    def exit(self) -> None:
        """The loop has come to its end for now; the outer one if it was run by one of its own callbacks."""
        hub = self.host
        if self._running:
            self._running.pop()
            # The last one of ours.
            del hub.guests[len(hub.guests) - 1 - hub.guests[::-1].index(self)]
        self.greenlet = self._running[-1] if self._running else None

    def leave(self) -> None:
        """Close the guest's kernel queue.  Any OS thread."""
        hub = self.host
        while self._running:
            self.exit()
        if not hub.abandoned and hub.foreign():
            # First libuv has to be told, in its own thread.
            hub.call_from_thread(self._close)
        else:
            self._close()

    def _close(self) -> None:
        hub = self.host
        hub.private_fds.discard(self.fd)
        if not hub.abandoned:
            hub.loop.unwatch(self.fd)
            if not hub.in_loop:
                # Closing a libuv handle takes an iteration.
                hub.loop.turn()
        try:
            self._queue.close()
        except OSError:
            # Somebody else has closed it, by number.
            pass

    def switch(self) -> None:
        """The hub's cycle has come to the guest's place on the ready queue."""
        greenlet = self.greenlet
        if greenlet is None or greenlet.dead:
            self._present = False
            return
        # At once: until the guest runs to its end, whoever it lets run may want to wait in the hub.
        self.host.ready.append(self)
        if self.host.guests[-1] is self:
            greenlet.switch()

    def busy(self) -> bool:
        """Whether the hub has something to run."""
        return any(item.__class__ not in (Guest, Mark) for item in self.host.ready)

    def turn(self) -> None:
        """Let the hub run what is ready, in its own greenlet; for the guest's greenlet."""
        if self.host.next().switch():
            # The guest runs in the main greenlet, which has been asked to run a signal handler.
            self.host.run_interrupts()

    def expecting(self) -> bool:
        """Whether the hub waits for anything that may still come, or the main greenlet waits in the hub."""
        hub = self.host
        return (
            self.busy()
            or hub.expecting()
            or (hub.main is not self.greenlet and not hub.main_waits_elsewhere())
        )

    def sleep(self, deadline: float | None, idle: Callable[[], bool]) -> None:
        """Sleep until there is news for the guest or for the hub, or `deadline` has passed.

        Returns without having looked at what the news is: the guest polls its own queue, then calls `look`.

        Args:
            deadline: a `time.monotonic` time in seconds, or None.
            idle: whether the guest has still nothing to do.  Asked once wakers can see that it sleeps.
        """
        hub = self.host
        hub.sleeping = True
        try:
            if self.busy() or not idle():
                return
            other = hub.timers.next()
            if deadline is None or (other is not None and other < deadline):
                deadline = other
            if deadline is not None:
                remaining = deadline - _monotonic()
                if remaining <= 0.0:
                    return
                if remaining < _SHORT and not hub.users and not hub.in_loop:
                    fd = hub.loop.fileno()
                    if fd < _SELECTABLE:
                        if _select((fd,), (), (), remaining)[0]:
                            hub.loop.turn()
                        return
            if hub.in_loop:
                self._block(deadline)
                return
            hub.in_loop = True
            try:
                hub.loop.sleep(deadline)
            except BaseException:
                # A signal handler has raised.  The number of its signal has to be with the user's wake-up
                # descriptor by the time somebody catches that.
                hub.pair.switch()
                raise
            finally:
                hub.in_loop = False
        finally:
            hub.sleeping = False
            if hub.on_wake is not None:
                hub.on_wake()

    def look(self) -> None:
        """Make ready what is due in the hub and what the kernel reports to it, without blocking."""
        self.host.look()

    def wake(self) -> None:
        """End the guest's sleep.  Any OS thread, any signal handler; after it has left something to do."""
        hub = self.host
        if hub.sleeping:
            hub.loop.wake()

    def _block(self, deadline: float | None) -> None:
        # A finaliser inside libuv blocks: libuv cannot be entered twice, the kernel queues can be polled.
        poll = _poll()
        poll.register(self.fd, select.POLLIN)
        poll.register(self.host.descriptors.fileno(), select.POLLIN)
        if deadline is None:
            poll.poll(None)
        else:
            poll.poll(-int(-min(deadline - _monotonic(), _LONGEST) * 1000 // 1))
