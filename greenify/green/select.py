"""The cooperative twin of `select`: select, poll, epoll and, where the platform has it, kqueue.

Every call makes the native call with a zero time-out first, so errors are the kernel's and the interpreter's
own.  If nothing is ready, the greenlet waits on its hub for the events in question (`_selecting/waits.py`);
epoll and kqueue, in `kernel_queues.py`, can be waited on themselves.  A zero time-out lets the other
greenlets run once, for the sake of loops that poll.

An OS thread that is not the main one and runs no hub makes the plain native call.
"""

from __future__ import annotations

import select as _module
from collections.abc import Mapping
from operator import index
from typing import Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.registry import current_hub, get_hub, is_main_thread
from greenify.core.timers import LONGEST
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.builtin import bound_twin, stands_for
from greenify.green._copies.rest import complete
from greenify.green._selecting.kernel_queues import number_of
from greenify.green._selecting.waits import Closed, alone, until
from greenify.pickling import refuse_to_pickle

__all__ = ["Poll", "error", "poll", "select"]

if hasattr(_module, "epoll"):
    from greenify.green._selecting.kernel_queues import epoll as epoll

    __all__ += ["epoll"]
if hasattr(_module, "kqueue"):
    from greenify.green._selecting.kernel_queues import kqueue as kqueue

    __all__ += ["kqueue"]

error = OSError

_native_select: Any = _module.select
native_poll: Any = _module.poll

# Which time-outs the native poll accepts in every version: milliseconds in a C int.
_LONGEST_POLL = 2**31 - 1

# What select takes for readable, writable and exceptional.
_READABLE = (
    _module.POLLIN | _module.POLLRDNORM | _module.POLLRDBAND | _module.POLLHUP | _module.POLLERR
)
_WRITABLE = _module.POLLOUT | _module.POLLWRNORM | _module.POLLWRBAND | _module.POLLERR
_PRI = _module.POLLPRI
_NVAL = _module.POLLNVAL
_BITS = (_module.POLLIN, _module.POLLOUT, _PRI)
# What poll reports unasked.
_UNASKED = _module.POLLHUP | _module.POLLERR


def _fd(fileobj: Any) -> Any:
    """The descriptor of `fileobj`; whatever is none is left for the native call to complain about."""
    if isinstance(fileobj, int) or not hasattr(fileobj, "fileno"):
        return fileobj
    return fileobj.fileno()


def _steady(fileobjs: Any) -> Any:
    """`fileobjs` in a form that can be read twice, if it can be read at all."""
    if isinstance(fileobjs, (tuple, set, frozenset)):
        return fileobjs
    try:
        return list(fileobjs)
    except TypeError:
        return fileobjs


def _select(module: Any, rlist: Any, wlist: Any, xlist: Any, timeout: Any = None, /) -> Any:
    """Wait until one or more file descriptors are ready for some kind of I/O.

    Only the calling greenlet waits; see `select.select` for arguments, result and errors.
    """
    try:
        hub = current_hub()
    except NameError:  # in a copy: see `bound_twin`
        return module.select(rlist, wlist, xlist, timeout)
    seconds = 1.0 if timeout is None else timeout
    if type(seconds) is not float and type(seconds) is not int:
        seconds = number_of(seconds)
    if not 0 <= seconds <= LONGEST or (hub is None and not is_main_thread()):
        # A time-out that it will refuse, or a thread that it may block.
        return _native_select(rlist, wlist, xlist, timeout)
    if type(rlist) is not list:
        rlist = _steady(rlist)
    if type(wlist) is not list:
        wlist = _steady(wlist)
    if type(xlist) is not list:
        xlist = _steady(xlist)
    found = _native_select(rlist, wlist, xlist, 0)
    if found[0] or found[1] or found[2] or (hub is None and not seconds):
        if hub is not None:
            hub.breathe()
        return found
    deadline = None if timeout is None else _monotonic() + seconds
    if seconds and not xlist and len(rlist) + len(wlist) == 1:
        [fileobj] = rlist or wlist
        fd = _fd(fileobj)
        try:
            come = alone(hub or get_hub(), fd, _READABLE if rlist else _WRITABLE, deadline)
        except BaseException:
            leave_out_twin()
            raise
        if come.__class__ is Closed:
            ready = [fileobj] if len(come) else []
            return (ready, [], []) if rlist else ([], ready, [])
        if come is not None:
            if rlist:
                found = _native_select((fd,), (), (), 0)
                if found[0] or not come:
                    return ([fileobj] if found[0] else [], [], [])
            else:
                found = _native_select((), (fd,), (), 0)
                if found[1] or not come:
                    return ([], [fileobj] if found[1] else [], [])
    # By number from here on: that stays the same when the object is closed meanwhile.
    readers = [(_fd(fileobj), fileobj) for fileobj in rlist]
    writers = [(_fd(fileobj), fileobj) for fileobj in wlist] if wlist else ()
    others = [(_fd(fileobj), fileobj) for fileobj in xlist] if xlist else ()
    masks: dict[int, int] = {}
    for fd, _ in readers:
        masks[fd] = _READABLE
    for fd, _ in writers:
        masks[fd] = masks.get(fd, 0) | _WRITABLE
    for fd, _ in others:
        masks[fd] = masks.get(fd, 0) | _PRI

    def look(events: Mapping[int, int]) -> Mapping[int, int]:
        if events.__class__ is Closed:
            return {fd: masks[fd] if found & _NVAL else found for fd, found in events.items()}
        if events:
            return events
        events = {}
        numbers = [[fd for fd, _ in pairs] for pairs in (readers, writers, others)]
        for fds, bit in zip(_native_select(*numbers, 0), _BITS, strict=True):
            for fd in fds:
                events[fd] = events.get(fd, 0) | bit
        return events

    try:
        if seconds:
            events = until(look, masks, deadline)
        else:
            hub.pause()  # type: ignore[union-attr]
            events = look({})
    except BaseException:
        leave_out_twin()
        raise
    event = events.get
    return (
        [fileobj for fd, fileobj in readers if event(fd, 0) & _READABLE],
        [fileobj for fd, fileobj in writers if event(fd, 0) & _WRITABLE] if writers else [],
        [fileobj for fd, fileobj in others if event(fd, 0) & _PRI] if others else [],
    )


