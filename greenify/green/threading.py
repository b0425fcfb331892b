"""The hot methods of `threading.Condition` and `threading.Event`, in their cooperative form.

Both classes stay the standard library's own, with their attributes, and may be subclassed as ever.  Their
methods make a lock for every wait, and an event takes one for every `set`; parking a waiter directly does the
same at a fraction of the cost (figures: `benchmarks/`).
"""

from __future__ import annotations

import time
from typing import Any

from greenify import core

__all__ = ["CONDITION_METHODS", "EVENT_METHODS"]

_monotonic = time.monotonic
_new_waiter = core.new_waiter


def _condition_wait(self: Any, timeout: float | None = None) -> bool:
    """Wait until notified, for at most `timeout` seconds; see `threading.Condition.wait`."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = _new_waiter()
    self._waiters.append(waiter)
    state = self._release_save()
    notified = False
    try:
        if timeout is None:
            notified = waiter.wait()
        elif timeout > 0:
            notified = waiter.wait(_monotonic() + timeout)
        else:
            notified = waiter.woken
        return notified
    finally:
        self._acquire_restore(state)
        if not notified:
            try:
                self._waiters.remove(waiter)
            except ValueError:
                # Notified at the very moment of giving up.
                pass


def _condition_notify(self: Any, n: int = 1) -> None:
    """Wake up to `n` waiters; see `threading.Condition.notify`."""
    if not self._is_owned():
        raise RuntimeError("cannot notify on un-acquired lock")
    waiters = self._waiters
    while waiters and n > 0:
        # A native thread that has waited since before the patch has left a native lock here.
        waiters.popleft().release()
        n -= 1


def _event_set(self: Any) -> None:
    """Set the flag and wake every waiter; see `threading.Event.set`."""
    self._flag = True
    waiters = self._cond._waiters
    while waiters:
        try:
            waiters.popleft().release()
        except IndexError:
            return


def _event_clear(self: Any) -> None:
    """Clear the flag; see `threading.Event.clear`."""
    self._flag = False


def _event_wait(self: Any, timeout: float | None = None) -> bool:
    """Wait until the flag is set, for at most `timeout` seconds; see `threading.Event.wait`."""
    if self._flag:
        return True
    deadline = None if timeout is None else _monotonic() + timeout
    waiter = _new_waiter()
    waiters = self._cond._waiters
    waiters.append(waiter)
    woken = False
    try:
        # A set that came before we queued saw nobody to wake.
        woken = self._flag or (
            waiter.wait(deadline) if timeout is None or timeout > 0 else waiter.woken
        )
        return woken
    finally:
        if not waiter.woken:
            try:
                waiters.remove(waiter)
            except ValueError:
                # `set` is taking it out at this moment, from another OS thread.
                pass


CONDITION_METHODS: dict[str, Any] = {"wait": _condition_wait, "notify": _condition_notify}
EVENT_METHODS: dict[str, Any] = {"wait": _event_wait, "set": _event_set, "clear": _event_clear}
for _methods in (CONDITION_METHODS, EVENT_METHODS):
    for _name, _function in _methods.items():
        _function.__name__ = _name
