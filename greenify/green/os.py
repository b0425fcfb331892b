"""The cooperative twin of `os`: reading, writing and closing descriptors, and commands.

Regular files block, for no kernel can tell when they are ready; `greenify.core.workers` runs such calls on a
native thread.  ``os.fork`` needs no twin: `greenify.core.fork`
hooks into every way to fork.
"""

from __future__ import annotations

import atexit
import errno
import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import index
from stat import S_ISFIFO, S_ISREG
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.core.placement import lowest
from greenify.core.registry import hubs
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.rest import complete
from greenify.green._files.descriptor_io import (
    PLAIN,
    kind_of,
    open_fifo,
    read_into,
    runs_natively,
    write_all,
    write_some,
)
from greenify.green._files.fileobject import fdopen
from greenify.green._foreign.kernel import (
    copy_file_range,
    eventfd_read,
    eventfd_write,
    fdatasync,
    fsync,
    getrandom,
    lockf,
    posix_fallocate,
    splice,
    sync,
)
from greenify.green._processes.children import on_own_thread
from greenify.green._processes.reaping import wait, wait3, wait4, waitid, waitpid
from greenify.green._processes.scheduling import (
    getpriority,
    sched_getaffinity,
    sched_getparam,
    sched_getscheduler,
    sched_rr_get_interval,
    sched_setaffinity,
    sched_setparam,
    sched_setscheduler,
    setpriority,
)
from greenify.green.subprocess import Popen

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

__all__ = [
    "close",
    "closerange",
    "copy_file_range",
    "dup2",
    "eventfd_read",
    "eventfd_write",
    "fdatasync",
    "fdopen",
    "fsync",
    "getpriority",
    "getrandom",
    "lockf",
    "open",
    "popen",
    "posix_fallocate",
    "preadv",
    "pwritev",
    "read",
    "readinto",
    "readv",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setparam",
    "sched_setscheduler",
    "sendfile",
    "setpriority",
    "splice",
    "sync",
    "system",
    "wait",
    "wait3",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
]

_open = os.open
_stat = os.stat
_read = os.read
_readv = os.readv
_readinto: Any = getattr(os, "readinto", None)  # from CPython 3.14 on
_preadv: Any = getattr(os, "preadv", None)
_pwritev: Any = getattr(os, "pwritev", None)
_write = os.write
_writev = os.writev
_close = os.close
_closerange = os.closerange
_dup2 = os.dup2
_fstat = os.fstat
_sendfile: Callable[..., int] = os.sendfile
_system = os.system

# What one piece of `sendfile` holds in memory at most.
_PIECE = 1 << 18


def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """`os.open`; of a FIFO, waits for somebody to open the other end."""
    try:
        if S_ISFIFO(_stat(path, dir_fd=dir_fd).st_mode):
            return open_fifo(path, flags, mode, dir_fd)
    except (OSError, TypeError, ValueError):
        # For the native function to complain about.
        pass
    return _open(path, flags, mode, dir_fd=dir_fd)


# Reading and writing.  Each waits for readiness and is woken by the kernel, or with EBADF by a close.


def _kind(fd: int) -> int:
    if runs_natively():
        return PLAIN
    try:
        return kind_of(fd)
    except TypeError:
        # For the native function to complain about.
        return PLAIN


def read(fd: int, length: int, /) -> bytes:
    """`os.read`: up to `length` bytes, at least one unless the other end is closed."""
    kind = _kind(fd)
    if kind == PLAIN or type(length) is not int or length <= 0:
        return _read(fd, length)
    buffer = bytearray(length)
    try:
        got = read_into(index(fd), kind, [buffer])
    except BaseException:
        leave_out_twin()
        raise
    with memoryview(buffer) as view:
        return bytes(view[:got])


def readv(fd: int, buffers: Sequence[WriteableBuffer], /) -> int:
    """`os.readv`: as `read`, into several buffers; returns the number of bytes."""
    kind = _kind(fd)
    if kind == PLAIN:
        return _readv(fd, buffers)
    try:
        return read_into(index(fd), kind, buffers)
    except BaseException:
        leave_out_twin()
        raise


