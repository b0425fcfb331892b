"""Event: a flag that any thread may set and any number of threads may wait for."""

from __future__ import annotations

from collections import deque

from greenify import core
from greenify.core import Waiter
from greenify.locks import deadline_after

__all__ = ["Event"]


class Event:
    """A flag with the interface of `threading.Event`.  Every method may be called from any thread."""

    __slots__ = ("__weakref__", "_flag", "_waiters")

    def __init__(self) -> None:
        self._flag = False
        self._waiters: deque[Waiter] = deque()

    def __repr__(self) -> str:
        status = "set" if self._flag else "unset"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {status}>"

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    def set(self) -> None:
        """Set the flag and wake everybody who waits for it.  Safe in signal handlers and finalisers."""
        self._flag = True
        waiters = self._waiters
        while waiters:
            try:
                waiter = waiters.popleft()
            except IndexError:
                return
            if waiter.alive:
                waiter.wake()

    def clear(self) -> None:
        """Clear the flag."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody sets the flag; return at once if it is set.

        Args:
            timeout: seconds to wait at most, None for no limit.

        Returns:
            False if the time ran out first.
        """
        if self._flag:
            return True
        deadline = deadline_after(timeout)
        waiter = core.new_waiter()
        self._waiters.append(waiter)
        try:
            # A set that came before we queued saw nobody to wake.
            if self._flag:
                return True
            # Woken counts, even if somebody has cleared the flag since.
            return waiter.wait(deadline) or self._flag
        finally:
            if not waiter.woken:
                try:
                    self._waiters.remove(waiter)
                except ValueError:
                    # `set` is taking it out at this moment, from another OS thread.
                    pass

    def _at_fork_reinit(self) -> None:
        self._waiters.clear()
