"""Signal masks of threads, the twin of `signal.pthread_sigmask`, and the signal that the time slices need.

The main thread's mask is the OS thread's own, but for that signal.
"""

from __future__ import annotations

import errno
import os
import signal as _signal
from collections.abc import Iterable
from typing import Any

from greenlet import greenlet

from greenify import core
from greenify.core import slices
from greenify.core.registry import current_hub, is_main_thread
from greenify.green._threads import thread as threads
from greenify.identity import current_thread_greenlet

__all__ = ["give_back_slices", "keep_slices", "named", "pthread_sigmask", "take_over_slices"]

_native_pthread_sigmask = _signal.pthread_sigmask

# An attribute of its thread's greenlet, which loses it when it becomes another thread.  (One that others
# refer to weakly would not become one, and every thread would cost a new greenlet.)
_MASK = "signal_mask"


def pthread_sigmask(how: int, mask: Iterable[int]) -> set[Any]:
    """`signal.pthread_sigmask`.  The mask of the main thread is the OS thread's own.

    Handlers never run in another thread than the main one, so what a green thread blocks changes nothing for
    its siblings; its mask is only remembered.

    Returns:
        The calling thread's mask before.

    Raises:
        ValueError: a number is not that of a signal.
        OSError: `how` is unknown.
    """
    hub = current_hub()
    if threads.on_launch is None:
        _begin_to_inherit(hub)
    if hub is None or hub.in_main():
        return _main_mask(how, mask)
    numbers = frozenset(map(int, mask))
    for number in numbers:
        if not 0 < number < _signal.NSIG:
            raise ValueError(f"signal number {number} out of range [1; {_signal.NSIG - 1}]")
    thread = current_thread_greenlet()
    before: frozenset[int] | None = getattr(thread, _MASK, None)
    if before is None:
        before = _mask_of_main()
    if how == _signal.SIG_BLOCK:
        setattr(thread, _MASK, before | numbers)
    elif how == _signal.SIG_UNBLOCK:
        setattr(thread, _MASK, before - numbers)
    elif how == _signal.SIG_SETMASK:
        setattr(thread, _MASK, numbers)
    else:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return {named(number) for number in before}


def _begin_to_inherit(hub: core.Hub | None) -> None:
    # A thread begins with the mask of its starter; as long as nobody has changed any, the main thread's.
    if hub is not None:
        mask = _mask_of_main()
        for task in tuple(hub.tasks):
            setattr(task, _MASK, mask)
    threads.on_launch = _inherit


def _inherit(thread: greenlet) -> None:
    mask = getattr(current_thread_greenlet(), _MASK, None)
    setattr(thread, _MASK, _mask_of_main() if mask is None else mask)


def _mask_of_main() -> frozenset[int]:
    return frozenset(map(int, _main_mask(_signal.SIG_BLOCK, ())))


# Whether the main thread has blocked the signal of the time slices, as far as it knows.
_slices_blocked = False


def _main_mask(how: int, mask: Iterable[int]) -> set[Any]:
    """The mask of the OS thread, where the signal of the time slices stays unblocked as long as it is ours.

    Servers that take their signals with `sigwait` block all there are.
    """
    global _slices_blocked
    if not slices.allowed or not is_main_thread():
        return _native_pthread_sigmask(how, mask)
    numbers = list(mask)
    if how == _signal.SIG_BLOCK and numbers == [slices.SIGNAL]:
        # Not along with others: it is this one that the program wants.
        take_over_slices()
        return _native_pthread_sigmask(how, numbers)
    others = [number for number in numbers if number != slices.SIGNAL]
    before = _native_pthread_sigmask(how, others)
    if _slices_blocked:
        before.add(named(slices.SIGNAL))
    if how == _signal.SIG_SETMASK:
        _slices_blocked = len(others) < len(numbers)
    elif len(others) < len(numbers):
        _slices_blocked = how == _signal.SIG_BLOCK
    return before


def take_over_slices() -> None:
    """The program uses the signal or the timer of the time slices itself."""
    slices.give_up()
    give_back_slices()


def keep_slices() -> None:
    """Unblock the signal of the time slices, if the main OS thread has it blocked; see `give_back_slices`."""
    global _slices_blocked
    if is_main_thread() and slices.SIGNAL in _native_pthread_sigmask(_signal.SIG_BLOCK, ()):
        _native_pthread_sigmask(_signal.SIG_UNBLOCK, (slices.SIGNAL,))
        _slices_blocked = True


def give_back_slices() -> None:
    """Block the signal of the time slices, if the main thread wants that; for its OS thread."""
    global _slices_blocked
    if _slices_blocked and is_main_thread():
        _slices_blocked = False
        _native_pthread_sigmask(_signal.SIG_BLOCK, (slices.SIGNAL,))


def named(number: int) -> int:
    """`number` as what the functions of `signal` return: a `signal.Signals`, where it has a name."""
    try:
        return _signal.Signals(number)
    except ValueError:
        return number  # a real-time signal without a name