def write(fd: int, data: ReadableBuffer, /) -> int:
    """`os.write`: all of `data`, however long the reader takes, unless `fd` is non-blocking."""
    kind = _kind(fd)
    if kind == PLAIN or isinstance(data, str):
        return _write(fd, data)
    try:
        return write_all(index(fd), kind, data)
    except BaseException:
        leave_out_twin()
        raise


def writev(fd: int, buffers: Sequence[ReadableBuffer], /) -> int:
    """`os.writev`: as `write`, from several buffers."""
    kind = _kind(fd)
    if kind == PLAIN or not isinstance(buffers, Sequence) or len(buffers) > _IOV_MAX:
        return _writev(fd, buffers)
    try:
        return write_all(index(fd), kind, b"".join(buffers))
    except BaseException:
        leave_out_twin()
        raise


def readinto(fd: int, buffer: WriteableBuffer, /) -> int:
    """`os.readinto`: as `read`, into a buffer; returns the number of bytes."""
    kind = _kind(fd)
    if kind == PLAIN:
        return int(_readinto(fd, buffer))
    try:
        return read_into(index(fd), kind, [buffer])
    except BaseException:
        leave_out_twin()
        raise


def preadv(fd: int, buffers: Sequence[WriteableBuffer], offset: int, flags: int = 0, /) -> int:
    """`os.preadv`; waits as `readv` does at the offset -1, which is where a pipe can be read."""
    if type(offset) is int and offset == -1 and not flags and _kind(fd) != PLAIN:
        try:
            return readv(fd, buffers)
        except BaseException:
            leave_out_twin()
            raise
    return int(_preadv(fd, buffers, offset, flags))


def pwritev(fd: int, buffers: Sequence[ReadableBuffer], offset: int, flags: int = 0, /) -> int:
    """`os.pwritev`; waits as `writev` does at the offset -1, which is where a pipe can be written."""
    if type(offset) is int and offset == -1 and not flags and _kind(fd) != PLAIN:
        try:
            return writev(fd, buffers)
        except BaseException:
            leave_out_twin()
            raise
    return int(_pwritev(fd, buffers, offset, flags))


_IOV_MAX: int = os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 1024


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int, *args: Any, **kw: Any) -> int:
    """`os.sendfile`.  A blocking `out_fd` gets copies: the kernel's own transfer blocks."""
    try:
        kind = _kind(out_fd)
        source = _fstat(in_fd).st_mode
    except (OSError, TypeError):
        # For the native function to complain about.
        kind = source = PLAIN
    if kind == PLAIN or not (_is_index(count) and (offset is None or _is_index(offset))):
        return _sendfile(out_fd, in_fd, offset, count, *args, **kw)
    out_fd, in_fd, count = index(out_fd), index(in_fd), index(count)
    if count <= 0 or not os.get_blocking(out_fd):
        return _sendfile(out_fd, in_fd, offset, count, *args, **kw)
    if args or kw or not S_ISREG(source):
        return on_own_thread(partial(_sendfile, out_fd, in_fd, offset, count, *args, **kw))
    start = os.lseek(in_fd, 0, os.SEEK_CUR) if offset is None else index(offset)
    done = 0
    try:
        while done < count:
            data = os.pread(in_fd, min(count - done, _PIECE), start + done)
            if not data:
                break
            done += _send_piece(out_fd, kind, memoryview(data))
    except OSError:
        # What has been sent has been sent: the next call says what is wrong.
        if not done:
            raise
    finally:
        if offset is None:
            os.lseek(in_fd, start + done, os.SEEK_SET)
    return done


def _is_index(value: object) -> bool:
    return hasattr(type(value), "__index__")


def _send_piece(fd: int, kind: int, data: memoryview) -> int:
    while True:
        try:
            return write_some(fd, kind, data)
        except BlockingIOError:
            core.wait(fd, True)


