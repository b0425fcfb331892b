"""psycopg2: libpq waits in C: on the hub by psycopg2's wait callback, or on the connection's native thread.

The callback is cheaper: no other thread has to run.  Left set it would break what works with threads: COPY,
large objects, ``connect_timeout``, a connection that several threads share.  So it is set for moments
(`green._foreign.wait_callbacks`), for the statements of green threads in the main OS thread: ``execute``,
``commit``, ``rollback``, the fetches of named cursors.  Not for

* what would wait twice in one call of C code, which looks for the callback each time: a BEGIN is a call of
  its own, and what cannot be taken apart runs natively;
* texts that the socket's buffer might not hold, for they are sent with the interpreter locked;
* everything, while some call of psycopg2 runs natively.

Who has set a callback keeps it, and waits by it.

The classes are in C.  Subclasses take their places in the module, so that everything derives from them that
is derived later; what has been derived before is derived anew.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.green._foreign import hand_over, run_back
from greenify.green._foreign.turns import turns_of
from greenify.libraries._in_c import derived, rebase
from greenify.libraries._psycopg2_calls import (
    at_once,
    busy,
    call,
    ending,
    executing,
    iterating,
    module,
    of_connection,
    of_cursor,
    of_named_cursor,
    originals,
    polling,
    waiting,
)
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, like

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["LIBRARY"]

# The twins of the classes that others derive from, which are made before those.
_made: dict[str, Any] = {}


def _copying(original: Callable[..., Any], position: int) -> Any:
    """COPY calls the file's read() or write(), which is the caller's."""

    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > position:
            file = args[position]
            args = (*args[:position], _File.of(file), *args[position + 1 :])
        elif "file" in kwargs:
            kwargs["file"] = _File.of(kwargs["file"])
        return call(self.connection, original, (self, *args), kwargs, True)

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


def _setter(original: Any, name: str) -> Any:
    """An attribute, which may take a statement, and waits for the statement of another thread."""

    def set_it(self: Any, value: Any) -> None:
        if name == "autocommit" and _sends_nothing(self):
            at_once(self, original.__set__, self, value)
        else:
            call(self, original.__set__, (self, value), {}, False)

    return property(original.__get__, set_it, doc=original.__doc__)


def _sends_nothing(connection: Any) -> bool:
    """Whether there is nothing of the session to be told to the server when ``autocommit`` is set."""
    if connection.closed:
        return False
    return all(value is None for value in map(partial(getattr, connection), _SESSION))


_CONNECTION = (
    "close", "reset", "set_session", "set_isolation_level", "set_client_encoding",
    "tpc_begin", "tpc_prepare", "tpc_commit", "tpc_rollback", "tpc_recover",
)  # fmt: skip
_SESSION = ("isolation_level", "readonly", "deferrable")
_CURSOR = ("executemany", "callproc")
_NAMED_CURSOR = ("fetchone", "fetchmany", "fetchall", "scroll", "close")
_LARGE_OBJECT = ("close", "read", "write", "seek", "tell", "truncate", "unlink", "export")


def connection_class(original: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        callback = waiting()
        if callback.users():
            original.__init__(self, *args, **kwargs)
        else:
            # Nobody else has it yet: who is killed leaves at once.
            hand_over(callback.without(original.__init__), self, *args, **kwargs)

    def cursor(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.cursor_factory is None and len(args) < 2 and kwargs.get("cursor_factory") is None:
            kwargs["cursor_factory"] = module().cursor
        elif self.cursor_factory is None and len(args) >= 2 and args[1] is None:
            args = (args[0], module().cursor, *args[2:])
        return original.cursor(self, *args, **kwargs)

    def lobject(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) < 5 and kwargs.get("lobject_factory") is None:
            kwargs["lobject_factory"] = module().lobject
        return call(self, original.lobject, (self, *args), kwargs, True)

    def __enter__(self: Any) -> Any:
        result = original.__enter__(self)
        turns_of(self, busy).entered = True
        return result

    def __exit__(self: Any, *args: Any) -> Any:
        turns_of(self, busy).entered = False
        return original.__exit__(self, *args)

    for name in "fileno", "get_transaction_status":
        originals[name] = getattr(original, name)
    namespace: dict[str, Any] = {
        "__init__": like(original.__init__, __init__),
        "__enter__": like(original.__enter__, __enter__),
        "__exit__": like(original.__exit__, __exit__),
        "cursor": like(original.cursor, cursor),
        "lobject": like(original.lobject, lobject),
        "cancel": handed_over(original.cancel),
        "poll": polling(original.poll),
        "commit": ending(original.commit),
        "rollback": ending(original.rollback),
    }
    for name in _CONNECTION:
        namespace[name] = of_connection(getattr(original, name))
    for name in ("autocommit", *_SESSION):
        namespace[name] = _setter(getattr(original, name), name)
    _made["connection"] = derived(original, namespace)
    return _made["connection"]


def cursor_class(original: Any) -> Any:
    namespace: dict[str, Any] = {name: of_cursor(getattr(original, name)) for name in _CURSOR}
    for name in _NAMED_CURSOR:
        namespace[name] = of_named_cursor(getattr(original, name))
    namespace["execute"] = executing(original.execute, original.mogrify)
    namespace["__next__"] = iterating(original.__next__)
    namespace["copy_expert"] = _copying(original.copy_expert, 1)
    namespace["copy_from"] = _copying(original.copy_from, 0)
    namespace["copy_to"] = _copying(original.copy_to, 0)
    _made["cursor"] = derived(original, namespace)
    return _made["cursor"]


def lobject_class(original: Any) -> Any:
    originals["lobject"] = original

    def __init__(self: Any, connection: Any, *args: Any, **kwargs: Any) -> None:
        self._connection = connection
        call(connection, original.__init__, (self, connection, *args), kwargs, True)

    def __del__(self: Any) -> None:
        # The C code closes it, for which it waits until nobody uses the connection: with the OS thread.
        connection = getattr(self, "_connection", None)
        if connection is not None and not self.closed:
            turns = turns_of(connection, busy)
            if not turns.try_to_begin():
                turns.dropped.append(self)
            else:
                turns.end()

    def on_thread(method: Callable[..., Any]) -> Any:
        def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            return call(self._connection, method, (self, *args), kwargs, True)

        return like(method, twin)

    namespace: dict[str, Any] = {
        "__slots__": ("_connection",),
        "__init__": like(original.__init__, __init__),
        "__del__": __del__,
    }
    for name in _LARGE_OBJECT:
        namespace[name] = on_thread(getattr(original, name))
    return derived(original, namespace)


def replication_connection_class(original: Any) -> Any:
    return derived(original, {}, (_made["connection"],))


def replication_cursor_class(original: Any) -> Any:
    def consume_stream(self: Any, consume: Callable[[Any], Any], *args: Any, **kwargs: Any) -> Any:
        method = original.consume_stream
        return call(self.connection, method, (self, run_back(consume), *args), kwargs, False)

    namespace: dict[str, Any] = {
        name: of_cursor(getattr(original, name))
        for name in ("start_replication_expert", "send_feedback", "read_message")
    }
    namespace["consume_stream"] = like(original.consume_stream, consume_stream)
    return derived(original, namespace, (_made["cursor"],))


def connect(original: Callable[..., Any]) -> Any:
    def twin(dsn: Any, connection_factory: Any = None, *args: Any, **kwargs: Any) -> Any:
        if connection_factory is None:
            connection_factory = module().connection
        return original(dsn, connection_factory, *args, **kwargs)

    return like(original, twin)


def wait_callback(original: Callable[..., Any]) -> Any:
    """The functions that get and set the user's callback."""
    originals[original.__name__] = original

    def twin(*args: Any) -> Any:
        return waiting().outside(original)(*args)

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
    # Connections from before the patch stay what they are.
    twin = module.connection
    kinds = _kinds(twin.__bases__[-1]) - _kinds(twin)
    for thing in gc.get_objects():
        if type(thing) in kinds:
            waiting().avoid(thing)


def _kinds(kind: type) -> set[type]:
    """A class and all that are derived from it."""
    return {kind}.union(*map(_kinds, kind.__subclasses__()))


LIBRARY = Library(
    package="psycopg2",
    tested="2.9.13",
    replace={
        "psycopg2._psycopg": {
            **_CLASSES,
            "_connect": connect,
            "get_wait_callback": wait_callback,
            "set_wait_callback": wait_callback,
        }
    },
    finish={"psycopg2._psycopg": derive_anew},
    stays={
        "psycopg2.extensions.encrypt_password": "asks the server where it is told no algorithm: name one",
        "a large object that is dropped without close()": "waits for the server: close it",
    },
)
