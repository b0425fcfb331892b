"""A native thread that looks at a hub by the wall clock, for those who want to know how long it does what.

The timer of the time slices runs only while the process computes.  A loop of calls that wait in C does not,
and a timer by the wall clock would interrupt system calls of C code (EINTR) and wake an idle process.  So a
native thread looks at the hub every 10 ms: whether the ready queue has gone round since the last look.  The
time slices ask for that (`slices.py`), and the watch does (`greenify.watching`); one thread serves both.

The thread stands still while the hub sleeps, and the end of the sleep ends that: it costs a program that
idles for longer than a tick a switch of threads now and then, and all others nothing.  It ends when nobody
asks any more, and before a fork.
"""

from __future__ import annotations

import _thread
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from greenify.core.clock import monotonic as _monotonic
from greenify.core.native import await_gone, start_hidden

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = [
    "COUNTS_LATE",
    "TICK",
    "Looker",
    "attach",
    "detach",
    "forget_all",
    "native_lock",
    "restart",
    "ring",
]

#: Seconds between two looks; whoever has had the interpreter for one to two of them lets the others run.
TICK = 0.01

# While a hub without green threads stands still, the looks become as rare as this.
_RARE = 0.16

# From CPython 3.14 on faulthandler stops at a thread that has not begun ("freed thread state"), and shows
# nothing of the others.  With real threads there is none in sight when `Thread.start` has returned.
_IS_SHOWN = sys.version_info >= (3, 14)

# How many seconds `detach` waits for the end of the thread, which comes as soon as it gets the interpreter.
_PATIENCE = 1.0

native_lock = _thread.allocate_lock
_get_native_id = _thread.get_native_id
_get_ident = _thread.get_ident


class Looker(Protocol):
    """Who wants to know.  Everything is called on the native thread; exceptions would end that."""

    #: Seconds between two looks, at most.
    tick: float

    def look(self, turns: int, still: bool, due: float) -> object:
        """The hub is awake.

        Args:
            turns: the rounds of its ready queue.
            still: whether there have been none since the last look.
            due: when the look was due, on the engine's clock: it is late if somebody keeps the interpreter.
        """

    @property
    def wakes(self) -> Callable[[float], object] | None:
        """Called with the time on the engine's clock when the hub has slept, or gets its first green thread.

        On the hub's OS thread, before others run there.  The native thread comes later, by as long as
        somebody keeps the interpreter: its look says how late, to those that are called here.  Who has None
        costs the hub no call.
        """

    def asleep(self) -> object:
        """The hub sleeps, and there is no look before it wakes; or the thread ends."""

    def idle(self) -> object:
        """The hub has no green threads: who does not care for it without is to `detach`."""


