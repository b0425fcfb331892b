"""Condition and Barrier: waiting, with a lock in hand, until another thread has changed something.

Two things differ from threading's, which nobody can interrupt.  Whatever ends a wait (a kill, a `Timeout`),
the caller holds the lock again, for its ``with`` block releases it; and a notification that had reached a
waiter which was interrupted goes on to the next one, so that none is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from greenify import core
from greenify.core import Waiter
from greenify.locks import Lock, RLock, deadline_after

__all__ = ["Barrier", "BrokenBarrierError", "Condition"]

T = TypeVar("T")


BrokenBarrierError = threading.BrokenBarrierError


class Condition:
    """A condition variable with the interface of `threading.Condition`.

    Args:
        lock: a `Lock` or `RLock` of greenify that several conditions may share; a new RLock by default.

    Waiters are notified in the order in which they came.  Any thread may call any method, green or native.
    """

    def __init__(self, lock: Any = None) -> None:
        self._lock: Any = RLock() if lock is None else lock
        #: The methods of the lock.
        self.acquire: Callable[..., bool] = self._lock.acquire
        self.release: Callable[[], None] = self._lock.release
        self._waiters: deque[Waiter] = deque()  # changed with the lock held only

    def __enter__(self) -> bool:
        entered: bool = self._lock.__enter__()
        return entered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, value, tb)

    def __repr__(self) -> str:
        return f"<Condition({self._lock!r}, {len(self._waiters)})>"

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._waiters.clear()

    def _is_owned(self) -> bool:
        if isinstance(self._lock, Lock):
            return self._lock.locked()
        owned: bool = self._lock._is_owned()
        return owned

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait for `notify`, and take the lock again.

        Args:
            timeout: seconds to wait at most, None for no limit.

        However the wait ends, also by a kill or a `Timeout`, the caller holds the lock again.

        Returns:
            Whether it was notified.

        Raises:
            RuntimeError: the lock is not held.
        """
        return self._wait_until(deadline_after(timeout))

    def _wait_until(self, deadline: float | None, first: bool = False) -> bool:
        """`wait` until `deadline`, if `first` before everybody who waits now."""
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        waiter = core.new_waiter()
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        state = self._lock._release_save()
        try:
            try:
                waiter.wait(deadline)
            finally:
                self._lock._acquire_restore(state)
        except BaseException:
            if waiter.woken:
                self._notify(1)
            else:
                self._waiters.remove(waiter)
            raise
        if not waiter.woken:
            self._waiters.remove(waiter)
        # Notified between the end of the time and now counts: nobody else has been told.
        return waiter.woken

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """`wait`, again and again, until `predicate()` is true.

        Args:
            predicate: called with the lock held.
            timeout: seconds to wait at most, in all; None for no limit.

        Returns:
            What the predicate returned last; false if the time ran out.
        """
        deadline = deadline_after(timeout)
        result = predicate()
        while not result:
            if not self._wait_until(deadline):
                return predicate()
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` waiters, or fewer if there are fewer.  They go on when they have the lock again.

        Raises:
            RuntimeError: the lock is not held.
        """
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        self._notify(n)

    def _notify(self, n: int) -> None:
        waiters = self._waiters
        while waiters and n > 0:
            waiter = waiters.popleft()
            if waiter.alive:
                waiter.wake()
                n -= 1

    def notify_all(self) -> None:
        """Wake everybody who waits.

        Raises:
            RuntimeError: the lock is not held.
        """
        self.notify(len(self._waiters))


class Barrier(threading.Barrier):
    """A place where a number of threads wait for each other; see `threading.Barrier`.

    A waiter that is killed breaks the barrier, as one does whose time is up: the others raise
    `BrokenBarrierError` instead of waiting for ever.

    Args:
        parties: how many threads have to come.
        action: called by one of them when all have come.
        timeout: seconds that `wait` waits at most by default, None for no limit.
    """

    # All that threading's class waits with.
    _cond: Condition

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(parties, action, timeout)  # type: ignore[arg-type]
        self._cond = Condition(Lock())

    def _wait(self, timeout: float | None) -> None:
        wait: Callable[[float | None], None] = super()._wait  # type: ignore[misc]
        try:
            wait(timeout)
        except BrokenBarrierError:
            raise
        except BaseException:
            # With the lock held.  0: not all have come; otherwise the barrier is open already, and stays so.
            if not self._state:  # type: ignore[attr-defined]
                self._break()  # type: ignore[attr-defined]
            raise
