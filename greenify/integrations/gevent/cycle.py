"""The cycle of a gevent loop.

One iteration is, as in libev: fork watchers, callbacks and prepare watchers; then the kernel is looked at, or
the thread sleeps if nothing is left to do; then timers, descriptors and what was sent from elsewhere, those
with the higher priority first; check watchers; idle watchers, if nothing else has happened.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gevent import getswitchinterval
from gevent.exceptions import HubDestroyed
from greenlet import getcurrent

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.guests import Guest
from greenify.core.timers import Timers
from greenify.integrations.gevent.callbacks import callback
from greenify.integrations.gevent.kernel import KernelQueue
from greenify.integrations.gevent.names import EVENTS, MINPRI, REVENTS
from greenify.integrations.gevent.threads import adopt
from greenify.integrations.gevent.watchers import async_, check, fork, idle, prepare

__all__ = ["Cycle"]

_print_exception = traceback.print_exception

# How many descriptors one look at the kernel reports at most; the rest is reported by the next look.  Room
# for so many comes from the interpreter's own small blocks (512 bytes), which saves a tenth of a look.
_BATCH = 42

# How many callbacks run before the clock is looked at: together they must not keep input waiting for longer
# than the interpreter's switch interval.
_CALLBACKS = 50

# How many iterations of a busy loop, of 10 us or so, the hub of the same thread waits for a look at its
# kernel queue, which costs 1 us.  What is ready in the hub does not wait.
_PATIENCE = 64


class Cycle(KernelQueue):
    """A loop that runs; what it runs is made by `loop.loop`."""

    #: Gets what callbacks raise: an object with a method ``handle_error`` (gevent's hub), or a function.
    error_handler: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: deque[callback] = deque()
        self._happened = deque()
        self._sent: deque[Any] = (
            deque()
        )  # watchers that other threads and signal handlers have sent
        self._timers = Timers()
        self._now = _monotonic()
        self._idle: list[idle] = []
        self._prepare: list[prepare] = []
        self._check: list[check] = []
        self._fork: list[fork] = []
        self._refs = 0  # how many active watchers keep the loop running
        self._forked = False
        self._stop = False
        self._depth = 0
        self._iterations = 0

    def _feed(self, what: Any, revents: int = 1) -> None:
        """Make a watcher pending.  The loop's own OS thread."""
        if not what._pending:
            what._pending = revents
            self._happened.append(what)
        else:
            what._pending |= revents

    def _send(self, what: Any) -> None:
        """Make a watcher pending.  Any OS thread, any signal handler."""
        self._sent.append(what)
        guest = self._guest
        if guest is not None:
            guest.wake()

    def _receive(self) -> None:
        """Take what others have sent."""
        sent = self._sent
        while sent:
            what = sent.popleft()
            if what._active:
                self._feed(what)

    def closing_fd(self, fd: int) -> bool:
        """`fd` is about to be closed: let the watchers that are active on it happen.

        Returns:
            Whether there are any.  Then the caller closes after the next iteration.
        """
        watched = self._fds.get(fd)
        if watched is None or not watched.started:
            return False
        for what in watched.started:
            self._feed(what, what._events)
        return True

    def run(self, nowait: bool = False, once: bool = False) -> None:
        """Run the loop in the current greenlet until no active watcher and no callback is left.

        Args:
            nowait: one iteration, without sleeping.
            once: one iteration, which sleeps until something happens.
        """
        if self._destroyed:
            raise ValueError("operation on destroyed loop")
        self._stop = False
        self._depth += 1
        guest: Guest | None = None
        me = getcurrent()
        try:
            while True:
                # Looked up anew after a fork and after a look into a broken kernel queue.
                if guest is not self._guest or guest is None:
                    guest = self._attach(me)
                try:
                    if self._cycle(guest, nowait, once):
                        return
                except BaseException as exc:
                    if isinstance(exc, (OSError, ValueError)) and self._is_broken():
                        self._reopen()
                        continue
                    # A signal handler has raised between two of our instructions.
                    self.handle_error(None, *sys.exc_info())
                    if self._stop or self._destroyed or nowait or once:
                        return
        finally:
            self._depth -= 1
            if guest is not None and guest is self._guest and guest.greenlet is me:
                guest.exit()

    def _attach(self, me: Any) -> Guest:
        if self._is_broken():
            # libuv must not be shown a descriptor that is not open.
            self._reopen()
        hub = core.get_hub()
        guest = self._guest
        if guest is None or guest.host is not hub:
            if guest is not None:
                # The loop has been run in another thread before; that one still polls the old queue.
                self._reopen()
            guest = self._guest = Guest(hub, self._queue)
            # For gevent.util: not one of the program's greenlets.
            hub.greenlet.greenlet_tree_is_ignored = True  # type: ignore[attr-defined]
        me.greenify_adopt = adopt
        guest.enter(me)
        # Lets the hub begin: from here on it stands in the middle of a round whenever we run.
        guest.turn()
        return guest

    def _cycle(self, guest: Guest, nowait: bool, once: bool) -> bool:
        """Iterate until the loop has come to its end (True) or `guest` is no longer ours (False)."""
        callbacks = self._callbacks
        happened = self._happened
        sent = self._sent
        fds = self._fds
        heap = self._timers.heap
        poll = self._poll
        hub_ready = guest.host.ready
        patience = _PATIENCE
        while True:
            self._iterations += 1
            if callbacks:
                self._run_callbacks()
            if self._special:
                self._before_looking()
            # More than the mark of the round and the guest itself: see `Guest.switch`.
            if len(hub_ready) > 2 and guest.busy():
                guest.turn()
            if guest is not self._guest:
                return False
            # Look at the kernel first, in the hope of finding something: half the cost of a sleep.
            found = poll(0, _BATCH)
            patience -= 1
            if not found and not (
                callbacks
                or happened
                or sent
                or nowait
                or self._stop
                or (self._special and self._restless())
            ):
                if not self._refs and not guest.expecting():
                    return True
                deadline = self._timers.next()
                if deadline is None or deadline > _monotonic():
                    guest.sleep(deadline, self._is_idle)
                    found = poll(0, _BATCH)
                    if not found:
                        patience = 0
            if not patience:
                patience = _PATIENCE
                guest.look()
            if heap:
                now = self._now = _monotonic()
                if heap[0][0] <= now:
                    self._timers.fire()
            if sent:
                self._receive()
            if len(found) == 1 and not happened and not self._special:
                # One descriptor, one watcher: the usual case of a wait.
                fd, events = found[0]
                watched = fds.get(fd)
                if watched is not None and len(watched.started) == 1:
                    what = watched.started[0]
                    events = REVENTS[events & 63]
                    wanted = what._events
                    if watched.mask & events & ~wanted:
                        self._reduce(watched)
                    if events & wanted:
                        args = what._args
                        if args and args[0] is EVENTS:
                            args = (events & wanted, *args[1:])
                        try:
                            what._callback(*args)
                        except BaseException:
                            self.handle_error(what, *sys.exc_info())
                    if once or nowait or self._stop:
                        return True
                    continue
            if found:
                self._sort_out(found)
            if self._special:
                self._after_looking()
            if happened:
                self._call_all()
            if once or nowait or self._stop:
                return True
            if not (self._refs or callbacks or happened or guest.expecting()):
                return True

    def _restless(self) -> bool:
        """Whether there is something to do in every iteration."""
        return bool(
            self._idle or self._forked or any(watched.started for watched in self._always.values())
        )

    def _is_idle(self) -> bool:
        return not (self._callbacks or self._sent)

    def _run_callbacks(self) -> None:
        """Run what `run_callback` has left, those included that are left meanwhile, but not for too long."""
        callbacks = self._callbacks
        count = _CALLBACKS
        until = 0.0
        while callbacks:
            entry = callbacks.popleft()
            if not entry:
                continue
            function, args = entry
            # No longer pending, and true until it has returned.
            entry[0] = None
            try:
                function(*args)
            except BaseException:
                self.handle_error(entry, *sys.exc_info())
            entry.clear()
            count -= 1
            if not count:
                count = _CALLBACKS
                now = _monotonic()
                if not until:
                    until = now + getswitchinterval()
                elif now >= until:
                    return

    def _before_looking(self) -> None:
        if self._forked:
            self._forked = False
            self._special -= 1
            for what in self._fork:
                self._feed(what)
        for before in self._prepare:
            self._feed(before)
        if self._happened:
            self._call_all()

    def _after_looking(self) -> None:
        for watched in self._always.values():
            for what in watched.started:
                self._feed(what, what._events)
        if self._idle:
            busiest = max((what._priority for what in self._happened), default=MINPRI - 1)
            for idle in self._idle:
                if idle._priority > busiest:
                    self._feed(idle)
        for after in self._check:
            self._feed(after)

    def _call_all(self) -> None:
        """Call what is pending, the higher priorities first."""
        happened = self._happened
        if len(happened) > 1 and any(what._priority for what in happened):
            ordered = sorted(happened, key=_rank)
            happened.clear()
            happened.extend(ordered)
        # What becomes pending meanwhile waits for the next iteration.
        for _ in range(len(happened)):
            if not happened:
                return
            what = happened.popleft()
            revents = what._pending
            if not revents:
                # Stopped meanwhile.
                continue
            what._pending = 0
            self._call(what, revents)

    def _call(self, what: Any, revents: int) -> None:
        function = what._callback
        args = what._args
        if function is None:
            return
        if args is None:
            args = ()
        elif args and args[0] is EVENTS:
            args = (revents, *args[1:])
        if what.__class__ is async_:
            what._sent = False
        try:
            function(*args)
        except BaseException:
            self.handle_error(what, *sys.exc_info())
        if not what._active and not what._pending and what._callback is function:
            # It could happen once only, and has.
            what._callback = what._args = None

    def break_(self, how: int | None = None) -> None:
        """Make `run` return after this iteration."""
        self._stop = True

    # Errors.

    def handle_error(
        self,
        context: Any,
        type: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Report what a callback has raised to the `error_handler`, or print it.

        Args:
            context: the watcher or callback; None for what hit the loop itself, which the hub then raises in
                the main greenlet.
        """
        if type is HubDestroyed:
            self._callbacks.clear()
            self.break_()
            return
        handler = self.error_handler
        try:
            if handler is not None:
                # Looked up every time: users replace `Hub.handle_error`.
                getattr(handler, "handle_error", handler)(context, type, value, tb)
            else:
                self._default_handle_error(context, type, value, tb)
        except HubDestroyed:
            self._callbacks.clear()
            self.break_()
        except BaseException:
            # The handler must not raise; the loop goes on.
            self._print_last_error()

    def _print_last_error(self) -> None:
        try:
            traceback.print_exc()
        except BaseException:
            # The standard error itself fails: there is nobody left to tell, and the loop has to go on.
            return

    def _default_handle_error(self, context: Any, type: Any, value: Any, tb: Any) -> None:
        """Without a hub: print, and end the loop."""
        _print_exception(type, value, tb)
        self.break_()

    # Time.

    def now(self) -> float:
        """When the loop last looked at the clock, in seconds of `time.monotonic`."""
        return self._now

    def update_now(self) -> None:
        """Look at the clock."""
        self._now = _monotonic()

    update = update_now

    # Callbacks.

    def run_callback(self, func: Callable[..., object], *args: Any) -> callback:
        """Call ``func(*args)`` in the next iteration, or still in this one.  The loop's own OS thread."""
        entry = callback((func, args))
        self._callbacks.append(entry)
        return entry

    def run_callback_threadsafe(self, func: Callable[..., object], *args: Any) -> callback:
        """`run_callback` from any OS thread or signal handler: ends the loop's sleep."""
        entry = callback((func, args))
        self._callbacks.append(entry)
        guest = self._guest
        if guest is not None:
            guest.wake()
        return entry


def _rank(what: Any) -> int:
    return -int(what._priority)
