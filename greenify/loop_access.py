"""Loop access: callbacks, timers, descriptors and signals of the hub, for those who integrate other things.

Callbacks run in the hub's own greenlet, one after the other.  One that has to wait should `spawn` a task: if
it waits itself, the tasks run on top of it, and it goes on when they let it.  An error in a callback is
logged; what is no `Exception` (KeyboardInterrupt) goes to the main greenlet.
"""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from greenlet import getcurrent

from greenify import core
from greenify.core import registry as _registry
from greenify.core.clock import monotonic as _monotonic
from greenify.core.timers import Entry
from greenify.errors import HubError, TaskExit
from greenify.task import Task

__all__ = [
    "Handle",
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "call_at",
    "call_from_thread",
    "call_later",
    "call_soon",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "run",
    "stop",
]


class HasFileno(Protocol):
    """What has a descriptor: a socket, a file."""

    def fileno(self) -> int: ...


class Handle:
    """A call that is to come.  Made by `call_soon` and its kin."""

    __slots__ = ("_args", "_entry", "_function", "_hub")

    def __init__(
        self, hub: core.Hub, function: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called")
        self._hub = hub
        self._function: Callable[..., object] | None = function
        self._args = args
        self._entry: Entry | None = None

    def __repr__(self) -> str:
        what = "no call" if self._function is None else repr(self._function)
        return f"<Handle of {what} at {id(self):#x}>"

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._function is not None

    def cancel(self) -> None:
        """Take the call back, if it has not begun; else this does nothing.

        Any OS thread may cancel calls of `call_soon` and `call_from_thread`; those of `call_later` and
        `call_at` only the one that has asked for them.
        """
        self._function = None
        self._args = ()
        entry, self._entry = self._entry, None
        if entry is not None:
            self._hub.timers.cancel(entry)

    def due(self) -> None:
        """Called by the hub when the time has come."""
        self._entry = None
        self._hub.call_soon(self._call)

    def _call(self) -> None:
        function, args = self._function, self._args
        self._function, self._args = None, ()
        if function is not None:
            function(*args)


def call_soon(function: Callable[..., object], *args: Any) -> Handle:
    """Call ``function(*args)`` on this OS thread's hub, as soon as the hub has its turn.

    Calls come in the order in which they were asked for.  Any thread may call it; one that has no hub yet
    gets one, and has to wait with greenify for the call to happen.

    Returns:
        A `Handle`, with which the call can be cancelled.

    Raises:
        TypeError: `function` cannot be called.
    """
    return _soon(core.get_hub(), function, args)


def call_from_thread(function: Callable[..., object], *args: Any) -> Handle:
    """Call ``function(*args)`` on the main thread's hub, from any OS thread; wakes that hub if it sleeps.

    Also from signal handlers and finalisers.

    Returns:
        A `Handle`, with which the call can be cancelled.

    Raises:
        HubError: the main thread has not used greenify yet, so nothing there would run the call.
    """
    hub = _registry._home
    if hub is None:
        raise HubError(
            "the main thread has no hub yet: start a task there, or wait with greenify, before this"
        )
    return _soon(hub, function, args)


def _soon(hub: core.Hub, function: Callable[..., object], args: tuple[Any, ...]) -> Handle:
    handle = Handle(hub, function, args)
    hub.call_soon(handle._call)
    return handle


def call_later(delay: float, function: Callable[..., object], *args: Any) -> Handle:
    """Call ``function(*args)`` on this OS thread's hub, `delay` seconds from now; see `call_soon`.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: `delay` is not a number.
    """
    return call_at(_monotonic() + delay, function, *args)


def call_at(when: float, function: Callable[..., object], *args: Any) -> Handle:
    """Call ``function(*args)`` on this OS thread's hub at `when`, in seconds of `time.monotonic`.

    A time that is past means as soon as possible.  See `call_soon`.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: `when` is not a number.
    """
    if when != when:
        raise ValueError("invalid time: NaN (not a number)")
    handle = Handle(core.get_hub(), function, args)
    handle._entry = handle._hub.timers.add(when, handle)
    return handle


class _Watch(Task[None]):
    """Calls a function whenever a descriptor is ready."""

    def __init__(
        self, fd: int, writing: bool, function: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        super().__init__(name=f"{'writer' if writing else 'reader'} of descriptor {fd}")
        self._fd = fd
        self._writing = writing
        self._call = (function, args)
        self._on = True
        self._idle = True

    def run(self) -> None:
        while self._on:
            try:
                core.wait(self._fd, self._writing)
            except OSError as exc:
                if exc.errno != errno.EBADF:
                    raise
                break  # closed
            if not self._on:
                break
            self._idle = False
            function, args = self._call
            try:
                function(*args)
            except Exception:
                logging.getLogger("greenify").exception("error in the callback of %s", self.name)
            self._idle = True
            # It may be ready still: the others shall run, too.
            core.sleep(0)
        self._forget()

    def _forget(self) -> None:
        self._on = False
        hub = core.current_hub()
        if hub is not None:
            watches = _watches.get(hub, {})
            if watches.get((self._fd, self._writing)) is self:
                del watches[self._fd, self._writing]

    def off(self) -> None:
        """Call no more; a call that is under way goes on to its end."""
        self._forget()
        if self._idle and self._greenlet is not getcurrent():
            self.kill(TaskExit)


_watches: WeakKeyDictionary[core.Hub, dict[tuple[int, bool], _Watch]] = WeakKeyDictionary()


def _number(fd: int | HasFileno) -> int:
    number = fd if isinstance(fd, int) else fd.fileno()
    if number < 0:
        raise ValueError(f"{fd!r} is not open")
    return number


def _add(fd: int | HasFileno, writing: bool, function: Any, args: tuple[Any, ...]) -> None:
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called")
    number = _number(fd)
    _remove(number, writing)
    watch = _Watch(number, writing, function, args)
    _watches.setdefault(core.get_hub(), {})[number, writing] = watch
    watch.start()


def _remove(fd: int | HasFileno, writing: bool) -> bool:
    watch = _watches.get(core.get_hub(), {}).get((_number(fd), writing))
    if watch is None:
        return False
    watch.off()
    return True


def add_reader(fd: int | HasFileno, function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)`` whenever `fd` can be read, until `remove_reader` or the descriptor's end.

    The call runs in a task, so that it may wait; it is made again when it has returned, if there is still
    something to read.  There is one reader of a descriptor on each hub: another one takes its place.

    Args:
        fd: a descriptor, or something with the method ``fileno``.  It should be removed before it is closed;
            closed through greenify's sockets or a patched `os.close`, the reader ends by itself.
        function: what is called; its errors are logged, and it goes on being called.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: `fd` is closed.
    """
    _add(fd, False, function, args)


def add_writer(fd: int | HasFileno, function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)`` whenever `fd` can be written to; see `add_reader`."""
    _add(fd, True, function, args)


def remove_reader(fd: int | HasFileno) -> bool:
    """Undo `add_reader` for `fd` on this OS thread's hub; whether there was a reader.

    A call that is under way goes on to its end.
    """
    return _remove(fd, False)


def remove_writer(fd: int | HasFileno) -> bool:
    """Undo `add_writer` for `fd` on this OS thread's hub; whether there was a writer.

    A call that is under way goes on to its end.
    """
    return _remove(fd, True)


_before: dict[int, Any] = {}


def add_signal_handler(signum: int, function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)`` on the main thread's hub when the signal `signum` arrives.

    Unlike a handler given to `signal.signal` it runs between other callbacks, at no other moment.  A second
    one for the same signal takes the first one's place.

    Raises:
        ValueError: it is not called in the main thread, or the signal cannot be caught.
    """
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called")
    hub = core.get_hub()

    def handler(number: int, frame: FrameType | None) -> None:
        hub.call_soon(function, *args)

    before = signal.signal(signum, handler)
    # System calls of C libraries that it interrupts are resumed by the kernel.
    signal.siginterrupt(signum, False)
    _before.setdefault(signum, before)


def remove_signal_handler(signum: int) -> bool:
    """Undo `add_signal_handler` for `signum`: put back the handler from before it; whether there was ours.

    Raises:
        ValueError: it is not called in the main thread.
    """
    try:
        before = _before.pop(signum)
    except KeyError:
        return False
    signal.signal(signum, signal.SIG_DFL if before is None else before)
    return True


_runs: WeakKeyDictionary[core.Hub, list[core.HubWaiter]] = WeakKeyDictionary()


def run() -> None:
    """Let this OS thread's hub run until `stop` is called: the caller waits.

    For programs that have nothing else to do in the calling greenlet.  It may be called again afterwards,
    and by several tasks: `stop` ends the one that was called last.
    """
    hub = core.get_hub()
    waiter = core.HubWaiter(hub)
    runs = _runs.setdefault(hub, [])
    runs.append(waiter)
    try:
        waiter.wait()
    finally:
        if waiter in runs:
            runs.remove(waiter)


def stop() -> None:
    """Let the last `run` on this OS thread's hub return.  (From another one: ``call_from_thread(stop)``.)

    Raises:
        HubError: nobody is in `run`.
    """
    runs = _runs.get(core.get_hub())
    if not runs:
        raise HubError("there is nothing to stop: nobody has called run() on this OS thread's hub")
    runs.pop().wake()
