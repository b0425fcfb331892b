"""mysqlclient: its library waits in C; every connection has a native thread of its own.

``_mysql.connection`` is a class in C, from which ``MySQLdb.connections.Connection`` is derived.  A subclass
takes its place, and `Connection` is derived anew if it has been imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.green._foreign import hand_over, own_thread
from greenify.libraries._in_c import Wrapped, derived, rebase
from greenify.libraries.record import Library
from greenify.libraries.remedies import OnOwnThread, like

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["LIBRARY"]

_WAITING = (
    "autocommit", "change_user", "close", "commit", "discard_result", "dump_debug_info", "kill", "ping",
    "query", "read_query_result", "rollback", "select_db", "send_query", "set_character_set",
    "set_server_option", "shutdown", "stat", "store_result",
)  # fmt: skip


class _Rows(Wrapped):
    """A result whose rows come from the server as they are fetched."""

    _waiting = frozenset({"fetch_row", "discard"})


def connection_class(original: Any) -> Any:
    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        # One that is not of a derived class has to have weak references, too.
        return original.__new__(bare if cls is twin else cls, *args, **kwargs)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        # Nobody else has it yet: who is killed leaves at once.
        hand_over(original.__init__, self, *args, **kwargs)

    def use_result(self: Any, *args: Any, **kwargs: Any) -> Any:
        thread = own_thread(self)
        result = thread.call(original.use_result, self, *args, **kwargs)
        return result if result is None else _Rows(result, thread)

    def next_result(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not original.more_results(self):
            return original.next_result(self, *args, **kwargs)  # asks nobody
        return own_thread(self).call(original.next_result, self, *args, **kwargs)

    namespace: dict[str, Any] = {
        "__new__": __new__,
        "__init__": like(original.__init__, __init__),
        "use_result": like(original.use_result, use_result),
        "next_result": like(original.next_result, next_result),
    }
    on_thread = OnOwnThread()
    for name in _WAITING:
        if hasattr(original, name):  # not all are in every version
            namespace[name] = on_thread(getattr(original, name))
    twin = derived(original, namespace)
    bare = derived(twin, {"__slots__": ("__weakref__",)})
    return twin


def connect(original: Callable[..., Any]) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        return _module().connection(*args, **kwargs)

    return like(original, twin)


def _module() -> Any:
    return sys.modules["MySQLdb._mysql"]


def derive_anew(journal: Journal, module: ModuleType) -> None:
    twin: Any = module.connection
    rebase(journal, "mysqlclient", twin.__bases__[-1], twin)


LIBRARY = Library(
    package="mysqlclient",
    tested="2.3.2",
    replace={"MySQLdb._mysql": {"connection": connection_class, "connect": connect}},
    finish={"MySQLdb._mysql": derive_anew},
    stays={
        "a time-out or a kill": "arrives when the server has answered: the protocol has no cancellation",
        "a result of SSCursor that is dropped": "reads what is left: close the cursor",
    },
)
