"""One try to accept a connection, without leaving a trace on the listening socket.

`accept` knows no MSG_DONTWAIT: only O_NONBLOCK on the open file keeps it from blocking.  That flag belongs to
everybody who has the file, forked workers and other programs among them.  A flag that stays set gives a plain
program BlockingIOError; a flag that one worker clears between the other's setting it and its call blocks that
one.  So it is set for the call only, when there is a connection, and meanwhile nobody else of us changes it:
other OS threads are kept out by a lock, other processes by a lock of the kernel on the file (POSIX, which the
kernel takes back from a process that dies).  A program that knows nothing of this may find the flag set in
the few microseconds after we have taken the last connection.

Where the kernel has no such lock for sockets the flag stays set, as it did for a listener with a time-out.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import os
import select
from typing import Any

__all__ = ["BUSY", "try_accept"]

_native: Any = _socket.socket
_family = _native.family.__get__
_accept = _native._accept
_fileno = _native.fileno
_settimeout = _native.settimeout
_getsockopt = _native.getsockopt
_get_blocking = os.get_blocking
_lockf = fcntl.lockf
_poll = select.poll

_TAKE = fcntl.LOCK_EX | fcntl.LOCK_NB
_RELEASE = fcntl.LOCK_UN
# The end of what can be received; nothing on other systems, whose `accept` says by itself that there is one.
_END: int = getattr(select, "POLLRDHUP", 0)
# The byte that is locked: one that nobody else has a reason to lock.
_BYTE = (1, 1 << 40)

_mine = _thread.allocate_lock()

#: Another process is just accepting on the same file.
BUSY = (-1, None)


def try_accept(sock: Any, waited: bool) -> tuple[int, Any] | None:
    """Accept on a socket that has no time-out, if there is a connection.

    Signal handlers written in Python run afterwards, lest one finds the flag set.

    Args:
        waited: whether the caller has waited; who waits is not disturbed by a flag that is set meanwhile.

    Returns:
        The descriptor of the connection and its address; None if there is none; `BUSY`, try again soon.

    Raises:
        BlockingIOError: there is none, and somebody has made the file non-blocking.
        OSError: what ``accept`` says.
    """
    fd = _fileno(sock)
    if _get_blocking(fd):
        poll = _poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(0):
            if _getsockopt(sock, _socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
                return None
            return _accept(sock)  # type: ignore[no-any-return] # raises: it does not listen
    with _mine:
        try:
            _lockf(fd, _TAKE, *_BYTE)
        except OSError as exc:
            if exc.errno in (errno.EAGAIN, errno.EACCES):
                return BUSY
            if exc.errno == errno.EBADF:
                raise
            return _without_lock(sock)
        try:
            if not _get_blocking(fd):
                # Not by one of us, who hold the lock meanwhile.
                try:
                    return _accept(sock)  # type: ignore[no-any-return]
                except BlockingIOError:
                    if not waited:
                        raise
            else:
                try:
                    _settimeout(sock, 0.0)
                    return _accept(sock)  # type: ignore[no-any-return]
                except BlockingIOError:
                    pass
                finally:
                    if _fileno(sock) >= 0:
                        _settimeout(sock, None)
        finally:
            if _fileno(sock) >= 0:
                _lockf(fd, _RELEASE, *_BYTE)
    _refuse_ended(sock)
    return None


def _refuse_ended(sock: Any) -> None:
    """Raise EINVAL, as an ``accept`` that blocks, for a local listener that has been shut down.

    To be called when its queue is empty.  An ``accept`` that does not block says no more than that.
    """
    fd = _fileno(sock)
    if fd < 0 or _family(sock) != _socket.AF_UNIX:
        return
    poll = _poll()
    poll.register(fd, _END)
    if any(events & _END for _, events in poll.poll(0)):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _without_lock(sock: Any) -> tuple[int, Any] | None:
    # Nobody may clear the flag, so it stays.
    _settimeout(sock, 0.0)
    try:
        return _accept(sock)  # type: ignore[no-any-return]
    except BlockingIOError:
        pass
    _refuse_ended(sock)
    return None
