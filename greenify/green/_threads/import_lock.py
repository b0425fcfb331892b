"""The cooperative twin of the interpreter's import lock (`_imp.acquire_lock` and its kin).

The native lock is re-entrant per OS thread, and so shuts no green thread out.  The lock here stands before
it.  A fork waits for it, as for the native one, so that no child begins with a module half imported by a
thread that it does not have.
"""

from __future__ import annotations

import _imp
import os

from greenify.core import native
from greenify.locks import RLock

__all__ = ["acquire_lock", "allow", "release_lock"]

_native_acquire = _imp.acquire_lock
_native_release = _imp.release_lock

_lock = RLock()
_in_force = False
_held_for_fork = False


def acquire_lock() -> None:
    """Take the import lock; see `imp.acquire_lock`."""
    _lock.acquire()
    _native_acquire()


def release_lock() -> None:
    """Give the import lock back.  RuntimeError if this thread does not hold it."""
    if not _lock._is_owned():
        # Taken before the patch, or not at all: then this raises.
        _native_release()
        return
    _native_release()
    _lock.release()


def allow(yes: bool) -> None:
    """Have forks wait for the lock from now on, or no longer."""
    global _in_force
    _in_force = yes


def _before() -> None:
    global _held_for_fork
    if _in_force:
        _lock.acquire()
        _held_for_fork = True


def _after() -> None:
    global _held_for_fork
    if _held_for_fork:
        _held_for_fork = False
        _lock.release()


# A native thread that is waited for may be importing something.
native.before_fork.append(_before)
os.register_at_fork(after_in_parent=_after, after_in_child=_after)
