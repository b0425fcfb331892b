"""mysql-connector-python: its part in C waits; every connection has a native thread of its own.

``CMySQLConnection`` keeps what waits in its attribute ``_cmysql``, an object in C that is wrapped here.  Rows
are fetched one by one, many to a call of ``get_rows``.  With ``use_pure=True`` it waits through `socket`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify.libraries._in_c import Wrapped
from greenify.libraries.record import Library
from greenify.libraries.remedies import like

__all__ = ["LIBRARY"]


class _Statement(Wrapped):
    """A prepared statement, which runs on the thread of its connection."""

    _waiting = frozenset({"fetch_row", "free_result", "stmt_close", "stmt_execute", "stmt_reset"})


class _Connection(Wrapped):
    """The connection in C."""

    _waiting = frozenset({
        "autocommit", "change_user", "close", "commit", "connect", "consume_result", "fetch_row",
        "free_result", "next_result", "ping", "query", "refresh", "reset_connection", "rollback",
        "select_db", "set_character_set", "shutdown", "stat", "stmt_prepare",
    })  # fmt: skip

    def _wrap(self, value: Any) -> Any:
        if type(value).__name__ == "MySQLPrepStmt":
            return _Statement(value, self._thread)
        return value


def connection_class(original: Any) -> Any:
    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        Wrapped.__init__(self, original(*args, **kwargs))

    namespace = {
        "__new__": __new__,
        "__init__": __init__,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
    }
    return type(original.__name__, (_Connection,), namespace)


def on_its_thread(original: Callable[..., Any]) -> Any:
    """A method of ``CMySQLConnection`` that calls its object in C many times."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = self._cmysql
        if not isinstance(inner, Wrapped):
            return original(self, *args, **kwargs)  # from before the patch, or closed
        return inner._thread.call(original, self, *args, **kwargs)

    return like(original, twin)


LIBRARY = Library(
    package="mysql-connector-python",
    tested="26.10",
    replace={
        "_mysql_connector": {"MySQL": connection_class},
        "mysql.connector.connection_cext:CMySQLConnection": {"get_rows": on_its_thread},
    },
    stays={"a time-out or a kill": "arrives when the server has answered"},
)
