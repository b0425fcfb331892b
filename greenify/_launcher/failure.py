"""What a program's uncaught exception looks like: as under Python itself, without the launcher's frames.

The exception goes on to the interpreter, which knows what follows from it (the exit code, the death by SIGINT
after KeyboardInterrupt, interactive inspection).  It calls `sys.excepthook`, which for that moment is
`Report`: that drops our frames, and calls the hook which the program has set.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Report", "without_launcher"]

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def without_launcher(tb: TracebackType | None) -> TracebackType | None:
    """`tb` from the first frame on that is not the launcher's."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_HERE):
        tb = tb.tb_next
    return tb


def _hide_twins(exc: BaseException) -> None:
    """Cut greenify's frames off the ends of the tracebacks of errors that C code would have raised.

    Python code stands where the standard library has C code, and takes Ctrl-C, and errors from the kernel, in
    its own frames.  Other exceptions raised there may be our own mistakes, and are shown whole; so is
    everything in development mode (``-X dev``).
    """
    # Not before: the launcher says it in its own words when greenify cannot be loaded.
    from greenify.core.tracebacks import hide_wait

    seen: set[int] = set()
    todo: list[BaseException | None] = [exc]
    while todo:
        found = todo.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        todo += [found.__cause__, found.__context__]
        if isinstance(found, KeyboardInterrupt | OSError):
            hide_wait(found)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class Report:
    """Stands in for `sys.excepthook` while the interpreter reports `exc`.

    Args:
        exc: the exception that leaves the launcher.
        then: called when it has been reported.
    """

    def __init__(self, exc: BaseException, then: Callable[[], object]) -> None:
        self.exc = exc
        self.tb = without_launcher(exc.__traceback__)
        exc.__traceback__ = self.tb
        _hide_twins(exc)
        self.then = then
        self.hook: Hook | None = getattr(sys, "excepthook", None)
        self.missing = not hasattr(sys, "excepthook")
        self.installed = False

    def install(self) -> None:
        """Have the interpreter call us."""
        self.installed = True
        sys.excepthook = self

    def show(self) -> None:
        """Report the exception here and now, as the interpreter would."""
        kind, value = type(self.exc), self.exc
        sys.last_type, sys.last_value = kind, value
        if sys.version_info >= (3, 12):
            sys.last_exc = value
        self(kind, value, self.tb)

    def __call__(
        self, kind: type[BaseException], value: BaseException, tb: TracebackType | None
    ) -> None:
        hook: Any = self.hook
        if self.missing:
            del sys.excepthook
        else:
            sys.excepthook = hook
        if value is self.exc:
            tb = self.tb
            value.__traceback__ = tb
            # On CPython 3.12 sys.last_exc is that same exception.
            sys.last_traceback = tb
        interrupted = False
        try:
            if self.missing:
                sys.stderr.write("sys.excepthook is missing\n")
                sys.__excepthook__(kind, value, tb)
            else:
                hook(kind, value, tb)
        except SystemExit:
            raise
        except BaseException as failure:
            # The interpreter would show our frame at the top of this one, too.
            own = failure.__traceback__
            failure.__traceback__ = own.tb_next if own is not None else None
            sys.stderr.write("Error in sys.excepthook:\n")
            sys.__excepthook__(type(failure), failure, failure.__traceback__)
            sys.stderr.write("\nOriginal exception was:\n")
            sys.__excepthook__(kind, value, tb)
            interrupted = isinstance(failure, KeyboardInterrupt)
        self.then()
        if interrupted and self.installed and sys.version_info >= (3, 14):
            # For one that leaves a hook the interpreter ends the process by SIGINT, in the end.  It would
            # report it once more before, with our frame.
            atexit.register(setattr, sys, "stderr", sys.stderr)
            sys.stderr = _Nowhere()
            raise KeyboardInterrupt
