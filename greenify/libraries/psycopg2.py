"""psycopg2: libpq waits in C; every connection has a native thread of its own.

Its wait callback would be cheaper, and breaks what works with threads: COPY, large objects,
``connect_timeout`` and a connection that several threads share.  Who has set one keeps it, and waits by it.

The classes are in C.  Subclasses take their places in the module, so that everything derives from them that
is derived later; what has been derived before is derived anew.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.green._foreign import hand_over, own_thread, run_back
from greenify.libraries._in_c import derived, rebase
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, like

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["LIBRARY"]


def _call(
    connection: Any, original: Callable[..., Any], owner: Any, args: Any, kwargs: Any, cancel: bool
) -> Any:
    """Call a method of the connection, or of what belongs to it, on the connection's thread."""
    if connection.async_ or _module().get_wait_callback() is not None:
        return original(owner, *args, **kwargs)  # it does not wait, or waits in Python
    thread = own_thread(connection)
    if not cancel:
        return thread.call(original, owner, *args, **kwargs)
    # A cancellation is a connection of its own, and may wait as well.
    return thread.call_interruptibly(
        lambda: hand_over(_cancel, connection), original, owner, *args, **kwargs
    )


def _cancel(connection: Any) -> None:
    if not connection.closed:
        connection.cancel()


def _module() -> Any:
    return sys.modules["psycopg2._psycopg"]


def _of_connection(original: Callable[..., Any], cancel: bool = False) -> Any:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _call(self, original, self, args, kwargs, cancel)

    return like(original, twin)


def _of_cursor(original: Callable[..., Any]) -> Any:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _call(self.connection, original, self, args, kwargs, True)

    return like(original, twin)


def _of_named_cursor(original: Callable[..., Any]) -> Any:
    """Rows of other cursors have come with the query."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.name is None:
            return original(self, *args, **kwargs)
        return _call(self.connection, original, self, args, kwargs, True)

    return like(original, twin)


def _copying(original: Callable[..., Any], position: int) -> Any:
    """COPY calls the file's read() or write(), which is the caller's."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > position:
            file = args[position]
            args = (*args[:position], _File.of(file), *args[position + 1 :])
        elif "file" in kwargs:
            kwargs["file"] = _File.of(kwargs["file"])
        return _call(self.connection, original, self, args, kwargs, True)

    return like(original, twin)


class _File:
    """What COPY needs of a file, called in the thread of the caller."""

    def __init__(self, file: Any) -> None:
        for name in "read", "readline", "write":
            method = getattr(file, name, None)
            if method is not None:
                setattr(self, name, run_back(method))

    @staticmethod
    def of(file: Any) -> Any:
        if not hasattr(file, "read") and not hasattr(file, "write"):
            return file  # for the error
        return (_TextFile if isinstance(file, io.TextIOBase) else _File)(file)


class _TextFile(_File, io.TextIOBase):
    """Text is decoded, and told by this class."""


def _setter(original: Any) -> Any:
    """An attribute, which may take a statement, and waits for the statement of another thread."""

    def set_it(self: Any, value: Any) -> None:
        _call(self, original.__set__, self, (value,), {}, False)

    return property(original.__get__, set_it, doc=original.__doc__)


_CONNECTION = (
    "close", "commit", "rollback", "reset", "set_session", "set_isolation_level", "set_client_encoding",
    "poll", "tpc_begin", "tpc_prepare", "tpc_commit", "tpc_rollback", "tpc_recover",
)  # fmt: skip
_ATTRIBUTES = ("autocommit", "isolation_level", "readonly", "deferrable")
_CURSOR = ("execute", "executemany", "callproc")
_NAMED_CURSOR = ("fetchone", "fetchmany", "fetchall", "scroll", "close", "__next__")
# The twins of the classes that others derive from, which are made before those.
_made: dict[str, Any] = {}

_LARGE_OBJECT = ("close", "read", "write", "seek", "tell", "truncate", "unlink", "export")


