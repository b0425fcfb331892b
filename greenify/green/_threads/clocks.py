"""The processor time of a thread, which the kernel counts per OS thread, for green threads.

From the first question on, every switch reads the OS thread's clock and books what has passed on the thread
that is left.  So the clock of a green thread that has been there before starts then, and the main thread's
has what the OS thread has used.  The hub's own time is nobody's.
"""

from __future__ import annotations

import _thread
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from greenlet import greenlet

from greenify.core.fork import fork_hooks
from greenify.core.registry import current_hub, get_hub, hubs, on_new_hub
from greenify.green._threads.switches import follow
from greenify.identity import current_thread_greenlet
from greenify.locks import RLock

__all__ = ["REPLACED", "make_getrusage", "native_clocks", "with_native_clocks"]

T = TypeVar("T")

_current_frames = sys._current_frames
_thread_time_ns = time.thread_time_ns
_clock_gettime = time.clock_gettime
_clock_gettime_ns = time.clock_gettime_ns
_clock_getres = time.clock_getres
_getcpuclockid: Any = getattr(time, "pthread_getcpuclockid", None)
_THREAD_CLOCK: int = time.CLOCK_THREAD_CPUTIME_ID

# The clocks of processes and threads are negative numbers: the complement of an id, shifted by three bits,
# and these bits for "thread" and "what the scheduler counts".  No id is as large as ours.
_BITS = 6
_FIRST = 1 << 22
_LAST_CLOCK = (~_FIRST << 3) | _BITS

_numbers: Iterator[int] = count(_FIRST)
_clocks: WeakValueDictionary[int, greenlet] = WeakValueDictionary()


class _Books(Generic[T]):
    """How much each thread of one OS thread has used of something."""

    __slots__ = ("_add", "_live", "_name", "_none", "_read", "_since", "hub")

    def __init__(
        self, name: str, read: Callable[[], T], add: Callable[[T, T, T], T], none: T
    ) -> None:
        self._name = name
        self._read = read
        self._add = add
        self._none = none
        hub = get_hub()
        self.hub: Any = hub
        self._live: Any = current_thread_greenlet()
        # What has been used so far is the main thread's.
        self._since = read()
        setattr(hub.main, name, self._since)
        follow(self.switched)

    def switched(self, origin: greenlet, target: Any) -> None:
        """For `follow`."""
        after = target
        if after is not self.hub.greenlet:
            while not hasattr(after, "hub"):
                parent = after.parent
                if parent is None:
                    break
                after = parent
        if after is not self._live:
            self._book()
            self._live = after

    def _book(self) -> None:
        now = self._read()
        live = self._live
        total = getattr(live, self._name, self._none)
        setattr(live, self._name, self._add(total, now, self._since))
        self._since = now

    def total(self, thread: Any) -> T:
        """What `thread` has used, if it is one of this OS thread."""
        if thread is self._live:
            self._book()
        found: T = getattr(thread, self._name, self._none)
        return found

    def forked(self) -> None:
        """In a child: the clock of its OS thread begins anew, and the forking thread's goes on with it."""
        self.hub = current_hub() or self.hub
        self._live = current_thread_greenlet()
        self._since = self._read()
        setattr(self._live, self._name, self._since)


# What belongs to one OS thread: its books by their names, and how to begin those that have been asked for
# while it had no hub, and so one thread only.
_here = _thread._local()
_NAMES = ("cpu_time", "resources")


def _books(
    name: str, read: Callable[[], T], add: Callable[[T, T, T], T], none: T
) -> _Books[T] | None:
    found: _Books[T] | None = getattr(_here, name, None)
    if found is None:
        begin = partial(_Books, name, read, add, none)
        if current_hub() is None:
            vars(_here).setdefault("asked", {})[name] = begin
            return None
        found = begin()
        setattr(_here, name, found)
    return found


def _has_hub(hub: Any) -> None:
    for name, begin in vars(_here).pop("asked", {}).items():
        setattr(_here, name, begin())
    for name in _NAMES:
        found = getattr(_here, name, None)
        if found is not None:
            found.hub = hub


on_new_hub(_has_hub)


def _after_in_child() -> None:
    for name in _NAMES:
        found = getattr(_here, name, None)
        if found is not None:
            found.forked()


fork_hooks.append(_after_in_child)


def _passed(total: int, now: int, since: int) -> int:
    return total + now - since


def _cpu_time() -> _Books[int] | None:
    return _books("cpu_time", _thread_time_ns, _passed, 0)


def thread_time_ns() -> int:
    """`time.thread_time_ns`: the processor time of the calling thread."""
    books = _cpu_time()
    return _thread_time_ns() if books is None else books.total(current_thread_greenlet())


def thread_time() -> float:
    """`time.thread_time`: the processor time of the calling thread, in seconds."""
    return thread_time_ns() / 1e9


