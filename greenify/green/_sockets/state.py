"""What a cooperative socket remembers, and how it waits.

`socket.socket` has three slots, and its class is patched in place, so that sockets, subclasses and references
from before the patch become cooperative too.  There is no room for a fourth slot in such sockets.  The slot
of ``_closed``, a flag, therefore holds a `SocketState`, and ``_closed`` becomes a property that reads the
flag there.

The descriptor's O_NONBLOCK flag stays what plain Python would make it (set for sockets with a time-out,
clear for those without), for other processes may share it.  Sending and receiving pass MSG_DONTWAIT instead.
Calls that know no such flag set O_NONBLOCK for their duration (`without_blocking`; `accepting.py` for
listeners, which the forked workers of a server share).  A TLS connection, which nobody can share, keeps it
(`make_nonblocking`).

Somebody else may set the flag, too: by number, through a duplicate, in another process.  A blocking call then
fails at once if there is nothing to do, and so do ours: before they wait for the first time they look at the
flag (`refuses`).  A receive that waits without having asked the kernel (`Side.drained`) has no such moment,
so whatever may set the flag in this process says so (`FileFlags.touched`).
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from greenify import core
from greenify.core.blocking import bad_descriptor, wait_natively
from greenify.core.clock import monotonic as _monotonic
from greenify.core.descriptors import Descriptor, Side
from greenify.core.kernel_queue import WRITE
from greenify.core.registry import current_hub, finalising, get_hub, is_main_thread
from greenify.core.tracebacks import leave_out_twin

__all__ = [
    "SocketState",
    "at_end",
    "attempt",
    "deadline_of",
    "file_flags",
    "low_water",
    "make_nonblocking",
    "options_used",
    "refuses",
    "register",
    "restore_natively",
    "settle",
    "state_of",
    "state_slot",
    "wait_for",
    "without_blocking",
]

T = TypeVar("T")

_native = _socket.socket
_gettimeout = _native.gettimeout
_settimeout = _native.settimeout
_fileno = _native.fileno
_get_blocking = os.get_blocking
_poll = select.poll
_DONTWAIT = _socket.MSG_DONTWAIT
# Flags with which the kernel never waits, whatever the descriptor is.
_NEVER_WAIT = _DONTWAIT | getattr(_socket, "MSG_ERRQUEUE", 0)
# Where a short read proves that nothing is left.  Elsewhere it may have stopped at a boundary: between
# messages (SCTP), or where descriptors or credentials belong (AF_UNIX).
_SEAMLESS_FAMILIES = (_socket.AF_INET, _socket.AF_INET6)
_SEAMLESS_PROTOCOLS = (0, _socket.IPPROTO_TCP)

# The end of what can be received, also where a receive that does not block says only that nothing is there.
_END: int = getattr(select, "POLLRDHUP", 0)
# A local socket's writers are told of room, but not of an end: after so many seconds they try again.
_AGAIN = 0.05

# The slot behind socket.socket._closed, under a name of our own.
state_slot: Any = socket.socket.__dict__["_closed"]


class FileFlags:
    """Knows since when nobody in this process may have set O_NONBLOCK on a file that others use."""

    __slots__ = ("epoch",)

    def __init__(self) -> None:
        self.epoch = object()

    def touched(self) -> None:
        """Somebody may have set the flag of a file: whoever knows a buffer to be empty asks once more."""
        self.epoch = object()


file_flags = FileFlags()

#: Those of SO_LINGER and SO_RCVLOWAT that this process has ever set: the kernel is only asked for these (the
#: options of a connection that is made, used and closed would cost a twentieth of all that).
options_used: set[int] = set()


class SocketState:
    """The state of one cooperative socket."""

    __slots__ = (
        "asked",
        "blocking",
        "closed",
        "descriptor",
        "epoch",
        "excused",
        "limits",
        "local",
        "lowat",
        "native_blocking",
        "read",
        "seamless",
        "stream",
        "timeout",
    )

    def __init__(self, sock: socket.socket, closed: bool) -> None:
        # An absent timeout is None in Python's terms, a non-blocking socket has 0.0.
        timeout = _gettimeout(sock)
        self.closed = closed
        self.excused: float | None = None  # the deadline after which `_in_time` has said yes
        self.timeout = timeout
        self.blocking = timeout != 0.0
        self.native_blocking = timeout is None
        if timeout:
            # With a time-out of its own the C code would poll before each call.
            _settimeout(sock, 0.0)
        kind: int = _native.type.__get__(sock)
        self.stream = kind == _socket.SOCK_STREAM
        family: int = _native.family.__get__(sock)
        self.local = family == _socket.AF_UNIX
        self.seamless = (
            self.stream
            and family in _SEAMLESS_FAMILIES
            and _native.proto.__get__(sock) in _SEAMLESS_PROTOCOLS
        )
        # Writing or not -> seconds: SO_SNDTIMEO and SO_RCVTIMEO.
        self.limits: dict[bool, float] | None = None
        # SO_RCVLOWAT of a stream, 0 until somebody has asked for it (`low_water`).
        self.lowat = 0 if self.stream else 1
        self.descriptor: Descriptor | None = None
        # The side on which the plain receives wait; None also if SO_RCVLOWAT makes them special.
        self.read: Side | None = None
        # When the descriptor was last known to have no O_NONBLOCK that the socket has not set itself.
        self.epoch: object = None
        self.asked = False  # something has been written since the last read, over TLS

    def __bool__(self) -> bool:
        # What remains in the slot of a socket that outlives the patch still reads as the flag.
        return self.closed

    def never_waits(self, flags: int) -> bool:
        """Whether `flags` make a call return at once although the socket may wait."""
        return self.timeout is None and bool(flags & _NEVER_WAIT)


def settle(sock: Any, closed: bool | None = None) -> SocketState:
    """The state of `sock`, made now if it has none; sets its ``closed`` flag if one is given."""
    try:
        state = state_slot.__get__(sock)
    except AttributeError:
        state = False  # not initialised yet
    if state.__class__ is not SocketState:
        state = SocketState(sock, bool(state))
        state_slot.__set__(sock, state)
    if closed is not None:
        state.closed = closed
    return state


def state_of(sock: Any) -> SocketState:
    """The state of `sock`, made now if it has none."""
    state: SocketState = sock._state
    return state if state.__class__ is SocketState else settle(sock)


def without_blocking(
    sock: socket.socket, state: SocketState, method: Callable[..., T], *args: Any
) -> T:
    """``method(sock, *args)`` with O_NONBLOCK set meanwhile: for a call that knows no MSG_DONTWAIT.

    The flag is set in any case, for another socket on the same file may have cleared it.  To be called of a
    socket that does not refuse to wait (`refuses`): the flag is cleared afterwards.
    """
    _settimeout(sock, 0.0)
    try:
        return method(sock, *args)
    finally:
        if state.native_blocking and _fileno(sock) >= 0:
            _settimeout(sock, None)


def attempt(
    sock: Any, state: SocketState, method: Any, writing: bool, flags: int, *args: Any
) -> Any:
    """``method(sock, *args, flags)`` again and again until the kernel does something.

    Raises:
        TimeoutError: the socket's time-out is over.
        OSError: what the call raises; EAGAIN only if `flags` say not to wait.
    """
    deadline = deadline_of(state, writing)
    asking = flags | _DONTWAIT
    waited = False
    while True:
        try:
            return method(sock, *args, asking)
        except BlockingIOError:
            if flags and state.never_waits(flags):
                raise
            if not waited and refuses(sock, state):
                raise
            if not writing and at_end(sock, state, waited):
                return method(sock, *args, flags)
        # Not in the handler: its exception would be the context of whatever ends the wait.
        wait_for(sock, state, writing, deadline)
        waited = True


def refuses(sock: socket.socket, state: SocketState) -> bool:
    """Whether the kernel would not wait, though the socket has no time-out: somebody has set O_NONBLOCK.

    To be asked when a call has found nothing to do, before its first wait: the kernel decides once.
    """
    epoch = file_flags.epoch
    if state.native_blocking and not _get_blocking(_fileno(sock)):
        return True
    state.epoch = epoch
    return False


def at_end(sock: socket.socket, state: SocketState, waited: bool) -> bool:
    """Whether a receive without MSG_DONTWAIT would return nothing, and at once: after ``shutdown``.

    Asked not to block, the kernel does not tell that from an empty queue of datagrams.  To be asked when a
    receive has found nothing.

    Args:
        waited: whether it has waited since the caller's call began.
    """
    if state.stream or state.timeout is not None:
        return False
    if not waited:
        # The kernel has reported an end to whoever waited first.
        descriptor = state.descriptor
        if descriptor is None or not descriptor.read.eager:
            return False
    poll = _poll()
    poll.register(_fileno(sock), _END)
    return any(events & _END for _, events in poll.poll(0))


def low_water(sock: socket.socket, state: SocketState) -> int:
    """SO_RCVLOWAT: a receive without a time-out waits for so many bytes (or for as many as it asks for)."""
    if not state.lowat:
        if _socket.SO_RCVLOWAT not in options_used:
            return 1
        state.lowat = _native.getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_RCVLOWAT)
    return state.lowat


def make_nonblocking(sock: socket.socket, state: SocketState) -> None:
    """Set O_NONBLOCK for good.

    The flag is set in any case, for another socket on the same file may have cleared it.
    """
    _settimeout(sock, 0.0)
    state.native_blocking = False


def restore_natively(sock: socket.socket) -> None:
    """Give `sock` back to the C code: its time-out as the C code's own."""
    state = state_slot.__get__(sock)
    if state.__class__ is SocketState:
        state_slot.__set__(sock, state.closed)
        if _fileno(sock) >= 0:
            _settimeout(sock, state.timeout)


