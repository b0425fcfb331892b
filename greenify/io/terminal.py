"""Terminals and the standard streams.

A descriptor of the process is shared with others: the shell, the rest of a pipeline, `sys.stdout`.  libuv
needs it not to block, and that flag belongs to the open file, not to the descriptor.  So a terminal or a
pipe is opened once more; what cannot be (a socket) gets its flag back in the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import termios
from typing import Any

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.loop import pyuv
from greenify.core.workers import default_workers
from greenify.errors import UVError
from greenify.io.handles import claim
from greenify.io.pipes import pipe_transport
from greenify.io.streams import Stream
from greenify.io.transport import Transport
from greenify.timeout import Timeout

__all__ = ["StderrStream", "StdinStream", "StdoutStream", "TTYStream"]

_isatty = os.isatty
_dup = os.dup
_close = os.close
_get_blocking = os.get_blocking
_set_blocking = os.set_blocking
_native_read = os.read
_native_write = os.write


# What makes a terminal deliver lines, echo, and turn keys into signals; the processing of output is kept.
_COOKED_INPUT = termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON
_COOKED_LOCAL = termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG


class _Shared(Transport):
    """A descriptor whose open file others may use too."""

    __slots__ = ("blocking",)

    discards = False

    def __init__(self, hub: core.Hub, uv: Any) -> None:
        super().__init__(hub, uv)
        self.blocking = False  # it has to block again in the end

    def release(self, uv: Any) -> None:
        super().release(uv)
        if self.blocking:
            _set_blocking(self.fd, True)


class _Terminal(_Shared):
    """A terminal; its settings are put back when it is closed."""

    __slots__ = ("_settings",)

    def __init__(self, hub: core.Hub, uv: Any) -> None:
        super().__init__(hub, uv)
        self._settings: list[Any] | None = None

    def set_raw(self, raw: bool) -> None:
        # Not by libuv, which lets the output drain first: that may take for ever, and nobody else would run.
        self.check()
        try:
            if not raw:
                self._restore()
            elif self._settings is None:
                settings = termios.tcgetattr(self.fd)
                self._settings = list(settings)
                settings[0] &= ~_COOKED_INPUT
                settings[3] &= ~_COOKED_LOCAL
                settings[6] = list(settings[6])
                settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
                termios.tcsetattr(self.fd, termios.TCSANOW, settings)
        except termios.error as exc:
            raise UVError.of(exc.args[0], self.name) from None

    def _restore(self) -> None:
        settings, self._settings = self._settings, None
        if settings is not None:
            termios.tcsetattr(self.fd, termios.TCSANOW, settings)

    def release(self, uv: Any) -> None:
        with contextlib.suppress(termios.error):  # the terminal is gone
            self._restore()
        super().release(uv)

    def shutdown(self, deadline: float | None) -> None:
        # libuv aborts the process over this.
        raise UVError.of(errno.EOPNOTSUPP, f"shutting down this {self.name}")


class _File(Transport):
    """A regular file or a device that the kernel cannot wait for: read on native threads.

    It has no handle of libuv, which would not take it.
    """

    __slots__ = ()

    def __init__(self, hub: core.Hub, fd: int) -> None:
        super().__init__(hub, _NoHandle())
        # Nothing for the loop to do.
        self._on_close(self.uv)
        self.opened(fd)

    def start_reading(self) -> None:
        """Nothing is read ahead."""

    def close_now(self) -> None:
        if self.uv is not None:
            super().close_now()
            _close(self.fd)

    def pull(self, deadline: float | None, wanted: int = 0) -> bool:
        self.check_open()
        if self.at_eof:
            return False
        fd = _dup(self.fd)  # this one may be closed meanwhile
        late = UVError.of(errno.ETIMEDOUT, f"reading from this {self.name}")
        left = None if deadline is None else deadline - _monotonic()
        try:
            with Timeout(left, late):
                data = default_workers.run(_native_read, fd, 65_536)
        except UVError:
            raise
        except OSError as exc:
            raise UVError.of(exc.errno or 0, self.name) from None
        finally:
            _close(fd)
        self.buffer.append(data)
        self.at_eof = not data
        return not self.at_eof

    def write(self, data: bytes) -> None:
        self.check_open()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[_native_write(self.fd, rest) :]
        except OSError as exc:
            raise UVError.of(exc.errno or 0, self.name) from None

    def shutdown(self, deadline: float | None) -> None:
        raise UVError.of(errno.EOPNOTSUPP, f"shutting down this {self.name}")


class _NoHandle:
    """Stands for a handle where libuv has none."""

    write_queue_size = 0

    def close(self, callback: Any) -> None:
        """Does nothing."""


def _copy(fd: int, writing: bool) -> tuple[int, bool]:
    """A descriptor for the same pipe, and whether it has to be made blocking again in the end."""
    flags = os.O_WRONLY if writing else os.O_RDONLY
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        # Where that does not work (not on Linux, another user's pipe) the open file is shared.
        with contextlib.suppress(OSError):
            path = f"/proc/self/fd/{fd}"
            return claim(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)), False
    return claim(_dup(fd)), _get_blocking(fd)


def _terminal(fd: int, name: str) -> _Terminal:
    hub = core.get_hub()
    blocking = _get_blocking(fd)
    copy = claim(_dup(fd))
    try:
        # As readable even where it is for writing: libuv would block the process over the other kind.
        uv = pyuv.TTY(hub.loop.uv, copy, True)
    except pyuv.error.UVError as exc:
        _close(copy)
        raise UVError.of(exc.args[0], name) from None
    transport = _Terminal(hub, uv)
    transport.name = name
    transport.opened(uv.fileno())
    if transport.fd == copy:
        transport.blocking = blocking
    else:
        # libuv has opened the terminal once more.
        _close(copy)
    return transport


def _transport(fd: int, writing: bool, name: str) -> Transport:
    try:
        mode = os.fstat(fd).st_mode
    except OSError as exc:
        raise UVError.of(exc.errno or 0, name) from None
    if _isatty(fd):
        return _terminal(fd, name)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        copy, blocking = _copy(fd, writing)
        transport = pipe_transport(copy, name, _Shared)
        transport.blocking = blocking
        return transport
    file = _File(core.get_hub(), claim(_dup(fd)))
    file.name = name
    return file


class TTYStream(Stream):
    """A terminal.

    Args:
        terminal: a descriptor of a terminal, which stays the caller's, or a path; ``/dev/tty``, the
            terminal that controls the process, by default.
        options: keyword arguments of `Stream`.

    Raises:
        UVError: it is no terminal, or cannot be opened.
    """

    _transport: _Terminal

    def __init__(self, terminal: int | str = "/dev/tty", **options: Any) -> None:
        name = f"terminal {terminal}"
        try:
            fd = (
                _dup(terminal)
                if isinstance(terminal, int)
                else os.open(terminal, os.O_RDWR | os.O_NOCTTY)
            )
        except OSError as exc:
            raise UVError.of(exc.errno or 0, name) from None
        try:
            if not _isatty(fd):
                raise UVError.of(errno.ENOTTY, name)
            transport = _terminal(fd, name)
        finally:
            _close(fd)
        super().__init__(transport, **options)

    def set_raw(self, raw: bool = True) -> None:
        """If `raw`, have every key delivered as it is pressed, without echo; else lines, as usual.

        What it was is restored when the stream is closed.
        """
        self._transport.set_raw(raw)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        transport = self._transport
        columns, rows = transport.call(transport.check().get_winsize)
        return columns, rows


class _Standard(Stream):
    _fd: int
    _writing = True

    def __init__(self, **options: Any) -> None:
        kind = type(self).__name__
        super().__init__(_transport(self._fd, self._writing, f"{kind} ({self._fd})"), **options)

    @property
    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return isinstance(self._transport, _Terminal)


class StdinStream(_Standard):
    """The standard input: a terminal, a pipe, a socket or a file.  It has no part in `sys.stdin`'s buffer.

    Args:
        options: keyword arguments of `Stream`.
    """

    _fd = 0
    _writing = False


class StdoutStream(_Standard):
    """The standard output.  What `sys.stdout` has in its buffer comes later: flush that first.

    Closing the stream, which writes what is unsent, leaves the process its standard output.

    Args:
        options: keyword arguments of `Stream`.
    """

    _fd = 1


class StderrStream(_Standard):
    """The standard error; see `StdoutStream`.

    Args:
        options: keyword arguments of `Stream`.
    """

    _fd = 2
