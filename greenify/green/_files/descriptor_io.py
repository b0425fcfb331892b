"""One read or one write on somebody else's descriptor, cooperatively and without touching its flags.

O_NONBLOCK belongs to the open file, which other processes may share (a terminal, a pipe that a child has
inherited), so it is never set here.  Instead:

* pipes and sockets are asked with RWF_NOWAIT, which makes the single call non-blocking;
* terminals, named FIFOs and kernels without that flag are asked whether they are ready first, and then given
  no more than what a ready file takes without blocking;
* regular files, directories and block devices never wait for anybody: the native call it is.

Callers are `green.os`, `green.fileobject` and `green.subprocess`.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.registry import current_hub, is_main_thread
from greenify.green._processes.children import on_own_thread

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "DEVICE",
    "PLAIN",
    "kind_of",
    "open_fifo",
    "read_into",
    "ready",
    "runs_natively",
    "write_all",
    "write_some",
]

_open = os.open
_close = os.close
_read = os.read
_readv = os.readv
_write = os.write
_writev = os.writev
_fstat = os.fstat
_isatty = os.isatty
_get_blocking = os.get_blocking
_poll = select.poll

#: The kind of file that is read and written with the native calls, because it never waits for anybody.
PLAIN = 0
_STREAM = 1  # pipe, socket, anonymous inode
_TERMINAL = 2
#: A character device that is no terminal.
DEVICE = 3

# See `green._sockets.state`, which has the same two for the methods of sockets.
_END: int = getattr(select, "POLLRDHUP", 0)
_AGAIN = 0.05

_preadv: Any = getattr(os, "preadv", None)
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None
_REFUSED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

# A pipe that is ready takes this much without blocking (POSIX).  A pseudo-terminal's buffer grows in steps
# of 256 bytes, and a byte takes up to two of them (newlines), so a ready one takes 128.
_PIPE_CHUNK = select.PIPE_BUF
_TERMINAL_CHUNK = 128


def runs_natively() -> bool:
    """Whether the caller is an OS thread that blocks natively: it has no hub and is not the main one."""
    return current_hub() is None and not is_main_thread()


def kind_of(fd: int) -> int:
    """How reads and writes on `fd` have to wait; `PLAIN` if they never do.

    Raises:
        OSError: EBADF, `fd` is not open.
    """
    kind = stat.S_IFMT(_fstat(fd).st_mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK):
        return PLAIN
    if kind == stat.S_IFCHR:
        return _TERMINAL if _isatty(fd) else DEVICE
    return _STREAM


def ready(fd: int, writing: bool) -> bool:
    """Whether a read (write) would return now, were it with an error."""
    poll = _poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(0))


def read_into(fd: int, kind: int, buffers: Sequence[WriteableBuffer]) -> int:
    """Read once into `buffers`, waiting cooperatively for the first byte.

    Raises:
        BlockingIOError: `fd` is non-blocking and has nothing.
        OSError: what ``read`` says; EBADF also when `fd` is closed through greenify meanwhile.
    """
    if kind == _STREAM and _NOWAIT is not None:
        try:
            waited = False
            while True:
                try:
                    return int(_preadv(fd, buffers, -1, _NOWAIT))
                except BlockingIOError:
                    if not _get_blocking(fd):
                        raise
                    if waited and _at_end(fd):
                        return _readv(fd, buffers)
                core.wait(fd, False)
                waited = True
        except OSError as exc:
            if exc.errno not in _REFUSED:
                raise
    if kind != PLAIN and _get_blocking(fd):
        while not ready(fd, False):
            core.wait(fd, False)
    return _readv(fd, buffers)


def _at_end(fd: int) -> bool:
    # A datagram socket that has been shut down: the kernel tells only those who block that nothing will come.
    poll = _poll()
    poll.register(fd, _END)
    return any(events & _END for _, events in poll.poll(0))


def _wait_for_room(fd: int, kind: int) -> None:
    deadline = None
    if kind == _STREAM and stat.S_ISSOCK(_fstat(fd).st_mode):
        # The kernel does not report the end of a local one to its writers.
        deadline = _monotonic() + _AGAIN
    core.wait(fd, True, deadline)


def write_some(fd: int, kind: int, data: memoryview) -> int:
    """Write what `fd` takes without blocking.

    Raises:
        BlockingIOError: it takes nothing now.
    """
    if kind == _STREAM and _NOWAIT is not None:
        try:
            return os.pwritev(fd, [data], -1, _NOWAIT)
        except OSError as exc:
            if exc.errno not in _REFUSED:
                raise
    if kind == PLAIN or not _get_blocking(fd):
        return _write(fd, data)
    if not ready(fd, True):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if kind == _TERMINAL:
        data = data[:_TERMINAL_CHUNK]
    elif kind == _STREAM and stat.S_ISFIFO(_fstat(fd).st_mode):
        # Not so a socket: that may keep messages apart.
        data = data[:_PIPE_CHUNK]
    return _write(fd, data)


def write_all(fd: int, kind: int, data: ReadableBuffer) -> int:
    """Write all of `data`, as ``write`` does on a blocking descriptor, waiting cooperatively for room.

    Returns:
        The number of bytes written: fewer than there are only if `fd` is non-blocking or has failed.

    Raises:
        BlockingIOError: `fd` is non-blocking and takes nothing.
        OSError: what ``write`` says; EBADF also when `fd` is closed through greenify meanwhile.
    """
    if kind == PLAIN:
        return _write(fd, data)
    with memoryview(data) as whole:
        if not whole.nbytes or not whole.c_contiguous:
            return _write(fd, data)
        view = whole.cast("B")
        total = len(view)
        sent = 0
        while True:
            try:
                try:
                    sent += write_some(fd, kind, view[sent:] if sent else view)
                except BlockingIOError:
                    if not _get_blocking(fd):
                        raise
                    _wait_for_room(fd, kind)
            except OSError:
                # As the kernel does: what has been written counts, the error is for the next call.
                if sent:
                    return sent
                raise
            if sent >= total:
                return sent


def open_fifo(path: Any, flags: int, mode: int = 0o666, dir_fd: int | None = None) -> int:
    """``os.open`` of a FIFO, waiting cooperatively for somebody to open the other end.

    The kernel offers no way to be told of that, so a native thread waits.
    """
    if runs_natively() or flags & os.O_NONBLOCK or flags & os.O_ACCMODE == os.O_RDWR:
        return _open(path, flags, mode, dir_fd=dir_fd)
    opened: list[int] = []
    unwanted: list[bool] = []

    def close_unwanted() -> None:
        if unwanted and opened:
            try:
                _close(opened.pop())
            except IndexError:
                pass  # the other thread was faster

    def wait() -> None:
        opened.append(_open(path, flags, mode, dir_fd=dir_fd))
        close_unwanted()

    try:
        on_own_thread(wait)
    except BaseException:
        # Interrupted: the thread opens it some time later.
        unwanted.append(True)
        close_unwanted()
        raise
    return opened.pop()
