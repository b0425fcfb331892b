"""Lock and RLock for greenlets and OS threads alike.

A lock is a list that holds one token while the lock is free.  ``list.pop`` and ``list.append`` are atomic
under the interpreter lock, so taking the token is correct under preemption by native threads, and costs half
of a native lock's try (acquire and release: 79 ns against 150 ns on CPython 3.11).

A release puts the token back and wakes the first waiter, which has to take it in competition with newcomers:
that keeps a contended lock from costing one switch per acquisition.  A waiter that has lost once is
*starved*: the next release hands it the lock without putting the token back, so nobody waits for ever.
"""

from __future__ import annotations

import _thread
import time
from collections import deque
from typing import Any

from greenlet import getcurrent, greenlet

from greenify import core
from greenify.core import Waiter
from greenify.identity import current_thread_greenlet, get_ident

__all__ = ["Lock", "RLock"]

_monotonic = time.monotonic
_guard = _thread.allocate_lock()
_LONGEST = _thread.TIMEOUT_MAX


class _Turn:
    """One waiter's place in the queue of a lock."""

    __slots__ = ("granted", "starved", "waiter")

    def __init__(self, waiter: Waiter, starved: bool) -> None:
        self.waiter = waiter
        self.starved = starved
        self.granted = False


def deadline_from(blocking: bool, timeout: float) -> float | None:
    """Check the arguments of ``acquire`` as the native locks do; the deadline that follows from them."""
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return None
    if timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    if timeout > _LONGEST:
        raise OverflowError("timeout value is too large")
    return _monotonic() + timeout


class _Token:
    """What Lock and RLock share: the token and the queue of those who wait for it."""

    __slots__ = ("__weakref__", "_box", "_take", "_turns")

    def __init__(self) -> None:
        self._box: list[None] = [None]
        self._take = self._box.pop
        self._turns: deque[_Turn] | None = None

    def _wait_for_token(self, deadline: float | None) -> bool:
        turns = self._turns
        if turns is None:
            with _guard:
                turns = self._turns
                if turns is None:
                    turns = self._turns = deque()
        starved = False
        while True:
            turn = _Turn(core.new_waiter(), starved)
            if starved:
                turns.appendleft(turn)
            else:
                turns.append(turn)
            # A release that came before we queued saw nobody to wake: look once more.
            try:
                self._take()
            except IndexError:
                pass
            else:
                self._leave(turn)
                return True
            try:
                woken = turn.waiter.wait(deadline)
            except BaseException:
                if not self._leave(turn) and turn.granted:
                    self._put_back()
                raise
            if turn.granted:
                return True
            if not woken:
                if self._leave(turn):
                    return False
                # Woken at the very moment of giving up.
                if turn.granted:
                    return True
                self._wake()
                return False
            try:
                self._take()
                return True
            except IndexError:
                starved = True

    def _leave(self, turn: _Turn) -> bool:
        """Take `turn` out of the queue; False if it has been woken, which is then passed on."""
        assert self._turns is not None
        try:
            self._turns.remove(turn)
        except ValueError:
            if not turn.granted and self._box:
                self._wake()
            return False
        return True

    def _put_back(self) -> None:
        self._box.append(None)
        if self._turns:
            self._wake()

    def _wake(self) -> None:
        turns = self._turns
        while turns:
            try:
                turn = turns.popleft()
            except IndexError:
                return
            if not turn.waiter.alive:
                continue
            if turn.starved:
                try:
                    self._take()
                except IndexError:
                    # A newcomer was faster again; its release looks here again.
                    turns.appendleft(turn)
                    return
                turn.granted = True
            turn.waiter.wake()
            return