def deadline_of(state: SocketState, writing: bool = False) -> float | None:
    """The deadline of an operation that begins now, as `time.monotonic` seconds.

    It comes from the socket's time-out; without one, from what SO_RCVTIMEO (SO_SNDTIMEO if `writing`) allows.
    """
    timeout = state.timeout
    if timeout is None:
        if state.limits is None:
            return None
        timeout = state.limits.get(writing)
        if not timeout:
            return None
    return _monotonic() + timeout


def wait_for(
    sock: socket.socket, state: SocketState, writing: bool, deadline: float | None
) -> None:
    """Park until the socket may have become readable (writable if `writing`).

    Args:
        deadline: what `deadline_of` has said.

    Raises:
        TimeoutError: the deadline passed first.
        BlockingIOError: the time that SO_RCVTIMEO or SO_SNDTIMEO allows is over.
        OSError: EBADF, the socket has been closed.
    """
    # One frame for everything: from CPython 3.12 on each one costs greenlet 200 bytes and time.
    until = deadline
    if writing and state.local:
        until = _monotonic() + _AGAIN
        if deadline is not None and deadline < until:
            until = deadline
    descriptor = state.descriptor
    if descriptor is None or descriptor.closed:
        descriptor = register(sock, state, writing)
        if descriptor is None:
            if not core.wait(_fileno(sock), writing, until) and until is deadline:
                raise _over(state)
            return
    elif writing and descriptor.mask & WRITE != WRITE:
        descriptor.hub.descriptors.want_write(descriptor)
    try:
        if not (descriptor.write if writing else descriptor.read).wait(until) and until is deadline:
            if not _in_time(state, descriptor, writing, deadline):
                raise _over(state)
        if descriptor.closed:
            # Not to be tried again: the number may belong to another file by now.
            raise bad_descriptor()
    except BaseException:
        leave_out_twin()
        raise


