"""The cooperative twin of `select`: select, poll, epoll and, where the platform has it, kqueue.

Every call makes the native call with a zero time-out first, so results and errors are the kernel's and the
interpreter's own.  If nothing is ready, the greenlet waits on its hub for a change and the native call is
repeated.  A zero time-out lets the other greenlets run once, for the sake of loops that poll.

An OS thread that is not the main one and runs no hub makes the plain native call.
"""

from __future__ import annotations

import select as _module
import time
from collections.abc import Callable, Mapping
from functools import partial
from operator import index
from types import MethodType
from typing import Any, TypeVar

from greenify import core
from greenify.core.descriptors import Descriptor
from greenify.core.hub import Hub, current_hub, get_hub, is_main_thread
from greenify.green.interests import REFUSALS, until, until_on_thread

__all__ = ["error", "poll", "select"]

Found = TypeVar("Found")
Queue = TypeVar("Queue", bound="_KernelQueue")

error = OSError

_native: Any = _module
_native_select = _module.select
native_poll: Any = _module.poll
_monotonic = time.monotonic

# What each time-out may be, after which the native call raises OverflowError: nanoseconds in 64 bits, and
# milliseconds in a C int.
_LONGEST_SELECT = 9.2e9
_LONGEST_POLL = 2**31 - 1
_LONGEST_EPOLL = (2**31 - 1) / 1000
_LEAST_EPOLL = -(2**31 + 1) / 1000

# What select takes for readable, writable and exceptional.
_READABLE = (
    _module.POLLIN | _module.POLLRDNORM | _module.POLLRDBAND | _module.POLLHUP | _module.POLLERR
)
_WRITABLE = _module.POLLOUT | _module.POLLWRNORM | _module.POLLWRBAND | _module.POLLERR
_PRI = _module.POLLPRI
# What poll reports unasked.
_UNASKED = _module.POLLHUP | _module.POLLERR


def __getattr__(name: str) -> Any:
    # The constants.
    return getattr(_module, name)


def _number(timeout: Any) -> float:
    """`timeout` as a plain number; NaN, which is in no range, for what the native call will refuse."""
    if isinstance(timeout, float):
        return float(timeout)
    try:
        return index(timeout)
    except TypeError:
        return float("nan")


def _fd(fileobj: Any) -> Any:
    """The descriptor of `fileobj`; whatever is none is left for the native call to complain about."""
    if isinstance(fileobj, int) or not hasattr(fileobj, "fileno"):
        return fileobj
    return fileobj.fileno()


def _steady(fileobjs: Any) -> Any:
    """`fileobjs` in a form that can be read twice, if it can be read at all."""
    if isinstance(fileobjs, (list, tuple, set, frozenset)):
        return fileobjs
    try:
        return list(fileobjs)
    except TypeError:
        return fileobjs


def _select(_: Any, rlist: Any, wlist: Any, xlist: Any, timeout: Any = None, /) -> Any:
    """Wait until one or more file descriptors are ready for some kind of I/O.

    Only the calling greenlet waits; see `select.select` for arguments, result and errors.

    Raises:
        OSError: EBADF also for a descriptor that was closed while we waited.
    """
    hub = current_hub()
    if hub is None and not is_main_thread():
        return _native_select(rlist, wlist, xlist, timeout)
    seconds = 1.0 if timeout is None else timeout
    if type(seconds) is not float and type(seconds) is not int:
        seconds = _number(seconds)
    if not 0 <= seconds <= _LONGEST_SELECT:
        return _native_select(rlist, wlist, xlist, timeout)
    readers, writers, others = sources = _steady(rlist), _steady(wlist), _steady(xlist)
    found = _native_select(readers, writers, others, 0)
    if found[0] or found[1] or found[2] or (hub is None and not seconds):
        return found
    # By number from here on: a number stays the same when the object is closed meanwhile.
    lists = [list(source) for source in sources]
    numbers = [[_fd(fileobj) for fileobj in source] for source in lists]
    r, w, x = numbers

    def look(events: Mapping[int, int]) -> Any:
        if events:
            event = events.get
            return (
                [fd for fd in r if event(fd, 0) & _READABLE],
                [fd for fd in w if event(fd, 0) & _WRITABLE],
                [fd for fd in x if event(fd, 0) & _PRI],
            )
        found = _native_select(r, w, x, 0)
        return found if found[0] or found[1] or found[2] else None

    if seconds:
        masks = dict.fromkeys(r, _READABLE)
        for fd in w:
            masks[fd] = masks.get(fd, 0) | _WRITABLE
        for fd in x:
            masks[fd] = masks.get(fd, 0) | _PRI
        found = until(look, masks, None if timeout is None else _monotonic() + seconds)
    elif hub is not None:
        hub.pause()
        found = look({})
    if not found:
        return [], [], []
    return tuple(
        [fileobj for fileobj, fd in zip(fileobjs, fds, strict=True) if fd in ready]
        for fileobjs, fds, ready in zip(lists, numbers, found, strict=True)
    )