def pthread_getcpuclockid(thread_id: int, /) -> int:
    """`time.pthread_getcpuclockid`: a number by which `time.clock_gettime` tells a thread's processor time.

    On an OS thread with green threads, only `time.clock_gettime` and its kin know that number, not C.

    Raises:
        ProcessLookupError: there is no such thread (any more), where the C library would crash.
    """
    if not isinstance(thread_id, int):
        number: int = _getcpuclockid(thread_id)  # raises what it raises
        return number
    for hub in tuple(hubs):
        threads: list[Any] = [hub.main, *tuple(hub.tasks)]
        for thread in threads:
            if getattr(thread, "ident", None) == thread_id:
                return _clock_of(thread)
    if thread_id not in _current_frames():
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    number = _getcpuclockid(thread_id)
    return number


def _clock_of(thread: Any) -> int:
    known: int | None = getattr(thread, "cpu_clock", None)
    if known is None:
        known = thread.cpu_clock = (~next(_numbers) << 3) | _BITS
        _clocks[known] = thread
    return known


def _read_clock(clock: int) -> int | None:
    """The nanoseconds of a clock that is no kernel's; None if it is one, and that has to be asked."""
    if clock == _THREAD_CLOCK:
        return thread_time_ns()
    thread: Any = _clocks.get(clock)
    if thread is None or thread.dead:
        return None
    books = _cpu_time()
    if books is None or getattr(thread, "hub", None) is not current_hub():
        # Another OS thread's: what has been booked until now.
        return int(getattr(thread, "cpu_time", 0))
    return books.total(thread)


def _is_ours(clock: object) -> bool:
    return clock.__class__ is int and (clock == _THREAD_CLOCK or clock <= _LAST_CLOCK)


def clock_gettime(clk_id: int, /) -> float:
    """`time.clock_gettime`: the time of a clock in seconds, those of green threads included."""
    found = _read_clock(clk_id) if _is_ours(clk_id) else None
    return _clock_gettime(clk_id) if found is None else found / 1e9


def clock_gettime_ns(clk_id: int, /) -> int:
    """`time.clock_gettime_ns`; see `clock_gettime`."""
    found = _read_clock(clk_id) if _is_ours(clk_id) else None
    return _clock_gettime_ns(clk_id) if found is None else found


def clock_getres(clk_id: int, /) -> float:
    """`time.clock_getres`, for the clocks of green threads, too."""
    if clk_id in _clocks:
        clk_id = _THREAD_CLOCK
    return _clock_getres(clk_id)


#: The functions of `time` that are about a thread's clock.
REPLACED: dict[str, Any] = {
    "thread_time": thread_time,
    "thread_time_ns": thread_time_ns,
    "clock_gettime": clock_gettime,
    "clock_gettime_ns": clock_gettime_ns,
    "clock_getres": clock_getres,
}
if _getcpuclockid is not None:
    REPLACED["pthread_getcpuclockid"] = pthread_getcpuclockid

_swapping = RLock()
_swapped = False


@contextmanager
def native_clocks() -> Iterator[None]:
    """C's own functions stand in `time`: for C code that looks into the function objects it finds there.

    time-machine takes them for what they are without asking, and writes to where a C function keeps its
    pointer; in a twin that is somebody else's memory.  Any thread; others wait until it is over.
    """
    global _swapped
    names = vars(time)
    with _swapping:
        outermost = not _swapped  # else a signal handler is here
        before = {
            "clock_gettime": names["clock_gettime"],
            "clock_gettime_ns": names["clock_gettime_ns"],
        }
        try:
            _swapped = True
            names["clock_gettime"] = _clock_gettime
            names["clock_gettime_ns"] = _clock_gettime_ns
            yield
        finally:
            if outermost:
                names.update(before)
                _swapped = False


def with_native_clocks(function: Callable[[], T]) -> Callable[[], T]:
    """`function`, called inside of `native_clocks`."""

    def call() -> T:
        with native_clocks():
            return function()

    return call


def make_getrusage(resource: Any) -> Callable[[int], Any]:
    """The function that takes the place of ``resource.getrusage``.

    Args:
        resource: the module.
    """
    native = resource.getrusage
    make = resource.struct_rusage
    thread: int = resource.RUSAGE_THREAD
    largest = make._fields.index("ru_maxrss") if hasattr(make, "_fields") else 2

    nothing: tuple[float, ...] = (0.0,) * 2 + (0,) * 14

    def read() -> tuple[float, ...]:
        return tuple(native(thread))

    def passed(total: Any, now: Any, since: Any) -> tuple[float, ...]:
        values = [t + n - s for t, n, s in zip(total, now, since, strict=True)]
        # Not a sum: how large the process has been.
        values[largest] = now[largest]
        return tuple(values)

    def getrusage(who: int, /) -> Any:
        """`resource.getrusage`; RUSAGE_THREAD is about the calling thread, green or native."""
        books = _books("resources", read, passed, nothing) if who == thread else None
        return native(who) if books is None else make(books.total(current_thread_greenlet()))

    return getrusage
