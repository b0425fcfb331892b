"""Time slices: a thread that computes without ever waiting lets the others run, too.

Greenlets switch where they wait.  With real threads a loop such as ``while not done: pass`` is interrupted by
the interpreter every few milliseconds, and programs rely on it.  Here a timer of the kernel that runs only
while the process computes (ITIMER_VIRTUAL: nothing ticks while it is idle) sends a signal; its handler looks
whether the same greenlet has had the interpreter since the last tick, and if so sends it to the end of the
ready queue.  Python runs the handler between two instructions, where a real thread could be interrupted too.

Who waits in C again and again does not compute, and gets no tick: `ticker` notices that by the wall clock.

It is armed by the first green thread and disarmed when there is none.  It is given up for good as soon as the
program uses that signal or that timer itself.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import operator
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greenify.core import registry as _registry
from greenify.core import ticker as _ticker

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = [
    "BYTE",
    "SIGNAL",
    "TIMER",
    "allow",
    "arm",
    "armed",
    "disarm",
    "forked",
    "give_up",
    "held",
    "is_preempted",
    "may_step_aside",
    "on_stuck",
    "on_tick",
    "sits_in_c",
]

SIGNAL: int = signal.SIGVTALRM
TIMER: int = signal.ITIMER_VIRTUAL
BYTE = bytes((SIGNAL,))

# Two ticks of this many seconds of computing make a slice; it is CPython's own switch interval.  Every
# tick costs about 5 us.
_TICK = 0.005

# How far up the stack our own code is looked for.
_DEPTH = 40

# How many frames of a switch there may be above `on_tick`.
_ASIDE = 5

# Modules of ours in which a thread's own code runs: everything above them is the user's.
_BOTTOM = (
    "greenify.green._threads.green_thread.",
    "greenify.green._threads.threading.",
    "greenify.task.",
    "greenify.futures.",
    "greenify.loop_access.",
    "greenify._launcher.",
    "greenify.integrations.gunicorn.savings.",
    "greenify.integrations.gunicorn.worker.",
    "greenify.integrations.celery.calling.",
)

# Modules of ours that call the original, or a method of the user's, with nothing in hand but a lock: what
# runs above them is theirs.
_HAND_ON = ("greenify.green._threads.queue_methods",)

_setitimer = signal.setitimer
_native_signal = signal.signal
_getsignal = signal.getsignal

allowed = False
preemptible = (
    False  # there may be green threads, which expect to be interrupted; even without a timer for it
)
armed = False
_holders = 0
_last: tuple[int, object] = (0, None)


_interrupt_main: Any = _thread.interrupt_main

#: Called on the ticker's native thread, as ``function(hub)``, while one green thread has had the OS thread
#: for tenths of a second.
on_stuck: list[Callable[[Hub], None]] = []

# After how many looks at the same round that is.
_STUCK = 10

_hub: Hub | None = None  # the main thread's
_overdue = -1  # the round of the ready queue that has taken for long by the wall clock


def allow(yes: bool) -> None:
    """Let green threads have time slices from now on, or no longer."""
    global allowed, preemptible
    allowed = preemptible = yes
    if not yes:
        disarm()
        if _getsignal(SIGNAL) is on_tick and _registry.is_main_thread():
            _native_signal(SIGNAL, signal.SIG_DFL)


def arm() -> None:
    """Start to tick, if that is allowed and nobody else uses the signal.  For the main OS thread's hub."""
    global armed
    if armed or not allowed or not _registry.is_main_thread():
        return
    handler = _getsignal(SIGNAL)
    if handler is not on_tick:
        if handler != signal.SIG_DFL:
            return
        _native_signal(SIGNAL, on_tick)
        # Calls of C libraries that the tick interrupts are resumed by the kernel.
        signal.siginterrupt(SIGNAL, False)
    _setitimer(TIMER, _TICK, _TICK)
    armed = True
    if not _hooked:
        _hook()
    _start_ticker()


class _ByWallClock:
    """Notices who has the interpreter for long without computing: on the ticker's thread."""

    tick = _ticker.TICK
    wakes = None
    _looks = 0

    def look(self, turns: int, still: bool, due: float) -> None:
        # The handler runs in the main thread as if the signal had come, and no system call is interrupted.
        global _overdue
        if still and armed:
            _overdue = turns
            _interrupt_main(SIGNAL)
        self._looks = self._looks + 1 if still else 0
        if still and not self._looks % _STUCK and _hub is not None:
            for function in on_stuck:
                function(_hub)

    def asleep(self) -> None:
        pass

    def idle(self) -> None:
        # There are no green threads left.
        hub = _hub
        disarm()
        if hub is not None and hub.tasks:
            hub.call_from_thread(arm)  # one that has just come relies on it


