"""Lock and RLock for greenlets and OS threads alike.  `tokens` explains how they change hands."""

from __future__ import annotations

import _thread
import sys
from typing import Any

from greenlet import getcurrent, greenlet

from greenify.core.registry import hubs
from greenify.core.tracebacks import leave_out_wait
from greenify.deadlines import NO_LIMIT, deadline_after, deadline_from
from greenify.identity import current_thread_greenlet, get_ident
from greenify.tokens import _Token, releases

__all__ = ["NO_LIMIT", "Lock", "RLock", "deadline_after", "deadline_from"]

_native_rlock = _thread.RLock


class Lock(_Token):
    """A mutual exclusion lock with the interface of `threading.Lock`.

    Any thread may acquire it and any other release it, green or native.  A waiter that is killed or timed out
    leaves nothing behind.  A newcomer may be served before somebody who waits, but for a millisecond only.
    """

    __slots__ = ()

    def __init_subclass__(cls, *, twin: bool = False) -> None:
        # As the native one; save for what has that one's name.
        if not twin:
            base = cls.__mro__[1]
            name = f"{base.__module__}.{base.__qualname__}"
            raise TypeError(f"type {name!r} is not an acceptable base type")

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
        if blocking is not True or timeout is not NO_LIMIT:
            try:
                return self._acquire_until(blocking, timeout)
            except BaseException:
                leave_out_wait()
                raise
        try:
            self._take()
        except IndexError:
            # Waiting in here would make this the context of whatever ends the wait (KeyboardInterrupt).
            pass
        else:
            if self._coming is not None:
                self._recall()
            return True
        try:
            return self._wait_for_token(None)
        except BaseException:
            leave_out_wait()
            raise

    __enter__ = acquire

    def release(self) -> None:
        """Free the lock and wake one waiter.

        Raises:
            RuntimeError: it is not held.
        """
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

    # What threading.Condition asks of its lock; without these it tries to acquire it at every notify.
    _is_owned = locked

    def _release_save(self) -> None:
        self.release()

    def _acquire_restore(self, state: None) -> None:
        self._take_uninterrupted()

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked

    def _at_fork_reinit(self) -> None:
        self._box[:] = [None]
        self._turns.clear()
        self._coming = None

    @classmethod
    def _adopt(cls, native: Any) -> Lock:
        """A lock in the state of `native`, a native lock, whose references it will take over."""
        lock = cls()
        if native.locked():
            lock._take()
        return lock

    def __repr__(self) -> str:
        state = "unlocked" if self._box else "locked"
        kind = type(self)
        return f"<{state} {kind.__module__}.{kind.__qualname__} object at {id(self):#x}>"


releases.update((Lock.release.__code__, Lock.__exit__.__code__))


def _init_of(cls: type) -> object:
    return cls.__init__  # type: ignore[misc]


class RLock(_Token):
    """A re-entrant lock with the interface of `threading.RLock`, owned by a thread (see `identity`)."""

    __slots__ = ("_count", "_owner")

    _owner: greenlet | None
    _count: int

    # The native one works in a subclass that does not call __init__.  Up to CPython 3.14 it takes any
    # arguments, then those of a subclass's own __init__ only.
    def __new__(cls, *args: Any, **kwargs: Any) -> RLock:
        if (args or kwargs) and sys.version_info >= (3, 15) and _init_of(cls) is object.__init__:
            _native_rlock(*args, **kwargs)  # says so
        self: RLock = object.__new__(cls)
        self._box = [None]
        self._take = self._box.pop
        self._turns = []
        self._coming = None
        self._owner = None
        self._count = 0
        return self

    __init__ = object.__init__

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, or take it once more if this thread owns it.

        The arguments `blocking` and `timeout`, the result and the errors are those of `Lock.acquire`.
        """
        try:
            me: Any = getcurrent()
        except RuntimeError:  # the interpreter is being finalised
            me = current_thread_greenlet()
        if self._owner is not me:
            # An AttributeError would cost more than all the rest (in a main thread without a hub: 0.9 us).
            if getattr(me, "hub", None) is None and (me.parent is not None or me.__dict__):
                # A greenlet inside of a thread, or a native thread that runs the call of one.
                me = current_thread_greenlet()
            if self._owner is not me:
                if blocking is True and timeout is NO_LIMIT:
                    taken = True
                    try:
                        self._take()
                    except IndexError:
                        taken = False
                    if not taken:
                        try:
                            self._wait_for_token(None)
                        except BaseException:
                            leave_out_wait()
                            raise
                    elif self._coming is not None:
                        self._recall()
                else:
                    try:
                        if not self._acquire_until(blocking, timeout):
                            return False
                    except BaseException:
                        leave_out_wait()
                        raise
                self._owner = me
                self._count = 1
                return True
        if blocking is not True or timeout is not NO_LIMIT:
            deadline_from(blocking, timeout)
        self._count += 1
        return True

    __enter__ = acquire

    def release(self) -> None:
        """Undo one `acquire`; the last one frees the lock and wakes one waiter.

        Raises:
            RuntimeError: this thread does not own the lock.
        """
        try:
            mine = self._owner is getcurrent()
        except RuntimeError:  # the interpreter is being finalised
            mine = False
        if not mine and self._owner is not current_thread_greenlet():
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

    def _acquire_restore(self, state: tuple[int, Any]) -> None:
        def own() -> None:
            self._count, owner = state
            # By its identifier, as of the native one: serialisers make a copy of a lock that is held so.
            self._owner = _thread_by(owner) if owner.__class__ is int else owner

        self._take_uninterrupted(own)

    def _at_fork_reinit(self) -> None:
        self._box[:] = [None]
        self._turns.clear()
        self._coming = None
        self._owner = None
        self._count = 0

    @classmethod
    def _adopt(cls, native: Any) -> RLock:
        """A lock in the state of `native`, a native RLock, whose references it will take over.

        The owner can only be known if it is the calling thread; a lock that another one holds stays held.
        """
        lock: RLock = cls()
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

    if sys.version_info >= (3, 14):

        def locked(self) -> bool:
            """Whether the lock is held, by any thread."""
            return self._count != 0

    def __repr__(self) -> str:
        state = "locked" if self._count else "unlocked"
        kind = type(self)
        name = kind.__name__
        if kind.__module__ in ("_thread", __name__):
            name = (
                f"{kind.__module__}.{name}"  # as C has it, which knows no module of a Python class
            )
        owner = getattr(self._owner, "ident", 0) or (get_ident() if self._is_owned() else 0)
        return f"<{state} {name} object owner={owner} count={self._count} at {id(self):#x}>"


def _thread_by(ident: int) -> greenlet | None:
    """The greenlet of the thread with this identifier; None if there is none."""
    if ident == get_ident():
        return current_thread_greenlet()
    for hub in tuple(hubs):
        for thread in (hub.main, *tuple(hub.tasks)):
            if getattr(thread, "ident", None) == ident:
                return thread
    return None
