"""The second Ctrl-C ends what C code keeps from hearing of the first one.

The interpreter's C handler only takes note of a signal; Python's own runs when the main OS thread comes back
into the interpreter.  C code that takes up its system call again after EINTR, or computes without the
interpreter lock, does not come back.  With threads it has an OS thread of its own, and the main thread is
interrupted beside it.  Here it sits in the main OS thread, and nobody could be.

The native thread behind the time slices sees that the hub stands still, and in the wake-up pipe what has
come.  A second SIGINT or SIGTERM, whose first one has been lying there for `signals.PATIENCE`, ends the
process as the signal would without a handler, with a message that names who sits there.  If that is the main
thread itself, nothing happens, as in plain Python.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from greenify.core import culprits, signals, slices
from greenify.core.clock import monotonic as _monotonic

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["look"]

_write = os.write
_exit = os._exit
_mask = signal.pthread_sigmask
_raise_signal = signal.raise_signal
_getsignal = signal.getsignal
_current_frames = sys._current_frames

# Those that ask a program to end.
_ENDING = (signal.SIGINT, signal.SIGTERM)


def look(hub: Hub) -> None:
    """See which signals lie there, and end the process if one has come in vain and again.

    On the native thread behind the time slices, while `hub`, the main thread's, stands still.
    """
    if signals.holding() is not hub:
        return
    with signals.taking:
        # C code that does look at signals has had the time since the last look to call their handlers.
        repeated = tuple(signals.repeated)
        taken = hub.pair.take()
        for number in taken:
            if number in _ENDING:
                _note(number)
    if taken:
        # It may be about to sleep.
        hub.interrupt()
    numbers = taken.replace(b"\0", b"")
    if numbers and hub.on_signals is not None:
        hub.on_signals(numbers)
    for number in repeated:
        with signals.taking:
            in_vain = number in signals.repeated and _is_in_vain(hub, number)
        if in_vain:
            _end(hub, number)


def _note(number: int) -> None:
    known = number in signals.lying or number in signals.undelivered
    signals.lying.setdefault(number, _monotonic())
    if known and _waited(number) >= signals.PATIENCE:
        signals.repeated.add(number)


def _waited(number: int) -> float:
    now = _monotonic()
    return now - min(signals.lying.get(number, now), signals.undelivered.get(number, now))


def _is_in_vain(hub: Hub, number: int) -> bool:
    """Whether `number` has a handler that has to run in the main thread, and another thread runs."""
    if not isinstance(_getsignal(number), signals.MainHandler):
        return False
    frame = hub.main_frame()
    # What waits without the engine (a raw greenlet has been switched to by hand) is busy itself.
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("greenify.")


def _end(hub: Hub, number: int) -> NoReturn:
    try:
        _write(2, _message(hub, number).encode(errors="backslashreplace"))
    finally:
        try:
            import ctypes

            # `signal.signal` is for the main thread.
            set_handler = ctypes.pythonapi.PyOS_setsig
            set_handler.argtypes = [ctypes.c_int, ctypes.c_void_p]
            set_handler.restype = ctypes.c_void_p
            set_handler(number, None)
            _mask(signal.SIG_UNBLOCK, {number})
            _raise_signal(number)
        finally:
            _exit(128 + number)


def _message(hub: Hub, number: int) -> str:
    frame = _current_frames().get(hub.ident)
    function = culprits.called(frame)
    who = culprits.who(hub, culprits.running(hub))
    return (
        f"greenify: {culprits.name_of(number)} has come again, and the first has not reached the main thread "
        f"for {_waited(number):.1f} s, because {who} is in C code that does not look at "
        f"signals{function and f', {function}()'}. The process ends:\n{culprits.stack(frame)}"
    )


slices.on_stuck.append(look)
