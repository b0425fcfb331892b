"""`socket`: the methods of the class itself, the resolver functions and `socket.close`.

The class stays the same object, so sockets, subclasses and references from before the patch are patched too.
"""

from __future__ import annotations

import socket
from typing import Any

from greenify.green import socket as green
from greenify.green.socket_methods import METHODS
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

_replaced: dict[str, Any] = {
    name: method for name, method in METHODS.items() if name in socket.socket.__dict__
}
# Inherited from the C class so far.
_added: dict[str, Any] = {
    name: method for name, method in METHODS.items() if name not in socket.socket.__dict__
}
_functions: dict[str, Any] = {
    "getaddrinfo": green.getaddrinfo,
    "gethostbyname": green.gethostbyname,
    "gethostbyname_ex": green.gethostbyname_ex,
    "gethostbyaddr": green.gethostbyaddr,
    "getnameinfo": green.getnameinfo,
    "close": green.close,
}

PATCHES = (
    Patch(socket.socket, replace=_replaced, add=_added),
    Patch(socket, replace=_functions),
)
