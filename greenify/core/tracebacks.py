"""Tracebacks of exceptions that arrive in a wait: they end in the program's code, not in the engine's."""

from __future__ import annotations

import os
import sys

__all__ = ["hide_wait", "skip_frames"]

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


def skip_frames(exc: BaseException, file: str) -> None:
    """Leave out the first frames of the traceback of `exc` as far as they are from `file`."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == file:
        tb = tb.tb_next
    exc.__traceback__ = tb
