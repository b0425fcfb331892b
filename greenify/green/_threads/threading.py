"""The outermost frame of a green thread, which has to look like that of `threading`.

pydevd, the debugger in debugpy, asks for the Thread object as soon as it sees a frame, and keeps to the
stand-in that it gets of a thread that `threading` does not know yet; unless the outermost frame is
``_bootstrap`` of a file ``threading.py``: then it waits.  By `sys.monitoring`, from CPython 3.12 on, it sees
our frame, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenify.green._threads.green_thread import GreenThread

__all__: list[str] = []


def _bootstrap(self: GreenThread) -> None:
    """The lives of the threads (`GreenThread.run`); never lets an exception out into the hub."""
    # The only frame of ours while the thread runs: from CPython 3.12 on every frame of a suspended
    # greenlet takes 200 bytes besides.
    while True:
        try:
            if self._args or self._kwargs:
                self._function(*self._args, **self._kwargs)  # type: ignore[misc]
            else:
                # So the interpreter calls a method without a C function in between, which would make
                # the copy of the C stack 400 bytes larger.
                self._function()  # type: ignore[misc]
        except BaseException as exc:
            self._report(exc)
        self._finish()
        if not self._reusable():
            break
        self.hub.spares.append(self)
        while self._function is None:
            self.hub.next().switch()