_by_wall_clock = _ByWallClock()


def _start_ticker() -> None:
    global _hub
    _hub = hub = _registry.current_hub()
    if hub is not None:
        try:
            _ticker.attach(hub, _by_wall_clock)
        except RuntimeError:
            pass  # there is no thread to be had: slices come by processor time alone


def disarm() -> None:
    """Stop to tick: also before an exec, which keeps timers and forgets handlers."""
    global armed
    if armed:
        armed = False
        _setitimer(TIMER, 0.0)
        if _hub is not None:
            _ticker.detach(_hub, _by_wall_clock)


_after_fork: list[int] = []


def _after_in_parent() -> None:
    # Who only waits in C code computes next to nothing, and meanwhile nobody looks by the wall clock.
    _after_fork[:] = [SIGNAL] if armed else []


_hooked = not _ticker.COUNTS_LATE


def _hook() -> None:
    global _hooked
    _hooked = True
    if sys.version_info >= (3, 13):
        os.register_at_fork(after_in_parent=_after_in_parent)
        # One that is all in C, and the last one of ours: so the handler runs when `os.fork` has returned.
        os.register_at_fork(
            after_in_parent=functools.partial(
                functools.reduce, operator.call, _after_fork, _interrupt_main
            )
        )


@contextmanager
def held() -> Iterator[None]:
    """Let no slice end in the block.  It must not wait."""
    global _holders
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1


def give_up() -> None:
    """The program wants the signal or the timer for itself."""
    global preemptible
    if allowed:
        allow(False)
        preemptible = True


def on_tick(signum: int, frame: FrameType | None) -> None:
    """The handler: end the slice of a greenlet that has had the interpreter for a whole tick."""
    global _last
    hub = _registry.current_hub()
    if hub is None or not armed or _holders:
        return
    if not hub.tasks:
        disarm()
        return
    _ticker.restart()  # if a fork has stopped it
    # Rounds are long: the kernel queue shall not wait for several of them.
    hub.hurry = True
    g = getcurrent()
    now = (hub.turns, g)
    if now != _last:
        _last = now
        if hub.turns != _overdue:
            return
    if may_step_aside(hub, frame):
        hub.step_aside()


def may_step_aside(hub: Hub, frame: FrameType | None) -> bool:
    """Whether a signal handler that has interrupted `frame` may let the others run (`Hub.pause`).

    What it has interrupted may be a call into C code, which goes on when its greenlet does.
    """
    g = getcurrent()
    if not preemptible or _holders or g is hub.greenlet:
        return False
    if hub.guests and (hub.is_guest(g) or (g.parent is not None and hub.is_guest(g.parent))):
        # Programs of another scheduler do not expect to be interrupted.
        return False
    return not _ours(frame)


def sits_in_c(hub: Hub) -> bool:
    """Whether who runs on `hub` has been in C code since its last slice should have ended.

    For a signal handler.  Whoever runs code of Python is made to step aside then.
    """
    return armed and hub.turns == _overdue


def is_preempted(frame: FrameType | None) -> bool:
    """Whether a greenlet that is suspended in `frame` computes, and its slice has ended."""
    depth = _ASIDE
    while frame is not None and depth:
        if frame.f_code is on_tick.__code__:
            return True
        frame = frame.f_back
        depth -= 1
    return False


def _ours(frame: FrameType | None) -> bool:
    """Whether code of greenify, which expects no switch, is being run."""
    depth = _DEPTH
    while frame is not None and depth:
        name: Any = frame.f_globals.get("__name__")
        if isinstance(name, str) and name.startswith("greenify."):
            if name in _HAND_ON and depth != _DEPTH:
                return False
            return not (name + ".").startswith(_BOTTOM)
        if depth == _DEPTH and name == "importlib._bootstrap":
            # It holds the interpreter's import lock, which takes all greenlets for one thread.
            return True
        frame = frame.f_back
        depth -= 1
    return False


def forked() -> None:
    """In the child: neither timers nor threads are inherited."""
    global armed, _hub
    armed = False
    _hub = None
    _ticker.forget_all()


# Handlers and modules are taken apart at the interpreter's end.
atexit.register(allow, False)
