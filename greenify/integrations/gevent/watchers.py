"""The watchers: objects that call a function in the loop when something has happened.

A watcher goes through three states.  *Active* means that the loop watches for it; *pending* that it has
happened and the function is about to be called in this iteration.  Stopping ends both.  As long as it is
active the loop keeps the watcher alive, for users drop theirs.

An active watcher whose `ref` is true keeps the loop from ending.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.timers import Entry

if TYPE_CHECKING:
    from greenify.integrations.gevent.loop import loop as Loop

__all__ = ["async_", "check", "fork", "idle", "prepare", "timer", "watcher"]


def _not_while_active(what: watcher) -> None:
    if what._active:
        raise AttributeError("not while the watcher is active; stop it first")


class watcher:
    """What all watchers have in common.  For the loop's OS thread, unless a method says otherwise.

    Args:
        loop: where the callback will run.
        ref: whether the watcher, while active, keeps the loop running.
        priority: from -2 to 2; of the watchers that are pending at the same time those with the higher
            number are called first.
    """

    __slots__ = (
        "__weakref__",
        "_active",
        "_args",
        "_callback",
        "_pending",
        "_priority",
        "_ref",
        "loop",
    )

    def __init__(self, loop: Loop, ref: bool = True, priority: int | None = None) -> None:
        self.loop: Any = loop
        self._ref = bool(ref)
        self._priority = priority or 0
        self._callback: Any = None
        self._args: Any = None
        self._active = False
        self._pending = 0  # the events that have happened, or 1

    # How the kinds differ.

    def _arm(self) -> None:
        """Make the loop watch for it."""
        self.loop._kept.add(self)

    def _disarm(self) -> None:
        """Make the loop watch no longer."""
        self.loop._kept.discard(self)

    # The interface.

    def start(self, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` in the loop whenever it happens.

        Raises:
            TypeError: the callback is not callable.
        """
        self._set_out(callback, args)

    def _set_out(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        loop = self._alive()
        self._callback = callback
        self._args = args
        if not self._active:
            self._active = True
            if self._ref:
                loop._refs += 1
            try:
                self._arm()
            except BaseException:
                self._active = False
                self._callback = self._args = None
                if self._ref:
                    loop._refs -= 1
                raise

    def _alive(self) -> Any:
        loop = self.loop
        if loop is None or loop._destroyed:
            raise ValueError("operation on a destroyed loop")
        return loop

    def _expire(self) -> None:
        """It can happen once only, and has: inactive, and still about to call."""
        if self._active:
            self._active = False
            if self._ref:
                self.loop._refs -= 1
            self._disarm()

    def stop(self) -> None:
        """Stop watching and forget the callback.  The watcher can be started again."""
        if self._active:
            self._active = False
            if self._ref:
                self.loop._refs -= 1
            self._disarm()
        self._pending = 0
        self._callback = self._args = None

    def close(self) -> None:
        """Stop for good."""
        self.stop()

    def feed(self, revents: int, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` in the next iteration as if it had happened."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        self._callback = callback
        self._args = args
        self._alive()._feed(self, revents or 1)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def active(self) -> bool:
        """Whether the loop watches for it."""
        return self._active

    @property
    def pending(self) -> bool:
        """Whether it has happened and the callback is about to be called."""
        return bool(self._pending)

    def _set_callback(self, callback: Callable[..., object] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"Expected callable, not {callback!r}")
        self._callback = callback

    # gevent asks before every wait; so the getter is one in C.
    callback = property(
        attrgetter("_callback"),
        _set_callback,
        doc="What is called, or None while the watcher is stopped.",
    )

    @property
    def args(self) -> tuple[Any, ...] | None:
        """The arguments for the callback; None is the same as ()."""
        args: tuple[Any, ...] | None = self._args
        return args

    @args.setter
    def args(self, args: tuple[Any, ...] | None) -> None:
        if args is not None and not isinstance(args, tuple):
            raise TypeError(f"args must be a tuple or None, not {args!r}")
        self._args = args

    @property
    def ref(self) -> bool:
        """Whether the watcher, while active, keeps the loop running."""
        return self._ref

    @ref.setter
    def ref(self, ref: bool) -> None:
        ref = bool(ref)
        if ref is not self._ref:
            self._ref = ref
            if self._active:
                self.loop._refs += 1 if ref else -1

    @property
    def priority(self) -> int:
        """Who is called first of those pending together; it cannot change while the watcher is active."""
        return self._priority

    @priority.setter
    def priority(self, priority: int) -> None:
        _not_while_active(self)
        self._priority = int(priority)

    @property
    def _flags(self) -> int:
        return (4 if not self._ref else 0) | (1 if self._active else 0)

    def _format(self) -> str:
        return ""

    def __repr__(self) -> str:
        parts = [f"<{type(self).__name__} at {id(self):#x}{self._format()}"]
        if self._active:
            parts.append("active")
        if self._pending:
            parts.append("pending")
        if self._callback is not None:
            parts.append(f"callback={self._callback!r}")
        if self._args is not None:
            # The watcher itself may be among them.
            shown = ", ".join("self" if arg is self else repr(arg) for arg in self._args)
            parts.append(f"args=({shown})")
        if self._callback is None and self._args is None:
            parts.append("stopped")
        parts.append(f"ref={self._ref}")
        return " ".join(parts) + ">"


class timer(watcher):
    """Happens `after` seconds after its start, and every `repeat` seconds from then on unless that is 0.

    It never happens early.  One that does not repeat is inactive before its callback runs.
    """

    __slots__ = ("_after", "_entry", "_repeat")

    def __init__(
        self,
        loop: Loop,
        after: float = 0.0,
        repeat: float = 0.0,
        ref: bool = True,
        priority: int | None = None,
    ) -> None:
        if repeat < 0.0:
            raise ValueError(f"repeat must be positive or zero: {repeat!r}")
        # Every time-out of gevent makes, starts and closes one: nothing is called that need not be.
        self.loop = loop
        self._ref = bool(ref)
        self._priority = priority or 0
        self._callback = self._args = None
        self._active = False
        self._pending = 0
        self._after = after
        self._repeat = repeat
        self._entry: Entry | None = None

    def start(self, callback: Callable[..., object], *args: Any, update: bool = True) -> None:
        """Start the time.

        Args:
            callback: called as ``callback(*args)``.
            update: count from now; False counts from the time when the loop last woke.
        """
        loop = self.loop
        if update:
            loop._now = _monotonic()
        if self._active:
            self._set_out(callback, args)
            return
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        if loop._destroyed:
            self._alive()
        self._callback = callback
        self._args = args
        self._active = True
        if self._ref:
            loop._refs += 1
        self._entry = loop._timers.add(loop._now + self._after, self)

    def stop(self) -> None:
        """Take the time back."""
        if self._active:
            self._active = False
            if self._ref:
                self.loop._refs -= 1
            entry = self._entry
            if entry is not None:
                self._entry = None
                self.loop._timers.cancel(entry)
        self._pending = 0
        self._callback = self._args = None

    close = stop

    def again(self, callback: Callable[..., object], *args: Any, update: bool = True) -> None:
        """Start the time over, with `repeat` instead of `after`; stop when that is 0."""
        if update:
            self.loop.update_now()
        if self._active:
            self._disarm()
            self._pending = 0
            self._callback, self._args = callback, args
            if not self._repeat:
                self.stop()
                return
            self._schedule(self.loop._now + self._repeat)
        elif self._repeat:
            after, self._after = self._after, self._repeat
            try:
                self._set_out(callback, args)
            finally:
                self._after = after

    def _schedule(self, deadline: float) -> None:
        self._entry = self.loop._timers.add(deadline, self)

    def _arm(self) -> None:
        self._schedule(self.loop._now + self._after)

    def _disarm(self) -> None:
        entry = self._entry
        if entry is not None:
            self._entry = None
            self.loop._timers.cancel(entry)

    def due(self) -> None:
        """The deadline has passed: the loop's heap says so."""
        entry = self._entry
        loop = self.loop
        self._entry = None
        if self._repeat:
            deadline = (entry[0] if entry is not None else loop._now) + self._repeat
            # Who comes late skips what is past.
            self._schedule(max(deadline, loop._now))
        else:
            self._active = False
            if self._ref:
                loop._refs -= 1
        if not self._pending:
            self._pending = 1
            loop._happened.append(self)

    @property
    def at(self) -> float:
        """When it is going to happen, on the clock of `loop.now`; 0 while inactive."""
        return float(self._entry[0]) if self._entry is not None else 0.0

    def _format(self) -> str:
        return f" after={self._after} repeat={self._repeat}"


class idle(watcher):
    """Happens in every iteration in which nothing else of the same or higher priority has.

    While one is active the loop does not sleep.
    """

    __slots__ = ()

    def _arm(self) -> None:
        self.loop._idle.append(self)
        self.loop._special += 1

    def _disarm(self) -> None:
        self.loop._idle.remove(self)
        self.loop._special -= 1


class prepare(watcher):
    """Happens in every iteration, before the loop looks at the kernel.

    libuv's own prepare handles are not used: they would run within libuv, and gevent's callbacks switch.
    """

    __slots__ = ()

    def _arm(self) -> None:
        self.loop._prepare.append(self)
        self.loop._special += 1

    def _disarm(self) -> None:
        self.loop._prepare.remove(self)
        self.loop._special -= 1


class check(watcher):
    """Happens in every iteration, after the loop has looked at the kernel."""

    __slots__ = ()

    def _arm(self) -> None:
        self.loop._check.append(self)
        self.loop._special += 1

    def _disarm(self) -> None:
        self.loop._check.remove(self)
        self.loop._special -= 1


class fork(watcher):
    """Happens in a child process, in the first iteration after the fork.  libuv knows no such thing."""

    __slots__ = ()

    def _arm(self) -> None:
        self.loop._fork.append(self)

    def _disarm(self) -> None:
        self.loop._fork.remove(self)


class async_(watcher):
    """Happens when somebody calls `send`."""

    __slots__ = ("_sent",)

    def __init__(self, loop: Loop, ref: bool = True, priority: int | None = None) -> None:
        super().__init__(loop, ref, priority)
        self._sent = False

    def send(self) -> None:
        """Make it happen.  Any OS thread, any signal handler; several before the callback runs are one."""
        self._sent = True
        loop = self.loop
        if loop is not None:
            loop._send(self)

    def send_ignoring_arg(self, _ignored: Any) -> None:
        """`send`, callable as ``greenlet.switch(value)`` is: for gevent's ``rawlink``."""
        self.send()

    def stop(self) -> None:
        super().stop()
        self._sent = False

    @property
    def pending(self) -> bool:
        return self._sent or bool(self._pending)
