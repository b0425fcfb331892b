"""Signals: wake the hub when one arrives, and run handlers in the main greenlet.

libuv retries interrupted system calls, so a sleeping loop would starve Python's handlers.  The main
thread's hub therefore gives one end of its pair to `signal.set_wakeup_fd`: the byte that the interpreter's
C handler writes ends the sleep, and Python runs its handlers as soon as it is back in the interpreter.
There is no polling tick.  `pyuv.Signal` is not used: it would replace the handler of the process.

Python runs a handler in whatever greenlet is current.  With threads it runs in the main thread, wherever
that waits; `MainHandler` keeps that promise.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any

from greenlet import getcurrent

from greenify.core import culprits, slices
from greenify.core import registry as _registry
from greenify.core.clock import monotonic as _monotonic
from greenify.core.hub import Hub
from greenify.core.waiters import HubWaiter, Waiter

__all__ = [
    "MainHandler",
    "before_handlers",
    "chain",
    "chained",
    "hold_wakeup_fd",
    "holding",
    "lying",
    "pausing",
    "release_wakeup_fd",
    "repeated",
    "taking",
    "undelivered",
]

_set_wakeup_fd = signal.set_wakeup_fd
_write = os.write
_kill = os.kill
_getpid = os.getpid
_start_native = _thread.start_new_thread
_interrupt_main: Any = _thread.interrupt_main
_holder: Hub | None = None
_user_fd = -1
_user_warns = True

#: Seconds for which a signal may be on its way to the main greenlet; the next one then goes to whoever runs.
PATIENCE = 1.0

# For how many seconds who sat in C code stands back once a handler has raised an exception in the main
# greenlet, which has a traceback to print and things to close; and how often again while it computes.
_HEAD_START = 1.0
_AGAIN = 9

#: Since when, by the monotonic clock, the signals are on their way that the main greenlet has not got yet.
undelivered: dict[int, float] = {}

#: Since when the signals lie there whose handler the interpreter has not begun yet, as far as somebody has
#: looked (`undelivered.py`), and those of them that have come again.  Read and written under `taking`.
lying: dict[int, float] = {}
repeated: set[int] = set()
taking = _thread.RLock()

#: Called in the main greenlet before each handler: what the thread keeps has to be in place for it.
before_handlers: list[Callable[[], None]] = []

#: Who waits for any signal (`signal.pause`); each is woken once, when one has arrived.
pausing: set[Waiter] = set()


def hold_wakeup_fd(hub: Hub) -> None:
    """Make the pair of `hub`, the main thread's, the process's wake-up descriptor."""
    global _holder
    if not _registry.is_main_thread():
        return
    writer = hub.pair.writer
    if writer is None:
        # There is no descriptor left for it: later.
        hub.on_acquired.append(hold_wakeup_fd)
        return
    previous = _set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if _holder is None and previous != _user_fd:
        chain(previous)
    _holder = hub
    hub.on_signals = _arrived


def release_wakeup_fd() -> None:
    """Give the wake-up descriptor back to the user: in a forked child, where our pair is about to go."""
    global _holder
    undelivered.clear()
    lying.clear()
    repeated.clear()
    if _holder is not None:
        _holder = None
        pausing.clear()
        try:
            _set_wakeup_fd(_user_fd, warn_on_full_buffer=_user_warns)
        except (OSError, ValueError):
            # The user has closed his own meanwhile.
            _set_wakeup_fd(-1)


def holding() -> Hub | None:
    """The hub whose pair is the process's wake-up descriptor, if there is one."""
    return _holder


def chained() -> int:
    """The wake-up descriptor that the user has set, or -1."""
    return _user_fd


def chain(fd: int, warn_on_full_buffer: bool = True) -> int:
    """Set the user's wake-up descriptor, which gets every signal number after the hub has; -1 for none.

    Args:
        fd: a non-blocking descriptor.
        warn_on_full_buffer: report it when a number cannot be written because `fd` is full.

    Returns:
        The one set before.
    """
    global _user_fd, _user_warns
    previous, _user_fd = _user_fd, fd
    _user_warns = warn_on_full_buffer
    return previous


def _arrived(numbers: bytes) -> None:
    _forward(numbers)
    # CPython 3.13.0 does not notice signals by itself in a process that was forked by another thread than
    # the main one.  This call makes it look.
    _kill(_getpid(), 0)


def _forward(numbers: bytes) -> None:
    if slices.armed:
        numbers = numbers.replace(slices.BYTE, b"")
        if not numbers:
            return
    _wake_pausing()
    fd = _user_fd
    if fd == -1:
        return
    # One at a time, as the interpreter does.
    for number in numbers:
        try:
            _write(fd, bytes((number,)))
        except OSError as exc:
            if _user_warns or not isinstance(exc, BlockingIOError):
                _report(exc)


def _wake_pausing() -> None:
    while pausing:
        pausing.pop().wake()


def _report(exc: OSError) -> None:
    """What the interpreter says when it cannot write to the wake-up descriptor."""
    stream = sys.stderr
    if stream is not None:
        stream.write("Exception ignored when trying to write to the signal wakeup fd:\n")
    hook = sys.unraisablehook
    if hook is not sys.__unraisablehook__:
        hook(
            SimpleNamespace(
                exc_type=type(exc), exc_value=exc, exc_traceback=None, err_msg=None, object=None
            )
        )
    elif stream is not None:
        # The default hook takes only a C structure that cannot be made from here: print what it prints.
        stream.write(f"{type(exc).__name__}: {exc}\n")


