"""gevent's loop on greenify's hub: the module that gevent sees as its core.

One iteration is, as in libev: fork watchers, callbacks and prepare watchers; then the kernel is looked at, or
the thread sleeps if nothing is left to do; then timers, descriptors and what was sent from elsewhere, those
with the higher priority first; check watchers; idle watchers, if nothing else has happened.

The thread sleeps in libuv, together with greenify's hub of the same OS thread (`greenify/core/guests.py`).
"""

from __future__ import annotations

import os
import select
import sys
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from gevent import getswitchinterval
from gevent._interfaces import ILoop
from gevent.exceptions import HubDestroyed
from greenlet import getcurrent
from zope.interface import implementer

from greenify import core
from greenify._version import __version__
from greenify.core.guests import Guest
from greenify.core.loop import libuv_version
from greenify.core.timers import Timers
from greenify.integrations.gevent import io as _io
from greenify.integrations.gevent import signals as _signals
from greenify.integrations.gevent import stat as _stat
from greenify.integrations.gevent import watchers as _watchers
from greenify.integrations.gevent.callbacks import callback
from greenify.integrations.gevent.names import (
    BACKENDS,
    EVENTS,
    MASKS,
    MAXPRI,
    MINPRI,
    NONE,
    READ,
    READWRITE,
    REVENTS,
    WRITE,
    backend_flags,
    events_to_str,
)

__all__ = [
    "EVENTS",
    "MAXPRI",
    "MINPRI",
    "NONE",
    "READ",
    "READWRITE",
    "WRITE",
    "callback",
    "get_header_version",
    "get_version",
    "loop",
    "recommended_backends",
    "supported_backends",
    "time",
]

_monotonic = time.monotonic
_events_to_str = events_to_str
_make_queue = select.epoll
_print_exception = traceback.print_exception

# How many descriptors one look at the kernel reports at most; the rest is reported by the next look.
_BATCH = 512

# How many callbacks run before the clock is looked at: together they must not keep input waiting for longer
# than the interpreter's switch interval.
_CALLBACKS = 50

# How many iterations of a busy loop the hub of the same thread waits for a look at its kernel queue.
_PATIENCE = 16


def get_version() -> str:
    """What this loop is made of."""
    return f"greenify-{__version__} libuv-{libuv_version}"


get_header_version = get_version


def supported_backends() -> list[str]:
    """How descriptors are watched."""
    return ["epoll"]


recommended_backends = supported_backends


