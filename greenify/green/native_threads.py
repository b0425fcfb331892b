"""Native threads that were started before the patch: how green threads join them.

A native thread's end is announced by a native lock, or a native handle, and waiting on one would stop the
whole hub.  The stand-ins here wait on a worker thread instead.
"""

from __future__ import annotations

import _thread
from typing import Any

from greenify.core.workers import default_workers

__all__ = ["HandleStandIn", "LockStandIn", "shut_down_natives"]

_native_shutdown = getattr(_thread, "_shutdown", None)
_native_count = _thread._count


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
        return bool(default_workers.run(self._native.acquire, True, timeout))

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
            default_workers.run(self._native.join, timeout)


def shut_down_natives() -> None:
    """Join the native threads that are not daemons, as the interpreter does at its end (from 3.13 on)."""
    if _native_shutdown is not None and _native_count() > default_workers.threads:
        default_workers.run(_native_shutdown)
