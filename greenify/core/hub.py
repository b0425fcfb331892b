"""The hub: one greenlet per OS thread that runs whatever is ready and sleeps on the loop when nothing is.

The ready queue holds anything with a ``switch()`` method, in practice greenlets.  A greenlet that has to
wait leaves itself with whoever will wake it and switches to the hub; waking means appending it to the ready
queue.  Nothing ever switches from a waker straight to the woken.

Three rules make this safe against signals, finalisers and other OS threads at any moment:

1. A wake-up may be spurious.  Every wait loops over a flag of its own, so one ready entry too many is
   harmless, and code that is unsure may always append.
2. ``sleeping`` is set before the hub looks at the ready queue for the last time.  Whoever appends looks at
   ``sleeping`` afterwards and writes a byte to the hub's pair if it is set.  With the interpreter lock
   ordering the two, no wake-up falls between the look and the sleep, and a waker on another OS thread
   costs no system call while the hub is busy.
3. Code that runs in the hub's own greenlet (finalisers, callbacks, signal handlers) may block: it runs the
   same cycle on top of its stack until it is woken (`park`).
"""

from __future__ import annotations

import _thread
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat, starmap
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from greenify.core.bare import BareLoop, BarePair, BareQueue
from greenify.core.clock import monotonic as _monotonic
from greenify.core.cycle import END, ROUNDS, Cycle
from greenify.core.descriptor_set import DescriptorSet
from greenify.core.entries import Call, MainInterrupt
from greenify.core.loop import Loop
from greenify.core.resources import Resources
from greenify.core.timers import Timers
from greenify.core.waiters import HubWaiter
from greenify.core.wakeup import WakeupPipe

__all__ = ["Hub"]

_native_lock = _thread.allocate_lock
_start_native = _thread.start_new_thread
_write = os.write
_get_ident = _thread.get_ident
_get_native_id = _thread.get_native_id


