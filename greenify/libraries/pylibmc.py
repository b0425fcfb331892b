"""pylibmc: libmemcached waits in C; every client has a native thread of its own."""

from __future__ import annotations

from greenify.libraries.record import Library
from greenify.libraries.remedies import OnOwnThread

__all__ = ["LIBRARY"]

_WAITING = (
    "add", "add_multi", "append", "cas", "decr", "delete", "delete_multi", "disconnect_all", "flush_all",
    "get", "get_multi", "get_stats", "gets", "incr", "incr_multi", "prepend", "replace", "set",
    "set_multi", "touch",
)  # fmt: skip

LIBRARY = Library(
    package="pylibmc",
    tested="1.6",
    replace={
        "pylibmc.client:Client": {
            **{f"{name}?": OnOwnThread() for name in _WAITING},
            "get": OnOwnThread(),
            "set": OnOwnThread(),
        }
    },
    stays={
        "_pylibmc.client": "use pylibmc.Client",
        "a time-out or a kill": "arrives when the call has ended: give the client a receive_timeout",
    },
)
