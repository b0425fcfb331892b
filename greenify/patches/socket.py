"""`socket`: the methods of the class itself, the resolver functions and `socket.close`; what sets O_NONBLOCK.

The class stays the same object, so sockets, subclasses and references from before the patch are patched too.
"""

from __future__ import annotations

import fcntl
import gc
import os
import posix
import socket
from typing import TYPE_CHECKING, Any

from greenify.green import socket as green
from greenify.green._sockets import flag_setters
from greenify.green._sockets.methods import METHODS
from greenify.green._sockets.state import restore_natively
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

_methods = dict(METHODS)
_slot = {"_state": _methods.pop("_state")}
_functions: dict[str, Any] = {
    "getaddrinfo": green.getaddrinfo,
    "gethostbyname": green.gethostbyname,
    "gethostbyname_ex": green.gethostbyname_ex,
    "gethostbyaddr": green.gethostbyaddr,
    "getnameinfo": green.getnameinfo,
    "close": green.close,
}

_set_blocking = {"set_blocking": flag_setters.set_blocking}

PATCHES = (
    Patch(socket.socket, replace=_methods, add=_slot),
    Patch(os, replace=_set_blocking),
    Patch(posix, replace=_set_blocking),
    Patch(fcntl, replace={"fcntl": flag_setters.fcntl, "ioctl": flag_setters.ioctl}),
    Patch(socket, replace=_functions),
)


def finish(journal: Journal) -> None:
    """When the patch is undone, give the sockets that live on back to the C code."""
    journal.on_undo(_give_back)


def _give_back() -> None:
    for thing in gc.get_objects():
        # type() and not isinstance(): a proxy's __class__ may run anything.
        if issubclass(type(thing), socket.socket):
            restore_natively(thing)