select: Any = bound_twin(_native_select, _select)


def _refuse(timeout: Any) -> None:
    """Raise what the native poll raises for a time-out, which may be too long for it, or none at all."""
    poll = native_poll()
    # No descriptor has this number, which poll reports at once.
    poll.register(2**31 - 1, 0)
    poll.poll(timeout)


@stands_for(type(native_poll()))
class Poll:
    """The cooperative twin of the objects that `select.poll()` returns; like those, not made by its class."""

    __slots__ = ("_masks", "_native", "_waiting")
    __reduce_ex__ = refuse_to_pickle

    _native: Any
    _masks: dict[int, int]
    _waiting: bool

    def __new__(cls) -> Poll:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    @classmethod
    def _adopt(cls, native: Any, masks: Mapping[int, int]) -> Poll:
        """A twin around a native poll object in which `masks` (events by descriptor) are registered."""
        self = object.__new__(cls)
        self._native = native
        self._masks = {fd: mask | _UNASKED for fd, mask in masks.items()}
        self._waiting = False
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
            milliseconds = number_of(milliseconds)
        native = self._native
        found: list[tuple[int, int]]
        if not -_LONGEST_POLL - 1 <= milliseconds <= _LONGEST_POLL:
            _refuse(timeout)
        if self._waiting:
            raise RuntimeError("concurrent poll() invocation")
        hub = current_hub()
        if hub is None and not is_main_thread():
            found = native.poll(timeout)
            return found
        found = native.poll(0)
        if found:
            if hub is not None:
                hub.breathe()
            return found
        if not milliseconds:
            # urllib3 asks so before each request whether the connection still stands.
            if hub is not None and hub.breathe():
                found = native.poll(0)
            return found
        deadline = None if milliseconds < 0 else _monotonic() + milliseconds / 1000
        masks = self._masks.copy()
        if len(masks) == 1:
            [(fd, mask)] = masks.items()
            self._waiting = True
            try:
                come = alone(hub or get_hub(), fd, mask, deadline)
            except BaseException:
                leave_out_twin()
                raise
            finally:
                self._waiting = False
            if come.__class__ is Closed:
                return list(come.items())
            if come is not None:
                found = native.poll(0)
                if found or not come:
                    return found

        def look(events: Mapping[int, int]) -> list[tuple[int, int]]:
            if len(events) == 1:
                return list(events.items())
            if events:
                return [(fd, events[fd]) for fd in masks if fd in events]
            found: list[tuple[int, int]] = native.poll(0)
            return found

        self._waiting = True
        try:
            return until(look, masks, deadline)
        except BaseException:
            leave_out_twin()
            raise
        finally:
            self._waiting = False


def _poll(module: Any, /) -> Any:
    """A new poll object: descriptors, the events of each, and a method that waits for them."""
    try:
        return Poll._adopt(native_poll(), {})
    except NameError:  # in a copy: see `bound_twin`
        return module.poll()


poll: Any = bound_twin(native_poll, _poll)

complete(globals(), _module)


def __getattr__(name: str) -> Any:
    # The constants.
    return getattr(_module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_module)})