class Hub(Cycle, Resources):
    """The scheduler of one OS thread.  Only `interrupt` and `call_from_thread` may be called from others."""

    def __init__(self) -> None:
        self.ident = _get_ident()
        self.native_id = _get_native_id()
        self.pid = os.getpid()
        #: Whoever wakes appends to it.  A trace puts a recorder of that in its place, for the same queue.
        self.ready: deque[Any] = deque()
        self._queue = self.ready  # what the hub itself takes from and puts back to
        self.timers = Timers()
        #: What sleeps while there are no descriptors to be had; None for a hub that has its own.
        self.bare: BareLoop | None = BareLoop(self)
        self.pair: WakeupPipe | BarePair = BarePair()
        self.loop: Loop | BareLoop = self.bare
        self.descriptors = DescriptorSet(self, BareQueue(self))
        #: The descriptors of this hub and of libuv handles: the program must not close them.
        self.private_fds: set[int] = set()
        #: Called with the hub when it has got descriptors that it was made without.
        self.on_acquired: list[Callable[[Hub], None]] = []
        self.acquire()
        self.tasks: set[greenlet] = set()  # every live greenlet that was started on this hub
        self.spares: list[Any] = []  # suspended greenlets whose work has ended, to be used again
        self.last: HubWaiter | None = None  # who waits for the last task to end
        self.sleeping = False
        self.on_wake: Callable[[], None] | None = None  # called, once, at the end of the sleep
        self.abandoned = False  # this is the hub of a process that we have been forked from
        self.users = 0  # libuv handles of others (streams): the loop has to be turned for them
        self._breath = 0  # `turns` at the last `breathe`
        self.hurry = False  # look at the kernel queue in this round: the last look is some time ago
        self.turns = 0  # rounds of the ready queue so far: whether it goes round (`slices.py`)
        self.guests: list[
            Any
        ] = []  # loops of other schedulers that run in this thread (`guests.py`)
        # What the interpreter's `repr` is showing on this OS thread, and what to call before a switch while
        # that is not empty.  For who tells apart what greenlets show (`green/_threads/reprs.py`).
        self.shown: Sequence[object] = ()
        self.on_shown: Callable[[], object] = tuple
        self.lent = 0  # blocking calls under way on native threads, which will wake this hub
        self.on_signals: Callable[[bytes], None] | None = None
        self.interrupts: deque[Callable[[], None]] = deque()
        # What has hit the hub and is on its way to the main greenlet.
        self.failures: tuple[BaseException, ...] = ()
        self._item: Any = None  # the entry of the ready queue that has been taken last
        self.in_loop = False  # its greenlet is inside of libuv
        self._nested = 0  # how many cycles run on top of the hub's own
        self._wakes = 0  # how many times one of those has been woken
        self._diagnosed = False
        # Who has taken events of which nobody has been told: for others to run, if he cannot go on.
        self.taking: Any = None
        root = getcurrent()
        while root.parent is not None:
            root = root.parent
        self.main = root
        self.main_leaf: greenlet | None = None  # the raw greenlet in which the main greenlet waits
        self.greenlet = greenlet(self._run, root)
        if sys.version_info < (3, 11):
            # This one runs signal handlers at jumps, too: what `next` has taken could be lost.
            self.next = repeat(self.greenlet).__next__  # type: ignore[method-assign,unused-ignore]
        # Takes from the ready queue; the mark is in it whenever a greenlet runs that is not the hub's own.
        self._entries: Iterator[Any] = starmap(self._queue.popleft, repeat(()))
        self._looked = False  # at the kernel queue, and there was nothing
        self._rounds = 0  # how many more rounds may pass before the kernel queue is looked at
        # Lets the hot path tell "a greenlet of this hub" by one attribute.  A fork replaces it.
        root.hub = self  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<Hub of thread {self.ident} with {len(self.tasks)} tasks at {id(self):#x}>"

    def foreign(self) -> bool:
        """Whether the caller runs on another OS thread than this hub."""
        return _get_ident() != self.ident

    def interrupt(self) -> None:
        """End the hub's sleep.  Any OS thread, any signal handler."""
        # Held meanwhile, so that it cannot be closed and its number reused before the write.
        writer = getattr(self.pair, "writer", None)
        if writer is not None:
            try:
                _write(writer.fileno(), b"\0")
            except BlockingIOError:
                # The pipe is full of wake-ups that nobody has read yet: one of them does for this one.
                pass
            return
        bare = self.bare
        if bare is not None:
            bare.wake()

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` in the hub's greenlet in the next round."""
        self.ready.append(Call(function, *args))
        if self.sleeping:
            self.interrupt()

    call_from_thread = call_soon

    def start(self, task: greenlet) -> None:
        """Put a new greenlet, whose parent is this hub's, on the ready queue.  Any OS thread."""
        self.tasks.add(task)
        self.ready.append(task)
        if self.sleeping:
            self.interrupt()

    def finished(self, task: greenlet) -> None:
        """A greenlet that `start` was given has come to its end."""
        self.tasks.discard(task)
        if self.last is not None and not self.tasks:
            self.last.wake()

    def next(self) -> greenlet:
        """Take the greenlet that the current one, which is not the hub's own, has to switch to at once.

        ``hub.next().switch()`` leaves the current greenlet until something switches to it, and is True if
        there are `interrupts` to run.  Two calls, for a frame less: from CPython 3.12 on every switch makes
        an object of each frame of the greenlet.

        Goes to the next greenlet of the round directly: a way by the hub's greenlet costs a switch more
        (`time.sleep(0)` in two threads: 0.81 instead of 0.70 us).
        """
        ready = self._queue
        item: Any = None
        if self.shown:
            self.on_shown()
        try:
            # A `for` pops in C, and there is no call before the item is switched to or put back, nor at the
            # return from here: no signal handler can run in between.
            for item in self._entries:
                # A greenlet is true from its first switch to its end.  The first one has to come from the
                # hub, or the C stacks of threads that start one another would pile up until the memory for
                # them ends.  Only greenlets can be dead; other things on the queue may know a hub, too.
                if item.hub is self and not item.dead and item:
                    return item  # type: ignore[no-any-return]
                if item is END and ready and self._rounds and not (self.hurry or self.timers.heap):
                    # Nothing else to look at: begin another round here.
                    ready.append(item)
                    self._rounds -= 1
                    self.turns += 1
                    continue
                break
        except (AttributeError, IndexError):
            pass
        if item is END:
            ready.append(item)
            return self._next_round()
        if item is not None:
            ready.appendleft(item)
        return self.greenlet

    def next_by_hub(self) -> greenlet:
        """`next` where that takes nothing (up to CPython 3.10), for who wants to know of what is shown."""
        if self.shown:
            self.on_shown()
        return self.greenlet

    def _next_round(self) -> greenlet:
        # Signal handlers and finalisers may run and wait in here, below a wait that has looked at its flag.
        ready = self._queue
        heap = self.timers.heap
        if heap and heap[0][0] <= _monotonic():
            # What is due is called in the hub.
            ready.rotate()
            return self.greenlet
        if self._rounds and not self.hurry and ready[0] is not END:
            self._rounds -= 1
        elif self.users or self.guests:
            ready.rotate()
            return self.greenlet
        else:
            # A look at the kernel queue by way of the hub costs 0.5 us more if something has come.
            self._rounds = ROUNDS
            if self.hurry:
                self.hurry = False
                self.news_first(self.poll)
            else:
                self.poll()
            if ready[0] is END:
                if len(ready) == 1:
                    self._looked = True
                    return self.greenlet
                ready.rotate(-1)
        self.turns += 1
        return self.next()

    def park(self) -> None:
        """Wait until something switches to the current greenlet.  May return for no reason.

        For any greenlet of this OS thread, the hub's own and raw ones included.
        """
        g = getcurrent()
        if g is self.greenlet:
            self._run_nested()
        elif getattr(g, "hub", None) is self:
            if self.next().switch():
                self.run_interrupts()
        else:
            # A raw greenlet: while it waits, the thread it runs in waits.  If that is the main
            # thread, signal handlers have to run here.
            root: Any = g
            while not (
                root.parent is None
                or root is self.greenlet
                or getattr(root, "hub", None) is self
                or (self.guests and self.is_guest(root))
            ):
                root = root.parent
            root.inner = (
                True  # its greenlet must not be another thread's afterwards (`GreenThread`)
            )
            outer = self.main_leaf
            if root is self.main:
                self.main_leaf = g
            try:
                if self.next().switch():
                    self.run_interrupts()
            finally:
                self.main_leaf = outer

    def is_guest(self, g: greenlet) -> bool:
        """Whether a guest's loop runs in `g`: its children then are not the main greenlet's."""
        return any(guest.greenlet is g for guest in self.guests)

    def main_waits_elsewhere(self) -> bool:
        """Whether the main greenlet waits in a guest, where nobody may switch to it but the guest."""
        frame = self.main.gr_frame
        return (
            bool(self.guests)
            and self.main_leaf is None
            and frame is not None
            and not str(frame.f_globals.get("__name__")).startswith("greenify.core.")
        )

    def pause(self) -> None:
        """Let everything that is ready run once, then come back."""
        g = getcurrent()
        if g is self.greenlet:
            waiter = HubWaiter(self)
            self.call_soon(waiter.wake)
            waiter.wait()
            return
        # Not by way of a trace's recorder: the switch itself shows it.
        self._queue.append(g)
        if getattr(g, "hub", None) is not self:
            self.park()
        elif self.next().switch():
            self.run_interrupts()

    def step_aside(self) -> None:
        """As `pause`, for who has computed for a whole slice: what the kernel has to report goes first."""
        if not (self.users or self.guests or self.interrupts):
            self.news_first(self.poll)
        self.pause()

    def breathe(self) -> bool:
        """Let the others run unless they have since the last call: for calls that need not wait.

        A loop around something that is always ready, or never, would keep everybody else waiting.

        Returns:
            Whether the others have run.
        """
        pausing = self._breath == self.turns
        if pausing:
            self.pause()
        self._breath = self.turns
        return pausing

    # Signals: see signals.py for who fills `interrupts`.

    def main_frame(self) -> FrameType | None:
        """The frame in which the main greenlet waits, or None while it runs."""
        frame: FrameType | None = (self.main_leaf or self.main).gr_frame
        return frame

    def interrupt_main(self, function: Callable[[], None]) -> None:
        """Have the main greenlet call `function` at the place where it waits, before it waits on."""
        self.interrupts.append(function)
        # First: if the main greenlet is ready too, it would otherwise run on without it to its next wait.
        self.ready.appendleft(MainInterrupt(self))
        if self.sleeping:
            self.interrupt()

    def run_interrupts(self) -> None:
        """Run what `interrupt_main` has left, in the main greenlet."""
        while self.interrupts:
            self.interrupts.popleft()()

    def in_main(self) -> bool:
        """Whether the current greenlet is the main one, or a raw greenlet that runs inside it."""
        g: Any = getcurrent()
        while g is not None:
            if g is self.main:
                return True
            if g is self.greenlet or getattr(g, "hub", None) is self:
                return False
            g = g.parent
        return False