# The native function is no descriptor, and classes say `_select = select.select` in their bodies.  A bound
# method is not bound again.
select: Any = MethodType(_select, _module)


class poll:
    """The cooperative twin of the objects that `select.poll()` returns."""

    __slots__ = ("_masks", "_native", "_waiting")

    def __init__(self) -> None:
        self._native = native_poll()
        self._masks: dict[int, int] = {}
        self._waiting = False

    @classmethod
    def adopt(cls, native: Any, masks: dict[int, int]) -> poll:
        """A twin around a native poll object in which `masks` (events by descriptor) are registered."""
        self = cls()
        self._native = native
        self._masks = {fd: mask | _UNASKED for fd, mask in masks.items()}
        return self

    def register(
        self, fd: Any, eventmask: int = _module.POLLIN | _module.POLLPRI | _module.POLLOUT, /
    ) -> None:
        """Register a descriptor, or object with fileno(), for the events in `eventmask`."""
        fd = _fd(fd)
        self._native.register(fd, eventmask)
        self._masks[fd] = index(eventmask) | _UNASKED

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Change the events of a registered descriptor; FileNotFoundError if it is not registered."""
        fd = _fd(fd)
        self._native.modify(fd, eventmask)
        self._masks[fd] = index(eventmask) | _UNASKED

    def unregister(self, fd: Any, /) -> None:
        """Remove a descriptor; KeyError if it is not registered."""
        fd = _fd(fd)
        self._native.unregister(fd)
        self._masks.pop(fd, None)

    def poll(self, timeout: Any = None, /) -> list[tuple[int, int]]:
        """Wait for events; only the calling greenlet waits.

        Args:
            timeout: milliseconds; None or negative for no limit.

        Raises:
            RuntimeError: another thread waits on this object.
        """
        milliseconds = -1 if timeout is None else timeout
        if type(milliseconds) is not int and type(milliseconds) is not float:
            milliseconds = _number(milliseconds)
        native = self._native
        found: list[tuple[int, int]]
        if not -_LONGEST_POLL - 1 <= milliseconds <= _LONGEST_POLL:
            found = native.poll(timeout)  # raises
            return found
        if self._waiting:
            raise RuntimeError("concurrent poll() invocation")
        hub = current_hub()
        if hub is None and not is_main_thread():
            found = native.poll(timeout)
            return found
        found = native.poll(0)
        if found:
            return found
        if not milliseconds:
            if hub is not None:
                hub.pause()
                found = native.poll(0)
            return found
        deadline = None if milliseconds < 0 else _monotonic() + milliseconds / 1000
        self._waiting = True
        try:
            found = until(lambda _: native.poll(0), self._masks.copy(), deadline)
        finally:
            self._waiting = False
        return found


class _KernelQueue:
    """What epoll and kqueue have in common: a descriptor of their own, readable when there is news.

    It stays registered with the hub of the thread that waits, so that a wait costs no system call more.
    """

    __slots__ = ("_descriptor", "_native")

    def __init__(self, native: Any) -> None:
        self._native = native
        self._descriptor: Descriptor | None = None

    @classmethod
    def adopt(cls: type[Queue], native: Any) -> Queue:
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
        """Close the queue's descriptor.  Any thread; whoever waits on it gets a ValueError."""
        self._forget()
        self._native.close()

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        # A queue that never waited, or whose making has failed, is known to no hub.
        if getattr(self, "_descriptor", None) is not None and not self._native.closed:
            core.forget(self._native.fileno())

    def _fresh(self, hub: Hub | None) -> None:
        # The native call is about to be made: what the hub was told of this queue before is out of date.
        descriptor = self._descriptor
        if descriptor is not None and descriptor.hub is hub:
            descriptor.read.edge = False

    def _until(self, look: Callable[[], Found], hub: Hub, deadline: float | None) -> Found:
        """Call `look`, in vain so far, at all news of the queue until it finds something or time is up."""
        while True:
            descriptor = self._descriptor
            if descriptor is None or descriptor.closed or descriptor.hub is not hub:
                fd = self._native.fileno()
                try:
                    descriptor = hub.descriptors.attach(fd, False)
                except OSError as exc:
                    if exc.errno in REFUSALS:
                        return until_on_thread(lambda _: look(), [(fd, _module.POLLIN)], deadline)
                    raise
                hub.descriptors.adopt(descriptor)
                self._descriptor = descriptor
            expired = not descriptor.read.wait(deadline)
            found = look()
            if found or expired:
                return found


