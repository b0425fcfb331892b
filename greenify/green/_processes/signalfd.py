"""A descriptor that is readable while one of some signals is pending for the calling OS thread.

``signalfd`` sees what ``sigwait`` would take: signals of the process and those of this very thread.  (A
native thread in ``sigwait`` would not see the latter, and would go on taking signals when the wait is given
up.)  The standard library has no such call; `ctypes` reaches the C library's.  Where either is missing,
`open_signalfd` says so and the caller looks again and again instead.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

__all__ = ["open_signalfd"]

# More than any sigset_t takes (128 bytes in glibc and musl).
_SIGSET_SIZE = 1024

_libc: Any = None


def _load() -> Any:
    """The C library, or None if there is no way to call ``signalfd``."""
    global _libc
    if _libc is None:
        try:
            import ctypes

            library = ctypes.CDLL(None, use_errno=True)
            _libc = (ctypes, library, library.signalfd, library.sigaddset)
        except (ImportError, OSError, AttributeError):
            _libc = False
    return _libc or None


def open_signalfd(numbers: Iterable[int]) -> int | None:
    """A new descriptor, to be closed by the caller; None where there is no ``signalfd``.

    Raises:
        OSError: no descriptor left (EMFILE and the like).
    """
    loaded = _load()
    if loaded is None:
        return None
    ctypes, library, signalfd, sigaddset = loaded
    mask = ctypes.create_string_buffer(_SIGSET_SIZE)
    library.sigemptyset(mask)
    for number in numbers:
        sigaddset(mask, int(number))
    # SFD_CLOEXEC and SFD_NONBLOCK have the values of the flags for open().
    fd: int = signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EPERM):
        return None
    raise OSError(code, os.strerror(code))
