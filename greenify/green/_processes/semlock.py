"""The cooperative twin of `_multiprocessing.SemLock`, the C semaphore under multiprocessing's locks.

A semaphore of the kernel cannot be waited for like a descriptor.  While the caller is the only thread of
its process it blocks in the kernel, as a pool's worker does all day.  With other threads about it tries
again after pauses that grow from 0.2 to 10 ms; nothing else here polls.
"""

from __future__ import annotations

import _multiprocessing  # type: ignore[import-not-found]
import errno
import os
from collections.abc import Callable
from functools import wraps
from math import ldexp
from typing import Any

from greenlet import greenlet

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.timers import LONGEST
from greenify.green._copies.builtin import stands_for
from greenify.identity import current_thread_greenlet, get_ident
from greenify.locks import Lock
from greenify.pickling import refuse_to_pickle
from greenify.tokens import uninterrupted

__all__ = ["SemLock", "make_condition_wait"]

_RECURSIVE = 0  # the kind of a re-entrant lock (RECURSIVE_MUTEX in multiprocessing.synchronize)
_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01
# No number of seconds that the kernel can count.
_UNTOLD = 2.0**63

_Native: Any = _multiprocessing.SemLock


@stands_for(_Native)
class SemLock(_multiprocessing.SemLock):  # type: ignore[misc]
    """A semaphore shared between processes, whose `acquire` lets the other threads of this one run.

    The C code knows owners by OS thread; green threads share theirs, so the owner within this process
    is kept here.
    """

    __reduce_ex__ = refuse_to_pickle
    _inner: Lock | None = None
    _owner: greenlet | None = None
    # Which thread has taken one last that is not re-entrant: whose it is, while it is anybody's here.
    _last: int | None = None

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the semaphore; see `multiprocessing.Semaphore.acquire`.  A negative time-out counts as 0."""
        deadline = None
        if block and timeout is not None:
            if timeout.__class__ is not float and timeout.__class__ is not int:
                timeout = ldexp(timeout, 0)  # takes, and refuses, what the C code does
            if not timeout < _UNTOLD:
                return self._refuse(timeout)
            deadline = _monotonic() + max(0.0, timeout)
        if self.kind != _RECURSIVE:
            if not self._take(block, deadline):
                return False
            self._last = get_ident()
            return True
        me = current_thread_greenlet()
        if self._owner is me:
            return bool(_Native.acquire(self, False))
        if self._inner is None:
            self._inner = Lock()
        inner = self._inner
        remaining = -1.0
        if deadline is not None:
            remaining = min(max(0.0, deadline - _monotonic()), LONGEST)
        if not (inner.acquire(True, remaining) if block else inner.acquire(False)):
            return False
        try:
            taken = self._take(block, deadline)
        except BaseException:
            inner.release()
            raise
        if taken:
            self._owner = me
        else:
            inner.release()
        return taken

    def _refuse(self, timeout: float) -> bool:
        # As the C code: only if it has to wait.
        if _Native.acquire(self, False):
            _Native.release(self)
            return self.acquire()
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _take(self, block: bool, deadline: float | None) -> bool:
        if _Native.acquire(self, False):
            return True
        if not block:
            return False
        pause = _SHORTEST_PAUSE
        while True:
            if _alone():
                if deadline is None:
                    return bool(_Native.acquire(self, True))
                return bool(_Native.acquire(self, True, max(0.0, deadline - _monotonic())))
            if deadline is not None:
                remaining = deadline - _monotonic()
                if remaining <= 0:
                    return False
                pause = min(pause, remaining)
            core.sleep(pause)
            if _Native.acquire(self, False):
                return True
            pause = min(2 * pause, _LONGEST_PAUSE)

    def release(self) -> None:
        """Give the semaphore back; see `multiprocessing.Semaphore.release`."""
        if self.kind != _RECURSIVE:
            _Native.release(self)
            return
        if self._owner is not current_thread_greenlet():
            raise AssertionError("attempt to release recursive lock not owned by thread")
        _Native.release(self)
        if not _Native._count(self):
            self._owner = None
            if self._inner is not None:
                self._inner.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _is_mine(self) -> bool:
        if self.kind != _RECURSIVE:
            return bool(_Native._is_mine(self)) and self._last == get_ident()
        return self._owner is not None and self._owner is current_thread_greenlet()

    def _after_fork(self) -> None:
        _Native._after_fork(self)
        self._inner = None
        self._owner = None


def _alone() -> bool:
    """Whether nothing else could run in this OS thread, so that it may block in the kernel."""
    hub = core.current_hub()
    if hub is None:
        return True
    me = current_thread_greenlet()
    return (
        all(task is me for task in tuple(hub.tasks))
        and (me is hub.main or hub.main.dead)
        and not hub.timers.pending()
        and not hub.lent
        and not hub.users
    )


def make_condition_wait(native: Callable[..., bool]) -> Callable[..., bool]:
    """The method `wait` of `multiprocessing.synchronize.Condition`, made from the `native` one.

    That takes the lock again in a `finally` block, which a kill or a `Timeout` can interrupt here.
    """

    def held(lock: Any) -> int:
        return int(lock._semlock._count()) if lock._semlock._is_mine() else 0

    @wraps(native)
    def wait(self: Any, timeout: float | None = None) -> bool:
        lock = self._lock
        count = held(lock)
        try:
            return native(self, timeout)
        except BaseException:
            for _ in range(count - held(lock)):
                uninterrupted(lock.acquire)
            raise

    return wait
