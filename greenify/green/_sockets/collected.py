"""A socket that nobody closes: C code closes its number when it is collected.

With threads the kernel keeps the file open for who polls it just then.  So those are told before: they go on
with a number of their own, as when a socket is closed.  Whoever waits in a method of the socket holds it, and
it is not collected.
"""

from __future__ import annotations

import _socket
from typing import Any

from greenify.core.waiting import keep_for_polls

__all__ = ["FINALISER"]

_native = _socket.socket


class _Finaliser:
    """What is found as ``__del__`` of a socket: C's own, once those who poll the socket have been told.

    Not a function that calls C's: the warning of a socket that was not closed names the line that runs, and
    that has to be the program's.  To look for ``__del__`` of a socket that lives does no harm: who polls a
    number of its own polls the same file.
    """

    __slots__ = ()

    def __get__(
        self,
        sock: Any,
        owner: Any = None,
        # No globals: this runs at the end of the interpreter, too.
        _native: Any = _native.__del__,  # type: ignore[attr-defined]
        _fileno: Any = _native.fileno,
        _keep: Any = keep_for_polls,
    ) -> Any:
        if sock is None:
            return _native
        fd = _fileno(sock)
        if fd >= 0:
            _keep(fd)
        return _native.__get__(sock)


FINALISER = _Finaliser()
