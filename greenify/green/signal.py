"""The cooperative twin of `signal`: handlers run in the main thread's greenlet, waiting for signals parks.

What a thread blocks is in `_threads/signal_masks.py`.
"""

from __future__ import annotations

import errno
import os
import signal as _signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from greenify import core
from greenify.core import slices
from greenify.core.clock import monotonic as _monotonic
from greenify.core.registry import current_hub, hubs, is_main_thread
from greenify.core.signals import MainHandler, chain, holding, pausing
from greenify.core.timers import LONGEST
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.rest import complete
from greenify.green._files.descriptor_io import runs_natively
from greenify.green._processes.signalfd import open_signalfd
from greenify.green._selecting.kernel_queues import number_of
from greenify.green._threads.signal_masks import named, pthread_sigmask, take_over_slices

__all__ = [
    "getitimer",
    "getsignal",
    "pause",
    "pthread_kill",
    "pthread_sigmask",
    "raise_signal",
    "set_wakeup_fd",
    "setitimer",
    "signal",
    "sigtimedwait",
    "sigwait",
    "sigwaitinfo",
]

Handler = Callable[[int, FrameType | None], Any] | int | None

_close = os.close
_current_frames = sys._current_frames
_native_signal = _signal.signal
_native_getsignal = _signal.getsignal
_native_set_wakeup_fd = _signal.set_wakeup_fd
_native_setitimer = _signal.setitimer
_native_getitimer = _signal.getitimer
_native_raise_signal = _signal.raise_signal
_native_pthread_sigmask = _signal.pthread_sigmask
_native_pause = _signal.pause
_native_pthread_kill = _signal.pthread_kill
_native_sigwait = _signal.sigwait
_native_sigwaitinfo: Any = getattr(_signal, "sigwaitinfo", None)
_native_sigtimedwait: Any = getattr(_signal, "sigtimedwait", None)


# Handlers.


def _require_main(function: str) -> None:
    hub = current_hub()
    if hub is not None and is_main_thread() and not hub.in_main():
        raise ValueError(f"{function} only works in main thread of the main interpreter")


def _unwrap(handler: Any) -> Any:
    if handler is slices.on_tick:
        return _signal.SIG_DFL
    return handler.original if isinstance(handler, MainHandler) else handler


def signal(signalnum: int, handler: Handler) -> Any:
    """`signal.signal`: the handler runs in the main thread, at the place where that waits.

    Returns:
        The handler before, as it was given.

    Raises:
        ValueError: the caller is not the main thread.
    """
    _require_main("signal")
    if signalnum == slices.SIGNAL:
        take_over_slices()
    if callable(handler) and not isinstance(handler, MainHandler):
        handler = MainHandler(handler)
    before = _unwrap(_native_signal(signalnum, handler))
    hub = current_hub()
    if hub is not None:
        # A loop that only does this lets the others run, too.
        hub.breathe()
    return before


def getsignal(signalnum: int) -> Any:
    """`signal.getsignal`: the handler as it was given to `signal`."""
    return _unwrap(_native_getsignal(signalnum))


def wrap_handlers() -> None:
    """Have the handlers that are in force run in the main thread's greenlet.  For the main thread."""
    if not is_main_thread():
        # Nobody else may install handlers.  They work, but run in whatever greenlet is current.
        return
    for number in _signal.valid_signals():
        handler = _native_getsignal(number)
        if handler is slices.on_tick:
            continue
        if callable(handler) and not isinstance(handler, MainHandler):
            _native_signal(number, MainHandler(handler))


def unwrap_handlers() -> None:
    """Undo `wrap_handlers` and what `signal` did since.  Does nothing outside of the main OS thread."""
    if not is_main_thread():
        return
    for number in _signal.valid_signals():
        handler = _native_getsignal(number)
        if isinstance(handler, MainHandler):
            _native_signal(number, handler.original)


def set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    """`signal.set_wakeup_fd`: `fd` gets the number of every signal, after the hub has been woken.

    Returns:
        The descriptor set before, or -1.

    Raises:
        ValueError: the caller is not the main thread, or `fd` is a blocking descriptor.
        OSError: `fd` is not open.
    """
    _require_main("set_wakeup_fd")
    # Also checks the arguments.  A signal that arrives right now is not lost: the handler runs as soon as
    # we are back in the interpreter, and the hub sleeps later.
    previous = _native_set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)
    hub = holding()
    writer = None if hub is None else hub.pair.writer
    if hub is None or writer is None:
        return previous
    _native_set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # What has arrived so far was for the one before.
    hub.pair.switch()
    return chain(fd, warn_on_full_buffer)


def raise_signal(signum: int, /) -> None:
    """`signal.raise_signal`; a thread that does nothing else lets the others run, too."""
    _native_raise_signal(signum)
    hub = current_hub()
    if hub is not None:
        hub.breathe()