class Lock(_Token):
    """A mutual exclusion lock with the interface of `threading.Lock`.

    Any thread may acquire it and any other release it.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        raise TypeError("type 'greenify.locks.Lock' is not an acceptable base type")

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock.

        Args:
            blocking: False to return at once.
            timeout: seconds to wait at most, -1 for no limit.

        Returns:
            Whether the lock was taken.

        Raises:
            ValueError: a time-out for a call that does not block, or a negative one.
            OverflowError: a time-out above `threading.TIMEOUT_MAX`.
        """
        if timeout != -1:
            return self._acquire_until(blocking, timeout)
        try:
            self._take()
            return True
        except IndexError:
            return self._wait_for_token(None) if blocking else False

    def _acquire_until(self, blocking: bool, timeout: float) -> bool:
        deadline = deadline_from(blocking, timeout)
        try:
            self._take()
            return True
        except IndexError:
            return self._wait_for_token(deadline)

    __enter__ = acquire

    def release(self) -> None:
        """Free the lock and wake one waiter.  RuntimeError if it is not held."""
        box = self._box
        if box:
            raise RuntimeError("release unlocked lock")
        box.append(None)
        if self._turns:
            self._wake()

    def __exit__(self, *exc_info: object) -> None:
        box = self._box
        if box:
            raise RuntimeError("release unlocked lock")
        box.append(None)
        if self._turns:
            self._wake()

    def locked(self) -> bool:
        """Whether the lock is held."""
        return not self._box

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked

    def _at_fork_reinit(self) -> None:
        self._box[:] = [None]
        self._turns = None

    @classmethod
    def adopt(cls, native: Any) -> Lock:
        """A lock in the state of `native`, a native lock, whose references it will take over."""
        lock = cls()
        if native.locked():
            lock._take()
        return lock

    def __repr__(self) -> str:
        state = "unlocked" if self._box else "locked"
        kind = type(self)
        return f"<{state} {kind.__module__}.{kind.__qualname__} object at {id(self):#x}>"


class RLock(_Token):
    """A re-entrant lock with the interface of `threading.RLock`, owned by a thread (see `identity`)."""

    __slots__ = ("_count", "_owner")

    def __init__(self) -> None:
        super().__init__()
        self._owner: greenlet | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, or take it once more if this thread owns it.  See `Lock.acquire`."""
        me: Any = getcurrent()
        if self._owner is not me:
            try:
                me.hub  # noqa: B018 - asks whether this greenlet is a thread
            except AttributeError:
                me = current_thread_greenlet()
            if self._owner is not me:
                deadline = None if timeout == -1 else deadline_from(blocking, timeout)
                try:
                    self._take()
                except IndexError:
                    if not blocking or not self._wait_for_token(deadline):
                        return False
                self._owner = me
                self._count = 1
                return True
        if timeout != -1:
            deadline_from(blocking, timeout)
        self._count += 1
        return True

    __enter__ = acquire

    def release(self) -> None:
        """Undo one `acquire`; the last one frees the lock and wakes one waiter.

        Raises:
            RuntimeError: this thread does not own the lock.
        """
        if self._owner is not getcurrent() and self._owner is not current_thread_greenlet():
            raise RuntimeError("cannot release un-acquired lock")
        count = self._count - 1
        self._count = count
        if not count:
            self._owner = None
            self._box.append(None)
            if self._turns:
                self._wake()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    # What threading.Condition asks of its lock.

    def _is_owned(self) -> bool:
        return self._owner is not None and self._owner is current_thread_greenlet()

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> tuple[int, greenlet | None]:
        if not self._count:
            raise RuntimeError("cannot release un-acquired lock")
        state = (self._count, self._owner)
        self._count = 0
        self._owner = None
        self._put_back()
        return state

    def _acquire_restore(self, state: tuple[int, greenlet | None]) -> None:
        try:
            self._take()
        except IndexError:
            self._wait_for_token(None)
        self._count, self._owner = state

    def _at_fork_reinit(self) -> None:
        self._box[:] = [None]
        self._turns = None
        self._owner = None
        self._count = 0

    @classmethod
    def adopt(cls, native: Any) -> RLock:
        """A lock in the state of `native`, a native RLock, whose references it will take over.

        The owner can only be known if it is the calling thread; a lock that another one holds stays held.
        """
        lock = cls()
        if native._is_owned():
            state = native._release_save()
            native._acquire_restore(state)
            lock._take()
            lock._count, lock._owner = state[0], current_thread_greenlet()
        elif native.acquire(blocking=False):
            native.release()
        else:
            lock._take()
        return lock

    def __repr__(self) -> str:
        state = "locked" if self._count else "unlocked"
        kind = type(self)
        owner = getattr(self._owner, "ident", 0) or (get_ident() if self._is_owned() else 0)
        return (
            f"<{state} {kind.__module__}.{kind.__qualname__} object owner={owner} "
            f"count={self._count} at {id(self):#x}>"
        )
