"""Closing a socket that lingers: SO_LINGER lets ``close`` wait until the peer has everything.

The kernel gives no sign of that, so a native thread waits.  The socket is closed for everybody else from the
first moment on, as it is while another thread sits in ``close``.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
from typing import Any

from greenify.core.registry import finalising
from greenify.green._files.descriptor_io import runs_natively
from greenify.green._processes.children import on_own_thread

__all__ = ["ANSWER", "ASIDE", "close_lingering"]

_close = os.close
_detach = _socket.socket.detach
_start_native = _thread.start_new_thread

#: How long the answer to ``getsockopt(SO_LINGER)`` is: two C ints.
ANSWER = 8
#: How that answer begins if the socket does not linger.
ASIDE = b"\0\0\0\0"


def close_lingering(sock: Any) -> None:
    """Close `sock`; only the calling greenlet waits, for as long as the kernel lets it.

    Raises:
        OSError: what ``close`` says.
    """
    descriptor = [_detach(sock)]

    def close() -> None:
        try:
            fd = descriptor.pop()
        except IndexError:
            return  # somebody else does it
        _close(fd)

    try:
        if runs_natively() or finalising():
            close()
            return
        try:
            on_own_thread(close)
        except RuntimeError:
            if not descriptor:
                raise
            close()  # there is no thread to be had
        except BaseException:
            # Killed while it waited.  It has to be closed all the same.
            if descriptor:
                _start_native(close, ())
            raise
    except OSError as exc:
        # A reset by the peer is no concern of one who closes: as the C code has it.
        if exc.errno != errno.ECONNRESET:
            raise