# Code that takes the place of single C functions, which no handler interrupts half-way: a lock that has been
# taken when an exception of a handler leaves `acquire` would never be released.  The queues' methods take
# and release their mutex in the same way.  An exception at a switch would end the following of switches.  A
# handler that waits while a listener is locked for accepting would hold up other processes, and one that
# raises while a socket is collected would leave it open for ever.
_ATOMIC = frozenset(
    {
        "greenify.green._foreign.calls",
        "greenify.green._sockets.accepting",
        "greenify.green._sockets.collected",
        "greenify.green._foreign.sqlite_sleep",
        "greenify.green._foreign.turns",
        "greenify.green._foreign.wait_callbacks",
        "greenify.green._threads.queue_methods",
        "greenify.green._threads.reprs",
        "greenify.green._threads.switches",
        "greenify.inspect.since",
        "greenify.libraries._psycopg2_calls",
        "greenify.libraries.psycopg2",
        "greenify.locks",
        "greenify.queue",
        "greenify.simple_queue",
        "greenify.tokens",
        "greenify.tracing.record",
        "greenify.tracing.recording",
        "greenify.tracing.wakes",
    }
)


def _in_atomic_code(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if name in _ATOMIC:
            return True
        if not isinstance(name, str) or not name.startswith("greenify."):
            return False
        frame = frame.f_back
    return False


def _postpone(signum: int) -> bool:
    """Have the handler of `signum` called once more, as soon as another thread gets the interpreter.

    Returns:
        False if that cannot be done.
    """
    if _user_fd != -1:
        return False  # it would get the number twice
    try:
        _start_native(_interrupt_main, (signum,))
    except RuntimeError:
        return False  # there is no thread to be had
    return True


class MainHandler:
    """A signal handler that runs in the main greenlet, at the place where that waits.

    Args:
        original: the user's handler, called as ``original(signum, frame)``.
    """

    __slots__ = ("original",)

    def __init__(self, original: Callable[[int, FrameType | None], Any]) -> None:
        self.original = original

    def __call__(self, signum: int, frame: FrameType | None) -> Any:
        hub = _registry.current_hub()
        if hub is not None:
            with taking:
                # Written by the interpreter before the handler ran: whoever looks now has to find it there.
                hub.pair.switch()
                lying.pop(signum, None)
                repeated.discard(signum)
            if hub.sleeping:
                hub.interrupt()  # what has been taken may have been to end a sleep that is about to begin
        if _holder is None:
            # Nobody is told of signals by a descriptor.
            _wake_pausing()
        if hub is None or hub.in_main():
            if _in_atomic_code(frame) and _postpone(signum):
                return None
            if hub is not None and hub.interrupts.__class__ is not deque:
                # Held back (`os.system`), and the main greenlet has not come to its wait yet.
                hub.interrupts.append(partial(self._deliver, signum, frame))
                return None
            return self._call(signum, frame)
        now = _monotonic()
        since = undelivered.setdefault(signum, now)
        aside = slices.may_step_aside(hub, frame)
        if not aside and since is not now and now - since >= PATIENCE:
            # Nobody lets the main greenlet run: what keeps it from running gets the signal.
            undelivered[signum] = now
            _report_culprit(hub, signum, now - since, frame)
            return self.original(signum, frame)
        # Two that come before the first is handled are one, as everywhere in Python.
        sitter: HubWaiter | None = None
        if since is now or not hub.interrupts:
            if aside and slices.sits_in_c(hub):
                sitter = HubWaiter(hub)
            hub.interrupt_main(partial(self._deliver, signum, hub.main_frame() or frame, sitter))
        if sitter is not None:
            _stand_back(hub, sitter)
        elif aside:
            # Code in C that looks at signals but goes on waiting (zmq, grpc) would not let main run.
            hub.pause()
        return None

    def _deliver(
        self, signum: int, frame: FrameType | None, sitter: HubWaiter | None = None
    ) -> Any:
        undelivered.pop(signum, None)
        result = self._call(signum, frame)
        if sitter is not None:
            sitter.wake()
        return result

    def _call(self, signum: int, frame: FrameType | None) -> Any:
        for function in before_handlers:
            function()
        return self.original(signum, frame)


def _stand_back(hub: Hub, sitter: HubWaiter) -> None:
    """Wait until the handler has returned in the main greenlet, or what it has raised is dealt with.

    Who sits in C code would take the main greenlet's turn, at the end of its slice or when it waits for
    another thread, and keep it until the next signal.
    """
    for _ in range(1 + _AGAIN):
        woken = sitter.wait(_monotonic() + _HEAD_START)
        if woken or not slices.is_preempted(hub.main_frame()):
            return


def _report_culprit(hub: Hub, signum: int, waited: float, frame: FrameType | None) -> None:
    """Say on standard error who keeps a signal from the main thread."""
    stream = sys.stderr
    if stream is None:
        return
    g = getcurrent()
    who = culprits.who(hub, g)
    if g is hub.greenlet:
        who += ", which has to end first,"
    stream.write(
        f"greenify: {culprits.name_of(signum)} has not reached the main thread for {waited:.1f} s, because "
        f"{who} does not wait cooperatively here, and is interrupted instead:\n{culprits.stack(frame)}"
    )


_registry.on_new_hub(hold_wakeup_fd)
