"""pyodbc: the driver waits in C; every connection has a native thread of its own.

Its classes cannot be derived from: connections and cursors are wrapped.  A row is one of pyodbc's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify.green._foreign import OwnThread, hand_over
from greenify.libraries._in_c import Wrapped
from greenify.libraries.record import Library
from greenify.libraries.remedies import like

__all__ = ["LIBRARY"]

# What stands for the classes.
_made: dict[str, Any] = {}


class _Cursor(Wrapped):
    """A cursor."""

    _waiting = frozenset({
        "close", "columns", "commit", "execute", "executemany", "fetchall", "fetchmany", "fetchone",
        "fetchval", "foreignKeys", "getTypeInfo", "nextset", "primaryKeys", "procedureColumns",
        "procedures", "rollback", "rowIdColumns", "rowVerColumns", "skip", "statistics",
        "tablePrivileges", "tables",
    })  # fmt: skip
    connection: Any

    def __init__(self, inner: Any, thread: OwnThread, connection: Any) -> None:
        Wrapped.__init__(self, inner, thread)
        object.__setattr__(self, "connection", connection)

    def cancel(self) -> Any:
        """Of the statement that another thread waits for."""
        return hand_over(self._inner.cancel)

    _interrupt = cancel

    def _wrap(self, value: Any) -> Any:
        return self if value is self._inner else value

    def __iter__(self) -> Any:
        iter(self._inner)  # for its error
        return self

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def __enter__(self) -> Any:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> Any:
        return self._thread.call(self._inner.__exit__, *exc_info)


class _Connection(Wrapped):
    """A connection."""

    _waiting = frozenset({
        "close", "commit", "cursor", "execute", "getinfo", "rollback", "set_attr",
    })  # fmt: skip

    def _wrap(self, value: Any) -> Any:
        if type(value).__name__ == "Cursor":
            return _made["Cursor"](value, self._thread, self)
        return value

    def __enter__(self) -> Any:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> Any:
        return self._thread.call(self._inner.__exit__, *exc_info)


def _standing_for(wrapper: type) -> Callable[[Any], Any]:
    """A class under the name of the original, so that ``isinstance`` says what it has said."""

    def remedy(original: Any) -> Any:
        namespace = {
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
            "__doc__": original.__doc__,
        }
        twin = _made[original.__name__] = type(original.__name__, (wrapper,), namespace)
        return twin

    remedy.__qualname__ = wrapper.__name__
    return remedy


def connect(original: Callable[..., Any]) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        return _made["Connection"](hand_over(original, *args, **kwargs))

    return like(original, twin)


LIBRARY = Library(
    package="pyodbc",
    tested="5.5",
    replace={
        "pyodbc": {
            "Connection": _standing_for(_Connection),
            "Cursor": _standing_for(_Cursor),
            "connect": connect,
        }
    },
)