# Closing: whoever waits on a descriptor has to hear of it before its number is free.


def _is_private(fd: int) -> bool:
    return any(fd in hub.private_fds for hub in tuple(hubs))


def _closing(native: Callable[[int], None], running: list[bool]) -> Callable[[int], None]:
    # Finalisers close descriptors when this module's names are gone already; a closure's are not.
    def close(fd: int) -> None:
        """`os.close`; whoever waits on `fd` gets EBADF."""
        if running:
            if _is_private(fd):
                # Not a descriptor of the program: for it, the number is free.
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            core.forget(fd)
        native(fd)

    close.__qualname__ = "close"
    return close


_running = [True]
atexit.register(_running.clear)
close = _closing(_close, _running)


def closerange(fd_low: int, fd_high: int, /) -> None:
    """`os.closerange`; spares the descriptors that the hubs themselves live on."""
    spared: list[int] = []
    for hub in tuple(hubs):
        spared += [fd for fd in tuple(hub.private_fds) if fd_low <= fd < fd_high]
        for fd in {*hub.descriptors.by_fd, *hub.descriptors.polls}:
            if fd_low <= fd < fd_high and fd not in hub.private_fds:
                core.forget(fd)
    for fd in sorted(spared):
        _closerange(fd_low, fd)
        fd_low = fd + 1
    _closerange(fd_low, fd_high)


def dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    """`os.dup2`; whoever waits on `fd2` gets EBADF.

    Raises:
        OSError: EBUSY, `fd2` is one of the few numbers that a hub itself lives on: 900 and up, or the last
            tenth of what RLIMIT_NOFILE allows.
    """
    if _is_private(fd2):
        raise OSError(
            errno.EBUSY,
            f"the descriptor {fd2} belongs to greenify: choose a number below {lowest()}",
        )
    try:
        _fstat(fd)
    except (OSError, TypeError):
        # It is going to fail, and `fd2` stays what it is.
        return _dup2(fd, fd2, inheritable)
    if fd != fd2:
        core.forget(fd2)
    return _dup2(fd, fd2, inheritable)


# Commands.


class _Held(deque[Any]):
    """What signal handlers have left for the main greenlet, and is to stay there for now."""

    def __bool__(self) -> bool:
        return False


def system(command: StrOrBytesPath) -> int:
    """`os.system`, by the real one on a native thread: siblings go on.

    The real one ignores SIGINT and SIGQUIT in the whole process meanwhile, here as with threads.  In the
    main thread, handlers of other signals run when it has returned, as they do in plain Python; so one for
    SIGCHLD that reaps any child does not take this one's status away.
    """
    if runs_natively():
        return _system(command)
    hub = core.get_hub()
    if not hub.in_main():
        return on_own_thread(_system, command)
    interrupts = hub.interrupts
    hub.interrupts = _Held()
    try:
        return on_own_thread(_system, command)
    finally:
        interrupts.extend(hub.interrupts)
        hub.interrupts = interrupts
        hub.run_interrupts()


def popen(cmd: str, mode: str = "r", buffering: int = -1) -> Any:
    """`os.popen`: a file object over the output (input) of a shell command; its `close` waits for the end."""
    if not isinstance(cmd, str):
        raise TypeError(f"invalid cmd type ({type(cmd)}, expected string)")
    if mode not in ("r", "w"):
        raise ValueError(f"invalid mode {mode!r}")
    if buffering == 0 or buffering is None:
        raise ValueError("popen() does not support unbuffered streams")
    end = "stdout" if mode == "r" else "stdin"
    pipes: dict[str, Any] = {end: subprocess.PIPE}
    process = Popen(cmd, shell=True, text=True, bufsize=buffering, **pipes)
    return os._wrap_close(getattr(process, end), process)


#: What is replaced by a patch.
REPLACED = tuple(__all__)

complete(globals(), os)


def __getattr__(name: str) -> Any:
    return getattr(os, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(os)})