class _Ticker:
    """The native thread of one hub.

    Raises:
        RuntimeError: no thread can be started.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.lookers: dict[Looker, None] = {}
        self._over = False
        self._ident = 0
        self._native_id = 0
        # Who is to look at once releases the one; the thread holds the other while it runs.
        self._bell: Any = native_lock()
        self._bell.acquire()
        self._rung = 0.0  # when it was released last
        self._running: Any = native_lock()
        self._running.acquire()

    def start(self) -> None:
        begun: Any = native_lock()
        begun.acquire()
        start_hidden(self._run, begun, ours=True)
        if _IS_SHOWN:
            begun.acquire()

    def _run(self, begun: Any) -> None:
        begun.release()
        self._ident = _get_ident()
        self._native_id = _get_native_id()
        try:
            self._look()
            for looker in tuple(self.lookers):
                looker.asleep()
        finally:
            self._running.release()

    def _look(self) -> None:
        hub = self._hub
        seen = -1
        pause = rare = TICK
        begun = _monotonic()
        while True:
            due = begun + pause
            rung = self._bell.acquire(True, max(0.0, due - _monotonic()))
            if self._over:
                return
            if rung:
                # Not now: who runs at once may have kept the interpreter meanwhile.
                seen = -1
                due = self._rung
            lookers = tuple(self.lookers)
            turns = hub.turns
            still = turns == seen
            seen = turns
            if not hub.tasks:
                for looker in lookers:
                    looker.idle()
                if self._over:
                    return
                rare = min(2 * rare, _RARE) if still else TICK
            else:
                rare = TICK
            if not (still and hub.sleeping):
                for looker in lookers:
                    looker.look(turns, still, due)
                pause = max(rare, min([TICK, *(looker.tick for looker in lookers)]))
                begun = _monotonic()
                continue
            # It has slept for a whole tick.
            for looker in lookers:
                looker.asleep()
            called = any(looker.wakes is not None for looker in lookers)
            hub.on_wake = self.wakes if called else self._release
            begun = 0.0
            if hub.sleeping and not self._over:
                self._bell.acquire()
                if called:
                    begun = self._rung
                seen = -1
            hub.on_wake = None
            begun = begun or _monotonic()

    def wakes(self) -> None:
        """The hub begins to run others.  On its OS thread."""
        now = _monotonic()
        for looker in tuple(self.lookers):
            if looker.wakes is not None:
                looker.wakes(now)
        self.ring()

    def ring(self) -> None:
        """Have it look at once.  Any thread."""
        if self._bell.locked():
            self._rung = _monotonic()
        self._release()

    def _release(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been rung, and not heard yet

    def stop(self) -> None:
        """End the thread, and wait for its end.  On the thread itself: only that it is to end."""
        self._over = True
        self.ring()
        if self._ident == _get_ident() or not self._running.acquire(True, _PATIENCE):
            return
        self._running.release()
        await_gone(self._native_id)


_tickers: dict[Hub, _Ticker] = {}
# Those that a fork has stopped, with who has been looking.
_stopped: list[tuple[Hub, tuple[Looker, ...]]] = []

# A fork is on its way: a time slice that ends meanwhile, in one of its hooks or while it waits for a thread's
# end, must not start another one.
_forking = False

#: The fork counts the threads that it warns of when it has called the parent's hooks.
COUNTS_LATE = sys.version_info[:2] == (3, 13)


def attach(hub: Hub, looker: Looker) -> None:
    """Have `looker` look at `hub`; nothing if it does.  Any thread.

    Raises:
        RuntimeError: no thread can be started.
    """
    if _forking:
        _stopped.append((hub, (looker,)))
        return
    ticker = _tickers.get(hub)
    if ticker is not None:
        ticker.lookers[looker] = None
        if _tickers.get(hub) is ticker:
            if hub.ident == _get_ident():
                ticker.wakes()
            else:
                ticker.ring()
            return
    ticker = _Ticker(hub)
    ticker.lookers[looker] = None
    _tickers[hub] = ticker
    try:
        ticker.start()
    except BaseException:
        if _tickers.get(hub) is ticker:
            del _tickers[hub]
        raise


def detach(hub: Hub, looker: Looker) -> None:
    """End what `attach` has begun; the thread ends with the last one.  Any thread."""
    if _stopped:
        _stopped[:] = [
            (other, tuple(each for each in lookers if other is not hub or each is not looker))
            for other, lookers in _stopped
        ]
    ticker = _tickers.get(hub)
    if ticker is None:
        return
    ticker.lookers.pop(looker, None)
    if not ticker.lookers:
        if _tickers.get(hub) is ticker:
            del _tickers[hub]
        for other in tuple(ticker.lookers):
            attach(hub, other)  # it has come meanwhile, and has been told that this one does for it
        ticker.stop()


def ring(hub: Hub) -> bool:
    """Have those who look at `hub` look soon; False if there is nobody."""
    ticker = _tickers.get(hub)
    if ticker is None:
        return False
    ticker.ring()
    return True


def _stop_all() -> None:
    # Before a fork: threads are not inherited, and from CPython 3.12 on it warns of them.
    global _forking
    _forking = True
    for hub, ticker in tuple(_tickers.items()):
        _tickers.pop(hub, None)
        _stopped.append((hub, tuple(ticker.lookers)))
        ticker.stop()


def restart() -> None:
    """Go on with what a fork has stopped, when that is over.  Any thread."""
    while _stopped and not _forking:
        hub, lookers = _stopped.pop()
        for looker in lookers:
            try:
                attach(hub, looker)
            except RuntimeError:
                pass  # there is no thread to be had


def _after_in_parent() -> None:
    global _forking
    _forking = False
    if not COUNTS_LATE:
        restart()
        return
    # The hub does it as soon as it runs, or the next tick of the time slices.
    for hub, _ in tuple(_stopped):
        hub.call_from_thread(restart)


def forget_all() -> None:
    """In the child of a fork: neither the threads nor the hubs are there."""
    global _forking
    _forking = False
    _tickers.clear()
    _stopped.clear()


os.register_at_fork(before=_stop_all, after_in_parent=_after_in_parent)
