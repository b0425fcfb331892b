"""Native threads that were started before the patch: how green threads join them.

A native thread's end is announced by a native lock, or a native handle, and waiting on one would stop the
whole hub.  The stand-ins here wait on a worker thread instead.
"""

from __future__ import annotations

import _thread
from typing import Any

from greenify.core.fork import fork_hooks
from greenify.core.native import own_threads
from greenify.core.workers import Workers
from greenify.locks import deadline_from

__all__ = ["HandleStandIn", "LockStandIn", "shut_down_natives"]

_native_shutdown = getattr(_thread, "_shutdown", None)
_native_count = _thread._count

# Not the pool that resolves names: joins may last for ever.
_joiners = Workers(limit=1000, idle=0.0, hidden=True)
fork_hooks.append(_joiners._reset)


class _Acquisition:
    """One attempt to acquire a native lock on a worker thread, which its greenlet may give up."""

    __slots__ = ("_given_up", "_held", "_native")

    def __init__(self, native: Any) -> None:
        self._native = native
        self._held: list[None] = []
        self._given_up = False

    def run(self, timeout: float) -> bool:
        """On the worker thread: acquire it."""
        if not self._native.acquire(True, timeout):
            return False
        self._held.append(None)
        if self._given_up:
            self._undo()
        return True

    def give_up(self) -> None:
        """On the greenlet's side: nobody wants it any more."""
        self._given_up = True
        self._undo()

    def _undo(self) -> None:
        try:
            self._held.pop()
        except IndexError:
            return  # not acquired yet, or released by the other side
        self._native.release()


class LockStandIn:
    """Waits for a native thread's ``_tstate_lock`` (up to CPython 3.12)."""

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: Any) -> None:
        self._native = native

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`."""
        if self._native.acquire(False):
            return True
        if not blocking:
            return False
        deadline_from(True, timeout)  # an error is raised here, and before any waiting
        attempt = _Acquisition(self._native)
        try:
            return _joiners.run(attempt.run, timeout)
        except BaseException:
            attempt.give_up()
            raise

    def release(self) -> None:
        """As `threading.Lock.release`."""
        self._native.release()

    def locked(self) -> bool:
        """Whether the native thread still runs."""
        return bool(self._native.locked())

    def _at_fork_reinit(self) -> None:
        self._native._at_fork_reinit()


class HandleStandIn:
    """Waits for a native thread's handle (from CPython 3.13 on)."""

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: Any) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def join(self, timeout: float | None = None) -> None:
        """As the native handle's, without stopping the hub."""
        if self._native.is_done():
            self._native.join(timeout)
        else:
            _joiners.run(self._native.join, timeout)


def shut_down_natives() -> None:
    """Join the native threads that are not daemons, as the interpreter does at its end (from 3.13 on)."""
    if _native_shutdown is not None and _native_count() > own_threads():
        _joiners.run(_native_shutdown)
