"""SQLite's sleep: who waits for a database that is busy lets the other threads run.

SQLite asks its VFS, a structure of C functions, to sleep: between two attempts to get a lock until the busy
time-out is over, and between two attempts of a backup.  That function is replaced in the structure.  So every
statement, commit, blob and backup of every connection waits cooperatively, those from before too, for just as
long and with the same errors; and whatever does not have to wait calls nothing of ours.  The layout of the
structure is a part of SQLite's interface (https://sqlite.org/c3ref/vfs.html).
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.entries import Throw

# What `_thread` has natively: this is imported when the program imports sqlite3, after the patch.
from greenify.core.native import _start_native

__all__ = ["NotFound", "make_cooperative"]

_interrupt_main: Any = _thread.interrupt_main

_SLEEP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _VFS(ctypes.Structure):
    pass


_VFS._fields_ = [
    ("iVersion", ctypes.c_int),
    ("szOsFile", ctypes.c_int),
    ("mxPathname", ctypes.c_int),
    ("pNext", ctypes.POINTER(_VFS)),
    ("zName", ctypes.c_char_p),
    ("pAppData", ctypes.c_void_p),
    ("xOpen", ctypes.c_void_p),
    ("xDelete", ctypes.c_void_p),
    ("xAccess", ctypes.c_void_p),
    ("xFullPathname", ctypes.c_void_p),
    ("xDlOpen", ctypes.c_void_p),
    ("xDlError", ctypes.c_void_p),
    ("xDlSym", ctypes.c_void_p),
    ("xDlClose", ctypes.c_void_p),
    ("xRandomness", ctypes.c_void_p),
    ("xSleep", ctypes.c_void_p),
]


class NotFound(Exception):
    """The library SQLite that a module uses does not show its functions."""


def _sleep(seconds: float) -> None:
    # Called by C code, through which no exception can go: what hits the thread waits until that has returned.
    deadline = _monotonic() + seconds
    held: BaseException | None = None
    while True:
        left = deadline - _monotonic()
        if left <= 0:
            break
        try:
            core.sleep(left)
        except GreenletExit:
            return  # collected, or the hub is closed: it must not wait again
        except BaseException as exc:
            held = exc
    if held is not None:
        _deliver(held)


def _deliver(error: BaseException) -> None:
    hub = core.current_hub()
    if hub is None:
        return
    if type(error) is KeyboardInterrupt and hub.in_main():
        try:
            # As if it came once more, when C code has given up the interpreter lock.
            _start_native(_interrupt_main, ())
        except RuntimeError:
            pass  # no thread to be had: at the next wait
        else:
            return
    me: Any = getcurrent()
    throw_soon: Callable[[BaseException], None] | None = getattr(me, "throw_soon", None)
    if throw_soon is not None:
        throw_soon(error)
    else:
        hub.ready.append(Throw(me, error))


@_SLEEP  # type: ignore[untyped-decorator]
def _cooperative_sleep(_vfs: object, microseconds: int) -> int:
    _sleep(microseconds / 1e6)
    return microseconds


def make_cooperative(library: str | None) -> Callable[[], None]:
    """Let the SQLite that `library` is linked with sleep cooperatively.

    Args:
        library: the path of a compiled module, None for the interpreter itself.

    Returns:
        A function that takes it back.  It is called at the interpreter's end, too.

    Raises:
        NotFound: there is no SQLite to be seen.
    """
    try:
        find = ctypes.CDLL(library).sqlite3_vfs_find
    except (OSError, AttributeError) as exc:
        raise NotFound(str(exc)) from exc
    find.argtypes = [ctypes.c_char_p]
    find.restype = ctypes.POINTER(_VFS)
    ours = ctypes.cast(_cooperative_sleep, ctypes.c_void_p).value
    replaced = []
    vfs = find(None)
    while vfs:
        if vfs.contents.xSleep != ours:
            replaced.append((vfs.contents, vfs.contents.xSleep))
            vfs.contents.xSleep = ours
        vfs = vfs.contents.pNext

    def take_back() -> None:
        atexit.unregister(take_back)
        while replaced:
            contents, native = replaced.pop()
            contents.xSleep = native

    atexit.register(take_back)
    return take_back
