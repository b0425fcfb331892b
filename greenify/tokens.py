"""Tokens and those who wait for them: what locks and semaphores are made of.

A lock is a list that holds one token while the lock is free.  ``list.pop`` and ``list.append`` are atomic
under the interpreter lock, so taking the token is correct under preemption by native threads, and costs half
of a native lock's try (acquire and release: 79 ns against 150 ns on CPython 3.11).

A release puts the token back and wakes the first waiter, which has to take it in competition with newcomers:
that keeps a contended lock from costing one switch per acquisition.  If the releaser itself takes the lock
again before the waiter has run, the wake-up is taken back, and the waiter's turn costs no switch (ten threads
that ``sleep(0)`` in a lock: 1.5 us instead of 3.2).  A waiter that has lost is *starved* a millisecond after
that: the next release hands it the lock without putting the token back, so nobody waits for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from greenify import core
from greenify.core import HubWaiter, Waiter
from greenify.core.clock import monotonic as _monotonic
from greenify.core.registry import gone
from greenify.core.tracebacks import leave_out_wait
from greenify.deadlines import deadline_from
from greenify.pickling import refuse_to_pickle

__all__ = ["releases", "uninterrupted"]


# How many seconds newcomers may overtake a waiter.  Go's mutexes have the same rule and the same figure.
_PATIENCE = 0.001


def uninterrupted(
    take: Callable[[], object], then: Callable[[], None] | None = None, foreign: bool = False
) -> None:
    """Call ``take()`` until it succeeds, then ``then()``, and only after that raise what has interrupted it.

    Args:
        take: takes a lock, waiting for it.
        then: must not wait.
        foreign: the lock is not one of ours and may fail by itself.
    """
    pending: BaseException | None = None
    while True:
        try:
            take()
            break
        except BaseException as exc:
            # What interrupts a wait comes once, an error of a lock at every try.
            if gone(exc) or (foreign and pending is not None and isinstance(exc, Exception)):
                raise
            pending = pending or exc
    if then is not None:
        then()
    if pending is not None:
        try:
            raise pending
        finally:
            pending = None  # its traceback holds this frame


class _Turn:
    """One waiter's place in the queue of a lock.

    Args:
        waiter: who waits.
        lost_at: when it lost against a newcomer for the first time (a `time.monotonic` time), or None.
        recallable: whether its wake-up may be taken back.
    """

    __slots__ = ("_open", "lost_at", "recallable", "waiter")

    def __init__(self, waiter: Waiter, lost_at: float | None, recallable: bool) -> None:
        self.waiter = waiter
        self.lost_at = lost_at
        self.recallable = recallable
        self._open = [None]

    def close(self) -> bool:
        """Decide how the wait ends; True for the first call only.

        A waker that hands the lock over and a waiter that gives up may run at once on two OS threads.
        """
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return not self._open


class _Nobody:
    """Waits in the place of a release that has begun (`_Token._within_release`)."""

    alive = True

    def wake(self) -> None:
        """Nothing to do: the release goes on by itself."""


_nobody: Any = _Nobody()

#: The code of the functions that put back the token and do no more, for `_Token._within_release`.
releases: set[CodeType] = set()


def _monitored() -> bool:
    """Whether a tool may be told of every function that is called (`sys.monitoring`)."""
    if sys.version_info < (3, 12):
        return False
    return any(map(sys.monitoring.get_tool, range(6)))


class _Token:
    """What Lock and RLock share: the token and the queue of those who wait for it."""

    __slots__ = ("__weakref__", "_box", "_coming", "_take", "_turns")

    def __init__(self) -> None:
        self._box: list[None] = [None]
        self._take: Callable[[], None] = self._box.pop
        # A list, which is a tenth of an empty deque, and whose methods are as atomic.
        self._turns: list[_Turn] = []
        # Whose wake-up can be taken back (`_recall`), for all that is known.
        self._coming: _Turn | None = None

    __reduce_ex__ = refuse_to_pickle

    def _acquire_until(self, blocking: bool, timeout: float) -> bool:
        deadline = deadline_from(blocking, timeout)
        try:
            self._take()
            return True
        except IndexError:
            if not blocking or timeout == 0:
                return False
        try:
            return self._wait_for_token(deadline)
        except BaseException:
            leave_out_wait()
            raise

    def _wait_for_token(self, deadline: float | None = None) -> bool:
        turns = self._turns
        lost_at: float | None = None
        if _monitored() and self._within_release():
            # Whoever releases it next hands it to that release, which goes on to put back the token.
            turns.insert(0, _Turn(_nobody, 0.0, False))
            return True
        while True:
            waiter = core.new_waiter()
            # A timer that fires in between would be lost with a wake-up that is taken back.
            turn = _Turn(waiter, lost_at, deadline is None and waiter.__class__ is HubWaiter)
            if lost_at is None:
                turns.append(turn)
            else:
                turns.insert(0, turn)
            try:
                # A release that came before we queued saw nobody to wake: look once more.
                self._take()
            except IndexError:
                pass
            else:
                if not self._leave(turn):
                    self._put_back()
                return True
            try:
                woken = waiter.wait(deadline)
            except BaseException:
                if not self._leave(turn):
                    self._put_back()
                leave_out_wait()
                raise
            if not woken:
                return not self._leave(turn)
            if not turn.close():
                return True
            if self._coming is turn:
                self._coming = None
            try:
                self._take()
                return True
            except IndexError:
                if turn.lost_at is None:
                    turn.lost_at = _monotonic()
                lost_at = turn.lost_at

    def _within_release(self) -> bool:
        """Whether the caller is called by a tool that has been told that a release of this lock begins.

        A native lock is released in C, of which `sys.monitoring` tells nothing.  Whoever holds this one is
        done with it, and a callback that takes it must not wait for what it is itself called by.
        """
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if code in releases and frame.f_lineno == code.co_firstlineno:
                return frame.f_locals.get("self") is self
            frame = frame.f_back
        return False

    def _recall(self) -> None:
        """With the token taken: take back the last wake-up, which is in vain now, if nobody has run since."""
        turn = self._coming
        self._coming = None
        if turn is None or not turn._open:
            return
        waiter: Any = turn.waiter
        hub = waiter.hub
        ready = hub.ready
        # In the hub's own OS thread nobody else takes anything from its ready queue.
        if not ready or ready[-1] is not waiter.greenlet or hub.foreign():
            return
        last = ready.pop()
        if last is not waiter.greenlet:
            ready.append(last)  # another OS thread has appended it just now
            return
        waiter.woken = False
        if turn.lost_at is None:
            turn.lost_at = _monotonic()
        self._turns.insert(0, turn)
        if self._box:
            # Somebody has released the lock meanwhile, and saw nobody to wake.
            self._wake()

    def _take_uninterrupted(self, then: Callable[[], None] | None = None) -> None:
        """Take the token and call ``then()``, and only after that raise what has interrupted the wait.

        A Condition's caller holds the lock again whatever ends its wait, or its ``with`` block would release
        the lock of somebody else.
        """
        try:
            self._take()
        except IndexError:
            pass
        else:
            if then is not None:
                then()
            return
        uninterrupted(self._wait_for_token, then)

    def _leave(self, turn: _Turn) -> bool:
        """Give `turn` up; False if the lock has been handed over to it."""
        try:
            self._turns.remove(turn)
        except ValueError:
            if not turn.close():
                return False
            # A waker has it in hand, or has woken it for nothing: the next one has to be woken instead.
            if self._box:
                self._wake()
        else:
            turn.close()
        return True

    def _put_back(self) -> None:
        self._box.append(None)
        if self._turns:
            self._wake()

    def _wake(self) -> None:
        turns = self._turns
        while turns:
            try:
                turn = turns.pop(0)
            except IndexError:
                return
            waiter = turn.waiter
            if not turn._open or not waiter.alive:
                continue
            lost_at = turn.lost_at
            if lost_at is None or _monotonic() - lost_at < _PATIENCE:
                if turn.recallable:
                    self._coming = turn
                waiter.wake()
                return
            try:
                self._take()
            except IndexError:
                # A newcomer was faster again: its release looks here again, unless that is past already.
                turns.insert(0, turn)
                if self._box or waiter is _nobody:
                    continue
                return
            if turn.close():
                waiter.wake()
                return
            self._box.append(None)


releases.add(_Token._put_back.__code__)
