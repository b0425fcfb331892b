"""The hub's own greenlet: the cycle that runs what is ready, looks at the kernel and sleeps in libuv.

A part of the hub's class (`hub.py`, where its three rules stand), in a file of its own.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from greenlet import greenlet

from greenify.core.bare import BareLoop, BarePair
from greenify.core.clock import monotonic as _monotonic
from greenify.core.descriptor_set import DescriptorSet
from greenify.core.entries import Call, Failure, MainInterrupt, Mark, Throw
from greenify.core.guests import invitations, invite
from greenify.core.kernel_queue import EAGER_EVENTS, READ_EVENTS, WRITE_EVENTS
from greenify.core.loop import Loop
from greenify.core.timers import Timers
from greenify.core.wakeup import WakeupPipe

__all__ = ["END", "ROUNDS", "Cycle"]


#: The end of a round.
END = Mark()

# How many events one look at the kernel queue takes at most; the rest is taken by the next look.  With 64, a
# look would take 0.08 us less, but a round trip among 1,000 connections 20.9 us instead of 17.8.
_BATCH = 512

# What a writer has to look at: the peer's shutdown may have given back room, or ended it.
_WRITERS_EVENTS = WRITE_EVENTS | EAGER_EVENTS

#: How many rounds of ready greenlets run before the kernel queue is looked at again.  A look costs as much
#: as three switches, so `sleep(0)` loops gain from a few; more would only delay input.
ROUNDS = 8


class Cycle:
    """What a hub does in its own greenlet.  `Hub` has the rest, and sets the attributes."""

    ready: deque[Any]
    _queue: deque[Any]
    timers: Timers
    descriptors: DescriptorSet
    pair: WakeupPipe | BarePair
    loop: Loop | BareLoop
    greenlet: greenlet
    sleeping: bool
    on_wake: Callable[[], None] | None
    abandoned: bool
    in_loop: bool
    hurry: bool
    turns: int
    users: int
    shown: Sequence[object]
    on_shown: Callable[[], object]
    lent: int
    interrupts: deque[Callable[[], None]]
    failures: tuple[BaseException, ...]
    _item: Any
    _nested: int
    _wakes: int
    _looked: bool
    _rounds: int
    _diagnosed: bool
    taking: Any

    def interrupt(self) -> None:
        raise NotImplementedError

    def _run(self, levels: int = 5) -> None:
        # A signal handler that was installed behind our back may raise between any two instructions here,
        # and several signals may be pending at once.  Each level catches what hits the one below it in its
        # few unguarded instructions.
        while True:
            try:
                if levels:
                    self._run(levels - 1)
                else:
                    self._rescue()
                    self._cycle()
            except BaseException as exc:
                if self.abandoned:
                    raise
                # No call here: after it the interpreter would run the next handler.
                self.failures += (exc,)

    def _rescue(self) -> None:
        """Make good what an exception in the hub has interrupted, and send it to the main greenlet.

        Every waiter looks again.  Another exception may hit this too: then it is called again.
        """
        if not self.failures:
            return
        hub: Any = self
        ready = self._queue
        if not self._nested:
            # Python 3.10 runs handlers at the beginning of a `finally` block, which then does nothing.
            self.in_loop = self.sleeping = False
            for item in tuple(ready):
                if item.__class__ is Mark:
                    ready.remove(item)
        self.descriptors.wake_all()
        if self._item.__class__ in (Call, Throw) and not self._item.begun:
            # A handler has raised on the way into it.
            ready.append(self._item)
        self._item = None
        ready.append(self.pair)
        if self.interrupts:
            ready.append(MainInterrupt(hub))
        # First, or the main greenlet would take its waking for the news it waits for.
        ready.extendleft(Failure(hub) for _ in self.failures)

    def _run_nested(self) -> None:
        # The hub's own greenlet waits: run the others on top of its stack until something switches to it.
        if self.shown:
            self.on_shown()
        ready = self._queue
        me = self.greenlet
        below = self._item
        mark = Mark()
        marks_below: list[Mark] = []
        thrown: Throw | None = None
        # Counted, for a nested cycle above takes wake-ups that may be meant for this one.
        wakes = self._wakes
        # The cycle below may be about to sleep; while we run, wakers need not write bytes.
        asleep, self.sleeping = self.sleeping, False
        in_loop = self.in_loop
        self._nested += 1
        try:
            while self._wakes == wakes:
                try:
                    self._rescue()
                    ready.append(mark)
                    for item in iter(ready.popleft, mark):
                        self._item = item
                        if item is me:
                            self._wakes += 1
                        elif item.__class__ is Mark:
                            marks_below.append(item)
                        elif item.__class__ is Throw and item.target is me:
                            thrown = item
                            self._wakes += 1
                        else:
                            item.switch()
                    if self._wakes == wakes:
                        self.look()
                        if not ready:
                            self._sleep()
                except BaseException as exc:
                    if self.abandoned:
                        raise
                    self.failures += (exc,)
                    self.in_loop = in_loop
                    self.sleeping = False
                    while mark in ready:
                        ready.remove(mark)
        finally:
            self._nested -= 1
            self._item = below
            while mark in ready:
                ready.remove(mark)
            ready.extend(marks_below)
            self.sleeping = asleep
            if asleep:
                self.interrupt()
        if thrown is not None:
            thrown.switch()

    def _cycle(self) -> None:
        ready = self._queue
        append = ready.append
        popleft = ready.popleft
        heap = self.timers.heap
        fire = self.timers.fire
        look = self.look
        while True:
            if ready:
                self.turns += 1
                append(END)
                # iter() pops in C: no signal handler can run between the pop and the switch.
                for self._item in iter(popleft, END):
                    self._item.switch()
            if ready and self._rounds and not self.hurry:
                self._rounds -= 1
                if heap and heap[0][0] <= _monotonic():
                    fire()
                continue
            self._rounds = ROUNDS
            hurry, self.hurry = self.hurry, False
            if self._looked:
                # Just now, by the greenlet that left (`_next_round`).
                self._looked = False
            elif hurry:
                self.news_first(look)
            else:
                look()
            if not ready:
                self._sleep()

    def look(self) -> None:
        """Make ready what is due and what the kernel reports, without blocking."""
        timers = self.timers
        if timers.heap and timers.heap[0][0] <= _monotonic():
            timers.fire()
        if self.users and not self.in_loop:
            self.in_loop = True
            try:
                self.loop.turn()
            finally:
                self.in_loop = False
        self.poll()

    def news_first(self, look: Callable[[], None]) -> None:
        """Look by ``look()``, and put what that has made ready before the others: they compute.

        Behind a slice of each of them, who waits for the network would lose two turns with every round trip
        (beside four that compute 155 ms of computing, instead of 23).
        """
        ready = self._queue
        before = len(ready)
        look()
        news = len(ready) - before
        if 0 < news < len(ready):
            ready.rotate(news)

    def poll(self) -> None:
        """Make ready what the kernel reports, without blocking."""
        append = self.ready.append
        known = self.descriptors.by_fd
        taking = self.taking
        if taking is not None:
            # A finaliser or a signal handler waits on top of who has taken events and told nobody yet.
            self.taking = None
            self.descriptors.report_all()
            append(taking)
        self.taking = self.pair
        try:
            found = self.descriptors.queue.poll(0, _BATCH)
            while self.taking is None:
                # Others have looked meanwhile, on top of this, and may have used up what has been found.
                self.taking = self.pair
                self.descriptors.report_all()
                found = self.descriptors.queue.poll(0, _BATCH)
            for fd, events in found:
                try:
                    descriptor = known[fd]
                except KeyError:
                    continue
                if events & READ_EVENTS:
                    side = descriptor.read
                    side.drained = False
                    waiter = side.waiter
                    # `Side.fire`, written out for the one case that counts: a single waiter.
                    if waiter is not None and side.others is None:
                        # In this order: after a call others may run (see `Side.due`).
                        side.waiter = None
                        append(waiter)
                    else:
                        side.fire()
                    if events & EAGER_EVENTS:
                        side.eager = True
                elif events & EAGER_EVENTS:
                    descriptor.read.eager = True
                    descriptor.read.fire()
                if events & _WRITERS_EVENTS:
                    descriptor.write.fire()
        except BaseException:
            # A signal handler has raised, and what the kernel has reported is lost: let everybody look again.
            self.taking = None
            self.descriptors.wake_all()
            self.ready.append(self.pair)
            raise
        self.taking = None

    def _sleep(self) -> None:
        self.sleeping = True
        try:
            if self._queue or (invitations and invite(self)):  # type: ignore[arg-type]
                return
            deadline = self.timers.next()
            if deadline is None and not self._diagnosed:
                self._diagnose()
            if self.in_loop:
                # A finaliser inside libuv blocks: libuv cannot be entered twice, the kernel queue can.
                self.descriptors.block(None if deadline is None else deadline - _monotonic())
                return
            self.in_loop = True
            try:
                self.loop.sleep(deadline)
            finally:
                self.in_loop = False
        finally:
            self.sleeping = False
            if self.on_wake is not None:
                self.on_wake()

    def expecting(self) -> bool:
        """Whether anything but a signal or another OS thread may still wake somebody here."""
        return bool(
            self.timers.next() is not None
            or self.users
            or self.lent
            or self.descriptors.waiting(besides=self.pair)
        )

    def _diagnose(self) -> None:
        """Tell the log, once, when there is nothing left that could wake anybody but a signal."""
        if self.expecting():
            return
        self._diagnosed = True
        logger = logging.getLogger("greenify")
        if logger.isEnabledFor(logging.INFO):
            from greenify.core.stacks import describe

            logger.info(
                "nothing is left to wait for: only a signal or another OS thread can wake this one.\n%s",
                describe(self),  # type: ignore[arg-type]
            )
