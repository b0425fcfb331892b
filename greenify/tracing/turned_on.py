"""The trace that is asked for from outside: ``--trace FILE``, ``GREENIFY_TRACE``, and what goes with it."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType

from greenify import features
from greenify.errors import GreenifyError, PatchError
from greenify.tracing.session import Trace, current_trace, with_number

__all__ = ["begin", "check", "write_now"]

# In the environment of children: the process that writes to the file.
_WRITER = "GREENIFY_TRACE_WRITER"


def begin(file: str) -> None:
    """Begin a trace that ends with the process.

    One that is asked for in the same way in a child goes to a file with the child's number in its name.
    """
    me = str(os.getpid())
    if os.environ.setdefault(_WRITER, me) != me:
        file = with_number(os.path.abspath(file), me)
    try:
        Trace(file, features.value("trace-last"))
    except GreenifyError as exc:
        raise PatchError(f"--trace {file}: {exc}") from None
    number = features.value("trace-on")
    if number is not None:
        signal.signal(number, _on_signal)


def check(value: object) -> None:
    """An option that says more of a trace needs one.

    Raises:
        PatchError: there is none.
    """
    if features.value("trace") is None:
        raise PatchError("--trace-last and --trace-on need --trace FILE, or GREENIFY_TRACE")


def write_now() -> str | None:
    """Write the last seconds, if they are being kept, and give the name of the file.  Any thread."""
    trace = current_trace()
    if trace is None:
        return None
    try:
        return trace.write()
    except OSError:
        logging.getLogger("greenify").exception("the trace cannot be written")
        return None


def _on_signal(number: int, frame: FrameType | None) -> None:
    path = write_now()
    if path is not None:
        logging.getLogger("greenify").warning("the trace is in %s", path)
