"""How the end of a green thread is waited for: `threading.Thread` holds one of these objects per thread.

There is one for every thread, so they are small: 112 bytes, where a lock takes 250 and an event 700.
"""

from __future__ import annotations

import _thread
import builtins
import sys
import threading
from typing import Any

from greenlet import getcurrent, greenlet

from greenify import core
from greenify.core import Waiter
from greenify.core.fork import fork_hooks
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.builtin import stands_for
from greenify.green._threads.native_threads import shut_down_natives
from greenify.identity import get_ident
from greenify.locks import NO_LIMIT, deadline_after, deadline_from
from greenify.pickling import refuse_to_pickle

__all__ = ["Sentinel", "ThreadHandle", "maintain_shutdown_locks", "running", "shutdown"]

_NativeHandle: Any = getattr(_thread, "_ThreadHandle", None)
_is_finalizing = sys.is_finalizing


def _wake(waiters: list[Waiter]) -> None:
    # A copy, for one that gives up on another OS thread leaves the list.
    for waiter in waiters[:]:
        if waiter.alive:
            waiter.wake()


def _leave(waiters: list[Waiter], waiter: Waiter) -> None:
    try:
        waiters.remove(waiter)
    except ValueError:
        pass  # a forked child has cleared the list


@stands_for(type(_thread.allocate_lock()))
class Sentinel:
    """The lock that a thread holds while it lives (``Thread._tstate_lock``, up to CPython 3.12).

    Args:
        owner: the thread's greenlet.  It has the lock from the beginning, and acquires it at once when asked.
    """

    __slots__ = ("_owner", "_token", "_waiters")

    def __init__(self, owner: greenlet) -> None:
        self._owner: greenlet | None = owner
        # Whoever takes what is in the list has the lock; made when the thread releases it.
        self._token: list[None] | None = None
        self._waiters: list[Waiter] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`; true once the thread has ended."""
        deadline = None
        if blocking is not True or timeout is not NO_LIMIT:
            deadline = deadline_from(blocking, timeout)
        while not self._taken():
            if not blocking or timeout == 0:
                return False
            waiter = core.new_waiter()
            self._waiters.append(waiter)
            try:
                # A release that came before we queued saw nobody to wake.
                if not (self._token or waiter.wait(deadline)):
                    return False
            except BaseException:
                leave_out_twin()
                raise
            finally:
                _leave(self._waiters, waiter)
        return True

    def _taken(self) -> bool:
        try:
            self._token.pop()  # type: ignore[union-attr]
        except (AttributeError, IndexError):
            if self._owner is None:
                return False
        else:
            return True
        try:
            return self._owner is getcurrent() or _is_finalizing()
        except RuntimeError:
            # The interpreter is being finalised.  No other thread will run any more, and the interpreter has
            # released the locks of them all.
            return True

    def release(self) -> None:
        """As `threading.Lock.release`."""
        if self._token is None:
            self._token = [None]
        elif self._token:
            raise RuntimeError("release unlocked lock")
        else:
            self._token.append(None)
        _wake(self._waiters)

    def locked(self) -> bool:
        """Whether the thread lives, or somebody has acquired this since."""
        return not (self._token or _is_finalizing())

    def _finish(self) -> None:
        """The thread has ended."""
        self._owner = None
        if not self._token:
            self.release()
        _shutdown_locks().discard(self)

    def _at_fork_reinit(self) -> None:
        # In the only thread that is left, which goes on to hold it.
        self._waiters.clear()


def _shutdown_locks() -> set[Any]:
    found: set[Any] = threading._shutdown_locks  # type: ignore[attr-defined]
    return found


# How many locks there may be before the ended threads are looked for.
_tolerated = 64


def maintain_shutdown_locks() -> None:
    """Forget the locks of threads that have ended (`threading._maintain_shutdown_locks`, up to CPython 3.12).

    It is called at the beginning and the end of every thread, and the original asks each living thread's
    lock every time (10,000 threads: 50 million calls).  A green thread takes its own out when it ends, so
    this is for the native threads from before the patch, once their number may have doubled.
    """
    global _tolerated
    locks = _shutdown_locks()
    if len(locks) >= _tolerated:
        locks.difference_update([lock for lock in tuple(locks) if not lock.locked()])
        _tolerated = max(64, 2 * len(locks))


def _checked(timeout: Any) -> float | None:
    """A time-out of `ThreadHandle.join`, if it is one; None if it is negative."""
    if not (
        (timeout.__class__ is float or timeout.__class__ is int)
        and 0 <= timeout <= _thread.TIMEOUT_MAX
    ):
        try:
            # Says what is wrong, in its own words; else that it stands for no thread.
            _NativeHandle().join(timeout)
        except RuntimeError:
            pass
        timeout = float(timeout)
    return timeout if timeout >= 0 else None


@stands_for(_NativeHandle)
class ThreadHandle:
    """What `threading.Thread` holds of its thread from CPython 3.13 on (`_thread._ThreadHandle`)."""

    __slots__ = ("_daemon", "_ident", "_state", "_waiters")

    __reduce_ex__ = refuse_to_pickle

    # The native one takes any arguments.
    def __init__(self, *args: object, **kwargs: object) -> None:
        self._ident = 0
        self._state = "not started"
        self._daemon = True
        self._waiters: list[Waiter] = []

    @property
    def ident(self) -> int:
        """The identifier of the thread, 0 before it starts."""
        return self._ident

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._state == "done"

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, for at most `timeout` seconds (None or negative: no limit).

        Raises:
            PythonFinalizationError: the interpreter is being finalised (from CPython 3.14 on).
        """
        if timeout is not None:
            timeout = _checked(timeout)
        if self._state == "done":
            return
        if self._state == "not started":
            raise RuntimeError("thread not started")
        if self._ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        if sys.version_info >= (3, 14) and _is_finalizing():
            # It never runs again.  Before, finalisers wait in vain.
            raise builtins.PythonFinalizationError("cannot join thread at interpreter shutdown")
        deadline = deadline_after(timeout)
        waiter = core.new_waiter()
        self._waiters.append(waiter)
        try:
            # An end that came before we queued saw nobody to wake.
            if self._state != "done":
                waiter.wait(deadline)
        except BaseException:
            leave_out_twin()
            raise
        finally:
            _leave(self._waiters, waiter)

    def _set_done(self) -> None:
        if self._state == "not started":
            raise RuntimeError("thread not started")
        self._finish()

    def _finish(self) -> None:
        """The thread has ended."""
        self._state = "done"
        running.discard(self)
        _wake(self._waiters)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} object: ident={self._ident}>"


#: Those of the threads that have been started and have not ended.
running: set[ThreadHandle] = set()


def shutdown() -> None:
    """Join every thread that is not a daemon (`_thread._shutdown`)."""
    me = get_ident()
    while True:
        waiting = [h for h in tuple(running) if not h._daemon and h._ident != me]
        if not waiting:
            break
        for handle in waiting:
            handle.join()
    shut_down_natives()


def _after_in_child() -> None:
    me = get_ident()
    for handle in tuple(running):
        handle._waiters.clear()
        if handle._ident != me:
            handle._finish()


fork_hooks.append(_after_in_child)
