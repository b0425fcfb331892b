"""The cooperative twins of `select.epoll` and, where the platform has it, `select.kqueue`."""

from __future__ import annotations

import os
import select as _module
import sys
from collections.abc import Callable
from operator import index
from typing import Any, TypeVar

from greenlet import getcurrent

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.descriptors import Descriptor
from greenify.core.hub import Hub
from greenify.core.registry import current_hub, get_hub, is_main_thread
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.builtin import stands_for
from greenify.green._selecting.interests import REFUSALS
from greenify.green._selecting.waits import until_on_thread
from greenify.pickling import refuse_to_pickle

__all__ = ["number_of"]

Found = TypeVar("Found")
Queue = TypeVar("Queue", bound="_KernelQueue")

_native: Any = _module

# Which time-outs the native calls accept: milliseconds in a C int, nanoseconds in 64 bits.
_LONGEST_EPOLL = (2**31 - 1) / 1000
_LEAST_EPOLL = -(2**31 + 1) / 1000
_LONGEST_KQUEUE = 9.2e9


# From CPython 3.15 on Decimal and Fraction are time-outs, too.
_ANY_REAL_NUMBER = sys.version_info >= (3, 15)


def number_of(timeout: Any) -> float:
    """A time-out as a plain number; NaN, which is in no range, for what the native call will refuse."""
    if isinstance(timeout, float):
        return float(timeout)
    try:
        return index(timeout)
    except TypeError:
        if _ANY_REAL_NUMBER and hasattr(type(timeout), "__float__"):
            return float(timeout)
        return float("nan")


class _KernelQueue:
    """What epoll and kqueue have in common: a descriptor of their own, readable when there is news.

    It stays registered with the hub of the thread that waits, so that a wait costs no system call more.
    """

    __slots__ = ("_descriptor", "_native")
    __reduce_ex__ = refuse_to_pickle

    def __init__(self, native: Any) -> None:
        self._native = native
        self._descriptor: Descriptor | None = None

    @classmethod
    def _adopt(cls: type[Queue], native: Any) -> Queue:
        """A twin around a native object, which it owns from now on."""
        self = cls.__new__(cls)
        _KernelQueue.__init__(self, native)
        return self

    def fileno(self) -> int:
        """The queue's own descriptor."""
        fd: int = self._native.fileno()
        return fd

    @property
    def closed(self) -> bool:
        """Whether the queue has been closed."""
        return bool(self._native.closed)

    def close(self) -> None:
        """Close the queue's descriptor.  Any thread; whoever waits on it waits on, as in the kernel."""
        self._forget()
        self._native.close()

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        # There is none if its making has failed.
        native = getattr(self, "_native", None)
        if native is not None and not native.closed:
            # Also one that never waited: others may poll its number.
            core.forget(native.fileno())

    def _until(
        self, look: Callable[..., Found], args: tuple[Any, ...], hub: Hub, deadline: float | None
    ) -> Found:
        """Call ``look(*args)``, a native method, at all news of the queue until it finds something or time is
        up.

        It has been called just before, in vain.  A queue that is closed meanwhile is waited on to the end, as
        the kernel does.
        """
        while True:
            descriptor = self._descriptor
            if (
                descriptor is None
                or descriptor.closed
                or descriptor.moved
                or descriptor.hub is not hub
            ):
                fd = self._native.fileno()
                try:
                    descriptor = hub.descriptors.attach(fd, False)
                except OSError as exc:
                    if exc.errno in REFUSALS:
                        return until_on_thread(
                            lambda _: look(*args), [(fd, _module.POLLIN)], deadline
                        )
                    raise
                hub.descriptors.adopt(descriptor)
                self._descriptor = descriptor
            descriptor.polled += 1
            try:
                expired = not descriptor.read.wait(deadline)
                if descriptor.moved:
                    return self._until_closed(descriptor, look, args, expired, deadline)
            finally:
                descriptor.polled -= 1
                if descriptor.moved:
                    hub.descriptors.let_go(descriptor)
            found = look(*args)
            if found or expired:
                return found

    def _until_closed(
        self,
        descriptor: Descriptor,
        look: Callable[..., Found],
        args: tuple[Any, ...],
        expired: bool,
        deadline: float | None,
    ) -> Found:
        # A duplicate for each who waits, whose object closes it.
        native = type(self._native).fromfd(os.dup(descriptor.fd))
        look = getattr(native, look.__name__)
        try:
            while True:
                found: Found = look(*args)
                if found or expired:
                    return found
                expired = not descriptor.read.wait(deadline)
        finally:
            native.close()