def _in_time(
    state: SocketState, descriptor: Descriptor, writing: bool, deadline: float | None
) -> bool:
    """Whether a wait that is over by the clock has what it waited for, as poll(2) says to a thread.

    While others computed nobody asked the kernel, and the hub's time-outs come before its reports.  Once for
    a deadline: a call that still gives EAGAIN must not go on for ever.
    """
    if state.excused == deadline or descriptor.closed:
        return False
    if not wait_natively(descriptor.fd, writing, deadline):
        return False
    state.excused = deadline
    descriptor.read.drained = False
    return True


def _over(state: SocketState) -> OSError:
    # The kernel's own limits end a call as if it did not block.
    return (
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if state.timeout is None
        else TimeoutError("timed out")
    )


def register(sock: socket.socket, state: SocketState, writing: bool) -> Descriptor | None:
    """Register `sock` with the hub, which reports its present state; None on an OS thread without a hub.

    Raises:
        OSError: EBADF, the socket has been closed.
    """
    fd = _fileno(sock)
    if fd < 0:
        raise bad_descriptor()
    hub = current_hub()
    if hub is None and (not is_main_thread() or finalising()):
        return None
    descriptor = (hub or get_hub()).descriptors.attach(fd, writing)
    # The registration stays until the socket is closed, whoever made it.
    descriptor.uses = 0
    state.descriptor = descriptor
    state.read = descriptor.read if low_water(sock, state) <= 1 else None
    return descriptor
