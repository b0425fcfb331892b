"""pyzmq: `recv`, `send`, `poll`, the proxies and `term` wait in libzmq.

A socket's FD becomes readable when libzmq has news for the socket, which may be of anything.  The news is
taken by the next call on the socket, whatever that is, so nobody may wait who has not looked since.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from greenify import core
from greenify.core import registry, waiters
from greenify.green._foreign import hand_over, zmq_proxies
from greenify.green._selecting.waits import until
from greenify.libraries.record import Library
from greenify.libraries.remedies import instead, like

__all__ = ["LIBRARY"]

_monotonic = time.monotonic

# Values of libzmq's interface.
_DONTWAIT = 1
_FD = 14
_EVENTS = 15
_RCVTIMEO = 27
_SNDTIMEO = 28
_POLLIN = 1
_POLLOUT = 2
_POLLERR = 4
_POLLPRI = 8

# The FDs that somebody waits for, as often as there are such.
_waiting: dict[int, int] = {}


def _natively() -> bool:
    """Whether the calling thread is a native one, which may wait in C."""
    return core.current_hub() is None and not registry.is_main_thread()


def _get() -> Callable[[Any, int], Any]:
    """The original method that reads an option of a socket."""
    get: Callable[[Any, int], Any] = sys.modules["zmq.backend"].Socket.get
    return get


def _used(socket: Any) -> None:
    """The call that has been made on `socket` may have taken the news that others wait for."""
    try:
        fd = _get()(socket, _FD)
    except sys.modules["zmq.error"].ZMQError:
        return  # it has been closed meanwhile: nobody waits for it
    if fd in _waiting:
        core.look_again(fd)


def _wait(fd: int, deadline: float | None) -> bool:
    _waiting[fd] = _waiting.get(fd, 0) + 1
    try:
        return core.wait(fd, False, deadline)
    except OSError:
        # Closed: the next attempt says so in the words of libzmq.
        return True
    finally:
        _waiting[fd] -= 1
        if not _waiting[fd]:
            del _waiting[fd]


def _transfer(original: Any, timeout: int, flag_at: int) -> Any:
    """The twin of a method that sends or receives.

    Args:
        timeout: the option that bounds its waiting, in milliseconds.
        flag_at: which of its arguments the flags are; -1 if they are given by name only.
    """
    again = sys.modules["zmq.error"].Again

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        flags = args[flag_at] if 0 <= flag_at < len(args) else kwargs.get("flags", 0)
        if flags & _DONTWAIT or _natively():
            return original(self, *args, **kwargs)
        if 0 <= flag_at < len(args):
            args = (*args[:flag_at], flags | _DONTWAIT, *args[flag_at + 1 :])
        else:
            kwargs["flags"] = flags | _DONTWAIT
        get = None
        deadline: float | None = None
        while True:
            try:
                result = original(self, *args, **kwargs)
            except again:
                if get is None:
                    get = _get()
                    limit = get(self, timeout)
                    if limit >= 0:
                        deadline = _monotonic() + limit / 1000
            else:
                if _waiting:
                    _used(self)
                return result
            # An attempt need not have looked at the news; this does.
            get(self, _EVENTS)
            fd = get(self, _FD)
            try:
                result = original(self, *args, **kwargs)
            except again:
                # An attempt is made at the deadline, too.
                if deadline is not None and _monotonic() >= deadline:
                    raise
                _wait(fd, deadline)
            else:
                if _waiting:
                    _used(self)
                return result

    return like(original, twin)


def _sends(original: Any) -> Any:
    return _transfer(original, _SNDTIMEO, 1)


def _receives(original: Any) -> Any:
    return _transfer(original, _RCVTIMEO, 0)


def _receives_into(original: Any) -> Any:
    return _transfer(original, _RCVTIMEO, -1)


def _uses(original: Any) -> Any:
    """A method that takes the news of its socket and does not wait."""

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            if _waiting:
                _used(self)

    return like(original, twin)


def _close(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    if _waiting and not self.closed:
        try:
            fd = _get()(self, _FD)
        except sys.modules["zmq.error"].ZMQError:
            fd = -1  # a forked child's: nobody waits for it here
        if fd in _waiting:
            core.forget(fd)
    return original(self, *args, **kwargs)


def _poll(original: Any, sockets: Any, timeout: int = -1) -> Any:
    """`zmq.zmq_poll`; `timeout` in milliseconds."""
    found = original(sockets, 0)
    if found or timeout == 0:
        return found
    if _natively():
        return original(sockets, timeout)
    deadline = None if timeout < 0 else _monotonic() + timeout / 1000
    sockets = list(sockets)
    masks: dict[int, int] = {}
    kind = sys.modules["zmq.backend"].Socket
    get = _get()
    for item, events in sockets:
        if isinstance(item, kind):
            fd, mask = get(item, _FD), _POLLIN
        else:
            fd = item if isinstance(item, int) else int(item.fileno())
            mask = _mask(events)
        masks[fd] = masks.get(fd, 0) | mask
    if not masks:
        return original(sockets, timeout)  # at once

    def look(events: Mapping[int, int]) -> Any:
        return original(sockets, 0)

    return until(look, masks, deadline)


def _mask(events: int) -> int:
    """libzmq's events of a plain descriptor as `select.poll` has them."""
    import select

    mask = select.POLLERR | select.POLLHUP
    for bit, there in ((_POLLIN, select.POLLIN), (_POLLOUT, select.POLLOUT)):
        if events & bit:
            mask |= there
    if events & _POLLPRI:
        mask |= select.POLLPRI
    return mask


# Of each context that is being ended: a second one to end it has to wait, also where the first one has left.
_ending: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _term(original: Any, self: Any) -> Any:
    """`Context.term`: waits until all sockets of the context are closed and what they sent is on its way."""
    if self.closed or _natively():
        return original(self)
    lock = _ending.setdefault(self, waiters._native_lock())

    def end() -> None:
        with lock:
            original(self)

    return hand_over(end)


LIBRARY = Library(
    package="pyzmq",
    tested="27.3",
    replace={
        "zmq.backend.cython._zmq": {
            "zmq_poll": instead(_poll),
            "proxy": instead(zmq_proxies.proxy),
            "proxy_steerable": instead(zmq_proxies.proxy_steerable),
            "monitored_queue": instead(zmq_proxies.monitored_queue),
        },
        "zmq.sugar.socket:Socket": {
            "send": _sends,
            "recv": _receives,
            "recv_into?": _receives_into,
            "get": _uses,
            "getsockopt": _uses,
            "connect": _uses,
            "disconnect": _uses,
            "bind": _uses,
            "unbind": _uses,
            "close": instead(_close),
        },
        "zmq.sugar.context:Context": {"term": instead(_term)},
    },
    stays={"the backend of cffi": "only used where that of Cython does not load"},
)