def connection_class(original: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        # Nobody else has it yet: who is killed leaves at once.
        if _module().get_wait_callback() is not None:
            original.__init__(self, *args, **kwargs)
        else:
            hand_over(original.__init__, self, *args, **kwargs)

    def cursor(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.cursor_factory is None and len(args) < 2 and kwargs.get("cursor_factory") is None:
            kwargs["cursor_factory"] = _module().cursor
        elif self.cursor_factory is None and len(args) >= 2 and args[1] is None:
            args = (args[0], _module().cursor, *args[2:])
        return original.cursor(self, *args, **kwargs)

    def lobject(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) < 5 and kwargs.get("lobject_factory") is None:
            kwargs["lobject_factory"] = _module().lobject
        return _call(self, original.lobject, self, args, kwargs, True)

    namespace: dict[str, Any] = {
        "__init__": like(original.__init__, __init__),
        "cursor": like(original.cursor, cursor),
        "lobject": like(original.lobject, lobject),
        "cancel": handed_over(original.cancel),
    }
    for name in _CONNECTION:
        namespace[name] = _of_connection(getattr(original, name))
    for name in _ATTRIBUTES:
        namespace[name] = _setter(getattr(original, name))
    _made["connection"] = derived(original, namespace)
    return _made["connection"]


def cursor_class(original: Any) -> Any:
    namespace: dict[str, Any] = {name: _of_cursor(getattr(original, name)) for name in _CURSOR}
    for name in _NAMED_CURSOR:
        namespace[name] = _of_named_cursor(getattr(original, name))
    namespace["copy_expert"] = _copying(original.copy_expert, 1)
    namespace["copy_from"] = _copying(original.copy_from, 0)
    namespace["copy_to"] = _copying(original.copy_to, 0)
    _made["cursor"] = derived(original, namespace)
    return _made["cursor"]


def lobject_class(original: Any) -> Any:
    def __init__(self: Any, connection: Any, *args: Any, **kwargs: Any) -> None:
        self._connection = connection
        original.__init__(self, connection, *args, **kwargs)

    def on_thread(method: Callable[..., Any]) -> Any:
        def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            return _call(self._connection, method, self, args, kwargs, True)

        return like(method, twin)

    namespace: dict[str, Any] = {
        "__slots__": ("_connection",),
        "__init__": like(original.__init__, __init__),
    }
    for name in _LARGE_OBJECT:
        namespace[name] = on_thread(getattr(original, name))
    return derived(original, namespace)


def replication_connection_class(original: Any) -> Any:
    return derived(original, {}, (_made["connection"],))


def replication_cursor_class(original: Any) -> Any:
    def consume_stream(self: Any, consume: Callable[[Any], Any], *args: Any, **kwargs: Any) -> Any:
        method = original.consume_stream
        return _call(self.connection, method, self, (run_back(consume), *args), kwargs, False)

    namespace: dict[str, Any] = {
        name: _of_cursor(getattr(original, name))
        for name in ("start_replication_expert", "send_feedback", "read_message")
    }
    namespace["consume_stream"] = like(original.consume_stream, consume_stream)
    return derived(original, namespace, (_made["cursor"],))


def connect(original: Callable[..., Any]) -> Any:
    def twin(dsn: Any, connection_factory: Any = None, *args: Any, **kwargs: Any) -> Any:
        if connection_factory is None:
            connection_factory = _module().connection
        return original(dsn, connection_factory, *args, **kwargs)

    return like(original, twin)


_CLASSES = {
    "connection": connection_class,
    "cursor": cursor_class,
    "lobject": lobject_class,
    "ReplicationConnection": replication_connection_class,
    "ReplicationCursor": replication_cursor_class,
}


def derive_anew(journal: Journal, module: ModuleType) -> None:
    """What has been derived from the classes before the patch: the factories of ``psycopg2.extras``."""
    for name in _CLASSES:
        twin = getattr(module, name)
        rebase(journal, "psycopg2", twin.__bases__[-1], twin)


LIBRARY = Library(
    package="psycopg2",
    tested="2.9.13",
    replace={"psycopg2._psycopg": {**_CLASSES, "_connect": connect}},
    finish={"psycopg2._psycopg": derive_anew},
    stays={
        "psycopg2.extensions.encrypt_password": "asks the server where it is told no algorithm: name one",
        "a large object that is dropped without close()": "waits for the server: close it",
    },
)