@implementer(ILoop)
class loop:
    """One event loop for gevent.  For one OS thread at a time; the methods that others may call say so.

    Args:
        flags: what to ask of libev; checked and without effect.
        default: the process's default loop, the one with child watchers.  There is one: asking for it again
            returns the same object until that is destroyed.
    """

    MAXPRI = MAXPRI
    MINPRI = MINPRI
    CALLBACK_CHECK_COUNT = _CALLBACKS

    #: Timers are not rounded; what remains is the kernel's slack.
    approx_timer_resolution = 0.00005

    #: Gets what callbacks raise: an object with a method ``handle_error`` (gevent's hub), or a function.
    error_handler: Any = None

    WatcherType = _watchers.watcher
    starting_timer_may_update_loop_time = True

    _the_default: loop | None = None

    def __new__(cls, flags: Any = None, default: bool | None = None) -> loop:
        known = cls._the_default
        if default is not False and known is not None and not known._destroyed:
            return known
        return super().__new__(cls)

    def __init__(
        self, flags: int | str | Iterable[str] | None = None, default: bool | None = None
    ) -> None:
        self.origflags_int = backend_flags(flags)
        if self is type(self)._the_default:
            return
        self._default = default is not False
        self._destroyed = False
        self._callbacks: deque[callback] = deque()
        self._fds: dict[int, _io.Watched] = {}
        self._always: dict[int, _io.Watched] = {}  # regular files, which are always ready
        self._timers = Timers()
        self._now = _monotonic()
        self._kept: set[_watchers.watcher] = set()  # active ones that nobody else refers to
        self._idle: list[_watchers.idle] = []
        self._prepare: list[_watchers.prepare] = []
        self._check: list[_watchers.check] = []
        self._fork: list[_watchers.fork] = []
        self._children = _signals.Children(self)
        self._special = 0  # how many idle, prepare and check watchers and files are active
        self._refs = 0  # how many active watchers keep the loop running
        self._sent: deque[Any] = (
            deque()
        )  # watchers that other threads and signal handlers have sent
        self._happened: deque[Any] = deque()  # watchers that are pending
        self._forked = False
        self._stop = False
        self._depth = 0
        self._iterations = 0
        self._guest: Guest | None = None
        self._pid = os.getpid()
        self._open()
        _loops.add(self)
        if self._default:
            type(self)._the_default = self

    def _open(self) -> None:
        self._queue = _make_queue()
        self._poll = self._queue.poll

    # Descriptors.

    def _watched(self, fd: int) -> _io.Watched:
        watched = self._fds.get(fd)
        if watched is None:
            watched = self._fds[fd] = _io.Watched(fd)
        return watched

    def _register(self, watched: _io.Watched) -> None:
        """Have the kernel report what the started watchers want: for new watchers, and when that grows."""
        fd = watched.fd
        events = watched.wanted() | watched.mask
        mask = MASKS[events]
        known = bool(watched.mask)
        watched.mask = events
        try:
            try:
                if known:
                    self._queue.modify(fd, mask)
                else:
                    self._queue.register(fd, mask)
            except FileNotFoundError:
                # Closed behind our back, and the number belongs to another file now.
                self._queue.register(fd, mask)
            except FileExistsError:
                self._queue.modify(fd, mask)
            if fd in self._always:
                self._forget_file(watched)
        except PermissionError:
            # The kernel does not watch this kind of file: it never blocks.
            watched.mask = 0
            if fd not in self._always:
                self._always[fd] = watched
                self._special += 1
        except OSError:
            watched.mask = 0
            for what in tuple(watched.started):
                what._fail()
        except ValueError:
            # Somebody has closed our kernel queue.
            self._reopen()

    def _unregister(self, watched: _io.Watched) -> None:
        """Have the kernel report nothing any more."""
        if watched.mask:
            watched.mask = 0
            try:
                self._queue.unregister(watched.fd)
            except (OSError, ValueError):
                # Closed already: the kernel has forgotten it.
                pass
        if watched.fd in self._always:
            self._forget_file(watched)

    def _forget_file(self, watched: _io.Watched) -> None:
        if self._always.pop(watched.fd, None) is not None:
            self._special -= 1

    def _reduce(self, watched: _io.Watched) -> None:
        """The kernel has reported what no started watcher wants: have it reported no longer."""
        events = watched.wanted()
        try:
            if events:
                self._queue.modify(watched.fd, MASKS[events])
            else:
                # Hang-ups are reported even to those who ask for nothing.
                self._queue.unregister(watched.fd)
            watched.mask = events
        except OSError:
            # The number is another file's or nobody's, and yet the old one lives on under another number and
            # reports.  The kernel offers no way to get rid of it but a new queue.
            self._reopen()

    def _reopen(self) -> None:
        """Begin with a new kernel queue: after a fork, and when the old one cannot be put right."""
        guest = self._guest
        if guest is not None:
            # Attached again by `run`, whose locals are stale now.
            self._guest = None
            guest.exit()
            if self._pid == os.getpid():
                guest.leave()
        self._close_queue()
        self._open()
        for watched in list(self._fds.values()):
            watched.mask = 0
            if watched.started:
                self._register(watched)

    def _close_queue(self) -> None:
        try:
            self._queue.close()
        except OSError:
            # Somebody else has closed it, by number.
            pass

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

    # What has happened.

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

    # Running.

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
                except BaseException:
                    # A signal handler has raised between two of our instructions.
                    self.handle_error(None, *sys.exc_info())
                    if self._stop or self._destroyed or nowait or once:
                        return
        finally:
            self._depth -= 1
            if guest is not None and guest is self._guest:
                guest.exit()

    def _attach(self, me: Any) -> Guest:
        hub = core.get_hub()
        guest = self._guest
        if guest is None or guest.hub is not hub:
            if guest is not None:
                guest.leave()
            guest = self._guest = Guest(hub, self._queue.fileno())
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
        hub_ready = guest.hub.ready
        patience = _PATIENCE
        while guest is self._guest:
            self._iterations += 1
            if callbacks:
                self._run_callbacks()
            if self._special or self._forked:
                self._before_looking()
            if guest is not self._guest:
                return False
            # More than the mark of the round and the guest itself: see `Guest.switch`.
            if len(hub_ready) > 2 and guest.busy():
                guest.turn()
                if guest is not self._guest:
                    return False
            # Look at the kernel first, in the hope of finding something: half the cost of a sleep.
            found = poll(0, _BATCH)
            patience -= 1
            if not found and not (
                callbacks or happened or sent or nowait or self._stop or self._special
            ):
                if not self._refs and not guest.expecting():
                    return True
                deadline = self._timers.next()
                if deadline is None or deadline > _monotonic():
                    guest.sleep(deadline, self._is_idle)
                    found = poll(0, _BATCH)
                    if not found:
                        patience = 0
            if patience <= 0:
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
                    if watched.mask & events & ~what._events:
                        self._reduce(watched)
                    events &= what._events
                    if events:
                        args = what._args
                        if args and args[0] is EVENTS:
                            args = (events, *args[1:])
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
            if not self._refs and not callbacks and not happened and not guest.expecting():
                return True
        return False

    def _is_idle(self) -> bool:
        return not (self._callbacks or self._sent)

    def _run_callbacks(self) -> None:
        """Run what `run_callback` has left, those included that are left meanwhile, but not for too long."""
        callbacks = self._callbacks
        count = _CALLBACKS
        until = 0.0
        while callbacks:
            entry = callbacks.popleft()
            function = entry.callback
            args = entry.args
            # In this order: no longer pending, and true until it has returned.
            entry.callback = None
            if function is None or args is None:
                continue
            try:
                function(*args)
            except BaseException:
                self.handle_error(entry, *sys.exc_info())
            entry.args = None
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
            for what in self._fork:
                self._feed(what)
        for prepare in self._prepare:
            self._feed(prepare)
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
        for check in self._check:
            self._feed(check)

    def _sort_out(self, found: list[tuple[int, int]]) -> None:
        """Make pending who waits for what the kernel has reported."""
        fds = self._fds
        happened = self._happened
        for fd, events in found:
            watched = fds.get(fd)
            if watched is None:
                # Ours is only what we have registered.
                continue
            events = REVENTS[events & 63]
            wanted = 0
            for what in watched.started:
                own = what._events
                wanted |= own
                own &= events
                if own:
                    if not what._pending:
                        happened.append(what)
                    what._pending |= own
            if watched.mask & events & ~wanted:
                self._reduce(watched)

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
        if what.__class__ is _watchers.async_:
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
        entry = callback(func, args)
        self._callbacks.append(entry)
        return entry

    def run_callback_threadsafe(self, func: Callable[..., object], *args: Any) -> callback:
        """`run_callback` from any OS thread or signal handler: ends the loop's sleep."""
        entry = callback(func, args)
        self._callbacks.append(entry)
        guest = self._guest
        if guest is not None:
            guest.wake()
        return entry

    # Watchers.

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> _io.io:
        """A watcher of a descriptor; see `io.io`."""
        return _io.io(self, fd, events, ref, priority)

    def timer(
        self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> _watchers.timer:
        """A watcher of the clock; see `watchers.timer`."""
        return _watchers.timer(self, after, repeat, ref, priority)

    def signal(self, signum: int, ref: bool = True, priority: int | None = None) -> _signals.signal:
        """A watcher of a signal; see `signals.signal`."""
        return _signals.signal(self, signum, ref, priority)

    def idle(self, ref: bool = True, priority: int | None = None) -> _watchers.idle:
        """A watcher of nothing happening; see `watchers.idle`."""
        return _watchers.idle(self, ref, priority)

    def prepare(self, ref: bool = True, priority: int | None = None) -> _watchers.prepare:
        """A watcher of iterations, before the kernel is looked at."""
        return _watchers.prepare(self, ref, priority)

    def check(self, ref: bool = True, priority: int | None = None) -> _watchers.check:
        """A watcher of iterations, after the kernel has been looked at."""
        return _watchers.check(self, ref, priority)

    def fork(self, ref: bool = True, priority: int | None = None) -> _watchers.fork:
        """A watcher of forks, in the child; see `watchers.fork`."""
        return _watchers.fork(self, ref, priority)

    def async_(self, ref: bool = True, priority: int | None = None) -> _watchers.async_:
        """A watcher that other OS threads can send; see `watchers.async_`."""
        return _watchers.async_(self, ref, priority)

    def child(self, pid: int, trace: int = 0, ref: bool = True) -> _signals.child:
        """A watcher of a child process; see `signals.child`."""
        return _signals.child(self, pid, trace, ref)

    def stat(
        self,
        path: str | bytes | os.PathLike[Any],
        interval: float = 0.0,
        ref: bool = True,
        priority: int | None = None,
    ) -> _stat.stat:
        """A watcher of a path; see `stat.stat`."""
        return _stat.stat(self, path, interval, ref, priority)

    def install_sigchld(self) -> None:
        """Make child watchers work (again): children have to become zombies."""
        self._children.install()

    def reset_sigchld(self) -> None:
        """Leave SIGCHLD to the user, who has just set it to its default or to be ignored."""
        self._children.reset()

    # Life.

    def destroy(self) -> bool | None:
        """Release what the loop holds.  Its watchers and `run` do not work any more.

        Returns:
            True; None if it was destroyed already.
        """
        if self._destroyed:
            return None
        for signum_watcher in [w for w in self._kept if isinstance(w, _signals.signal)]:
            signum_watcher.stop()
        self._children.forked()
        self._destroyed = True
        self._stop = True
        guest, self._guest = self._guest, None
        if guest is not None and self._pid == os.getpid():
            guest.leave()
        self._close_queue()
        self._callbacks.clear()
        self._kept.clear()
        self._fds.clear()
        _loops.discard(self)
        if type(self)._the_default is self:
            type(self)._the_default = None
        return True

    def __del__(self) -> None:
        if not getattr(self, "_destroyed", True):
            self.destroy()

    def reinit(self) -> None:
        """After a fork, in the child: fork watchers are going to happen.

        Everything else has been done by the time the fork returns, in whatever way the process was forked.
        """
        if self._destroyed:
            raise ValueError("operation on destroyed loop")
        self._forked = True

    def _after_fork(self) -> None:
        """In the child of a fork."""
        # The kernel queue is shared with the parent: closed here, never touched.
        self._reopen()
        self._pid = os.getpid()
        self._children.forked()
        self._forked = True

    def ref(self) -> None:
        """Keep the loop running, as an active watcher does."""
        self._refs += 1

    def unref(self) -> None:
        """Undo `ref`."""
        self._refs -= 1

    def verify(self) -> None:
        """Check the books: the watchers that are started on a descriptor are active."""
        for watched in self._fds.values():
            assert all(what.active for what in watched.started), watched.started

    @property
    def ptr(self) -> int | None:
        """Something true while the loop is usable."""
        return None if self._destroyed else id(self)

    @property
    def default(self) -> bool:
        """Whether this is the process's default loop."""
        return self._default and not self._destroyed

    @property
    def iteration(self) -> int:
        """How many iterations there have been."""
        return self._iterations

    @property
    def depth(self) -> int:
        """How many calls of `run` are under way."""
        return self._depth

    @property
    def backend(self) -> str:
        """How descriptors are watched."""
        return "epoll"

    @property
    def backend_int(self) -> int:
        """`backend` as libev's number."""
        return BACKENDS["epoll"]

    @property
    def pendingcnt(self) -> int:
        """How many watchers are pending."""
        return len(self._happened)

    @property
    def activecnt(self) -> int:
        """How many active watchers and callbacks keep the loop running."""
        if self._destroyed:
            raise ValueError("operation on destroyed loop")
        return self._refs + len(self._callbacks)

    def fileno(self) -> int | None:
        """The descriptor of the loop's kernel queue."""
        return None if self._destroyed else self._queue.fileno()

    def debug(self) -> list[str]:
        """What the loop is watching, in words."""
        watching: list[Any] = [what for watched in self._fds.values() for what in watched.started]
        watching += [entry[2] for entry in self._timers.heap if entry[2] is not None]
        watching += [*self._idle, *self._prepare, *self._check, *self._fork, *self._kept]
        return [repr(what) for what in watching]

    def _format(self) -> str:
        if self._destroyed:
            return "destroyed"
        parts = [self.backend]
        if self._default:
            parts.append("default")
        parts.append(f"pending={self.pendingcnt}")
        parts.append(f"ref={self.activecnt}")
        parts.append(f"fileno={self.fileno()}")
        parts.append(f"callbacks={len(self._callbacks)}")
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"


# The name that `async_` had before it became a keyword; gevent still has it.
setattr(loop, "async", loop.async_)

_loops: weakref.WeakSet[loop] = weakref.WeakSet()


def _rank(what: Any) -> int:
    return -int(what._priority)


def _after_fork_in_child() -> None:
    for known in list(_loops):
        known._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
