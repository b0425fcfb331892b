"""The hot methods of `threading.Condition` and `threading.Event`, in their cooperative form.

Both classes stay the standard library's own, with their attributes, and may be subclassed as ever.  Their
methods make a lock for every wait, and an event takes one for every `set`; parking a waiter directly does the
same at a fraction of the cost (figures: `benchmarks/`).
"""

from __future__ import annotations

from typing import Any

from greenify import core
from greenify.locks import deadline_after

__all__ = ["CONDITION_METHODS", "EVENT_METHODS"]

_new_waiter = core.new_waiter


def _condition_wait(self: Any, timeout: float | None = None) -> bool:
    """Wait until notified, for at most `timeout` seconds; see `threading.Condition.wait`."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = _new_waiter()
    self._waiters.append(waiter)
    state = self._release_save()
    try:
        if timeout is None:
            waiter.wait()
        elif timeout > 0:
            waiter.wait(deadline_after(timeout))
    except BaseException:
        _give_up(self, state, waiter)
        raise
    try:
        self._acquire_restore(state)
    except BaseException:
        # It holds the lock again all the same.
        _pass_on(self, waiter)
        raise
    # Asked now: the notification may have come when the time was up and the lock not yet ours again.
    return _leave(self, waiter)


def _give_up(self: Any, state: Any, waiter: core.Waiter) -> None:
    try:
        self._acquire_restore(state)
    finally:
        _pass_on(self, waiter)


def _pass_on(self: Any, waiter: core.Waiter) -> None:
    # Who is killed when it has been notified already passes that on, or nobody would look at the news.
    if _leave(self, waiter) and self._is_owned():
        self.notify()


def _leave(self: Any, waiter: core.Waiter) -> bool:
    """Take `waiter` off the list; True if it has been notified."""
    if not waiter.woken:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            # An event is being set at this moment, by another OS thread and without the lock.
            pass
    return waiter.woken


def _condition_notify(self: Any, n: int = 1) -> None:
    """Wake up to `n` waiters; see `threading.Condition.notify`."""
    if not self._is_owned():
        raise RuntimeError("cannot notify on un-acquired lock")
    waiters = self._waiters
    while waiters and n > 0:
        waiter = waiters.popleft()
        # It may be a native lock: of a native thread that has waited since before the patch.
        if getattr(waiter, "alive", True):
            waiter.release()
            n -= 1


def _event_set(self: Any) -> None:
    """Set the flag and wake every waiter; see `threading.Event.set`."""
    self._flag = True
    # No variable for the waiters: set, wait and clear take 80 instead of 85 ns where nobody waits.
    while self._cond._waiters:
        try:
            waiter = self._cond._waiters.popleft()
        except IndexError:
            return
        if getattr(waiter, "alive", True):
            waiter.release()


def _event_clear(self: Any) -> None:
    """Clear the flag; see `threading.Event.clear`."""
    self._flag = False


def _event_wait(self: Any, timeout: float | None = None) -> bool:
    """Wait until the flag is set, for at most `timeout` seconds; see `threading.Event.wait`."""
    if self._flag:
        return True
    deadline = deadline_after(timeout)
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
