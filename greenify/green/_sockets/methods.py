"""The methods of `socket.socket` that may block, in their cooperative form.

They work on any socket of Python: the patch puts them into `socket.socket` itself, and `green.socket.socket`
has them in a subclass.  Here are those that connect, accept, close and set; `receiving.py` and `sending.py`
have those that move data.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket as stdlib_socket
import struct
from typing import Any

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.tracebacks import leave_out_twin
from greenify.green._sockets import closing, receiving, sending
from greenify.green._sockets.accepting import BUSY, try_accept
from greenify.green._sockets.collected import FINALISER
from greenify.green._sockets.dns import resolve
from greenify.green._sockets.state import (
    SocketState,
    deadline_of,
    file_flags,
    low_water,
    make_nonblocking,
    options_used,
    refuses,
    settle,
    state_of,
    state_slot,
    wait_for,
    without_blocking,
)

__all__ = ["METHODS"]

_native = _socket.socket

_fileno = _native.fileno
_settimeout = _native.settimeout
_family = _native.family.__get__
_type = _native.type.__get__
_proto = _native.proto.__get__
_original = stdlib_socket.socket
_original_detach = _original.detach
_native_sendfile = getattr(os, "sendfile", None)

# The time-outs that the kernel keeps by itself, which calls that do not block never meet.
_KERNEL_LIMITS = {_socket.SO_RCVTIMEO: False, _socket.SO_SNDTIMEO: True}
# How long another process may be about to accept, in seconds.
_MOMENT = 0.0005
# What the kernel is asked for once somebody has set it.
_ASKED_FOR = (_socket.SO_LINGER, _socket.SO_RCVLOWAT)
_INTERNET = (_socket.AF_INET, _socket.AF_INET6)
_ANY = ("0.0.0.0", "::")
_TIMEVAL = struct.Struct("@ll")


def accept(self: Any) -> tuple[stdlib_socket.socket, Any]:
    """Wait for a connection; see `socket.socket.accept`."""
    state = state_of(self)
    native: Any = _native._accept  # type: ignore[attr-defined]
    if not state.blocking:
        fd, address = native(self)
    elif state.timeout is None:
        deadline = deadline_of(state)
        waited = False
        while True:
            found = try_accept(self, waited)
            if found is BUSY:
                core.sleep(_MOMENT)
            elif found is None:
                wait_for(self, state, False, deadline)
                waited = True
            else:
                fd, address = found
                break
    else:
        deadline = deadline_of(state)
        while True:
            # Another process may have cleared the flag, which a time-out sets in plain Python, too.
            make_nonblocking(self, state)
            try:
                fd, address = native(self)
                break
            except BlockingIOError:
                # Waiting in here would make this the context of whatever ends the wait.
                pass
            wait_for(self, state, False, deadline)
    sock = stdlib_socket.socket(_family(self), _type(self), _proto(self), fileno=fd)
    # As the standard library has it: a listener's time-out is not inherited through the descriptor.
    if _socket.getdefaulttimeout() is None and state.timeout:
        sock.setblocking(True)
    if state.limits is not None:
        settle(sock).limits = dict(state.limits)  # these are inherited
    return sock, address


def connect(self: Any, address: Any, /) -> None:
    """Connect; see `socket.socket.connect`.  Host names are looked up cooperatively."""
    state = state_of(self)
    if not state.blocking:
        _native.connect(self, address)
        return
    try:
        try:
            error = _connect(self, state, address)
        except (TypeError, OverflowError):
            _native.connect(self, address)  # says what is wrong with it, under its own name
            raise
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        leave_out_twin()
        raise


def connect_ex(self: Any, address: Any, /) -> int:
    """Connect and return the error number, 0 if it worked; see `socket.socket.connect_ex`."""
    state = state_of(self)
    if not state.blocking:
        return _native.connect_ex(self, address)
    try:
        return _connect(self, state, address)
    except TimeoutError as exc:
        # What the C code returns for a time-out of its own.
        return errno.EWOULDBLOCK if exc.errno is None else exc.errno
    except OSError as exc:
        if exc.errno == errno.EBADF:
            return exc.errno  # closed while it waited
        leave_out_twin()
        raise
    except BaseException:
        leave_out_twin()
        raise


def _connect(sock: Any, state: SocketState, address: Any) -> int:
    deadline = deadline_of(state, True)
    address = resolve(sock, address)
    if refuses(sock, state):
        return _native.connect_ex(sock, address)
    descriptor = state.descriptor
    if descriptor is not None:
        # What was reported of the unconnected socket says nothing of the connected one.
        descriptor.write.edge = descriptor.read.eager = False
    error: int = without_blocking(sock, state, _native.connect_ex, address)
    pause = 0.001
    while error == errno.EAGAIN and _family(sock) == _socket.AF_UNIX:
        # A local socket whose queue is full: there is nothing to wait on but time.
        if deadline is not None and _monotonic() >= deadline:
            if state.timeout is None:
                return error  # the limit of SO_SNDTIMEO
            raise TimeoutError("timed out")
        core.sleep(pause)
        pause = min(2 * pause, 0.05)
        error = without_blocking(sock, state, _native.connect_ex, address)
    if error not in (errno.EINPROGRESS, errno.EINTR):
        # A call that blocks waits for the connection that an earlier one has begun.
        if error != errno.EALREADY or state.timeout is not None:
            return error
    begun = error
    while True:
        try:
            wait_for(sock, state, True, deadline)
        except BlockingIOError:
            return begun  # the limit of SO_SNDTIMEO; the kernel goes on connecting
        if state.timeout is None:
            descriptor = state.descriptor
            if (descriptor is None or descriptor.read.eager) and _taken_back(sock):
                return _native.getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_ERROR)
            # Unlike SO_ERROR, this leaves a refused socket as a blocking call does: ready for the next try.
            error = without_blocking(sock, state, _native.connect_ex, address)
            if error == errno.EALREADY:
                continue
            if error == errno.EINPROGRESS:
                # It was taken back after all, and this is another connection: take that back, too.
                _native.shutdown(sock, _socket.SHUT_RDWR)
                return _native.getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_ERROR)
            return 0 if error == errno.EISCONN else error
        error = _native.getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            return error
        try:
            _native.getpeername(sock)
            return 0
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:
                raise


def _taken_back(sock: Any) -> bool:
    """Whether somebody has ended a connect by `shutdown`: then the kernel has taken its local address away.

    Not so if the program has bound the socket to one address of the machine.
    """
    return _family(sock) in _INTERNET and _native.getsockname(sock)[0] in _ANY


def bind(self: Any, address: Any, /) -> None:
    """See `socket.socket.bind`.  Host names are looked up cooperatively."""
    _native.bind(self, resolve(self, address) if state_of(self).blocking else address)


def settimeout(self: Any, timeout: float | None, /) -> None:
    """Limit every blocking operation to `timeout` seconds; None for no limit, 0 not to block at all."""
    state = state_of(self)
    if timeout is None:
        # Not only if it is news: the descriptor's flag may have been changed through another socket.
        _settimeout(self, None)
        state.timeout = None
        state.native_blocking = state.blocking = True
        return
    usual = timeout.__class__ in (int, float) and 0 < timeout < 1e9
    if usual and not state.native_blocking and _fileno(self) >= 0:
        # Nothing depends on the descriptor's flag, which is right unless somebody has changed it.
        state.timeout = float(timeout)
    else:
        _settimeout(self, timeout)  # checks the value and sets the flag
        state.timeout = _native.gettimeout(self)
        if state.timeout:
            _settimeout(self, 0.0)
        state.native_blocking = False
        file_flags.touched()  # of others on the same file
    state.blocking = state.timeout != 0.0


def setsockopt(self: Any, *args: Any) -> None:
    """See `socket.socket.setsockopt`.

    SO_RCVTIMEO, SO_SNDTIMEO and SO_RCVLOWAT work as with blocking calls.
    """
    _native.setsockopt(self, *args)
    if len(args) == 3 and args[0] == _socket.SOL_SOCKET and args[1] in _KERNEL_LIMITS:
        state = state_of(self)
        value = _native.getsockopt(self, _socket.SOL_SOCKET, args[1], _TIMEVAL.size)
        seconds, microseconds = _TIMEVAL.unpack(value)
        if state.limits is None:
            state.limits = {}
        state.limits[_KERNEL_LIMITS[args[1]]] = seconds + microseconds / 1e6
    elif len(args) >= 3 and args[0] == _socket.SOL_SOCKET and args[1] in _ASKED_FOR:
        options_used.add(args[1])
        state = state_of(self)
        if state.stream:
            state.lowat = 0
            if low_water(self, state) > 1:
                state.read = None


def shutdown(self: Any, how: int, /) -> None:
    """Shut down one half of the connection, or both; see `socket.socket.shutdown`.

    Whoever waits to read or write there is woken, as by the kernel.
    """
    try:
        _native.shutdown(self, how)
    finally:
        # The kernel tells of the end of reading, but not a local socket's writers of theirs.
        if _family(self) == _socket.AF_UNIX:
            core.look_again(_fileno(self))


def gettimeout(self: Any) -> float | None:
    """The time-out in seconds, or None."""
    return state_of(self).timeout


def setblocking(self: Any, flag: bool, /) -> None:
    """``settimeout(None)`` if `flag` is true, else ``settimeout(0.0)``."""
    if flag is not True and flag is not False:
        _native.setblocking(self, flag)  # refuses what is not an integer
    settimeout(self, None if flag else 0.0)


def getblocking(self: Any) -> bool:
    """Whether operations may wait (``gettimeout() != 0``)."""
    return state_of(self).blocking


def _real_close(
    self: Any,
    _ss: Any = _native,
    _forget: Any = core.forget,
    _used: set[int] = options_used,
    _internet: Any = _INTERNET,
    _linger: Any = (_socket.SOL_SOCKET, _socket.SO_LINGER, closing.ANSWER),
    _aside: bytes = closing.ASIDE,
    _close_lingering: Any = closing.close_lingering,
) -> None:
    # No globals, as in the original: this runs at the end of the interpreter too.
    fd = _ss.fileno(self)
    if fd >= 0:
        _forget(fd)
        if _linger[1] in _used and _ss.family.__get__(self) in _internet:
            try:
                lingers = not _ss.getsockopt(self, *_linger).startswith(_aside)
            except OSError:
                lingers = False  # for the native call to complain about
            if lingers:
                _close_lingering(self)
                return
    _ss.close(self)


def detach(self: Any) -> int:
    """Give up the descriptor without closing it and return it; waiters get EBADF."""
    fd = _fileno(self)
    if fd >= 0:
        core.forget(fd)
        state = state_of(self)
        state.descriptor = state.read = None
        if state.timeout is None and not state.native_blocking:
            # Whoever takes the descriptor over finds it as plain Python would have left it.
            _settimeout(self, None)
    return _original_detach(self)


def _send_file(sock: Any, source: int, offset: int, size: int) -> int:
    sent: int = _native_sendfile(_fileno(sock), source, offset, size)  # type: ignore[misc]
    return sent


def _sendfile_use_sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> int:
    # Called by the standard library's `sendfile`; giving up makes that fall back on `send`.
    give_up: Any = stdlib_socket._GiveupOnSendfile  # type: ignore[attr-defined]
    self._check_sendfile_params(file, offset, count)
    if _native_sendfile is None:
        raise give_up("os.sendfile() not available on this platform")
    try:
        source = file.fileno()
        size = os.fstat(source).st_size
    except Exception as exc:  # not a regular file: whatever its fileno() raises
        if isinstance(exc, (AttributeError, OSError)):
            raise give_up(exc) from None
        raise
    if not size:
        return 0
    state = state_of(self)
    if not state.blocking:
        raise ValueError("non-blocking sockets are not supported")
    total = 0
    try:
        while count is None or total < count:
            # The kernel moves at most 2 GiB at once; 1 GiB fits every ssize_t.
            block = min(2**30, size if count is None else count - total)
            deadline = deadline_of(state, True)
            try:
                if refuses(self, state):
                    sent = _send_file(self, source, offset, block)
                else:
                    sent = without_blocking(self, state, _send_file, source, offset, block)
            except BlockingIOError:
                sent = -1
            except OSError as exc:
                if not total and _fileno(self) >= 0:
                    raise give_up(exc) from None
                raise
            if not sent:
                break
            if sent < 0:
                wait_for(self, state, True, deadline)
            else:
                offset += sent
                total += sent
        return total
    finally:
        if total > 0 and hasattr(file, "seek"):
            file.seek(offset)


def _get_closed(self: Any) -> bool:
    state = state_slot.__get__(self)
    return bool(state)


def _set_closed(self: Any, closed: bool) -> None:
    settle(self, closed)


# What goes into a socket class, by name.
METHODS: dict[str, Any] = {
    "_state": state_slot,
    "__del__": FINALISER,
    "_closed": property(_get_closed, _set_closed),
    "timeout": property(gettimeout, doc=_native.timeout.__doc__),
    **{
        name: getattr(module, name)
        for module in (receiving, sending)
        for name in module.__all__
        if hasattr(_native, name)
    },
    **{
        function.__name__: function
        for function in (
            accept,
            connect,
            connect_ex,
            bind,
            settimeout,
            gettimeout,
            setblocking,
            getblocking,
            setsockopt,
            shutdown,
            detach,
            _real_close,
            _sendfile_use_sendfile,
        )
    },
}
