"""The hot methods of `threading.Condition` and `threading.Event`, in their cooperative form.

Both classes stay the standard library's own, with their attributes, and may be subclassed as ever.  Their
methods make a lock for every wait, and an event takes one for every `set`; parking a waiter directly does the
same at a fraction of the cost (figures: `benchmarks/`).
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from greenify import core
from greenify.core.waiters import HubWaiter
from greenify.deadlines import deadline_after
from greenify.tokens import uninterrupted

__all__ = [
    "CONDITION_METHODS",
    "EVENT_METHODS",
    "RLOCK_METHODS",
    "complete_events",
    "event_attributes",
]

_new_waiter = core.new_waiter

# From CPython 3.14 on it is asked whether a time-out has passed, before that whether there is time left.  NaN
# is neither, and the lock refuses it.
_ASKS_FOR_PASSED = sys.version_info >= (3, 14)


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
        elif not timeout <= 0 if _ASKS_FOR_PASSED else timeout > 0:
            waiter.wait(deadline_after(timeout))
        elif waiter.__class__ is HubWaiter:
            # The lock is free at this moment only: who asks again and again would never let it go.
            waiter.hub.breathe()
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


def _condition_acquire_restore(self: Any, x: Any) -> None:
    """Take the lock again, one of a class of its own that only has `acquire`.

    What comes meanwhile (a kill, a `Timeout`) is raised after that, as for greenify's locks: the caller's
    ``with`` block would release a lock that somebody else holds.
    """
    uninterrupted(self._lock.acquire, foreign=True)


def _python_rlock_acquire_restore(self: Any, state: Any) -> None:
    """Take a `threading._RLock` again, as often as it was; see `_condition_acquire_restore`."""

    def own() -> None:
        self._count, self._owner = state

    uninterrupted(self._block.acquire, own)


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


# A program that uses an event only by its methods needs no condition, with its lock, and an event takes 150
# bytes without, 1,560 with it; every `threading.Thread` has one.  So those who wait stand in a list of the
# event's own, `_parked`, until somebody asks for `_cond`; then, and in events from before the patch, that
# is the queue of the condition.  Only methods that lists and deques share are used on it.


class _Condition:
    """``_cond`` of an event, made when somebody asks for it.

    Args:
        module: `threading`, or a copy of it.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __get__(self, event: Any, owner: type[Any]) -> Any:
        if event is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute '_cond'")
        module = self._module
        # Atomic, for two OS threads may ask at once.
        made = vars(event).setdefault("_cond", module.Condition(module.Lock()))
        parked, event._parked = event._parked, made._waiters
        if parked is not made._waiters:
            made._waiters.extend(parked)
        return made


class _Parked:
    """``_parked`` of an event from before the patch."""

    def __get__(self, event: Any, owner: type[Any]) -> Any:
        return self if event is None else event._cond._waiters


def event_attributes(module: Any) -> dict[str, Any]:
    """What the class of events of `module`, `threading` or a copy of it, gets besides its methods."""
    return {"_parked": _Parked(), "_cond": _Condition(module)}


def complete_events(event_class: type[Any]) -> None:
    """Make the conditions of all events that have none yet: their class gets its own methods back."""
    for found in gc.get_objects():
        if issubclass(type(found), event_class):
            found._cond  # noqa: B018


def _event_init(self: Any) -> None:
    """An event that is not set; see `threading.Event`."""
    self._flag = False
    self._parked = []


def _event_at_fork_reinit(self: Any) -> None:
    if "_cond" in vars(self):
        self._cond._at_fork_reinit()
    else:
        self._parked.clear()


def _event_getstate(self: Any) -> dict[str, Any]:
    # With the condition, whose lock says that it cannot be pickled; copies share it.
    self._cond  # noqa: B018
    state: dict[str, Any] = vars(self)
    return state


def _event_set(self: Any) -> None:
    """Set the flag and wake every waiter; see `threading.Event.set`."""
    self._flag = True
    # One local name, and the rest in a function of its own: a smaller frame is made faster (set, wait and
    # clear with nobody about: 88 instead of 93 ns).
    while self._parked:
        try:
            if self._parked[0] is not self._parked[-1]:
                _wake_all(self._parked)
                return
            waiter = self._parked.pop()
        except IndexError:
            return  # another OS thread sets it, too
        if getattr(waiter, "alive", True):
            waiter.release()


def _wake_all(parked: Any) -> None:
    parked.reverse()  # who has waited longest is woken first
    while parked:
        try:
            waiter = parked.pop()
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
    if timeout is not None:
        return _event_wait_until(self, timeout)
    waiter = _new_waiter()
    self._parked.append(waiter)
    try:
        # A set that came before we queued saw nobody to wake.
        if not self._flag:
            if (
                waiter.__class__ is not HubWaiter
                or getattr(waiter.greenlet, "hub", None) is not waiter.hub
            ):
                waiter.wait()
            elif not waiter.woken:
                # `HubWaiter.wait`, written out: a frame less for each thread that waits.
                if waiter.hub.next().switch():
                    waiter.hub.run_interrupts()
                if not waiter.woken:
                    waiter.wait_longer()
        return True
    finally:
        if not waiter.woken:
            _forget(self, waiter)


def _event_wait_until(self: Any, timeout: float) -> bool:
    if timeout <= 0 if _ASKS_FOR_PASSED else not timeout > 0:
        return bool(self._flag)
    deadline = deadline_after(timeout)
    waiter = _new_waiter()
    self._parked.append(waiter)
    woken = False
    try:
        woken = self._flag or waiter.wait(deadline)
        return woken
    finally:
        if not waiter.woken:
            _forget(self, waiter)


def _forget(self: Any, waiter: Any) -> None:
    if waiter.__class__ is HubWaiter:
        # `set` may be about to wake it, on another OS thread; see `HubWaiter.wake`.
        waiter._expired = True
    try:
        self._parked.remove(waiter)
    except ValueError:
        # `set` is taking it out at this moment, from another OS thread.
        pass


CONDITION_METHODS: dict[str, Any] = {
    "wait": _condition_wait,
    "notify": _condition_notify,
    "_acquire_restore": _condition_acquire_restore,
}
RLOCK_METHODS: dict[str, Any] = {"_acquire_restore": _python_rlock_acquire_restore}
EVENT_METHODS: dict[str, Any] = {
    "__init__": _event_init,
    "__getstate__": _event_getstate,
    "_at_fork_reinit": _event_at_fork_reinit,
    "wait": _event_wait,
    "set": _event_set,
    "clear": _event_clear,
}
for _methods in (CONDITION_METHODS, EVENT_METHODS, RLOCK_METHODS):
    for _name, _function in _methods.items():
        _function.__name__ = _name