if hasattr(_module, "epoll"):
    __all__ += ["epoll"]
    native_epoll: Any = _native.epoll
    _ALL_EVENTS: int = _native.EPOLLIN | _native.EPOLLPRI | _native.EPOLLOUT

    class epoll(_KernelQueue):
        """The cooperative twin of `select.epoll`."""

        __slots__ = ()

        def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
            super().__init__(native_epoll(sizehint, flags))

        @classmethod
        def fromfd(cls, fd: int, /) -> epoll:
            """An epoll object for the descriptor of an existing epoll queue."""
            return cls.adopt(native_epoll.fromfd(fd))

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
            hub = current_hub()
            seconds = -1 if timeout is None else timeout
            if type(seconds) is not int and type(seconds) is not float:
                seconds = _number(seconds)
            native = self._native
            found: list[tuple[int, int]]
            if not _LEAST_EPOLL < seconds <= _LONGEST_EPOLL or (
                hub is None and not is_main_thread()
            ):
                # A time-out that it will refuse, or a thread that it may block.
                found = native.poll(timeout, maxevents)
                return found
            self._fresh(hub)
            found = native.poll(0, maxevents)
            if found:
                return found
            if -0.001 < seconds <= 0:  # in whole milliseconds, rounded up, this is zero
                if hub is not None:
                    hub.pause()
                    found = native.poll(0, maxevents)
                return found
            deadline = None if seconds < 0 else _monotonic() + seconds
            return self._until(partial(native.poll, 0, maxevents), hub or get_hub(), deadline)


if hasattr(_module, "kqueue"):  # pragma: no cover - macOS and the BSDs
    __all__ += ["kqueue"]
    native_kqueue: Any = _native.kqueue

    class kqueue(_KernelQueue):
        """The cooperative twin of `select.kqueue`."""

        __slots__ = ()

        def __init__(self) -> None:
            super().__init__(native_kqueue())

        @classmethod
        def fromfd(cls, fd: int, /) -> kqueue:
            """A kqueue object for the descriptor of an existing kernel queue."""
            return cls.adopt(native_kqueue.fromfd(fd))

        def control(self, changelist: Any, maxevents: int, timeout: Any = None, /) -> list[Any]:
            """Apply changes, then wait for events; only the calling greenlet waits.

            Args:
                changelist: an iterable of `select.kevent`, or None.
                maxevents: the largest number of events to return; with 0 there is no waiting.
                timeout: seconds; None for no limit.
            """
            hub = current_hub()
            seconds = 1.0 if timeout is None else _number(timeout)
            native = self._native
            found: list[Any]
            if (
                maxevents == 0
                or not 0 <= seconds <= _LONGEST_SELECT
                or (hub is None and not is_main_thread())
            ):
                found = native.control(changelist, maxevents, timeout)
                return found
            self._fresh(hub)
            found = native.control(changelist, maxevents, 0)
            if found:
                return found
            look = partial(native.control, None, maxevents, 0)
            if not seconds:
                if hub is not None:
                    hub.pause()
                    found = look()
                return found
            deadline = None if timeout is None else _monotonic() + seconds
            return self._until(look, hub or get_hub(), deadline)
