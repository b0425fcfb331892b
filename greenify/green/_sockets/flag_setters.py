"""The functions by which a program may set O_NONBLOCK on a file by number, behind a socket's back.

They do what the native ones do, and tell the sockets that know their buffers to be empty (`state.FileFlags`).
"""

from __future__ import annotations

import fcntl as _module
import os
import termios
from typing import Any

from greenify.green import fcntl as file_locks
from greenify.green._sockets.state import file_flags

__all__ = ["fcntl", "ioctl", "set_blocking"]

_native_set_blocking: Any = os.set_blocking
_locking_fcntl: Any = file_locks.fcntl
_native_ioctl: Any = _module.ioctl
_F_SETFL = _module.F_SETFL
_FIONBIO = termios.FIONBIO


# They take whatever comes, for the native ones to complain about.


def set_blocking(*args: Any, **kwargs: Any) -> None:
    """`os.set_blocking`."""
    _native_set_blocking(*args, **kwargs)
    file_flags.touched()


def fcntl(*args: Any, **kwargs: Any) -> Any:
    """`fcntl.fcntl`; F_SETLKW and F_OFD_SETLKW wait cooperatively."""
    result = _locking_fcntl(*args, **kwargs)
    if args[1] == _F_SETFL:
        file_flags.touched()
    return result


def ioctl(*args: Any, **kwargs: Any) -> Any:
    """`fcntl.ioctl`."""
    result = _native_ioctl(*args, **kwargs)
    if args[1] == _FIONBIO:
        file_flags.touched()
    return result
