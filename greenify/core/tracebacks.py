"""Tracebacks of exceptions that arrive in a wait: they end in the program's code, not in the engine's.

A frame that an exception leaves by a bare ``raise`` is not put into the traceback once more.  So a function
that waits takes itself out of it (`leave_out_wait`), and so does a twin that stands for a function of C, of
which a traceback shows nothing (`leave_out_twin`), before the program sees the exception.  What remains, the
frames of twins that stand for Python code as `threading.Condition.wait`, goes where the exception has ended
its task or time-out (`hide_wait`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType

from greenify.core.c_interface import c_function, ctypes_core

__all__ = ["hide_wait", "leave_out_twin", "leave_out_wait", "skip_frames"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def hide_wait(exc: BaseException) -> None:
    """Cut off what `exc`, which has been thrown into a wait, shows of greenify below the program's own code.

    With threads nothing is to be seen there but a call of C.  In development mode (``-X dev``) all is shown.
    """
    if sys.flags.dev_mode:
        return
    last, tb = None, exc.__traceback__
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            last = tb
        tb = tb.tb_next
    if last is not None:
        last.tb_next = None


# The functions that switch, where an exception arrives, and those of the callers that take themselves out.
_WAITING = frozenset(
    {
        "_acquire_until",
        "_sleep",
        "_wait",
        "_wait_for_token",
        "acquire",
        "park",
        "pause",
        "sleep",
        "wait",
        "wait_longer",
    }
)


#: Those of the functions of native threads that only call what they are given: nothing else in them raises.
worker_codes: set[CodeType] = set()

# Which exception has arrived in a wait last, by its identity, and where that was called from.  Nothing keeps
# it: another one may have the same identity later, but does not come from the same place.
_arrived: tuple[int, CodeType, int] | None = None


def _set_traceback(exc: BaseException, tb: TracebackType | None) -> None:
    exc.__traceback__ = tb


def _make_go_on_with() -> Callable[[BaseException, TracebackType | None], None]:
    """For CPython 3.10, whose bare ``raise`` takes the traceback that was put aside when `exc` was caught."""
    put_aside = c_function("PyErr_SetExcInfo", "OOO")
    if put_aside is None:
        return _set_traceback  # the traceback shows our frames
    keep = ctypes_core().Py_INCREF

    def go_on_with(exc: BaseException, tb: TracebackType | None) -> None:
        exc.__traceback__ = tb
        kind = type(exc)
        # It takes the references that it is given.
        keep(kind)
        keep(exc)
        keep(tb)
        put_aside(kind, exc, tb)

    return go_on_with


#: Give `exc`, which is being handled, another traceback, with which a bare ``raise`` goes on.
_go_on_with = _set_traceback if sys.version_info >= (3, 11) else _make_go_on_with()


def leave_out_wait() -> None:
    """Take our own frames out of the traceback of an exception that has arrived in a wait.

    For an ``except`` block that ends with a bare ``raise``.  An error of the engine itself keeps all of them,
    and so does everything in development mode.
    """
    if sys.flags.dev_mode:
        return
    exc = sys.exc_info()[1]
    if exc is None:
        return
    name = ""
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        name = tb.tb_frame.f_code.co_name
        tb = tb.tb_next
    if tb is not None or name in _WAITING:
        _go_on_with(exc, tb)
        _remember(exc, sys._getframe(1))


def _remember(exc: BaseException, frame: FrameType) -> None:
    """`exc` leaves `frame`, which its traceback does not show."""
    global _arrived
    caller = frame.f_back
    _arrived = None if caller is None else (id(exc), caller.f_code, caller.f_lineno)


def _from_worker(last: TracebackType | None) -> bool:
    """Whether the traceback that ends with `last` is of an error of a C function on a native thread."""
    return last is not None and last.tb_frame.f_code in worker_codes


def leave_out_twin() -> None:
    """Take the frames of a twin of a C function out of the traceback of what has arrived in its wait.

    So with errors of the operating system, a time-out for instance, which C raises without a frame, and with
    those of the program's own code that C has called.  For an ``except`` block that ends with a bare
    ``raise``, in the function that the program has called.  The engine's own errors keep all frames.
    """
    if sys.flags.dev_mode:
        return
    exc = sys.exc_info()[1]
    if exc is None:
        return
    last = None
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        last = tb
        tb = tb.tb_next
    if tb is None and not isinstance(exc, OSError) and not _from_worker(last):
        if last is None or _arrived != (id(exc), last.tb_frame.f_code, last.tb_lineno):
            return
        _remember(exc, sys._getframe(1))
    _go_on_with(exc, tb)


def skip_frames(exc: BaseException, file: str) -> None:
    """Leave out the first frames of the traceback of `exc` as far as they are from `file`."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == file:
        tb = tb.tb_next
    exc.__traceback__ = tb