def pthread_kill(thread_id: int, signalnum: int, /) -> None:
    """`signal.pthread_kill`, for the identifiers of greenlets too: their OS thread gets the signal.

    Raises:
        ProcessLookupError: there is no such thread (any more).
    """
    if thread_id in _current_frames():
        _native_pthread_kill(thread_id, signalnum)
        return
    for hub in tuple(hubs):
        for task in tuple(hub.tasks):
            if getattr(task, "ident", None) == thread_id:
                _native_pthread_kill(hub.ident, signalnum)
                return
    # For the C library this would be a wild pointer.
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def setitimer(which: int, seconds: float, interval: float = 0.0, /) -> tuple[float, float]:
    """`signal.setitimer`.  The virtual timer, once the user sets it, is the user's."""
    if which == slices.TIMER:
        take_over_slices()
    return _native_setitimer(which, seconds, interval)


def getitimer(which: int, /) -> tuple[float, float]:
    """`signal.getitimer`.  Our own use of the virtual timer does not show."""
    if which == slices.TIMER and slices.armed:
        return (0.0, 0.0)
    return _native_getitimer(which)


# Waiting.


def pause() -> None:
    """`signal.pause`: wait until a signal arrives that has a handler written in Python."""
    if runs_natively():
        _native_pause()
        return
    waiter = core.new_waiter()
    hub = holding()
    if hub is not None and not hub.foreign():
        # Signals that have been handled already do not count.
        hub.pair.switch()
    pausing.add(waiter)
    try:
        waiter.wait()
    except BaseException:
        leave_out_twin()
        raise
    finally:
        pausing.discard(waiter)


def sigwait(sigset: Iterable[int]) -> Any:
    """`signal.sigwait`: wait for one of the signals, take it, and return its number."""
    if runs_natively():
        return _native_sigwait(sigset)
    try:
        number = _take(sigset, None).si_signo
    except BaseException:
        leave_out_twin()
        raise
    return named(number)


def sigwaitinfo(sigset: Iterable[int], /) -> Any:
    """`signal.sigwaitinfo`: as `sigwait`, and return all that the kernel tells."""
    if runs_natively():
        return _native_sigwaitinfo(sigset)
    try:
        return _take(sigset, None)
    except BaseException:
        leave_out_twin()
        raise


def sigtimedwait(sigset: Iterable[int], timeout: float, /) -> Any:
    """`signal.sigtimedwait`: as `sigwaitinfo`, for at most `timeout` seconds; then None."""
    seconds = number_of(timeout)
    if runs_natively() or not 0 < seconds <= LONGEST:
        return _native_sigtimedwait(sigset, timeout)
    try:
        return _take(sigset, _monotonic() + seconds)
    except BaseException:
        leave_out_twin()
        raise


def _take(sigset: Iterable[int], deadline: float | None) -> Any:
    numbers = frozenset(sigset)
    if slices.SIGNAL in numbers and slices.allowed:
        if len(numbers) == 1:
            take_over_slices()
        else:
            # Blocked, as whatever is waited for, it would end the time slices.
            numbers -= {slices.SIGNAL}
    found = _look(numbers)
    if found is not None:
        return found
    with _blocked(numbers):
        fd = open_signalfd(numbers)
        if fd is None:
            return _look_repeatedly(numbers, deadline)
        try:
            while True:
                found = _look(numbers)
                if found is not None or not core.wait(fd, False, deadline):
                    return found
        finally:
            _close(fd)


def _look(numbers: frozenset[int]) -> Any:
    """Take one pending signal, or return None."""
    return _native_sigtimedwait(numbers, 0)


def _look_repeatedly(numbers: frozenset[int], deadline: float | None) -> Any:
    delay = 0.0005
    while True:
        found = _look(numbers)
        if found is not None:
            return found
        delay = min(delay * 2, 0.02)
        if deadline is not None:
            delay = min(delay, deadline - _monotonic())
            if delay <= 0:
                return None
        core.sleep(delay)


@contextmanager
def _blocked(numbers: frozenset[int]) -> Iterator[None]:
    """Block those that the caller has not: a signal waited for is taken, not handled."""
    before = _native_pthread_sigmask(_signal.SIG_BLOCK, numbers)
    added = numbers - before
    try:
        yield
    finally:
        if added:
            _native_pthread_sigmask(_signal.SIG_UNBLOCK, added)


for _function in (
    getitimer,
    getsignal,
    pause,
    pthread_kill,
    pthread_sigmask,
    raise_signal,
    set_wakeup_fd,
    setitimer,
    signal,
    sigtimedwait,
    sigwait,
    sigwaitinfo,
):
    # The module has no __all__: pydoc shows what says that it belongs there.
    _function.__module__ = _signal.__name__


complete(globals(), _signal)


def __getattr__(name: str) -> Any:
    return getattr(_signal, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_signal)})