if hasattr(_module, "epoll"):
    __all__ += ["epoll", "native_epoll"]
    native_epoll: Any = _native.epoll
    _ALL_EVENTS: int = _native.EPOLLIN | _native.EPOLLPRI | _native.EPOLLOUT

    @stands_for(native_epoll)
    class epoll(_KernelQueue):
        """The cooperative twin of `select.epoll`."""

        __slots__ = ()

        def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
            super().__init__(native_epoll(sizehint, flags))

        @classmethod
        def fromfd(cls, fd: int, /) -> epoll:
            """An epoll object for the descriptor of an existing epoll queue."""
            return cls._adopt(native_epoll.fromfd(fd))

        def __enter__(self) -> epoll:
            self._native.__enter__()
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def register(self, fd: Any, eventmask: int = _ALL_EVENTS) -> None:
            """Register a descriptor, or object with fileno(); FileExistsError if it is registered."""
            self._native.register(fd, eventmask)

        def modify(self, fd: Any, eventmask: int) -> None:
            """Change the events of a registered descriptor; FileNotFoundError if it is not registered."""
            self._native.modify(fd, eventmask)

        def unregister(self, fd: Any) -> None:
            """Remove a descriptor; FileNotFoundError if it is not registered."""
            self._native.unregister(fd)

        def poll(self, timeout: Any = None, maxevents: int = -1) -> list[tuple[int, int]]:
            """Wait for events; only the calling greenlet waits.

            Args:
                timeout: seconds; None or negative for no limit.
                maxevents: the largest number of events to return; -1 for no particular one.
            """
            try:
                hub: Hub | None = getcurrent().hub  # type: ignore[attr-defined]
            except (AttributeError, RuntimeError):
                hub = current_hub()
            seconds = -1 if timeout is None else timeout
            if type(seconds) is not int and type(seconds) is not float:
                seconds = number_of(seconds)
            native = self._native
            found: list[tuple[int, int]]
            if not _LEAST_EPOLL < seconds <= _LONGEST_EPOLL or (
                hub is None and not is_main_thread()
            ):
                # A time-out that it will refuse, or a thread that it may block.
                found = native.poll(timeout, maxevents)
                return found
            descriptor = self._descriptor
            if descriptor is not None and descriptor.hub is hub:
                # What the hub was told of this queue before is out of date.
                descriptor.read.edge = False
            found = native.poll(0, maxevents)
            if found:
                if hub is not None:
                    hub.breathe()
                return found
            if -0.001 < seconds <= 0:  # in whole milliseconds, rounded up, this is zero
                if hub is not None:
                    hub.pause()
                    found = native.poll(0, maxevents)
                return found
            deadline = None if seconds < 0 else _monotonic() + seconds
            try:
                found = self._until(native.poll, (0, maxevents), hub or get_hub(), deadline)
            except BaseException:
                leave_out_twin()
                raise
            return found


if hasattr(_module, "kqueue"):  # pragma: no cover - macOS and the BSDs
    __all__ += ["kqueue", "native_kqueue"]
    native_kqueue: Any = _native.kqueue

    @stands_for(native_kqueue)
    class kqueue(_KernelQueue):
        """The cooperative twin of `select.kqueue`."""

        __slots__ = ()

        def __init__(self) -> None:
            super().__init__(native_kqueue())

        @classmethod
        def fromfd(cls, fd: int, /) -> kqueue:
            """A kqueue object for the descriptor of an existing kernel queue."""
            return cls._adopt(native_kqueue.fromfd(fd))

        def control(self, changelist: Any, maxevents: int, timeout: Any = None, /) -> list[Any]:
            """Apply changes, then wait for events; only the calling greenlet waits.

            Args:
                changelist: an iterable of `select.kevent`, or None.
                maxevents: the largest number of events to return; with 0 there is no waiting.
                timeout: seconds; None for no limit.
            """
            hub = current_hub()
            seconds = 1.0 if timeout is None else number_of(timeout)
            native = self._native
            found: list[Any]
            if (
                maxevents == 0
                or not 0 <= seconds <= _LONGEST_KQUEUE
                or (hub is None and not is_main_thread())
            ):
                found = native.control(changelist, maxevents, timeout)
                return found
            descriptor = self._descriptor
            if descriptor is not None and descriptor.hub is hub:
                descriptor.read.edge = False
            found = native.control(changelist, maxevents, 0)
            if found:
                return found
            look = (None, maxevents, 0)
            if not seconds:
                if hub is not None:
                    hub.pause()
                    found = native.control(*look)
                return found
            deadline = None if timeout is None else _monotonic() + seconds
            found = self._until(native.control, look, hub or get_hub(), deadline)
            return found
